//! PostgreSQL in practice: servers that close connections, restart, or require TLS. Each test has
//! its own server.

use aigw::config::DatabaseUrl;
use aigw::control::store::Store;
use aigw::secret::Secret;
use diesel::prelude::*;
use serde_json::json;

use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};
use crate::support::postgres::{Certificates, Server};
use crate::support::test_gateway::SIMULATOR;

fn open(url: &str) -> Result<Store, String> {
    let store = Store::open(&DatabaseUrl::Postgres(std::sync::Arc::new(Secret::new(url)))).map_err(|error| error.to_string())?;
    store.ping().map_err(|error| error.to_string())?;
    Ok(store)
}

fn gateway(url: &str) -> Gateway {
    Setup::new().database(url).provider("simulator.toml", SIMULATOR).start()
}

/// Sends that many requests to the simulator and returns their request ids.
fn converse(gateway: &Gateway, tenant: &str, key: &crate::support::gateway::Key, count: usize) -> Vec<String> {
    let body = json!({"model": "sim-echo", "messages": [{"role": "user", "content": tenant}]});
    let ask = |_| {
        let answer = gateway.chat(key, &body).send();
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.header("x-request-id").unwrap().to_owned()
    };
    (0..count).map(ask).collect()
}

/// Checks that every request is in the ledger once, as soon as the database is available.
fn expect_each_once(gateway: &Gateway, tenant: &str, mut sent: Vec<String>) {
    sent.sort();
    let stored = || {
        let answer = gateway.admin("GET", &format!("/ledger?tenant={tenant}&limit=1000"), None);
        let entries = (answer.status == 200).then(|| answer.json()["data"].as_array().unwrap().clone())?;
        (entries.len() >= sent.len()).then_some(entries)
    };
    let entries = eventually("the entries", stored);
    let mut ids: Vec<String> = entries.iter().map(|entry| entry["request_id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    assert_eq!(ids, sent);
}

#[test]
fn nothing_is_lost_or_doubled_when_the_server_ends_connections_and_restarts() {
    let Some(server) = Server::start(None) else { return };
    let url = server.url("127.0.0.1", "");
    let gateway = gateway(&url);
    let tenant = gateway.tenant();
    let key = tenant.key();
    let mut sent = converse(&gateway, &tenant.id, &key, 20);
    let mut other = PgConnection::establish(&url).unwrap();
    for _ in 0..5 {
        let end =
            diesel::sql_query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename = 'aigw'");
        end.execute(&mut other).unwrap();
        sent.extend(converse(&gateway, &tenant.id, &key, 10));
    }
    drop(other);
    expect_each_once(&gateway, &tenant.id, sent.clone());
    server.halt();
    sent.extend(converse(&gateway, &tenant.id, &key, 20));
    server.resume();
    sent.extend(converse(&gateway, &tenant.id, &key, 5));
    expect_each_once(&gateway, &tenant.id, sent);
    // Changes are accepted again too.
    eventually("a new tenant", || (gateway.admin("POST", "/tenants", Some(&json!({"id": "later"}))).status == 201).then_some(()));
}

#[test]
fn tls_is_used_as_the_mode_requires() {
    let (certificates, strangers) = (Certificates::new(), Certificates::new());
    let Some(server) = Server::start(Some(&certificates)) else { return };
    let root = server.file("root.crt", &certificates.authority, 0o644);
    let stranger = server.file("stranger.crt", &strangers.authority, 0o644);
    let files = format!("&sslrootcert={root}");

    for (host, query) in [
        ("127.0.0.1", "?sslmode=require".to_owned()),
        ("127.0.0.1", format!("?sslmode=verify-ca{files}")),
        ("localhost", format!("?sslmode=verify-full{files}&hostaddr=127.0.0.1")),
        ("localhost", format!("?sslmode=verify-full{files}&sslrootcert={root}&connect_timeout=3")),
    ] {
        let store = open(&server.url(host, &query)).unwrap_or_else(|error| panic!("{query}: {error}"));
        let encrypted: Result<Encrypted, aigw::control::store::StoreError> = store.read(|connection| {
            Ok(diesel::sql_query("SELECT ssl AS encrypted FROM pg_stat_ssl WHERE pid = pg_backend_pid()").get_result(connection)?)
        });
        assert!(encrypted.unwrap().encrypted, "{query}");
    }
    for (host, query, reason) in [
        ("127.0.0.1", String::new(), "no encryption"),
        ("127.0.0.1", "?sslmode=disable".to_owned(), "no encryption"),
        ("127.0.0.1", "?sslmode=verify-ca".to_owned(), "UnknownIssuer"),
        ("127.0.0.1", format!("?sslmode=require&sslrootcert={stranger}"), "invalid peer certificate"),
        ("localhost", format!("?sslmode=verify-full&sslrootcert={stranger}"), "invalid peer certificate"),
        ("127.0.0.1", format!("?sslmode=verify-full{files}"), "not valid for name"),
        ("127.0.0.1", "?sslmode=verify-full&sslrootcert=/no/such/file".to_owned(), "/no/such/file"),
        ("127.0.0.1", "?sslmode=very".to_owned(), "sslmode=very"),
    ] {
        let error = open(&server.url(host, &query)).err().unwrap_or_else(|| panic!("{query} is let in"));
        assert!(error.contains(reason) && !error.contains("ord") && !error.contains('\n'), "{query}: {error}");
    }
    let wrong = open(&server.url("127.0.0.1", "?sslmode=require").replace("pass%3A", "miss%3A")).err().unwrap();
    assert!(wrong.contains("password authentication failed") && !wrong.contains("miss"), "{wrong}");
}

#[derive(QueryableByName)]
struct Encrypted {
    #[diesel(sql_type = diesel::sql_types::Bool)]
    encrypted: bool,
}

#[test]
fn tls_never_falls_back_to_plaintext() {
    let Some(server) = Server::start(None) else { return };
    open(&server.url("127.0.0.1", "")).unwrap();
    let error = open(&server.url("127.0.0.1", "?sslmode=require")).err().unwrap();
    assert!(error.contains("the server has TLS disabled"), "{error}");
}

#[test]
fn a_gateway_serves_over_tls_through_a_restart_with_large_rows() {
    let certificates = Certificates::new();
    let Some(server) = Server::start(Some(&certificates)) else { return };
    let root = server.file("root.crt", &certificates.authority, 0o644);
    let temporary = tempfile::tempdir().unwrap();
    let url = server.url("localhost", &format!("?sslmode=verify-full&sslrootcert={root}"));
    let setup = Setup::new().database(&url).provider("simulator.toml", SIMULATOR);
    let gateway = setup.env("TMPDIR", temporary.path().to_str().unwrap()).start();
    let tenant = gateway.tenant();
    // Large rows, so that batches and answers exceed one TLS record.
    let key = tenant.key_with(json!({"tags": {"a": "x".repeat(250), "b": "y".repeat(250)}}));
    let mut sent = converse(&gateway, &tenant.id, &key, 100);
    expect_each_once(&gateway, &tenant.id, sent.clone());
    server.halt();
    sent.extend(converse(&gateway, &tenant.id, &key, 100));
    server.resume();
    expect_each_once(&gateway, &tenant.id, sent);
    eventually("no socket to be left", || std::fs::read_dir(temporary.path()).unwrap().next().is_none().then_some(()));
}
