//! Parser of upstream errors in OpenAI's shape and its variations. The bytes are kept.

use bytes::Bytes;
use serde_json::Value;

use crate::dialect::failure::{Failure, FailureOrigin, Original};
use crate::terms::Wire;

/// Parses an answer of status 400 or above. A body in an unknown shape is described by its status.
pub(super) fn read(status: u16, body: &[u8]) -> Failure {
    describe(status, body, &serde_json::from_slice(body).unwrap_or(Value::Null))
}

/// Parses an error with status 200, in a body or an event. Its status is its numeric `code` or
/// `status`, or else 502.
pub(super) fn read_hidden(body: &[u8]) -> Failure {
    let json: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let error = json.get("error").unwrap_or(&json);
    let own = [error.get("code"), error.get("status"), json.get("code"), json.get("status")];
    let status = own.into_iter().flatten().find_map(|value| match value {
        Value::Number(number) => number.as_u64().and_then(is_error),
        Value::String(text) => text.parse().ok().and_then(is_error),
        _ => None,
    });
    describe(status.unwrap_or(502), body, &json)
}

fn is_error(status: u64) -> Option<u16> {
    u16::try_from(status).ok().filter(|status| (400..600).contains(status))
}

fn describe(status: u16, body: &[u8], json: &Value) -> Failure {
    // `{"error": {…}}`, `{"error": "…"}`, `{"object": "error", …}`, `{"message": "…"}`,
    // `{"detail": "…"}`
    let error = json.get("error").filter(|error| !error.is_null()).unwrap_or(json);
    let text = |name: &str| error.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    let message = text("message").or_else(|| error.as_str().map(str::to_owned)).or_else(|| text("detail"));
    let kind = text("type").filter(|kind| kind != "error");
    let code = text("code").or_else(|| error.get("code").and_then(Value::as_u64).map(|code| code.to_string()));
    let usual = if status < 500 { "invalid_request_error" } else { "server_error" };
    Failure {
        status,
        message: message.unwrap_or_else(|| format!("the upstream answered with status {status}")),
        kind: kind.as_deref().unwrap_or(usual).into(),
        code: code.map(Into::into),
        param: text("param").map(Into::into),
        reported_kind: kind.map(Into::into),
        request_id: None,
        origin: FailureOrigin::Upstream,
        original: Some(Box::new(Original { wire: Wire::Chat, body: Bytes::copy_from_slice(body) })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_keeps_the_bytes_and_parses_the_fields() {
        for (body, message, kind, code) in [
            (r#"{"error":{"message":"no","type":"t","code":"c"}}"#, "no", "t", Some("c")),
            (r#"{"error":{"message":"no","type":null,"code":400}}"#, "no", "invalid_request_error", Some("400")),
            (r#"{"error":{"message":"no","type":"t","code":null}}"#, "no", "t", Some("t")),
            (r#"{"error":"no"}"#, "no", "invalid_request_error", None),
            (r#"{"object":"error","message":"no","type":"t","code":400}"#, "no", "t", Some("400")),
            (r#"{"detail":"no"}"#, "no", "invalid_request_error", None),
            ("<html>", "the upstream answered with status 400", "invalid_request_error", None),
            ("", "the upstream answered with status 400", "invalid_request_error", None),
            ("[1]", "the upstream answered with status 400", "invalid_request_error", None),
        ] {
            let failure = read(400, body.as_bytes());
            let seen = (failure.status, failure.message.as_str(), &*failure.kind, failure.ledger_code());
            assert_eq!(seen, (400, message, kind, code));
            assert_eq!(failure.original, Some(Box::new(Original { wire: Wire::Chat, body: Bytes::from(body) })));
        }
    }

    #[test]
    fn an_error_under_status_200_has_the_status_it_names() {
        for (body, status) in [
            (r#"{"error":{"message":"slow down","code":429}}"#, 429),
            (r#"{"error":{"message":"x","status":503}}"#, 503),
            (r#"{"error":{"message":"x","code":"429"}}"#, 429),
            (r#"{"error":{"message":"x","code":"rate_limited"}}"#, 502),
            (r#"{"error":{"message":"x","code":200}}"#, 502),
            (r#"{"error":{"message":"x","code":70000}}"#, 502),
            (r#"{"object":"error","message":"x","code":400}"#, 400),
            (r#"{"error":"x"}"#, 502),
        ] {
            assert_eq!(read_hidden(body.as_bytes()).status, status, "{body}");
        }
    }
}
