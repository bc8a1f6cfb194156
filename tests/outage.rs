//! An unavailable database: requests continue, and every entry is stored when it is back. And two
//! gateways on one database.

use diesel::connection::SimpleConnection;
use diesel::{Connection as _, PgConnection, SqliteConnection};
use serde_json::json;

use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};
use crate::support::store::{Store, blocked};
use crate::support::test_gateway::SIMULATOR;
use crate::support::unique;

fn ask(gateway: &Gateway, key: &crate::support::gateway::Key, id: &str) -> u16 {
    let body = json!({"model": "sim-echo", "messages": [{"role": "user", "content": "x"}]});
    gateway.chat(key, &body).header("x-request-id", id).send().status
}

#[test]
fn a_locked_database_delays_no_request_and_loses_no_entry() {
    let gateway = Setup::new().provider("sim.toml", SIMULATOR).start();
    let tenant = gateway.tenant();
    let key = tenant.key();
    let mut other = SqliteConnection::establish(gateway.database.strip_prefix("sqlite://").unwrap()).unwrap();
    other.batch_execute("PRAGMA busy_timeout = 5000; BEGIN IMMEDIATE").unwrap();
    let ids: Vec<String> = (0..40).map(|_| unique("busy")).collect();
    for id in &ids {
        assert_eq!(ask(&gateway, &key, id), 200);
    }
    other.batch_execute("ROLLBACK").unwrap();
    for id in &ids {
        gateway.entry(id);
    }
    assert_eq!(tenant.entries(40).len(), 40);
}

#[test]
fn a_full_journal_raises_the_alarm_and_neither_delays_nor_loses_a_request() {
    let gateway = Setup::new().provider("sim.toml", SIMULATOR).section("[ledger]\nmax_journal = \"1MiB\"").start();
    let tenant = gateway.tenant();
    // Large entries, so that a few hundred fill the journal.
    let key = tenant.key_with(json!({"tags": {"a": "x".repeat(250), "b": "y".repeat(250), "c": "z".repeat(250)}}));
    let level = |name: &str| {
        let metrics = gateway.get("/metrics").send().text();
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
        value.unwrap_or_else(|| panic!("no {name} in\n{metrics}"))
    };
    let (alarm, bytes, memory) = ("aigw_ledger_alarm ", "aigw_ledger_journal_bytes ", "aigw_queue_depth{queue=\"ledger_memory\"} ");
    let mut other = SqliteConnection::establish(gateway.database.strip_prefix("sqlite://").unwrap()).unwrap();
    other.batch_execute("PRAGMA busy_timeout = 5000; BEGIN IMMEDIATE").unwrap();
    assert_eq!(level(alarm), 0.0);
    let mut asked = 0;
    let mut ask_until = |what: &str, is_so: &dyn Fn() -> bool| {
        while !is_so() {
            assert!(asked < 5_000, "{what} never");
            let ids: Vec<String> = (0..50).map(|_| unique("full")).collect();
            assert!(ids.iter().all(|id| ask(&gateway, &key, id) == 200));
            asked += ids.len();
        }
        asked
    };
    ask_until("half full", &|| level(bytes) > 512.0 * 1024.0);
    assert_eq!((level(alarm), level(memory)), (1.0, 0.0), "the alarm was not raised before the journal was full");
    let asked = ask_until("full", &|| level(memory) > 0.0);
    assert!(level(bytes) <= 1024.0 * 1024.0);
    other.batch_execute("ROLLBACK").unwrap();
    let entries = || gateway.admin("GET", &format!("/usage?tenant={}", tenant.id), None).expect(200)["data"][0]["requests"].as_u64();
    eventually("every entry", || (entries() >= u64::try_from(asked).ok()).then_some(()));
    assert_eq!(entries(), u64::try_from(asked).ok(), "more entries than requests");
    assert_eq!((level(alarm), level(memory), level("aigw_ledger_lost_entries_total ")), (0.0, 0.0, 0.0));
}

#[test]
fn a_gateway_killed_while_its_database_is_unavailable_loses_no_entry() {
    let gateway = Setup::new().provider("sim.toml", SIMULATOR).start();
    let tenant = gateway.tenant();
    let key = tenant.key();
    let mut other = SqliteConnection::establish(gateway.database.strip_prefix("sqlite://").unwrap()).unwrap();
    other.batch_execute("PRAGMA busy_timeout = 5000; BEGIN IMMEDIATE").unwrap();
    for _ in 0..20 {
        assert_eq!(ask(&gateway, &key, &unique("killed")), 200);
    }
    gateway.kill9();
    other.batch_execute("ROLLBACK").unwrap();
    gateway.restart();
    assert_eq!(tenant.entries(20).len(), 20);
}

