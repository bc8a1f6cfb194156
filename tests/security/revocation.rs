//! Revocation: immediate in this process, within two seconds in others and in running streams
//! (spec/security.md 4.3).

use std::time::{Duration, Instant};

use serde_json::json;

use super::{bring, setup};
use crate::support::client::Response;
use crate::support::eventually;
use crate::support::gateway::{Gateway, Key, Tenant};
use crate::support::store::Store;
use crate::support::test_gateway::SIMULATOR;
use crate::support::upstream::{Answer, Gate, MARK, Upstream};

/// Bound of the specification.
const BOUND: Duration = Duration::from_secs(2);

fn works(gateway: &Gateway, key: &Key) -> bool {
    gateway.get("/v1/models").bearer(&key.secret).send().status == 200
}

#[test]
fn a_running_stream_is_cut_within_two_seconds_and_others_are_not() {
    let upstream = Upstream::start();
    let gateway = setup(&upstream).start();
    let tenant = gateway.tenant();
    bring(&tenant, "5-mine", "alpha", "sk-tenants-own-0123456789");
    let (revoked, kept) = (tenant.key(), tenant.key());
    let gate = Gate::default();
    let open = |key: &Key| {
        let script = upstream.script();
        script.on("alpha", [Answer::stream().delta("one").gate(&gate).delta("two").event("[DONE]")]);
        let mut reply = gateway.chat(key, &json!({"model": "solo", "messages": [], "stream": true, MARK: script.mark()})).open();
        assert_eq!(reply.status, 200);
        assert!(reply.frame().unwrap().contains("one"));
        (reply, script)
    };
    let ((mut cut, script), (mut going, _)) = (open(&revoked), open(&kept));
    let begun = Instant::now();
    tenant.admin("DELETE", &format!("/keys/{}", revoked.id), None).expect(200);
    let frames = cut.frames();
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
    assert!(
        frames.iter().any(|frame| frame.contains("upstream_interrupted")) && !frames.iter().any(|frame| frame.contains("[DONE]")),
        "{frames:?}"
    );
    gate.open();
    script.gone();
    let frames = going.frames();
    assert!(frames.last().unwrap().contains("[DONE]"), "{frames:?}");
    let entries = tenant.entries(2);
    assert!(entries.iter().any(|entry| entry["error_code"] == "key_revoked" && entry["outcome"] == "interrupted"), "{entries:?}");
}

#[test]
fn a_stream_of_a_disabled_tenant_is_cut_too() {
    let upstream = Upstream::start();
    let gateway = setup(&upstream).start();
    let tenant = gateway.tenant();
    let key = tenant.key();
    let script = upstream.script();
    script.on("alpha", [Answer::stream().delta("one").hang()]);
    let mut reply = gateway.chat(&key, &json!({"model": "solo", "messages": [], "stream": true, MARK: script.mark()})).open();
    assert!(reply.frame().unwrap().contains("one"));
    let begun = Instant::now();
    tenant.admin("PATCH", "", Some(&json!({"enabled": false}))).expect(200);
    reply.frames();
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
}

#[test]
fn a_key_revoked_in_one_process_is_refused_in_another_within_two_seconds() {
    if !Store::Postgres.is_available() {
        return;
    }
    let upstream = Upstream::start();
    let first = setup(&upstream).store(Store::Postgres).start();
    let second = setup(&upstream).database(&first.database).start();
    let tenant = first.tenant();
    // A key sealed by one process can be used by the other: they share the edge `local`.
    bring(&tenant, "5-mine", "alpha", "sk-tenants-own-0123456789");
    let keys: Vec<Key> = (0..100).map(|_| tenant.key()).collect();
    eventually("the last key to be known", || works(&second, keys.last().unwrap()).then_some(()));
    let script = upstream.script();
    second.chat(&keys[0], &json!({"model": "solo", "messages": [], MARK: script.mark()})).send().expect(200);
    assert_eq!(script.call().headers.get("authorization"), Some("Bearer sk-tenants-own-0123456789"));
    let mut slowest = Duration::ZERO;
    for key in &keys {
        assert!(works(&second, key));
        tenant.admin("DELETE", &format!("/keys/{}", key.id), None).expect(200);
        let revoked = Instant::now();
        assert!(!works(&first, key), "revocation in its own process is not at once");
        eventually("the revocation elsewhere", || (!works(&second, key)).then_some(()));
        slowest = slowest.max(revoked.elapsed());
    }
    assert!(slowest < BOUND, "{slowest:?}");
}

