//! Admin API: tenants and keys, lists, refusals.

use serde_json::{Value, json};

use crate::support::client::Response;
use crate::support::gateway::{ADMIN_TOKEN, Setup};
use crate::support::store::on_every_store;
use crate::support::test_gateway::{SIMULATOR, session, shared_gateway};
use crate::support::unique;

/// Checks that `answer` is a refusal with that status, and returns the parameter at fault.
#[track_caller]
fn refused(answer: &Response, status: u16) -> Value {
    let error = answer.expect(status)["error"].clone();
    assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{}", answer.text());
    error["param"].clone()
}

on_every_store! {
    fn a_tenant_is_created_changed_and_deleted(shared: &TestGateway) {
        let gateway = &shared.gateway;
        let id = unique("life");
        let made = gateway.admin("POST", "/tenants", Some(&json!({"id": id, "name": "A Tenant"}))).expect(201);
        let expected = json!({"id": id, "name": "A Tenant", "brokered": true, "broker_fallback": false, "custody": "operator", "enabled": true});
        for (field, value) in expected.as_object().unwrap() {
            assert_eq!(&made[field], value, "{field}");
        }
        assert_eq!(gateway.admin("GET", &format!("/tenants/{id}"), None).expect(200)["name"], "A Tenant");
        let changed = gateway.admin("PATCH", &format!("/tenants/{id}"), Some(&json!({"name": "Another", "broker_fallback": true}))).expect(200);
        assert_eq!((&changed["name"], &changed["broker_fallback"], &changed["brokered"]), (&json!("Another"), &json!(true), &json!(true)));
        refused(&gateway.admin("POST", "/tenants", Some(&json!({"id": id, "name": "again"}))), 409);
        assert!(matches!(gateway.admin("DELETE", &format!("/tenants/{id}"), None).status, 200 | 204));
        for (method, path) in [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("GET", "/keys"), ("POST", "/keys")] {
            let body = matches!(method, "POST" | "PATCH").then(|| json!({"name": "x"}));
            refused(&gateway.admin(method, &format!("/tenants/{id}{path}"), body.as_ref()), 404);
        }
    }

    fn a_key_is_created_changed_and_revoked(shared: &TestGateway) {
        let session = shared.session();
        let fields = json!({
            "name": "ci", "subject": "robot", "team": "red", "tags": {"project": "apollo"}, "allowed_models": ["solo", "pair"],
            "monthly_budget_cents": 1250, "rpm": 60, "tpm": 90_000, "max_concurrency": 4, "expires_at": 4_102_444_800_i64
        });
        let made = session.tenant.admin("POST", "/keys", Some(&fields)).expect(201);
        let id = made["id"].as_str().unwrap();
        assert!(id.starts_with("key_") && made["key"].as_str().is_some_and(|key| key.starts_with("aigw-sk-")));
        assert_eq!(made["tenant"], session.tenant.id.as_str());
        let shown = session.tenant.admin("GET", &format!("/keys/{id}"), None).expect(200);
        for (field, value) in fields.as_object().unwrap() {
            assert_eq!((&made[field], &shown[field]), (value, value), "{field}");
        }
        assert!(shown.get("key").is_none(), "the key is shown again");
        let changed = session.tenant.admin("PATCH", &format!("/keys/{id}"), Some(&json!({"rpm": 5, "team": null, "name": "cd"}))).expect(200);
        assert_eq!((&changed["rpm"], &changed["team"], &changed["name"], &changed["tpm"]), (&json!(5), &Value::Null, &json!("cd"), &json!(90_000)));
        let listed = session.tenant.admin("GET", "/keys", None).expect(200);
        assert!(listed["data"].as_array().unwrap().iter().any(|key| key["id"] == id));
        refused(&session.tenant.admin("GET", "/keys/key_nonesuch", None), 404);
        refused(&shared.session().tenant.admin("GET", &format!("/keys/{id}"), None), 404);
        refused(&shared.session().tenant.admin("DELETE", &format!("/keys/{id}"), None), 404);
    }

    fn lists_have_one_shape_and_pages(shared: &TestGateway) {
        let session = shared.session();
        for _ in 0..4 {
            session.tenant.key();
        }
        let page = session.tenant.admin("GET", "/keys?limit=2", None).expect(200);
        assert_eq!((&page["object"], &page["has_more"]), (&json!("list"), &json!(true)));
        let mut seen: Vec<Value> = page["data"].as_array().unwrap().clone();
        assert_eq!(seen.len(), 2);
        let mut cursor = page["next_cursor"].as_str().unwrap().to_owned();
        loop {
            let page = session.tenant.admin("GET", &format!("/keys?limit=2&cursor={cursor}"), None).expect(200);
            seen.extend(page["data"].as_array().unwrap().iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = next.to_owned(),
                None => break,
            }
        }
        let mut ids: Vec<&str> = seen.iter().map(|key| key["id"].as_str().unwrap()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!((seen.len(), ids.len()), (5, 5));
        for list in ["/tenants", "/providers", "/catalog"] {
            let list = shared.gateway.admin("GET", list, None).expect(200);
            assert!(list["object"] == "list" && list["data"].is_array() && list["has_more"].is_boolean(), "{list}");
            assert!(list.as_object().unwrap().contains_key("next_cursor"));
        }
    }

    fn an_invalid_field_is_refused_by_name(shared: &TestGateway) {
        let session = shared.session();
        for (body, param) in [
            (json!({"name": "no id"}), "id"),
            (json!({"id": "", "name": "x"}), "id"),
            (json!({"id": "Not A Slug", "name": "x"}), "id"),
            (json!({"id": "a/b", "name": "x"}), "id"),
            (json!({"id": "x".repeat(65), "name": "x"}), "id"),
            (json!({"id": 7, "name": "x"}), "id"),
            (json!({"id": unique("x"), "name": "x", "brokered": "yes"}), "brokered"),
            (json!({"id": unique("x"), "name": "x", "custody": "nobody"}), "custody"),
            (json!({"id": unique("x"), "name": "x", "colour": "red"}), "colour"),
        ] {
            assert_eq!(refused(&shared.gateway.admin("POST", "/tenants", Some(&body)), 400), param, "{body}");
        }
        for (body, param) in [
            (json!({"name": 7, "subject": "x"}), "name"),
            (json!({"name": "x", "subject": "x", "allowed_models": "solo"}), "allowed_models"),
            (json!({"name": "x", "subject": "x", "rpm": -1}), "rpm"),
            (json!({"name": "x", "subject": "x", "rpm": "many"}), "rpm"),
            (json!({"name": "x", "subject": "x", "expires_at": "tomorrow"}), "expires_at"),
            (json!({"name": "x", "subject": "x", "monthly_budget_cents": 1.5}), "monthly_budget_cents"),
            (json!({"name": "x", "subject": "x", "colour": "red"}), "colour"),
        ] {
            assert_eq!(refused(&session.tenant.admin("POST", "/keys", Some(&body)), 400), param, "{body}");
        }
        let rotate = format!("/keys/{}/rotate", session.key.id);
        assert_eq!(refused(&session.tenant.admin("POST", &rotate, Some(&json!({"grace": "soon"}))), 400), "grace");
        assert_eq!(refused(&session.tenant.admin("POST", &rotate, Some(&json!({"grace": "31d"}))), 400), "grace");
        for body in ["", "{", "[]", "null"] {
            let request = shared.gateway.request("POST", "/admin/v1/tenants").bearer(ADMIN_TOKEN).text(body);
            refused(&request.send(), 400);
        }
    }

    fn names_are_stored_unchanged(shared: &TestGateway) {
        let session = shared.session();
        let name = "R\u{f6}bert'); DROP TABLE tenants;-- \u{1F600} \"x\" %_\\";
        let made = session.tenant.admin("POST", "/keys", Some(&json!({"name": name, "subject": name, "tags": {"k": name}}))).expect(201);
        let shown = session.tenant.admin("GET", &format!("/keys/{}", made["id"].as_str().unwrap()), None).expect(200);
        assert_eq!((&shown["name"], &shown["subject"], &shown["tags"]["k"]), (&json!(name), &json!(name), &json!(name)));
    }

    fn the_catalog_shows_models_with_their_prices(shared: &TestGateway) {
        let catalog = shared.gateway.admin("GET", "/catalog", None).expect(200);
        let dear = catalog["data"].as_array().unwrap().iter().find(|model| model["id"] == "dear").cloned().unwrap_or_else(|| panic!("{catalog}"));
        assert!(dear.to_string().contains("alpha"), "{dear}");
        assert!(!catalog.to_string().contains("upstream-secret"));
    }

    fn providers_are_listed_without_their_keys(shared: &TestGateway) {
        let session = shared.session();
        let health = shared.gateway.admin("GET", "/providers", None);
        let chain = session.tenant.admin("GET", "/providers?model=trio", None);
        assert!(!health.text().contains("upstream-secret") && !chain.text().contains("upstream-secret"));
        let chain = chain.expect(200)["data"].as_array().unwrap().clone();
        let names: Vec<&str> = chain.iter().map(|provider| provider["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["1-alpha", "2-beta", "3-gamma"]);
        for provider in &chain {
            assert_eq!((&provider["source"], &provider["enabled"], &provider["cooldown_until"]), (&json!("brokered"), &json!(true), &Value::Null));
            assert_eq!(provider["last4"], "6789");
        }
        refused(&session.tenant.admin("GET", "/providers?model=nonesuch", None), 404);
    }
}

#[test]
fn the_admin_api_requires_the_admin_token() {
    let session = session();
    let gateway = &session.shared.gateway;
    let wrong = format!("{ADMIN_TOKEN}x");
    for (method, path) in [
        ("GET", "/tenants"),
        ("POST", "/tenants"),
        ("GET", "/ledger"),
        ("GET", "/usage"),
        ("POST", "/reload"),
        ("GET", "/catalog"),
        ("GET", "/providers"),
    ] {
        let path = format!("/admin/v1{path}");
        let requests = [
            gateway.request(method, &path),
            gateway.request(method, &path).bearer(&wrong),
            gateway.request(method, &path).bearer(&session.key.secret),
            gateway.request(method, &path).header("x-api-key", ADMIN_TOKEN),
            gateway.request(method, &format!("{path}?token={ADMIN_TOKEN}")),
            gateway.request(method, &path).header("cookie", &format!("token={ADMIN_TOKEN}")),
        ];
        for request in requests {
            assert_eq!(request.send().status, 401, "{method} {path}");
        }
    }
    assert!(!gateway.log().contains(ADMIN_TOKEN));
}

#[test]
fn an_unknown_admin_path_is_404_and_a_wrong_method_is_refused() {
    let gateway = &shared_gateway().gateway;
    refused(&gateway.admin("GET", "/nothing", None), 404);
    assert!(matches!(gateway.admin("DELETE", "/tenants", None).status, 404 | 405));
}

#[test]
fn without_a_token_in_the_environment_there_is_no_admin_api() {
    let gateway = Setup::new().without_env("AIGW_ADMIN_TOKEN").provider("echo.toml", SIMULATOR).start();
    for path in ["/tenants", "/ledger", "/usage"] {
        assert_eq!(gateway.admin("GET", path, None).status, 404, "{path}");
        assert_eq!(gateway.get(&format!("/admin/v1{path}")).send().status, 404, "{path}");
    }
    assert!(gateway.log().contains("AIGW_ADMIN_TOKEN"), "no warning: {}", gateway.log());
}

#[test]
fn no_answer_allows_other_origins() {
    let answer = shared_gateway().gateway.get("/admin/v1/tenants").bearer(ADMIN_TOKEN).header("origin", "https://evil.example").send();
    assert!(!answer.headers.names().iter().any(|name| name.starts_with("access-control-")));
}
