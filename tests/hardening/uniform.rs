//! Indistinguishable answers, headers of every answer, access from browsers, and injection.

use serde_json::{Value, json};

use crate::support::client::Response;
use crate::support::gateway::ADMIN_TOKEN;
use crate::support::own_gateway::OwnGateway;
use crate::support::test_gateway::{session, shared_gateway};
use crate::support::upstream::Answer;

/// Returns status and body, without the requested name.
fn shape(response: &Response, name: &str) -> (u16, String, Vec<String>) {
    let headers = response.headers.0.iter().filter(|(name, _)| !matches!(name.as_str(), "x-request-id" | "date" | "content-length"));
    let mut headers: Vec<_> = headers.map(|(name, value)| format!("{name}: {value}")).collect();
    headers.sort();
    (response.status, response.text().replace(name, "NAME"), headers)
}

#[test]
fn an_absent_a_forbidden_and_a_foreign_model_look_the_same() {
    let session = session();
    let narrow = session.tenant.key_with(json!({"allowed_models": ["pair"]}));
    let absent = shape(&session.chat("no-such-model").send(), "no-such-model");
    assert_eq!(absent.0, 404);
    assert_eq!(shape(&session.chat("club").send(), "club"), absent, "only another tenant has a provider for it");
    let request = session.shared.gateway.chat(&narrow, &session.body("solo"));
    assert_eq!(shape(&request.send(), "solo"), absent, "this key may not use it");
    let look = |key: &str, id: &str| shape(&session.shared.gateway.get(&format!("/v1/models/{id}")).bearer(key).send(), id);
    let absent = look(&session.key.secret, "no-such-model");
    assert_eq!(look(&session.key.secret, "club"), absent);
    assert_eq!(look(&narrow.secret, "solo"), absent);
    assert!(session.script.calls().is_empty());
}

#[test]
fn a_key_of_another_tenant_looks_missing() {
    let (session, other) = (session(), session());
    let absent = shape(&session.tenant.admin("GET", "/keys/key_nothing", None), "key_nothing");
    assert_eq!(absent.0, 404);
    for method in ["GET", "DELETE", "PATCH"] {
        let body = (method == "PATCH").then(|| json!({"name": "mine"}));
        let foreign = session.tenant.admin(method, &format!("/keys/{}", other.key.id), body.as_ref());
        let absent = session.tenant.admin(method, "/keys/key_nothing", body.as_ref());
        assert_eq!(shape(&foreign, &other.key.id), shape(&absent, "key_nothing"));
    }
    other.chat("solo").send().expect(200);
}

#[test]
fn every_answer_has_nosniff_and_no_store() {
    let session = session();
    let gateway = &session.shared.gateway;
    session.script.on("alpha", [Answer::error(400), Answer::good()]);
    let answers = [
        gateway.get("/healthz").send(),
        gateway.get("/readyz").send(),
        gateway.get("/metrics").send(),
        gateway.get("/").send(),
        gateway.get("/nothing").send(),
        gateway.get("/v1/models").send(),
        gateway.get("/v1/models").bearer(&session.key.secret).send(),
        gateway.get("/v1/models/%ff").bearer(&session.key.secret).send(),
        gateway.get("/v1/chat/completions").send(),
        gateway.get("/admin/v1/tenants").send(),
        gateway.get("/admin/v1/nothing").bearer(ADMIN_TOKEN).send(),
        gateway.admin("GET", "/tenants", None),
        gateway.admin("POST", "/tenants", Some(&json!({"id": "NOT A SLUG"}))),
        gateway.request("OPTIONS", "/v1/models").send(),
        gateway.get("/healthz").header("upgrade", "h2c").send(),
        gateway.get("/healthz").header("expect", "miracles").send(),
        session.chat("solo").send(),
        session.chat("solo").send(),
        session.streamed("solo").send(),
        session.raw("/v1/chat/completions", "{").send(),
    ];
    for answer in answers {
        let what = format!("{} {}", answer.status, answer.text());
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{what}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
        assert!(answer.header("x-request-id").is_some(), "{what}");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{what}");
        assert_eq!(answer.header("server"), None, "{what}");
    }
}