/// Way in which a key becomes invalid.
type Way<'a> = &'a dyn Fn(&Tenant<'_>, &Key);

/// Tests each of them at one of three gateways on one database; the others follow within two
/// seconds.
#[test]
fn three_gateways_agree_within_two_seconds_that_a_key_is_revoked_rotated_expired_or_its_tenant_disabled() {
    for store in [Store::Sqlite, Store::Postgres].into_iter().filter(|store| store.is_available()) {
        let upstream = Upstream::start();
        let first = setup(&upstream).store(store).start();
        let others = [0, 1].map(|_| setup(&upstream).database(&first.database).start());
        let ways: [Way<'_>; 4] = [
            &|tenant, key| drop(tenant.admin("DELETE", &format!("/keys/{}", key.id), None).expect(200)),
            &|tenant, key| drop(tenant.admin("POST", &format!("/keys/{}/rotate", key.id), Some(&json!({"grace": "0s"}))).expect(201)),
            &|tenant, key| drop(tenant.admin("PATCH", &format!("/keys/{}", key.id), Some(&json!({"expires_at": 1}))).expect(200)),
            &|tenant, _| drop(tenant.admin("PATCH", "", Some(&json!({"enabled": false}))).expect(200)),
        ];
        for end in ways {
            let tenant = first.tenant();
            let key = tenant.key();
            eventually("the key to be known everywhere", || others.iter().all(|other| works(other, &key)).then_some(()));
            end(&tenant, &key);
            let ended = Instant::now();
            assert!(!works(&first, &key), "not at once in its own process");
            eventually("the others to refuse it", || others.iter().all(|other| !works(other, &key)).then_some(()));
            assert!(ended.elapsed() < BOUND, "{:?}", ended.elapsed());
        }
    }
}

/// Runs `meanwhile` while a tenant's request waits for its upstream. The request must not restore
/// what it read before. Returns the answer to the next request, and the keys sent upstream.
fn overtaken(meanwhile: impl Fn(&Tenant<'_>, &Key)) -> (Response, Vec<String>) {
    let upstream = Upstream::start();
    let gateway = setup(&upstream).start();
    let tenant = gateway.tenant();
    bring(&tenant, "5-mine", "alpha", "sk-tenants-own-0123456789");
    let key = tenant.key();
    let (script, gate) = (upstream.script(), Gate::default());
    script.on("alpha", [Answer::good().gate(&gate).before_head()]);
    let body = json!({"model": "solo", "messages": [], MARK: script.mark()});
    let waiting = gateway.chat(&key, &body).start();
    script.until("the call to be made", |calls| (!calls.is_empty()).then_some(()));
    meanwhile(&tenant, &key);
    gate.open();
    waiting.try_reply().unwrap();
    let next = gateway.chat(&key, &body).send();
    (next, script.calls().iter().map(|call| call.headers.get("authorization").unwrap().to_owned()).collect())
}

#[test]
fn a_request_in_flight_does_not_bring_its_revoked_key_back() {
    let (next, sent) = overtaken(|tenant, key| drop(tenant.admin("DELETE", &format!("/keys/{}", key.id), None).expect(200)));
    next.error(401, "invalid_request_error", "invalid_api_key");
    assert_eq!(sent.len(), 1);
}

#[test]
fn a_request_in_flight_does_not_bring_an_old_provider_key_back() {
    let (next, sent) = overtaken(|tenant, _| drop(bring(tenant, "5-mine", "alpha", "sk-quite-another-0123456789")));
    next.expect(200);
    assert_eq!(sent, ["Bearer sk-tenants-own-0123456789", "Bearer sk-quite-another-0123456789"]);
}

#[test]
fn requests_are_refused_once_revocation_is_unknown_for_too_long() {
    let gateway = crate::support::gateway::Setup::new().provider("sim.toml", SIMULATOR).section("[security]\nfail_static = \"0s\"").start();
    let key = gateway.key();
    assert!(works(&gateway, &key));
    {
        use diesel::connection::SimpleConnection;
        use diesel::{Connection, SqliteConnection};
        let path = gateway.database.strip_prefix("sqlite://").unwrap();
        let mut other = SqliteConnection::establish(path).unwrap();
        other.batch_execute("ALTER TABLE change_head RENAME TO change_head_away").unwrap();
        let answer = eventually("requests to be refused", || {
            let answer = gateway.get("/v1/models").bearer(&key.secret).send();
            (answer.status != 200).then_some(answer)
        });
        answer.error(503, "server_error", "keys_unconfirmed");
        gateway.get("/v1/models").bearer("aigw-sk-nothing").send().error(401, "invalid_request_error", "invalid_api_key");
        other.batch_execute("ALTER TABLE change_head_away RENAME TO change_head").unwrap();
    }
    eventually("requests to be let in again", || works(&gateway, &key).then_some(()));
}
