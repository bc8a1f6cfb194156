//! Tenants' own providers: order, keys and billing.

use serde_json::{Value, json};

use super::{bring, setup};
use crate::support::gateway::{Gateway, Key, Tenant};
use crate::support::test_gateway::upstream_key;
use crate::support::upstream::{Answer, MARK, Script, Upstream};

fn body(model: &str, script: &Script) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "hi"}], MARK: script.mark()})
}

fn names(tenant: &Tenant<'_>, query: &str) -> Vec<String> {
    let list = tenant.admin("GET", &format!("/providers{query}"), None).expect(200);
    list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| format!("{}/{}", row["source"].as_str().unwrap(), row["name"].as_str().unwrap()))
        .collect()
}

fn patch(tenant: &Tenant<'_>, fields: Value) {
    tenant.admin("PATCH", "", Some(&fields)).expect(200);
}

/// Starts a gateway and creates a tenant with a key.
fn start(upstream: &Upstream) -> (Gateway, String, Key) {
    let gateway = setup(upstream).start();
    let (id, key) = {
        let tenant = gateway.tenant();
        (tenant.id.clone(), tenant.key())
    };
    (gateway, id, key)
}

#[test]
fn a_tenants_own_key_pays_and_the_operator_bills_nothing() {
    let upstream = Upstream::start();
    let (gateway, id, key) = start(&upstream);
    let tenant = Tenant { id, gateway: &gateway };
    let shown = bring(&tenant, "5-mine", "alpha", "sk-tenants-own-0123456789");
    assert_eq!((shown["source"].as_str(), shown["last4"].as_str(), shown["enabled"].as_bool()), (Some("byo"), Some("6789"), Some(true)));
    for stream in [false, true] {
        let script = upstream.script();
        let mut body = body("solo", &script);
        body["stream"] = json!(stream);
        let answer = gateway.chat(&key, &body).send();
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("x-aigw-provider"), Some("5-mine"));
        let call = script.call();
        assert_eq!(call.headers.get("authorization"), Some("Bearer sk-tenants-own-0123456789"));
        assert!(!format!("{:?}", call.headers).contains(&key.secret));
        let entry = gateway.entry_of(&answer);
        assert_eq!((entry["billing"].as_str(), entry["cost_nanousd"].as_i64()), (Some("byo"), Some(0)));
        assert!(entry["list_cost_nanousd"].as_i64().unwrap() > 0, "{entry}");
        if !stream {
            assert_eq!(answer.header("x-aigw-cost-usd"), Some("0"));
        }
    }
}

#[test]
fn the_chain_is_in_natural_order_and_billing_never_switches_unasked() {
    let upstream = Upstream::start();
    let (gateway, id, key) = start(&upstream);
    let tenant = Tenant { id, gateway: &gateway };
    assert_eq!(names(&tenant, "?model=pair"), ["brokered/1-alpha", "brokered/20-beta"]);
    bring(&tenant, "3-mine", "beta", "sk-mine-of-beta-0123456789");
    bring(&tenant, "1-alpha", "alpha", "sk-mine-of-alpha-0123456789");
    assert_eq!(names(&tenant, "?model=pair"), ["byo/1-alpha", "byo/3-mine"]);
    let fail = |script: &Script| {
        script.on("alpha", [Answer::error(500)]).on("beta", [Answer::error(500)]);
    };
    let script = upstream.script();
    fail(&script);
    gateway.chat(&key, &body("pair", &script)).send().error(502, "upstream_error", "all_providers_failed");
    assert_eq!(script.called(), ["alpha", "alpha", "beta", "beta"]);
    let operators = [upstream_key("1-alpha"), upstream_key("20-beta")];
    assert!(script.calls().iter().all(|call| operators.iter().all(|key| !format!("{:?}", call.headers).contains(key))));

    patch(&tenant, json!({"broker_fallback": true}));
    assert_eq!(names(&tenant, "?model=pair"), ["byo/1-alpha", "brokered/1-alpha", "byo/3-mine", "brokered/20-beta"]);
    let script = upstream.script();
    fail(&script);
    gateway.chat(&key, &body("pair", &script)).send().error(502, "upstream_error", "all_providers_failed");
    let paid: Vec<String> = script.calls().iter().step_by(2).map(|call| call.headers.get("authorization").unwrap().to_owned()).collect();
    let bearer = |key: &str| format!("Bearer {key}");
    assert_eq!(
        paid,
        [bearer("sk-mine-of-alpha-0123456789"), bearer(&operators[0]), bearer("sk-mine-of-beta-0123456789"), bearer(&operators[1])]
    );
    patch(&tenant, json!({"brokered": false}));
    assert_eq!(names(&tenant, "?model=pair"), ["byo/1-alpha", "byo/3-mine"]);
    assert_eq!(names(&tenant, ""), ["byo/1-alpha", "byo/3-mine"]);

    // Another tenant does not see it.
    let other = gateway.tenant();
    assert_eq!(names(&other, "?model=pair"), ["brokered/1-alpha", "brokered/20-beta"]);
    assert_eq!(other.admin("GET", "/providers/3-mine", None).status, 404);
}

