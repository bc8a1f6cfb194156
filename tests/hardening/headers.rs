//! Headers that pass in both directions. Both are allowlists.

use serde_json::json;

use crate::support::test_gateway::{session, upstream_key};
use crate::support::upstream::{Answer, completion, good_usage};

/// Headers that an upstream may get: framing, the credential, and the list of 7.2.
const UP: [&str; 13] = [
    "host",
    "content-length",
    "content-type",
    "accept-encoding",
    "user-agent",
    "date",
    "authorization",
    "accept",
    "openai-beta",
    "anthropic-version",
    "anthropic-beta",
    "idempotency-key",
    "connection",
];

/// Headers that a client may get: HTTP's, aigw's, and the list of 7.3.
const DOWN: [&str; 17] = [
    "content-length",
    "transfer-encoding",
    "date",
    "connection",
    "content-type",
    "retry-after",
    "x-upstream-request-id",
    "x-request-id",
    "x-aigw-provider",
    "x-aigw-model",
    "x-aigw-attempts",
    "x-aigw-cost-usd",
    "x-aigw-dropped-params",
    "x-content-type-options",
    "cache-control",
    "x-accel-buffering",
    "vary",
];

const NEVER_UP: [(&str, &str); 22] = [
    ("x-api-key", ""),
    ("cookie", "session=canary"),
    ("proxy-authorization", "Basic canary"),
    ("x-goog-api-key", "canary"),
    ("x-amz-security-token", "canary"),
    ("x-forwarded-for", "canary"),
    ("x-forwarded-host", "canary"),
    ("x-forwarded-proto", "canary"),
    ("forwarded", "for=canary"),
    ("x-real-ip", "canary"),
    ("x-aigw-tags", "canary=1"),
    ("x-aigw-anything", "canary"),
    ("te", "trailers"),
    ("trailer", "x-canary"),
    ("keep-alive", "timeout=5"),
    ("proxy-connection", "keep-alive"),
    ("via", "1.1 canary"),
    ("origin", "https://canary"),
    ("referer", "https://canary"),
    ("x-stainless-lang", "canary"),
    ("openai-organization", "canary"),
    ("x-request-id", "canary-4711"),
];

const NEVER_DOWN: [(&str, &str); 16] = [
    ("set-cookie", "a=canary"),
    ("location", "https://canary"),
    ("server", "canary"),
    ("via", "1.1 canary"),
    ("alt-svc", "h3=\":443\"; canary"),
    ("www-authenticate", "Bearer realm=canary"),
    ("openai-organization", "canary"),
    ("openai-project", "canary"),
    ("anthropic-organization-id", "canary"),
    ("x-ratelimit-remaining-tokens", "4711"),
    ("cf-ray", "canary"),
    ("strict-transport-security", "max-age=4711"),
    ("access-control-allow-origin", "*"),
    ("x-aigw-provider", "canary"),
    ("x-aigw-cost-usd", "4711"),
    ("content-disposition", "attachment; filename=canary"),
];

#[test]
fn only_listed_client_headers_are_sent_upstream() {
    let session = session();
    let mut request = session.chat("solo").header("connection", "x-named").header("x-named", "canary");
    for (name, value) in NEVER_UP {
        // The same virtual key again; two different keys would be refused.
        request = request.header(name, if value.is_empty() { &session.key.secret } else { value });
    }
    request.send().expect(200);
    let call = session.script.call();
    for (name, value) in &call.headers.0 {
        assert!(UP.contains(&name.as_str()), "{name}: {value} went up");
        assert!(!value.contains("canary"), "{name}: {value} went up");
    }
}

