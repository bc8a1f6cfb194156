//! `GET /v1/models` and `/{id}`: models that a key may use, with prices.

use serde_json::{Value, json};

use crate::support::test_gateway::session;

fn ids(list: &Value) -> Vec<&str> {
    list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect()
}

#[test]
fn the_list_has_openais_members_and_prices() {
    let session = session();
    let list = session.shared.gateway.get("/v1/models").bearer(&session.key.secret).send().expect(200);
    assert_eq!(list["object"], "list");
    let solo = list["data"].as_array().unwrap().iter().find(|model| model["id"] == "solo").unwrap();
    assert_eq!(solo["object"], "model");
    assert!(solo["created"].is_u64() && solo["owned_by"].is_string(), "{solo}");
    assert_eq!(solo["aliases"], json!(["sole", "org/only.1"]));
    assert_eq!(solo["kinds"], json!(["alpha"]));
    assert_eq!((&solo["context_length"], &solo["max_completion_tokens"]), (&json!(131_072), &json!(4096)));
    assert_eq!((&solo["pricing"]["prompt"], &solo["pricing"]["completion"]), (&json!("0.00000059"), &json!("0.00000079")));
}

#[test]
fn one_model_is_found_by_id_and_by_alias() {
    let session = session();
    for (name, id) in [("solo", "solo"), ("sole", "solo"), ("org%2Fonly.1", "solo"), ("org/only.1", "solo"), ("dear", "dear")] {
        let model = session.shared.gateway.get(&format!("/v1/models/{name}")).bearer(&session.key.secret).send().expect(200);
        assert_eq!(model["id"], id);
    }
    let answer = session.shared.gateway.get("/v1/models/nonesuch").bearer(&session.key.secret).send();
    answer.error(404, "invalid_request_error", "model_not_found");
}

#[test]
fn every_price_is_a_plain_decimal_per_token() {
    let session = session();
    let pricing = session.shared.gateway.get("/v1/models/dear").bearer(&session.key.secret).send().expect(200)["pricing"].clone();
    let expected = json!({"prompt": "0.0000025", "completion": "0.00001", "input_cache_read": "0.00000125", "input_cache_write": "0.000003125", "request": "0.005"});
    assert_eq!(pricing, expected);
    let free = session.shared.gateway.get("/v1/models/gratis").bearer(&session.key.secret).send().expect(200)["pricing"].clone();
    assert_eq!((&free["prompt"], &free["request"]), (&json!("0"), &json!("0")));
}

#[test]
fn only_models_with_an_enabled_provider_for_this_tenant_are_listed() {
    let session = session();
    let list = session.shared.gateway.get("/v1/models").bearer(&session.key.secret).send().expect(200);
    assert!(ids(&list).contains(&"pair") && !ids(&list).contains(&"club"));
    session.shared.gateway.get("/v1/models/club").bearer(&session.key.secret).send().error(404, "invalid_request_error", "model_not_found");
}

#[test]
fn only_models_the_key_may_use_are_listed() {
    let session = session();
    let key = session.tenant.key_with(json!({"allowed_models": ["sole", "pair"]}));
    let list = session.shared.gateway.get("/v1/models").bearer(&key.secret).send().expect(200);
    let mut listed = ids(&list);
    listed.sort_unstable();
    assert_eq!(listed, ["pair", "solo"]);
    session.shared.gateway.get("/v1/models/trio").bearer(&key.secret).send().error(404, "invalid_request_error", "model_not_found");
}

#[test]
fn a_tenant_without_brokered_providers_sees_none_of_them() {
    let gateway = &session().shared.gateway;
    let key = gateway.tenant_with(json!({"name": "own keys only", "brokered": false})).key();
    assert!(ids(&gateway.get("/v1/models").bearer(&key.secret).send().expect(200)).is_empty());
    gateway.chat(&key, &json!({"model": "solo", "messages": []})).send().error(404, "invalid_request_error", "model_not_found");
}

#[test]
fn the_list_requires_a_key() {
    let gateway = &session().shared.gateway;
    gateway.get("/v1/models").send().error(401, "invalid_request_error", "invalid_api_key");
    gateway.get("/v1/models/solo").send().error(401, "invalid_request_error", "invalid_api_key");
}
