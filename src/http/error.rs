//! Refusals as HTTP answers, from the table in [`Refusal::details`] and in the client's language.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;

use crate::gateway::refusal::{Refusal, RefusalDetails};
use crate::surface::{ClientError, ErrorAnswer, Surface};

/// Returns the answer to a refusal, without the headers that every answer carries.
pub fn response(refusal: &Refusal, surface: &dyn Surface, request_id: &str) -> HttpResponse {
    let details = refusal.details();
    let RefusalDetails { status, error_type, param, code, .. } = details;
    let message = refusal.to_string();
    let error = ClientError { status, message: &message, kind: error_type, param, code: Some(code), request_id };
    let ErrorAnswer { status, body } = surface.error(&error);
    let mut response = HttpResponse::build(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    if let Some(wait) = details.retry_after {
        response.insert_header(("retry-after", whole_seconds(wait).to_string()));
    }
    if details.closes_connection {
        response.force_close();
    }
    response.content_type("application/json").body(body)
}

fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}