#[test]
fn the_clients_key_is_never_sent_upstream() {
    for header in ["authorization", "x-api-key", "api-key"] {
        let session = session();
        let value = if header == "authorization" { format!("Bearer {}", session.key.secret) } else { session.key.secret.clone() };
        let request = session.shared.gateway.request("POST", "/v1/chat/completions").header(header, &value);
        request.json(&session.body("solo")).send().expect(200);
        let call = session.script.call();
        assert_eq!(call.headers.get("authorization"), Some(format!("Bearer {}", upstream_key("1-alpha")).as_str()));
        assert!(call.headers.0.iter().all(|(_, value)| !value.contains(&session.key.secret)), "{:?}", call.headers);
        assert!(!call.target.contains(&session.key.secret) && !String::from_utf8_lossy(&call.body).contains(&session.key.secret));
    }
}

#[test]
fn a_provider_without_a_key_gets_no_key() {
    let session = session();
    session.chat("open").header("x-api-key", &session.key.secret).send().expect(200);
    let call = session.script.call();
    for name in ["authorization", "x-api-key", "api-key"] {
        assert_eq!(call.headers.get(name), None);
    }
}

#[test]
fn listed_headers_are_sent_unchanged() {
    let session = session();
    let listed = [
        ("accept", "text/event-stream"),
        ("openai-beta", "assistants=v2"),
        ("anthropic-version", "2023-06-01"),
        ("idempotency-key", "k-1"),
    ];
    let request = listed.iter().fold(session.chat("solo"), |request, (name, value)| request.header(name, value));
    request.send().expect(200);
    let call = session.script.call();
    for (name, value) in listed {
        assert_eq!(call.headers.get(name), Some(value));
    }
    assert_eq!(call.headers.get("content-type"), Some("application/json"));
    assert_eq!(call.headers.get("accept-encoding"), Some("identity"));
}

#[test]
fn the_clients_query_is_not_sent_upstream() {
    let session = session();
    session.post_with("/v1/chat/completions?api_base=http%3A%2F%2Fcanary&key=canary", "solo", json!({})).send().expect(200);
    assert!(!session.script.call().target.contains('?'), "{}", session.script.call().target);
}

#[test]
fn only_listed_headers_of_a_whole_answer_pass() {
    let session = session();
    let answer = NEVER_DOWN.iter().fold(Answer::json(200, &completion("hi")), |answer, (name, value)| answer.header(name, value));
    session.script.on("alpha", [answer.header("x-request-id", "up-1")]);
    let response = session.chat("solo").send();
    response.expect(200);
    clean(&response.headers);
    assert_eq!(response.header("x-upstream-request-id"), Some("up-1"));
    assert_eq!(response.header("x-aigw-provider"), Some("1-alpha"));
}

#[test]
fn only_listed_headers_of_a_stream_pass() {
    let session = session();
    let answer = NEVER_DOWN.iter().fold(Answer::streamed(&["hi"], Some(&good_usage())), |answer, (name, value)| answer.header(name, value));
    session.script.on("alpha", [answer]);
    let response = session.streamed("solo").send();
    assert!(response.status == 200 && response.complete);
    clean(&response.headers);
}

#[test]
fn only_listed_headers_of_an_error_pass() {
    for status in [400, 401, 404, 422, 429, 500, 302] {
        let session = session();
        let answer = NEVER_DOWN.iter().fold(Answer::error(status), |answer, (name, value)| answer.header(name, value));
        session.script.on("alpha", [answer]);
        let response = session.chat("solo").send();
        assert!(response.status >= 400);
        clean(&response.headers);
    }
}

#[test]
fn a_header_value_that_is_not_visible_ascii_does_not_pass() {
    let session = session();
    session.script.on("alpha", [Answer::json(200, &completion("hi")).header("request-id", "caf\u{e9}-canary")]);
    let response = session.chat("solo").send();
    response.expect(200);
    assert_eq!(response.header("x-upstream-request-id"), None);
}

#[track_caller]
fn clean(headers: &crate::support::client::Headers) {
    for (name, value) in &headers.0 {
        assert!(DOWN.contains(&name.as_str()), "{name}: {value} came down");
        assert!(!value.contains("canary") && !value.contains("4711"), "{name}: {value} came down");
    }
}
