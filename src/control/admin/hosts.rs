//! Whom a request to the admin listener may be addressed to (spec/security.md 4.5): a web page in somebody's browser can
//! make a name of its own point at this listener, but it cannot make that name one of ours.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::HOST;
use actix_web::middleware::Next;
use actix_web::{Error, ResponseError, web};

use super::error::AdminError;

/// Names besides addresses and `localhost`, in lower case.
pub struct Hosts(pub Vec<String>);

/// Lets pass what is addressed to an address, to `localhost` or to a listed name.
pub async fn check(request: ServiceRequest, next: Next<impl MessageBody + 'static>) -> Result<ServiceResponse, Error> {
    let mut values = request.headers().get_all(HOST);
    let host = match (values.next(), values.next()) {
        (Some(host), None) => host.to_str().ok(),
        _ => None,
    };
    let hosts = request.app_data::<web::Data<Hosts>>();
    if host.is_some_and(|host| is_ours(host, hosts.map_or(&[], |hosts| &hosts.0))) {
        return Ok(next.call(request).await?.map_into_boxed_body());
    }
    Ok(request.into_response(AdminError::ForeignHost.error_response()))
}

fn is_ours(host: &str, listed: &[String]) -> bool {
    if let Some(bracketed) = host.strip_prefix('[') {
        let address = bracketed.split_once(']').filter(|(_, port)| port.is_empty() || is_port(port)).map(|(address, _)| address);
        return address.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
    }
    let name = match host.split_once(':') {
        Some((name, port)) if is_port(&format!(":{port}")) => name,
        Some(_) => return false,
        None => host,
    };
    let name = name.to_ascii_lowercase();
    name == "localhost" || name.parse::<std::net::Ipv4Addr>().is_ok() || listed.contains(&name)
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_localhost_and_listed_names_pass_and_nothing_else() {
        let listed = vec!["aigw.example.com".to_owned()];
        for ours in
            ["127.0.0.1", "127.0.0.1:8081", "[::1]", "[::1]:8081", "localhost:1", "LOCALHOST", "aigw.example.com", "Aigw.Example.com:443"]
        {
            assert!(is_ours(ours, &listed), "{ours}");
        }
        for foreign in
            ["", ":8081", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "[::1", "[x]", "localhost:x", "a:b:c", "::1"]
        {
            assert!(!is_ours(foreign, &listed), "{foreign}");
        }
    }
}
