//! Mapping of Anthropic's errors to OpenAI's (section 9).

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::dialect::anthropic::text::Lenient;
use crate::dialect::failure::{Failure, FailureOrigin, Original};
use crate::terms::Wire;

/// Row of the table: OpenAI's status, type and code for an Anthropic error type.
struct Row {
    theirs: &'static str,
    status_in: u16,
    status: u16,
    kind: &'static str,
    code: Option<&'static str>,
}

const fn row(theirs: &'static str, status: u16, kind: &'static str, code: Option<&'static str>) -> Row {
    Row { theirs, status_in: status, status, kind, code }
}

const INVALID_REQUEST: &str = "invalid_request_error";

const ROWS: [Row; 11] = [
    row(INVALID_REQUEST, 400, INVALID_REQUEST, None),
    row("authentication_error", 401, "authentication_error", Some("invalid_api_key")),
    row("billing_error", 402, "insufficient_quota", Some("insufficient_quota")),
    row("permission_error", 403, "permission_error", Some("permission_denied")),
    row("not_found_error", 404, INVALID_REQUEST, Some("not_found")),
    row("conflict_error", 409, INVALID_REQUEST, Some("conflict_error")),
    row("request_too_large", 413, INVALID_REQUEST, Some("request_too_large")),
    row("rate_limit_error", 429, "rate_limit_error", Some("rate_limit_exceeded")),
    row("api_error", 500, "server_error", None),
    row("timeout_error", 504, "server_error", Some("timeout")),
    // Clients and proxies of OpenAI's API do not know 529.
    Row { status: 503, ..row("overloaded_error", 529, "service_unavailable_error", Some("server_is_overloaded")) },
];

/// Error body. A member of the wrong type reads as absent.
#[derive(Default, Deserialize)]
struct ReportedError<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Lenient<'a>,
    #[serde(borrow, default)]
    message: Lenient<'a>,
    #[serde(borrow, default)]
    details: Option<&'a RawValue>,
}

impl<'a> ReportedError<'a> {
    /// Parses an error body. Returns the error and the upstream's request id.
    fn read(body: &'a [u8]) -> (Self, Option<Box<str>>) {
        #[derive(Deserialize)]
        struct ErrorBody<'a> {
            #[serde(borrow)]
            error: &'a RawValue,
            #[serde(borrow, default)]
            request_id: Lenient<'a>,
        }
        let Ok(body) = serde_json::from_slice::<ErrorBody<'a>>(body) else { return (Self::default(), None) };
        (serde_json::from_str(body.error.get()).unwrap_or_default(), body.request_id.into_string().map(Into::into))
    }

    /// Returns `error.details.error_code`, which is the stable code where it is present.
    fn error_code(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct ErrorDetails<'a> {
            #[serde(borrow, default)]
            error_code: Lenient<'a>,
        }
        serde_json::from_str::<ErrorDetails<'_>>(self.details?.get()).ok()?.error_code.into_string()
    }
}

/// Translates an error answer, or an error event of a stream (`status` 200).
pub fn failure(status: u16, body: &[u8]) -> Failure {
    let (reported, request_id) = ReportedError::read(body);
    let error_code = reported.error_code();
    let theirs = reported.kind.0.filter(|kind| !kind.is_empty());
    let row = match &theirs {
        Some(kind) => ROWS.iter().find(|row| row.theirs == kind),
        None => ROWS.iter().find(|row| row.status_in == status),
    };
    let message = reported.message.into_string().unwrap_or_else(|| match status {
        400.. => format!("the provider answered with status {status}"),
        _ => "the provider reported an error".to_owned(),
    });
    let is_client_error = (400..500).contains(&status);
    let (status, kind, code) = match row {
        Some(row) if row.theirs == INVALID_REQUEST => {
            let code = message.starts_with("prompt is too long").then_some("context_length_exceeded");
            (if is_client_error { status } else { row.status }, row.kind, code)
        }
        Some(row) if row.theirs == "not_found_error" && message.starts_with("model:") => (row.status, row.kind, Some("model_not_found")),
        Some(row) => (row.status, row.kind, row.code),
        None if is_client_error => (status, INVALID_REQUEST, theirs.as_deref()),
        None => (if status == 529 { 503 } else { status }, "server_error", None),
    };
    // An error with a success status counts as an upstream failure.
    let status = if status < 400 { 502 } else { status };
    Failure {
        status,
        message,
        kind: kind.into(),
        code: error_code.map(Into::into).or_else(|| code.map(Into::into)),
        param: None,
        reported_kind: theirs.map(Into::into),
        request_id,
        origin: FailureOrigin::Upstream,
        original: Some(Box::new(Original { wire: Wire::Messages, body: Bytes::copy_from_slice(body) })),
    }
}