/// Stops a gateway while its database rejects writes: it answers and ends in time, and the next
/// process stores its entries.
fn stopped(store: Store) {
    if !store.is_available() {
        return;
    }
    let gateway = Setup::new().store(store).provider("sim.toml", SIMULATOR).start();
    let tenant = gateway.tenant();
    let key = tenant.key();
    let block = blocked(&gateway.database);
    for _ in 0..20 {
        assert_eq!(ask(&gateway, &key, &unique("stopped")), 200);
    }
    let started_at = std::time::Instant::now();
    gateway.admin("GET", "/usage", None).expect(200);
    assert!(started_at.elapsed() < std::time::Duration::from_secs(5), "reading waited for blocked writes: {:?}", started_at.elapsed());
    gateway.sigterm();
    assert_eq!(gateway.exit().code(), Some(0), "{}", gateway.log());
    drop(block);
    gateway.restart();
    let entries = tenant.entries(20);
    assert!(entries.len() == 20 && entries.iter().all(|entry| entry["outcome"] == "ok"), "{entries:?}");
}

#[test]
fn a_gateway_stopped_while_sqlite_is_locked_ends_in_time_and_loses_no_entry() {
    stopped(Store::Sqlite);
}

#[test]
fn a_gateway_stopped_while_postgresql_is_locked_ends_in_time_and_loses_no_entry() {
    stopped(Store::Postgres);
}

#[test]
fn connections_closed_by_postgresql_are_reopened() {
    if !Store::Postgres.is_available() {
        return;
    }
    let gateway = Setup::new().store(Store::Postgres).provider("sim.toml", SIMULATOR).start();
    let tenant = gateway.tenant();
    let key = tenant.key();
    let mut other = PgConnection::establish(&gateway.database).unwrap();
    for round in 0..3 {
        other
            .batch_execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )
            .unwrap();
        let id = unique("cut");
        assert_eq!(ask(&gateway, &key, &id), 200, "round {round}");
        eventually("the entry", || (gateway.admin("GET", &format!("/ledger/{id}"), None).status == 200).then_some(()));
    }
    eventually("readiness", || (gateway.get("/readyz").send().status == 200).then_some(()));
    assert_eq!(tenant.entries(3).len(), 3);
}

#[test]
fn two_gateways_on_one_postgresql_agree_within_two_seconds() {
    if !Store::Postgres.is_available() {
        return;
    }
    let first = Setup::new().store(Store::Postgres).provider("sim.toml", SIMULATOR).start();
    let second = Setup::new().database(&first.database).provider("sim.toml", SIMULATOR).start();
    let tenant = first.tenant();
    let key = tenant.key();
    let status = |gateway: &Gateway| gateway.get("/v1/models").bearer(&key.secret).send().status;
    let until = |what: &str, expected: u16| {
        let start = std::time::Instant::now();
        eventually(what, || (status(&second) == expected).then_some(()));
        assert!(start.elapsed() < std::time::Duration::from_secs(2), "{what} took {:?}", start.elapsed());
    };
    until("a new key to be known", 200);
    let ids = [unique("one"), unique("two")];
    assert_eq!((ask(&first, &key, &ids[0]), ask(&second, &key, &ids[1])), (200, 200));
    for id in &ids {
        first.entry(id);
        second.entry(id);
    }
    tenant.admin("PATCH", "", Some(&json!({"enabled": false}))).expect(200);
    until("a disabled tenant to be refused", 403);
    tenant.admin("PATCH", "", Some(&json!({"enabled": true}))).expect(200);
    until("the tenant to be back", 200);
    tenant.admin("DELETE", &format!("/keys/{}", key.id), None);
    until("a revoked key to be refused", 401);
    assert_eq!(tenant.entries(2).len(), 2);
}

#[test]
fn readiness_fails_when_the_database_is_gone() {
    if !Store::Postgres.is_available() {
        return;
    }
    let gateway = Setup::new().store(Store::Postgres).provider("sim.toml", SIMULATOR).start();
    let key = gateway.key();
    let server = std::env::var("AIGW_TEST_POSTGRES_URL").unwrap();
    let name = url::Url::parse(&gateway.database).unwrap().path().trim_start_matches('/').to_owned();
    let mut other = PgConnection::establish(&server).unwrap();
    other.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).unwrap();
    eventually("readiness to go", || (gateway.get("/readyz").send().status == 503).then_some(()));
    assert_eq!(gateway.get("/healthz").send().status, 200);
    assert_eq!(ask(&gateway, &key, &unique("away")), 200, "a request waited for the database");
    let answer = gateway.admin("GET", "/tenants", None);
    assert!(matches!(answer.status, 500 | 503), "{}", answer.text());
    assert!(!answer.text().contains(&name), "{}", answer.text());
}
