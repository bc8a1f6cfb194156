//! Virtual keys: presentation, permissions, and end of validity.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::gateway::{ADMIN_TOKEN, Gateway, Key};
use crate::support::store::on_every_store;
use crate::support::test_gateway::{session, shared_gateway};

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

fn works(gateway: &Gateway, key: &Key) -> bool {
    let answer = gateway.get("/v1/models").bearer(&key.secret).send();
    if answer.status != 200 {
        answer.error(401, "invalid_request_error", "invalid_api_key");
    }
    answer.status == 200
}

#[test]
fn a_key_may_come_in_any_of_three_headers() {
    let session = session();
    let gateway = &session.shared.gateway;
    let secret = &session.key.secret;
    gateway.get("/v1/models").bearer(secret).send().expect(200);
    gateway.get("/v1/models").header("authorization", &format!("bearer {secret}")).send().expect(200);
    gateway.get("/v1/models").header("x-api-key", secret).send().expect(200);
    gateway.get("/v1/models").header("api-key", secret).send().expect(200);
    gateway.get("/v1/models").bearer(secret).header("x-api-key", secret).send().expect(200);
}

#[test]
fn two_different_keys_are_refused() {
    let session = session();
    let other = session.tenant.key();
    let request = session.shared.gateway.get("/v1/models").bearer(&session.key.secret).header("x-api-key", &other.secret);
    request.send().error(401, "invalid_request_error", "invalid_api_key");
    let request = session.shared.gateway.get("/v1/models").bearer(&session.key.secret).bearer(&other.secret);
    request.send().error(401, "invalid_request_error", "invalid_api_key");
}

#[test]
fn a_key_in_the_query_is_ignored() {
    let session = session();
    for name in ["key", "api_key", "api-key", "access_token"] {
        let request = session.shared.gateway.get(&format!("/v1/models?{name}={}", session.key.secret));
        request.send().error(401, "invalid_request_error", "invalid_api_key");
    }
}

#[test]
fn every_invalid_key_gets_the_same_refusal() {
    let session = session();
    let secret = &session.key.secret;
    let flipped = format!("{}{}", &secret[..56], if secret.ends_with('A') { "B" } else { "A" });
    let unknown = "aigw-sk-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg1UFIWw";
    let edge = "aigw-ek-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg0VOeur";
    let long = "x".repeat(5000);
    let mut messages = Vec::new();
    for junk in ["", "sk-1234", "aigw-sk-", &secret[..56], &flipped, unknown, edge, ADMIN_TOKEN, &long, &secret.to_uppercase()] {
        let answer = session.shared.gateway.get("/v1/models").bearer(junk).send();
        messages.push(answer.error(401, "invalid_request_error", "invalid_api_key")["message"].clone());
    }
    for scheme in ["Basic", "Token", ""] {
        let answer = session.shared.gateway.get("/v1/models").header("authorization", &format!("{scheme} {secret}")).send();
        messages.push(answer.error(401, "invalid_request_error", "invalid_api_key")["message"].clone());
    }
    messages
        .push(session.shared.gateway.get("/v1/models").send().error(401, "invalid_request_error", "invalid_api_key")["message"].clone());
    assert!(messages.iter().all(|message| message == &messages[0]), "the message tells them apart: {messages:?}");
}

#[test]
fn a_refused_request_is_not_sent_and_leaves_no_entry() {
    let session = session();
    let request = shared_gateway().gateway.request("POST", "/v1/chat/completions").bearer("aigw-sk-nothing").json(&session.body("solo"));
    let answer = request.send();
    answer.error(401, "invalid_request_error", "invalid_api_key");
    assert!(session.script.calls().is_empty());
    let id = answer.header("x-request-id").unwrap();
    assert_eq!(session.shared.gateway.admin("GET", &format!("/ledger/{id}"), None).status, 404);
}

#[test]
fn a_key_has_the_documented_form_and_is_shown_once() {
    let session = session();
    let secret = &session.key.secret;
    assert!(secret.starts_with("aigw-sk-") && secret.len() == 57 && session.key.id.starts_with("key_"), "{}", session.key.id);
    let shown = session.tenant.admin("GET", &format!("/keys/{}", session.key.id), None).text();
    let listed = session.tenant.admin("GET", "/keys", None).text();
    assert!(!shown.contains(secret) && !listed.contains(secret) && !shown.contains(&secret[8..40]));
    assert!(!session.shared.gateway.log().contains(secret));
}

