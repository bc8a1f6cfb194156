//! Refusals as HTTP answers, from the table in [`Refusal::details`].

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde::Serialize;

use crate::gateway::refusal::{Details, Refusal};

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
    let details = refusal.details();
    let Details { error_type, param, code, .. } = details;
    let body = Envelope { error: Error { message: &refusal.to_string(), r#type: error_type, param, code } };
    let status = StatusCode::from_u16(details.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    if let Some(wait) = details.retry_after {
        response.insert_header(("retry-after", whole_seconds(wait).to_string()));
    }
    if details.closes_connection {
        response.force_close();
    }
    response.json(body)
}

fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}