#[test]
fn a_provider_that_is_switched_off_or_removed_is_not_called() {
    let upstream = Upstream::start();
    let (gateway, id, key) = start(&upstream);
    let tenant = Tenant { id, gateway: &gateway };
    bring(&tenant, "5-mine", "alpha", "sk-tenants-own-0123456789");
    let provider = |script: &Script| gateway.chat(&key, &body("solo", script)).send().header("x-aigw-provider").unwrap().to_owned();
    assert_eq!(provider(&upstream.script()), "5-mine");
    let off = tenant.admin("PUT", "/providers/5-mine", Some(&json!({"kind": "alpha", "enabled": false}))).expect(200);
    assert_eq!(off["enabled"], false);
    assert_eq!(provider(&upstream.script()), "1-alpha");
    tenant.admin("PUT", "/providers/5-mine", Some(&json!({"kind": "alpha", "enabled": true}))).expect(200);
    assert_eq!(provider(&upstream.script()), "5-mine");
    tenant.admin("DELETE", "/providers/5-mine", None).expect(200);
    assert_eq!(provider(&upstream.script()), "1-alpha");
    assert_eq!(tenant.admin("DELETE", "/providers/5-mine", None).status, 404);
    // The same name gets a new key, also where the old one is cached.
    bring(&tenant, "5-mine", "alpha", "sk-quite-another-0123456789");
    let script = upstream.script();
    assert_eq!(provider(&script), "5-mine");
    assert_eq!(script.call().headers.get("authorization"), Some("Bearer sk-quite-another-0123456789"));
}

#[test]
fn a_put_names_the_param_at_fault() {
    let upstream = Upstream::start();
    let (gateway, id, _) = start(&upstream);
    let tenant = Tenant { id, gateway: &gateway };
    bring(&tenant, "5-mine", "alpha", "sk-tenants-own-0123456789");
    for (fields, param) in [
        (json!({"kind": "beta"}), "api_key"),
        (json!({"kind": "alpha", "base_url": "https://elsewhere.example/v1"}), "api_key"),
        (json!({"kind": "alpha", "base_url": "http://elsewhere.example/v1", "api_key": "sk-0123456789"}), "base_url"),
        (json!({"kind": "alpha", "base_url": "https://127.0.0.1/v1", "api_key": "sk-0123456789"}), "base_url"),
        (json!({"kind": "alpha", "base_url": "https://metadata.google.internal/v1", "api_key": "sk-0123456789"}), "base_url"),
        (json!({"kind": "gamma", "api_key": "sk-0123456789"}), "kind"),
        (json!({"kind": "alpha", "api_key": "two words\n"}), "api_key"),
        (json!({"kind": "alpha", "colour": "red"}), "colour"),
        (json!({"kind": "alpha", "allow_private": true}), "allow_private"),
        (json!({"kind": "alpha", "allow_cidrs": ["0.0.0.0/0"]}), "allow_cidrs"),
    ] {
        let answer = tenant.admin("PUT", "/providers/5-mine", Some(&fields));
        let error = answer.error(400, "invalid_request_error", "invalid_value");
        assert_eq!(error["param"], param, "{fields}: {error}");
        if param == "base_url" {
            assert!(error["message"].as_str().unwrap().contains("ssrf."), "{error}");
        }
    }
    assert_eq!(tenant.admin("PUT", "/providers/5-mine/extra", Some(&json!({}))).status, 404);
    assert_eq!(gateway.admin("PUT", "/tenants/nobody/providers/x", Some(&json!({"kind": "alpha", "api_key": "k-0123456789"}))).status, 404);
}

