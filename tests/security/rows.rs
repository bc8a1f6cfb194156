//! Edited databases, and databases of another master key: nothing opens, nothing is sent, nothing
//! falls back to the operator's keys.

use std::process::Output;

use serde_json::{Value, json};

use super::{MASTER, OTHER_MASTER, bring, edit, setup};
use crate::support::gateway::{ADMIN_TOKEN, Gateway, Key, aigw};
use crate::support::upstream::{MARK, Upstream};

fn world(upstream: &Upstream) -> (Gateway, Key) {
    let gateway = setup(upstream).start();
    let key = {
        let tenant = gateway.tenant();
        bring(&tenant, "5-mine", "alpha", "sk-tenants-own-0123456789");
        tenant.key()
    };
    (gateway, key)
}

fn refused(gateway: &Gateway, key: &Key, upstream: &Upstream, code: &str) -> Value {
    let script = upstream.script();
    let body = json!({"model": "solo", "messages": [], MARK: script.mark()});
    let answer = gateway.chat(key, &body).send();
    let error = answer.error(502, "upstream_error", code);
    assert!(script.calls().is_empty(), "something was sent: {:?}", script.calls());
    error
}

#[test]
fn p7_an_unopenable_key_counts_as_refused_and_is_logged() {
    let upstream = Upstream::start();
    let (gateway, key) = world(&upstream);
    edit(&gateway, "UPDATE byo_providers SET secret = zeroblob(length(secret))");
    let secret = refused(&gateway, &key, &upstream, "upstream_auth_failed");
    edit(&gateway, "UPDATE grants SET blob = zeroblob(78)");
    let grant = refused(&gateway, &key, &upstream, "upstream_auth_failed");
    edit(&gateway, "DELETE FROM grants");
    let missing = refused(&gateway, &key, &upstream, "upstream_auth_failed");
    assert!(secret["message"] == grant["message"] && grant["message"] == missing["message"], "the client can tell them apart");
    let log = gateway.log();
    for word in ["sealed key of this provider does not open", "grant of this virtual key", "no GRANT", &key.id, "5-mine"] {
        assert!(log.contains(word), "{word} is not in the log");
    }
}

#[test]
fn p6_an_edited_address_gets_no_key() {
    let upstream = Upstream::start();
    let (gateway, key) = world(&upstream);
    for url in ["https://evil.example/v1", "https://evil.example:8443/v1", "http://127.0.0.1:1/v1", "nonsense", &upstream.base_url("alpha")]
    {
        edit(&gateway, &format!("UPDATE byo_providers SET base_url = '{url}'"));
        refused(&gateway, &key, &upstream, "upstream_forbidden");
    }
    edit(&gateway, "UPDATE byo_providers SET base_url = NULL, kind = 'beta'");
    let script = upstream.script();
    let body = json!({"model": "pair", "messages": [], MARK: script.mark()});
    // Both kinds have the same address here, so the key may be sent there: it is the tenant's own
    // upstream.
    assert_eq!(gateway.chat(&key, &body).send().status, 200);
}

#[test]
fn a_flag_in_the_database_opens_no_private_address() {
    let upstream = Upstream::start();
    let (gateway, key) = world(&upstream);
    edit(&gateway, "ALTER TABLE byo_providers ADD COLUMN allow_private BOOLEAN NOT NULL DEFAULT 1");
    edit(&gateway, &format!("UPDATE byo_providers SET base_url = '{}'", upstream.base_url("alpha")));
    refused(&gateway, &key, &upstream, "upstream_forbidden");
}

#[test]
fn with_broker_fallback_an_unopenable_key_is_skipped() {
    let upstream = Upstream::start();
    let (gateway, key) = world(&upstream);
    edit(&gateway, "UPDATE tenants SET broker_fallback = 1; DELETE FROM grants");
    let script = upstream.script();
    let answer = gateway.chat(&key, &json!({"model": "pair", "messages": [], MARK: script.mark()})).send();
    answer.expect(200);
    let entry = gateway.entry_of(&answer);
    assert_eq!((entry["provider"].as_str(), entry["billing"].as_str()), (Some("1-alpha"), Some("brokered")));
    let answer = gateway.chat(&key, &json!({"model": "pair", "messages": [], "stream": true})).send();
    assert_eq!(answer.status, 200);
}

fn serve(gateway: &Gateway, master: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut env = vec![("AIGW_ADMIN_TOKEN".to_owned(), ADMIN_TOKEN.to_owned())];
    env.extend(master.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    aigw(&gateway.directory, &env).args(arguments).args(["--config", "aigw.toml"]).output().unwrap()
}

#[test]
fn p8_a_wrong_or_missing_master_key_prevents_the_start_and_a_rotation_works() {
    let upstream = Upstream::start();
    let (gateway, key) = world(&upstream);
    gateway.kill9();
    let refused = |master: &[(&str, &str)], arguments: &[&str]| {
        let output = serve(&gateway, master, arguments);
        let printed = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{printed}");
        printed
    };
    assert!(refused(&[], &["serve"]).contains("no master key is set"));
    let printed = refused(&[("AIGW_MASTER_KEY", OTHER_MASTER)], &["serve"]);
    assert!(printed.contains("sealed under the master key") && !printed.contains(OTHER_MASTER), "{printed}");
    for bad in ["short", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="] {
        assert!(!refused(&[("AIGW_MASTER_KEY", bad)], &["serve"]).contains(bad));
    }
    refused(&[("AIGW_MASTER_KEY", OTHER_MASTER)], &["seal", "rotate"]);
    let both = [("AIGW_MASTER_KEY", OTHER_MASTER), ("AIGW_OLD_MASTER_KEY", MASTER)];
    let output = serve(&gateway, &both, &["seal", "rotate"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 tenants and 1 edges"), "{output:?}");
    refused(&[("AIGW_MASTER_KEY", MASTER)], &["serve"]);
    let after = setup(&upstream).env("AIGW_MASTER_KEY", OTHER_MASTER).database(&gateway.database).start();
    let script = upstream.script();
    after.chat(&key, &json!({"model": "solo", "messages": [], MARK: script.mark()})).send().expect(200);
    assert_eq!(script.call().headers.get("authorization"), Some("Bearer sk-tenants-own-0123456789"));
}
