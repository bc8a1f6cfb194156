//! Access to the admin API (spec/security.md 4.5).

use std::process::Stdio;

use serde_json::json;

use super::{MASTER, OTHER_MASTER, setup};
use crate::support::client::Request;
use crate::support::gateway::{ADMIN_TOKEN, aigw, ended, free_port};
use crate::support::upstream::Upstream;

#[test]
fn only_the_admin_listener_serves_the_admin_api() {
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

/// Calls every described route of the admin API and of usage as everyone except the operator.
#[test]
fn every_admin_route_requires_the_operator() {
    let upstream = Upstream::start();
    let gateway = setup(&upstream).start();
    let made = gateway.admin("POST", "/tenants", Some(&json!({"id": "own", "custody": "tenant"}))).expect(201);
    let edge = gateway.admin("POST", "/edges", Some(&json!({"id": "far"}))).expect(201);
    let described = gateway.admin("GET", "/openapi.json", None).expect(200);
    let credentials = [
        gateway.key().secret,
        made["tenant_key"].as_str().unwrap().to_owned(),
        edge["edge_key"].as_str().unwrap().to_owned(),
        String::new(),
        ADMIN_TOKEN.to_uppercase(),
        format!("{ADMIN_TOKEN}x"),
        "Basic".to_owned(),
    ];
    let mut routes = 0;
    for (path, methods) in described["paths"].as_object().unwrap() {
        let path = path
            .replace("{tenant}", "own")
            .replace("{name}", "x")
            .replace("{key}", "x")
            .replace("{id}", "x")
            .replace("{edge}", "x")
            .replace("{request_id}", "x");
        assert!(!path.contains('{'), "{path}");
        for method in methods.as_object().unwrap().keys().filter(|method| *method != "parameters") {
            routes += 1;
            let method = method.to_uppercase();
            let mut answers: Vec<_> =
                credentials.iter().map(|credential| gateway.request(&method, &path).bearer(credential).json(&json!({})).send()).collect();
            answers.push(gateway.request(&method, &path).json(&json!({})).send());
            answers.push(gateway.request(&method, &format!("{path}?token={ADMIN_TOKEN}&api_key={ADMIN_TOKEN}")).json(&json!({})).send());
            answers.push(gateway.request(&method, &path).header("cookie", &format!("token={ADMIN_TOKEN}")).json(&json!({})).send());
            answers.push(gateway.request(&method, &path).header("x-api-key", ADMIN_TOKEN).json(&json!({})).send());
            for answer in &answers {
                assert_eq!((answer.status, answer.text()), (401, answers[0].text()), "{method} {path}");
            }
        }
    }
    assert!(routes > 25, "{routes}");
    assert_eq!(gateway.admin("GET", "/tenants/own", None).status, 200, "nothing was done meanwhile");
}

/// Configurations that must not start. Each is refused with one line that names the remedy and not
/// the secret.
#[test]
fn an_unsafe_configuration_exits_with_78_and_one_line() {
    let upstream = Upstream::start();
    let gateway = setup(&upstream).start();
    gateway.kill9();
    let start = |env: &[(&str, &str)], section: &str| {
        let directory = tempfile::tempdir().unwrap();
        setup(&upstream).section(section).write(directory.path(), free_port(), &gateway.database);
        let mut all = vec![("AIGW_ADMIN_TOKEN", ADMIN_TOKEN), ("AIGW_MASTER_KEY", MASTER)];
        all.retain(|(name, _)| env.iter().all(|(other, _)| other != name));
        all.extend(env);
        let all: Vec<_> = all.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let mut serve = aigw(directory.path(), &all);
        let mut child = serve.args(["serve", "--config", "aigw.toml"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        ended(&mut child);
        child.wait_with_output().unwrap()
    };
    let (virtual_key, tenant_key) = ("aigw-sk-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg1UFIWw", "aigw-tk-0123456789");
    for (env, section, remedy) in [
        ([("AIGW_ADMIN_TOKEN", "too-short-0123456789")], "", "admin.token_env"),
        ([("AIGW_ADMIN_TOKEN", "abababababababababababababababababababab")], "", "admin.token_env"),
        ([("AIGW_ADMIN_TOKEN", "changeme-0123456789-abcdefghijklmnopqrst")], "", "admin.token_env"),
        ([("AIGW_MASTER_KEY", "c2hvcnQ=")], "", "sealing.master_key_env"),
        ([("AIGW_MASTER_KEY", "WlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlo=")], "", "sealing.master_key_env"),
        ([("AIGW_MASTER_KEY", OTHER_MASTER)], "", "master key"),
        ([("AIGW_EDGE_KEY", virtual_key)], "", "edge"),
        ([("AIGW_EDGE_KEY", virtual_key)], "[sealing]\nedge = \"far\"", "edge_key_env"),
        ([("AIGW_EDGE_KEY", tenant_key)], "[sealing]\nedge = \"far\"", "edge_key_env"),
        ([("AIGW_UNUSED", "")], "[sealing]\nedge = \"far\"", "edge_key_env"),
        ([("AIGW_UNUSED", "")], "[security]\nfail_statik = \"1s\"", "fail_static"),
        ([("AIGW_UNUSED", "")], "[sealing]\nmaster_key_file = \"no/such/file\"", "master_key_file"),
    ] {
        let output = start(&env, section);
        let printed = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{env:?} {section}: {printed}");
        assert!(printed.contains(remedy) && !printed.contains("panicked"), "{env:?} {section}: {printed}");
        let value = env[0].1;
        assert!(value.is_empty() || !printed.contains(value), "it repeats the secret: {printed}");
    }
}

#[test]
fn virtual_keys_and_the_admin_token_are_not_interchangeable() {
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
