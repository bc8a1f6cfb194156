//! Who gets at the admin API, and where (spec/security.md 4.5).

use serde_json::json;

use super::setup;
use crate::support::client::Request;
use crate::support::gateway::{ADMIN_TOKEN, free_port};
use crate::support::upstream::Upstream;

#[test]
fn a_listener_of_its_own_serves_the_admin_api_and_nothing_else_does() {
    let upstream = Upstream::start();
    let port = free_port();
    let gateway = setup(&upstream).section(&format!("[admin]\nlisten = \"127.0.0.1:{port}\"\nhosts = [\"aigw.example.com\"]")).start();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    assert_eq!(gateway.admin("GET", "/tenants", None).status, 404);
    let ask = |target: &str| Request::new(address, "GET", target).bearer(ADMIN_TOKEN);
    assert_eq!(ask("/admin/v1/tenants").send().status, 200);
    assert_eq!(Request::new(address, "GET", "/admin/v1/tenants").send().status, 401);
    assert_eq!(ask("/v1/models").send().status, 404);
}

#[test]
fn a_foreign_host_name_gets_nothing_from_the_admin_listener() {
    let upstream = Upstream::start();
    let port = free_port();
    let _gateway = setup(&upstream).section(&format!("[admin]\nlisten = \"127.0.0.1:{port}\"\nhosts = [\"aigw.example.com\"]")).start();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    for (host, status) in [("evil.example", 403), ("localhost", 200), ("aigw.example.com:8081", 200), ("127.0.0.1", 200), ("", 403)] {
        let mut connection = crate::support::client::Connection::open(address);
        let wire = format!("GET /admin/v1/tenants HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {ADMIN_TOKEN}\r\n\r\n");
        connection.write(wire.as_bytes());
        let got = connection.reply().status;
        assert!(got == status || (host.is_empty() && got == 400), "{host:?}: {got}");
    }
}

#[test]
fn no_key_is_an_admin_token_and_the_admin_token_is_no_key() {
    let upstream = Upstream::start();
    let gateway = setup(&upstream).start();
    let key = gateway.key();
    for token in [&key.secret, "", "admin", &ADMIN_TOKEN[1..], &ADMIN_TOKEN.to_uppercase()] {
        for (method, path) in [
            ("GET", "/tenants"),
            ("POST", "/tenants"),
            ("PUT", "/tenants/x/providers/y"),
            ("GET", "/edges"),
            ("POST", "/tenants/x/epoch"),
            ("POST", "/tenants/x/tenant-keys"),
            ("POST", "/reload"),
        ] {
            let request = gateway.request(method, &format!("/admin/v1{path}")).bearer(token).json(&json!({}));
            assert_eq!(request.send().status, 401, "{method} {path}");
        }
    }
    gateway.get("/v1/models").bearer(ADMIN_TOKEN).send().error(401, "invalid_request_error", "invalid_api_key");
}
