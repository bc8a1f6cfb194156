//! Check of the `host` header on the admin listener (spec/security.md 4.5). It defends against DNS
//! rebinding: a web page can point its own host name at this listener, but not one that is listed
//! here.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::HOST;
use actix_web::middleware::Next;
use actix_web::{Error, ResponseError, web};

use super::error::AdminError;

/// Allowed host names besides IP addresses and `localhost`, in lower case.
pub struct Hosts(pub Vec<String>);

/// Passes requests whose host is an IP address, `localhost` or a listed name.
pub async fn check(request: ServiceRequest, next: Next<impl MessageBody + 'static>) -> Result<ServiceResponse, Error> {
    let mut values = request.headers().get_all(HOST);
    let host = match (values.next(), values.next()) {
        (Some(host), None) => host.to_str().ok(),
        _ => None,
    };
    let hosts = request.app_data::<web::Data<Hosts>>();
    if host.is_some_and(|host| is_allowed(host, hosts.map_or(&[], |hosts| &hosts.0))) {
        return Ok(next.call(request).await?.map_into_boxed_body());
    }
    Ok(request.into_response(AdminError::ForeignHost.error_response()))
}

fn is_allowed(host: &str, listed: &[String]) -> bool {
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
    fn only_addresses_localhost_and_listed_names_are_allowed() {
        let listed = vec!["aigw.example.com".to_owned()];
        for allowed in
            ["127.0.0.1", "127.0.0.1:8081", "[::1]", "[::1]:8081", "localhost:1", "LOCALHOST", "aigw.example.com", "Aigw.Example.com:443"]
        {
            assert!(is_allowed(allowed, &listed), "{allowed}");
        }
        for foreign in
            ["", ":8081", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "[::1", "[x]", "localhost:x", "a:b:c", "::1"]
        {
            assert!(!is_allowed(foreign, &listed), "{foreign}");
        }
    }
}