#[test]
fn only_listed_origins_may_call_the_data_plane() {
    let own = OwnGateway::new("cors_origins = [\"https://chat.example\", \"http://localhost:3000\"]", "");
    let from = |origin: &str| own.gateway.get("/v1/models").bearer(&own.key.secret).header("origin", origin).send();
    for origin in ["https://chat.example", "http://localhost:3000"] {
        let answer = from(origin);
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
        assert_eq!(answer.header("vary"), Some("origin"));
        assert!(answer.header("access-control-expose-headers").is_some_and(|names| names.contains("x-request-id")));
    }
    for origin in [
        "https://chat.example.evil",
        "https://evil",
        "http://chat.example",
        "https://chat.example:8443",
        "null",
        "*",
        "https://CHAT.example",
    ] {
        assert_eq!(from(origin).header("access-control-allow-origin"), None, "{origin}");
    }
    let preflight = |path: &str, origin: &str| {
        let request = own.gateway.request("OPTIONS", path).header("origin", origin);
        request
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,x-stainless-lang")
            .send()
    };
    let answer = preflight("/v1/chat/completions", "https://chat.example");
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, Some("https://chat.example")));
    assert_eq!(answer.header("access-control-allow-headers"), Some("authorization,x-stainless-lang"));
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    for path in ["/admin/v1/tenants", "/v1/organization/costs", "/v1/%6frganization/costs", "/healthz"] {
        let answer = preflight(path, "https://chat.example");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
        assert_ne!(answer.status, 204, "{path}");
    }
    assert_eq!(preflight("/v1/chat/completions", "https://evil").status, 405);
}

#[test]
fn text_cannot_break_out_of_its_event() {
    let session = session();
    let text = "a\n\ndata: [DONE]\n\ndata: {\"injected\":true}\r\n\r\nevent: error\0\u{2028}";
    let body = json!({"model": "sim-echo", "stream": true, "messages": [{"role": "user", "content": text}]});
    let mut reply = shared_gateway().gateway.chat(&session.key, &body).open();
    let mut echoed = String::new();
    let frames = reply.frames();
    for (nth, frame) in frames.iter().enumerate() {
        let data = frame.strip_prefix("data: ").unwrap_or_else(|| panic!("{frame:?} is no data frame"));
        assert_eq!(data == "[DONE]", nth + 1 == frames.len());
        if let Ok(chunk) = serde_json::from_str::<Value>(data) {
            assert_eq!(chunk["injected"], Value::Null);
            echoed.push_str(chunk["choices"][0]["delta"]["content"].as_str().unwrap_or_default());
        }
    }
    assert!(echoed.contains("data: {\"injected\":true}"), "{echoed:?}");
}

#[test]
fn nothing_a_client_sends_becomes_a_header_or_a_log_line() {
    let session = session();
    let evil = "x\r\nset-cookie: canary=1\r\n\r\nHTTP/1.1 200 OK";
    for body in [json!({"model": evil, "messages": []}), json!({"model": "solo", "messages": [], "user": evil, "x": evil})] {
        let answer = session.shared.gateway.chat(&session.key, &body).send();
        assert_eq!(answer.header("set-cookie"), None);
    }
    for id in ["a b", "x,y", "\u{e9}", "<script>", "a\"b"] {
        let answer = session.shared.gateway.get("/healthz").header("x-request-id", id).send();
        assert!(answer.header("x-request-id").is_some_and(|shown| shown != id && shown.starts_with("req_")), "{id} came back");
    }
    let path = "/v1/nothing%0d%0aset-cookie:%20canary=1";
    let answer = session.shared.gateway.get(path).send();
    assert_eq!((answer.status, answer.header("set-cookie")), (404, None));
    assert!(!session.shared.gateway.log().lines().any(|line| line.starts_with("set-cookie")));
}