on_every_store! {
    fn a_revoked_key_is_refused_at_once(shared: &TestGateway) {
        let session = shared.session();
        assert!(works(&shared.gateway, &session.key));
        let answer = session.tenant.admin("DELETE", &format!("/keys/{}", session.key.id), None);
        assert!(matches!(answer.status, 200 | 204), "{}", answer.status);
        for _ in 0..8 {
            assert!(!works(&shared.gateway, &session.key));
        }
        assert_eq!(shared.gateway.chat(&session.key, &session.body("solo")).send().status, 401);
    }

    fn a_rotated_key_is_replaced_by_its_successor(shared: &TestGateway) {
        let session = shared.session();
        let key = session.tenant.key_with(json!({"name": "n", "subject": "s", "team": "red", "tags": {"project": "apollo"}, "allowed_models": ["solo"], "rpm": 7}));
        let answer = session.tenant.admin("POST", &format!("/keys/{}/rotate", key.id), Some(&json!({"grace": "0s"}))).expect(201);
        let successor = Key { id: answer["id"].as_str().unwrap().to_owned(), secret: answer["key"].as_str().unwrap().to_owned() };
        assert!(successor.secret != key.secret && works(&shared.gateway, &successor) && !works(&shared.gateway, &key));
        for field in ["name", "subject", "team", "tags", "allowed_models", "rpm"] {
            let before = session.tenant.admin("GET", &format!("/keys/{}", key.id), None);
            let after = session.tenant.admin("GET", &format!("/keys/{}", successor.id), None).expect(200);
            if before.status == 200 {
                assert_eq!(before.json()[field], after[field], "{field}");
            }
            assert!(!after[field].is_null(), "{field} was lost");
        }
    }

    fn a_rotated_key_is_valid_during_its_grace(shared: &TestGateway) {
        let session = shared.session();
        let path = format!("/keys/{}/rotate", session.key.id);
        let answer = session.tenant.admin("POST", &path, Some(&json!({"grace": "2s"}))).expect(201);
        let successor = Key { id: String::new(), secret: answer["key"].as_str().unwrap().to_owned() };
        assert!(works(&shared.gateway, &session.key) && works(&shared.gateway, &successor));
        eventually("the end of the grace", || (!works(&shared.gateway, &session.key)).then_some(()));
        assert!(works(&shared.gateway, &successor));
    }

    fn an_expired_key_is_refused(shared: &TestGateway) {
        let session = shared.session();
        let lasting = session.tenant.key_with(json!({"expires_at": now() + 3600}));
        assert!(works(&shared.gateway, &lasting));
        let brief = session.tenant.key_with(json!({"expires_at": now() + 2}));
        eventually("the key to expire", || (!works(&shared.gateway, &brief)).then_some(()));
        assert!(now() >= session.tenant.admin("GET", &format!("/keys/{}", brief.id), None).expect(200)["expires_at"].as_i64().unwrap());
    }

    fn a_key_is_limited_to_its_models(shared: &TestGateway) {
        let session = shared.session();
        let key = session.tenant.key_with(json!({"allowed_models": ["sole"]}));
        for name in ["solo", "sole"] {
            shared.gateway.chat(&key, &session.body(name)).send().expect(200);
        }
        let error = shared.gateway.chat(&key, &session.body("pair")).send().error(404, "invalid_request_error", "model_not_found");
        assert_eq!(error["param"], "model");
    }

    fn a_change_of_a_key_takes_effect_at_once(shared: &TestGateway) {
        let session = shared.session();
        session.tenant.admin("PATCH", &format!("/keys/{}", session.key.id), Some(&json!({"allowed_models": ["pair"], "team": "blue"}))).expect(200);
        shared.gateway.chat(&session.key, &session.body("solo")).send().error(404, "invalid_request_error", "model_not_found");
        let answer = shared.gateway.chat(&session.key, &session.body("pair")).send();
        answer.expect(200);
        assert_eq!(shared.gateway.entry_of(&answer)["team"], "blue");
    }

    fn a_disabled_tenant_gets_403_until_it_is_enabled(shared: &TestGateway) {
        let session = shared.session();
        let enable = |enabled: bool| shared.gateway.admin("PATCH", &format!("/tenants/{}", session.tenant.id), Some(&json!({"enabled": enabled}))).expect(200);
        enable(false);
        shared.gateway.chat(&session.key, &session.body("solo")).send().error(403, "permission_error", "tenant_disabled");
        shared.gateway.get("/v1/models").bearer(&session.key.secret).send().error(403, "permission_error", "tenant_disabled");
        assert!(session.script.calls().is_empty());
        enable(true);
        shared.gateway.chat(&session.key, &session.body("solo")).send().expect(200);
    }

    fn a_tenant_loses_its_brokered_providers_at_once(shared: &TestGateway) {
        let session = shared.session();
        let allow = |brokered: bool| shared.gateway.admin("PATCH", &format!("/tenants/{}", session.tenant.id), Some(&json!({"brokered": brokered}))).expect(200);
        allow(false);
        for _ in 0..4 {
            shared.gateway.chat(&session.key, &session.body("solo")).send().error(404, "invalid_request_error", "model_not_found");
        }
        allow(true);
        shared.gateway.chat(&session.key, &session.body("solo")).send().expect(200);
    }

    fn the_keys_of_a_deleted_tenant_are_invalid(shared: &TestGateway) {
        let session = shared.session();
        let answer = shared.gateway.admin("DELETE", &format!("/tenants/{}", session.tenant.id), None);
        assert!(matches!(answer.status, 200 | 204), "{}", answer.status);
        assert!(!works(&shared.gateway, &session.key));
        assert_eq!(shared.gateway.admin("GET", &format!("/tenants/{}", session.tenant.id), None).status, 404);
    }
}

#[test]
fn an_address_that_keeps_guessing_is_limited_while_known_keys_pass() {
    let gateway = crate::support::gateway::Setup::new()
        .section("[security]\nfailed_auth_per_minute = 5")
        .provider("echo.toml", crate::support::test_gateway::SIMULATOR)
        .start();
    let key = gateway.key();
    let statuses: Vec<u16> = (0..12).map(|_| gateway.get("/v1/models").bearer("aigw-sk-guess").send().status).collect();
    assert!(statuses.starts_with(&[401, 401]) && statuses.ends_with(&[429]), "{statuses:?}");
    gateway.get("/v1/models").bearer(&key.secret).send().expect(200);
    let answer = gateway.get("/v1/models").bearer("aigw-sk-guess").send();
    assert_eq!(answer.json()["error"]["type"], Value::from("rate_limit_error"));
    assert!(answer.header("retry-after").is_some());
}
