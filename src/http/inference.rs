//! The operations of the data plane: a request becomes a [`Job`] for the router, and its reply a
//! response.

use std::sync::Arc;
use std::time::Instant;

use actix_web::http::header::{CONTENT_TYPE, HeaderMap};
use actix_web::{HttpRequest, HttpResponse, Route, web};
use smol_str::SmolStr;

use super::state::AppState;
use super::{body, identity, response, tags};
use crate::clock;
use crate::gateway::byo::Presented;
use crate::gateway::disconnect::ClientGone;
use crate::gateway::headers;
use crate::gateway::job::Job;
use crate::gateway::messages::{self, Answer, Rejection};
use crate::gateway::refusal::Refusal;
use crate::payload::{Payload, PayloadError};
use crate::surface::operations::OperationSpec;
use crate::terms::RequestId;

/// Returns the route of one operation.
pub fn route(spec: &'static OperationSpec) -> Route {
    web::post().to(move |request, payload, state| operate(spec, request, payload, state))
}

async fn operate(spec: &'static OperationSpec, request: HttpRequest, payload: web::Payload, state: web::Data<AppState>) -> HttpResponse {
    let request_id = response::request_id(request.headers());
    let Some(in_flight) = state.workers.admit() else { return refused(&state, &Refusal::Overloaded.into(), spec, &request_id) };
    // Dropping this future, or later the response body, cancels the upstream call.
    let (client_gone, client) = ClientGone::new();
    match handle(spec, &request, payload, &state, request_id.clone(), client_gone).await {
        Ok(reply) => response::relayed(reply, &request_id, in_flight, client),
        Err(rejection) => refused(&state, &rejection, spec, &request_id),
    }
}

/// Answers with a refusal. One that comes before a provider was chosen has no ledger entry, so it is
/// counted here.
fn refused(state: &AppState, rejection: &Rejection, spec: &OperationSpec, request_id: &RequestId) -> HttpResponse {
    if rejection.route.is_none() {
        state.metrics.refused(rejection.refusal.details().code);
    }
    response::refused(rejection, spec.surface, request_id)
}

async fn handle(
    spec: &'static OperationSpec,
    request: &HttpRequest,
    payload: web::Payload,
    state: &AppState,
    request_id: RequestId,
    client_gone: ClientGone,
) -> Answer {
    let (received, received_at) = (Instant::now(), clock::unix_millis());
    let worker = state.workers.current().map_err(|_| Refusal::Internal)?;
    let caller = state.identify(request, &worker, received_at / 1000)?;
    let headers = request.headers();
    let presented = if caller.tenant.has_byo { identity::presented(headers).map(Presented::new) } else { None };
    let body = body::read(payload, headers, spec.payload, received, &state.server, &state.memory).await?;
    let payload = spec.payload.parse(content_type(headers), body, state.server.json).map_err(|error| match error {
        PayloadError::Json(error) => Refusal::InvalidJson(error.to_string()),
        PayloadError::Form(error) => Refusal::InvalidForm(error),
    })?;
    let members = spec.surface.members();
    let job = Arc::new(Job {
        request_id,
        caller,
        operation: spec.operation,
        surface: spec.surface,
        model: model(&payload, members.model)?,
        stream: flag(&payload, members.stream)? && spec.may_stream,
        prompt_bytes: spec.prompt.iter().map(|member| payload.size_of(member)).sum(),
        user: spec.surface.user(&payload),
        forwarded: headers::request(headers),
        tags: tags::read(headers)?,
        payload,
        received,
        received_at,
        write_timeout: state.server.write_timeout,
        limits: state.limits,
        memory: Arc::clone(&state.memory),
        client_gone,
        stopping: Arc::clone(&state.workers.stopping),
    });
    worker.router.send(messages::Route { job, presented }).await.map_err(|_| Refusal::Internal)?
}

fn content_type(headers: &HeaderMap) -> &str {
    headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn model(payload: &Payload, member: &str) -> Result<SmolStr, Refusal> {
    let invalid = |problem: &str| Refusal::InvalidValue { param: member.to_owned(), message: format!("`{member}` {problem}") };
    let model = payload.text(member).ok_or_else(|| invalid("is missing; GET /v1/models lists what there is"))?;
    let model = model.map_err(|_| invalid("has to be a string"))?;
    if model.is_empty() || model.len() > 256 || model.contains('\0') {
        return Err(invalid("has to be a model id; GET /v1/models lists what there is"));
    }
    Ok(model)
}

fn flag(payload: &Payload, member: &str) -> Result<bool, Refusal> {
    let flag = payload.flag(member).unwrap_or(Ok(false));
    flag.map_err(|_| Refusal::InvalidValue { param: member.to_owned(), message: format!("`{member}` has to be true or false") })
}

#[cfg(test)]
mod tests;
