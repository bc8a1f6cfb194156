//! Upstream errors (section 9).

use super::*;

fn error(status: u16, kind: &str, message: &str) -> Failure {
    let body = json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"});
    Anthropic.failure(status, body.to_string().as_bytes())
}

#[track_caller]
fn says(failure: &Failure, status: u16, message: &str, kind: &str, code: Value) {
    assert_eq!(failure.status, status);
    assert_eq!(body_of(failure).to_string(), json!({"error": {"message": message, "type": kind, "param": null, "code": code}}).to_string());
    assert_eq!((failure.message.as_str(), &*failure.kind), (message, kind));
}

#[test]
fn every_type_has_its_row() {
    for (theirs, status_in, status, kind, code) in [
        ("invalid_request_error", 400, 400, "invalid_request_error", json!(null)),
        ("invalid_request_error", 422, 422, "invalid_request_error", json!(null)),
        ("authentication_error", 401, 401, "authentication_error", json!("invalid_api_key")),
        ("billing_error", 402, 402, "insufficient_quota", json!("insufficient_quota")),
        ("permission_error", 403, 403, "permission_error", json!("permission_denied")),
        ("not_found_error", 404, 404, "invalid_request_error", json!("not_found")),
        ("conflict_error", 409, 409, "invalid_request_error", json!("conflict_error")),
        ("request_too_large", 413, 413, "invalid_request_error", json!("request_too_large")),
        ("rate_limit_error", 429, 429, "rate_limit_error", json!("rate_limit_exceeded")),
        ("api_error", 500, 500, "server_error", json!(null)),
        ("timeout_error", 504, 504, "server_error", json!("timeout")),
        ("overloaded_error", 529, 503, "service_unavailable_error", json!("server_is_overloaded")),
        ("teapot_error", 418, 418, "invalid_request_error", json!("teapot_error")),
        ("new_error", 507, 507, "server_error", json!(null)),
        ("new_error", 529, 503, "server_error", json!(null)),
    ] {
        says(&error(status_in, theirs, "é \"why\""), status, "é \"why\"", kind, code.clone());
        let recorded = error(status_in, theirs, "");
        assert_eq!(recorded.ledger_code(), Some(code.as_str().unwrap_or(theirs)));
    }
}

#[test]
fn the_error_type_takes_precedence_over_the_status() {
    says(&error(500, "overloaded_error", "m"), 503, "m", "service_unavailable_error", json!("server_is_overloaded"));
    says(&error(200, "rate_limit_error", "m"), 429, "m", "rate_limit_error", json!("rate_limit_exceeded"));
    says(&error(200, "invalid_request_error", "m"), 400, "m", "invalid_request_error", json!(null));
}

#[test]
fn some_messages_have_a_code_of_their_own() {
    let long = "prompt is too long: 250000 tokens > 200000 maximum";
    says(&error(400, "invalid_request_error", long), 400, long, "invalid_request_error", json!("context_length_exceeded"));
    says(&error(404, "not_found_error", "model: x"), 404, "model: x", "invalid_request_error", json!("model_not_found"));
}

#[test]
fn a_stable_code_from_the_upstream_replaces_ours() {
    let detailed = |details: Value| {
        let body = json!({"type": "error", "error": {"type": "rate_limit_error", "message": "m", "details": details}});
        Anthropic.failure(429, body.to_string().as_bytes())
    };
    says(&detailed(json!({"error_code": "spend_cap"})), 429, "m", "rate_limit_error", json!("spend_cap"));
    for none in [json!(null), json!({}), json!({"error_code": 5}), json!("x")] {
        says(&detailed(none), 429, "m", "rate_limit_error", json!("rate_limit_exceeded"));
    }
}

#[test]
fn without_a_json_body_the_status_decides_and_the_body_is_not_shown() {
    for (status_in, status, kind, code) in [
        (400, 400, "invalid_request_error", json!(null)),
        (401, 401, "authentication_error", json!("invalid_api_key")),
        (404, 404, "invalid_request_error", json!("not_found")),
        (413, 413, "invalid_request_error", json!("request_too_large")),
        (418, 418, "invalid_request_error", json!(null)),
        (429, 429, "rate_limit_error", json!("rate_limit_exceeded")),
        (500, 500, "server_error", json!(null)),
        (502, 502, "server_error", json!(null)),
        (504, 504, "server_error", json!("timeout")),
        (529, 503, "service_unavailable_error", json!("server_is_overloaded")),
    ] {
        for body in ["<html>cloudflare</html>", "", "null", "\"cloudflare\"", r#"{"error":"cloudflare"}"#, "\u{feff}{"] {
            let failure = Anthropic.failure(status_in, body.as_bytes());
            says(&failure, status, &format!("the provider answered with status {status_in}"), kind, code.clone());
        }
    }
    let untyped = Anthropic.failure(404, br#"{"error":{"message":"model: gone"}}"#);
    says(&untyped, 404, "model: gone", "invalid_request_error", json!("model_not_found"));
    assert_eq!(Anthropic.failure(418, b"").ledger_code(), None);
}
