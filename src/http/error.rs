//! Refusals as HTTP: the only file that knows their statuses (DESIGN.md section 5).

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde::Serialize;

use crate::gateway::messages::Refusal;
use crate::gateway::router::last_status;

/// OpenAI's error shape.
#[derive(Serialize)]
struct Envelope<'a> {
    error: Error<'a>,
}

#[derive(Serialize)]
struct Error<'a> {
    message: &'a str,
    r#type: &'a str,
    param: Option<&'a str>,
    code: &'a str,
}

/// The answer to a refusal, without the headers every answer carries.
pub fn response(refusal: &Refusal) -> HttpResponse {
    let (status, kind, code) = classify(refusal);
    let param = match refusal {
        Refusal::UnknownModel(_) => Some("model"),
        Refusal::InvalidValue { param, .. } => Some(param.as_str()),
        Refusal::Inexpressible(refused) => refused.param.as_deref(),
        _ => None,
    };
    let body = Envelope { error: Error { message: &refusal.to_string(), r#type: kind, param, code } };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    if let Some(wait) = retry_after(refusal) {
        response.insert_header(("retry-after", whole_seconds(wait).to_string()));
    }
    if closes(refusal) {
        response.force_close();
    }
    response.json(body)
}

/// The contract's code of a refusal.
pub fn code(refusal: &Refusal) -> &'static str {
    classify(refusal).2
}

fn classify(refusal: &Refusal) -> (u16, &'static str, &'static str) {
    const INVALID: &str = "invalid_request_error";
    match refusal {
        Refusal::InvalidKey => (401, INVALID, "invalid_api_key"),
        Refusal::TooManyFailures { .. } => (429, "rate_limit_error", "rate_limit_exceeded"),
        Refusal::TenantDisabled => (403, "permission_error", "tenant_disabled"),
        Refusal::UnknownModel(_) => (404, INVALID, "model_not_found"),
        Refusal::UnknownEndpoint(_) => (404, INVALID, "unknown_endpoint"),
        Refusal::MethodNotAllowed(_) => (405, INVALID, "method_not_allowed"),
        Refusal::InvalidJson(_) => (400, INVALID, "invalid_json"),
        Refusal::InvalidValue { .. } => (400, INVALID, "invalid_value"),
        Refusal::BadRequest(_) => (400, INVALID, "bad_request"),
        Refusal::ExpectationFailed => (417, INVALID, "expectation_failed"),
        Refusal::TooLarge { .. } | Refusal::WindowTooLarge { .. } => (413, INVALID, "request_too_large"),
        Refusal::UnsupportedEncoding(_) => (415, INVALID, "unsupported_encoding"),
        Refusal::HeadTooLarge => (431, INVALID, "headers_too_large"),
        Refusal::SlowHead | Refusal::SlowBody => (408, INVALID, "request_timeout"),
        Refusal::Inexpressible(refused) => (400, INVALID, refused.code),
        Refusal::UnsupportedOperation { .. } => (400, INVALID, "unsupported_operation"),
        Refusal::Overloaded => (503, "server_error", "overloaded"),
        Refusal::Unconfirmed => (503, "server_error", "keys_unconfirmed"),
        Refusal::AllProvidersFailed { last, .. } => (last_status(*last), "upstream_error", "all_providers_failed"),
        Refusal::UpstreamAuthFailed => (502, "upstream_error", "upstream_auth_failed"),
        Refusal::UpstreamForbidden => (502, "upstream_error", "upstream_forbidden"),
        Refusal::Internal => (500, "server_error", "internal_error"),
    }
}

/// Whether the connection is of no further use: what is left of the body is not read, or its framing is doubtful.
fn closes(refusal: &Refusal) -> bool {
    use Refusal::{BadRequest, ExpectationFailed, HeadTooLarge, SlowBody, SlowHead, TooLarge, UnsupportedEncoding};
    matches!(refusal, TooLarge { .. } | SlowHead | HeadTooLarge | SlowBody | UnsupportedEncoding(_) | BadRequest(_) | ExpectationFailed)
}

fn retry_after(refusal: &Refusal) -> Option<Duration> {
    match refusal {
        Refusal::Overloaded | Refusal::Unconfirmed => Some(Duration::from_secs(1)),
        Refusal::TooManyFailures { retry_after } => Some(*retry_after),
        Refusal::AllProvidersFailed { last, retry_after } if matches!(last_status(*last), 429 | 503) => *retry_after,
        _ => None,
    }
}

fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}