#[test]
fn without_a_master_key_tenants_cannot_bring_providers() {
    let upstream = Upstream::start();
    let gateway = setup(&upstream).without_env("AIGW_MASTER_KEY").start();
    let tenant = gateway.tenant();
    let answer = tenant.admin("PUT", "/providers/5-mine", Some(&json!({"kind": "alpha", "api_key": "sk-0123456789"})));
    answer.error(409, "invalid_request_error", "sealing_unavailable");
    let answer = gateway.admin("POST", "/tenants", Some(&json!({"id": "own", "custody": "tenant"})));
    answer.error(409, "invalid_request_error", "sealing_unavailable");
    let key = tenant.admin("POST", "/keys", Some(&json!({}))).expect(201);
    assert_eq!(key["byo"], false);
}

#[test]
fn a_tenant_key_can_be_created_on_the_tenants_machine() {
    let upstream = Upstream::start();
    let gateway = setup(&upstream).start();
    let made = gateway.cli(&["tenant", "create", "far", "--local", "--json"]);
    assert!(made.status.success(), "{made:?}");
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!(made["custody"], "tenant");
    let tenant_key = made["tenant_key"].as_str().unwrap().to_owned();
    let key = gateway.shell(&["key", "create", "far", "--json"]).env("AIGW_TENANT_KEY", &tenant_key).output().unwrap();
    let key: Value = serde_json::from_slice(&key.stdout).unwrap_or_else(|_| panic!("{key:?}"));
    let mut bring = gateway.request("PUT", "/admin/v1/tenants/far/providers/1-own").bearer(crate::support::gateway::ADMIN_TOKEN);
    bring = bring.header("x-aigw-tenant-key", &tenant_key).json(&json!({"kind": "alpha", "api_key": "sk-tenants-own-0123456789"}));
    bring.send().expect(200);
    let key = Key { id: key["id"].as_str().unwrap().to_owned(), secret: key["key"].as_str().unwrap().to_owned() };
    let script = upstream.script();
    gateway.chat(&key, &body("solo", &script)).send().expect(200);
    assert_eq!(script.call().headers.get("authorization"), Some("Bearer sk-tenants-own-0123456789"));
    let refused = gateway.cli(&["tenant", "create", "odd", "--local", "--custody", "operator"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
}

#[test]
fn the_fields_of_a_local_tenant_key_are_checked() {
    let upstream = Upstream::start();
    let gateway = setup(&upstream).start();
    let local = json!({
        "id": format!("tk_{}", "0".repeat(32)),
        "lookup": format!("{}=", "A".repeat(43)),
        "last4": "WXYZ",
        // "AGW1", type 3, algorithm 1, and 72 arbitrary bytes.
        "root": format!("QUdXMQMB{}", "A".repeat(96)),
    });
    let create = |id: &str, custody: &str, field: &str, value: Value| {
        let mut local = local.clone();
        local[field] = value;
        gateway.admin("POST", "/tenants", Some(&json!({"id": id, "custody": custody, "local_key": local})))
    };
    for (field, value) in [
        ("id", json!("tk_1")),
        ("id", json!("../x")),
        ("lookup", json!("AAAA")),
        ("lookup", json!("not base64")),
        ("last4", json!("a")),
        ("root", json!("AAAA")),
        ("root", json!(format!("QUdXMQEB{}", "A".repeat(96)))),
    ] {
        let error = create("own", "tenant", field, value).error(400, "invalid_request_error", "invalid_value");
        assert_eq!(error["param"], format!("local_key.{field}"));
    }
    let error = create("own", "operator", "last4", json!("WXYZ")).error(400, "invalid_request_error", "invalid_value");
    assert_eq!(error["param"], "local_key");
    create("own", "tenant", "last4", json!("WXYZ")).expect(201);
    assert_eq!(create("another", "tenant", "last4", json!("WXYZ")).status, 409, "a key is one tenant's");
    // It names an unknown key: nothing opens, and nothing falls back to the master key.
    let answer = gateway.admin("PUT", "/tenants/own/providers/1-own", Some(&json!({"kind": "alpha", "api_key": "sk-0123456789"})));
    answer.error(403, "permission_error", "tenant_key_required");
}

#[test]
fn a_tenant_with_its_own_custody_must_send_its_key() {
    let upstream = Upstream::start();
    let gateway = setup(&upstream).start();
    let made = gateway.admin("POST", "/tenants", Some(&json!({"id": "own", "custody": "tenant"}))).expect(201);
    let tenant_key = made["tenant_key"].as_str().unwrap().to_owned();
    assert!(tenant_key.starts_with("aigw-tk-") && tenant_key.len() == 57);
    let shown = gateway.admin("GET", "/tenants/own", None).expect(200);
    assert!(shown["tenant_key"].is_null() && shown["custody"] == "tenant");
    let provider = json!({"kind": "alpha", "api_key": "sk-tenants-own-0123456789"});
    let ask = |method: &str, path: &str, body: &Value, tenant_key: Option<&str>| {
        let request = gateway.request(method, &format!("/admin/v1/tenants/own{path}")).bearer(crate::support::gateway::ADMIN_TOKEN);
        match tenant_key {
            Some(key) => request.header("x-aigw-tenant-key", key).json(body).send(),
            None => request.json(body).send(),
        }
    };
    for wrong in [None, Some("aigw-tk-nothing"), Some("aigw-sk-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg1UFIWw")] {
        ask("PUT", "/providers/1-own", &provider, wrong).error(403, "permission_error", "tenant_key_required");
        ask("POST", "/keys", &json!({}), wrong).error(403, "permission_error", "tenant_key_required");
    }
    ask("PUT", "/providers/1-own", &provider, Some(&tenant_key)).expect(200);
    let key = ask("POST", "/keys", &json!({}), Some(&tenant_key)).expect(201);
    let key = Key { id: key["id"].as_str().unwrap().to_owned(), secret: key["key"].as_str().unwrap().to_owned() };
    let script = upstream.script();
    gateway.chat(&key, &body("solo", &script)).send().expect(200);
    assert_eq!(script.call().headers.get("authorization"), Some("Bearer sk-tenants-own-0123456789"));
    // A tenant key is not a virtual key.
    gateway.get("/v1/models").bearer(&tenant_key).send().error(401, "invalid_request_error", "invalid_api_key");
}

#[test]
fn a_reload_keeps_tenants_providers_and_a_moved_kind_gets_no_key_until_resealed() {
    let upstream = Upstream::start();
    let (gateway, id, key) = start(&upstream);
    let tenant = Tenant { id, gateway: &gateway };
    bring(&tenant, "5-mine", "alpha", "sk-tenants-own-0123456789");
    gateway.admin("POST", "/reload", None).expect(200);
    gateway.chat(&key, &body("solo", &upstream.script())).send().expect(200);
    let elsewhere = Upstream::start();
    gateway.write("providers/alpha.toml", &crate::support::test_gateway::kind("alpha", "1-alpha", &elsewhere.base_url("alpha"), ""));
    gateway.admin("POST", "/reload", None).expect(200);
    let script = elsewhere.script();
    gateway.chat(&key, &body("solo", &script)).send().error(502, "upstream_error", "upstream_forbidden");
    assert!(script.calls().is_empty());
    tenant.admin("POST", "/providers/5-mine/reseal", None).expect(200);
    gateway.chat(&key, &body("solo", &script)).send().expect(200);
    assert_eq!(script.call().headers.get("authorization"), Some("Bearer sk-tenants-own-0123456789"));
}

#[test]
fn the_command_line_reads_a_providers_key_from_standard_input() {
    use std::io::Write;
    use std::process::Stdio;
    let upstream = Upstream::start();
    let (gateway, id, key) = start(&upstream);
    let env = [
        ("AIGW_URL".to_owned(), format!("http://{}", gateway.address)),
        ("AIGW_ADMIN_TOKEN".to_owned(), crate::support::gateway::ADMIN_TOKEN.to_owned()),
    ];
    let mut command = crate::support::gateway::aigw(&gateway.directory, &env);
    command.args(["provider", "set", &id, "5-mine", "--kind", "alpha"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"sk-typed-0123456789\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && printed.contains("6789") && !printed.contains("sk-typed"), "{printed}");
    let script = upstream.script();
    gateway.chat(&key, &body("solo", &script)).send().expect(200);
    assert_eq!(script.call().headers.get("authorization"), Some("Bearer sk-typed-0123456789"));
    let listed = gateway.cli(&["provider", "list", &id, "--model", "solo"]);
    assert!(String::from_utf8_lossy(&listed.stdout).contains("byo"), "{listed:?}");
    assert!(gateway.cli(&["seal", "epoch", &id]).status.success());
    gateway.chat(&key, &body("solo", &upstream.script())).send().expect(200);
    let edge = gateway.cli(&["edge", "add", "eu-1"]);
    assert!(String::from_utf8_lossy(&edge.stdout).contains("aigw-ek-"));
    assert!(gateway.cli(&["edge", "remove", "eu-1"]).status.success());
    assert!(gateway.cli(&["provider", "remove", &id, "5-mine"]).status.success());
}
