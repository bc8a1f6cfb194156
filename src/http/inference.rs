//! The data plane's operations: bytes → [`Job`] → the router; its reply → a response. Knows no provider, no retry, no SQL.

use std::sync::Arc;
use std::time::Instant;

use actix_web::http::header::{HeaderMap, HeaderName};
use actix_web::{HttpRequest, HttpResponse, web};
use smol_str::SmolStr;

use super::{AppState, body, identity, response};
use crate::clock;
use crate::gateway::byo::Presented;
use crate::gateway::disconnect::ClientGone;
use crate::gateway::headers;
use crate::gateway::job::Job;
use crate::gateway::messages::{Answer, Rejection, Route};
use crate::gateway::refusal::Refusal;
use crate::json::Document;
use crate::terms::{Operation, RequestId};

/// `POST /v1/chat/completions`
pub async fn chat(request: HttpRequest, payload: web::Payload, state: web::Data<AppState>) -> HttpResponse {
    operate(Operation::Chat, request, payload, state).await
}

/// `POST /v1/completions`
pub async fn completions(request: HttpRequest, payload: web::Payload, state: web::Data<AppState>) -> HttpResponse {
    operate(Operation::Completions, request, payload, state).await
}

/// `POST /v1/embeddings`
pub async fn embeddings(request: HttpRequest, payload: web::Payload, state: web::Data<AppState>) -> HttpResponse {
    operate(Operation::Embeddings, request, payload, state).await
}

async fn operate(operation: Operation, request: HttpRequest, payload: web::Payload, state: web::Data<AppState>) -> HttpResponse {
    let request_id = response::request_id(request.headers());
    let Some(in_flight) = state.workers.admit() else { return refused(&state, &Refusal::Overloaded.into(), &request_id) };
    // Whoever drops this future, or later the response body, cancels the upstream call.
    let (client_gone, client) = ClientGone::new();
    match route(operation, &request, payload, &state, request_id.clone(), client_gone).await {
        Ok(reply) => response::relayed(reply, &request_id, in_flight, client),
        Err(rejection) => refused(&state, &rejection, &request_id),
    }
}

/// A refusal. One that comes before any provider was chosen leaves no entry, so it is counted here.
fn refused(state: &AppState, rejection: &Rejection, request_id: &RequestId) -> HttpResponse {
    if rejection.route.is_none() {
        state.metrics.refused(rejection.refusal.details().code);
    }
    response::refused(rejection, request_id)
}

async fn route(
    operation: Operation,
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
    let body = body::read(payload, headers, received, &state.server, &state.memory).await?;
    let document = Document::parse(body, state.server.json).map_err(|error| Refusal::InvalidJson(error.to_string()))?;
    let job = Arc::new(Job {
        request_id,
        caller,
        operation,
        model: model(&document)?,
        stream: flag(&document, "stream")? && operation != Operation::Embeddings,
        prompt_bytes: prompt_bytes(&document, operation),
        user: document.get("user").and_then(|raw| serde_json::from_str(raw).ok()),
        forwarded: headers::request(headers),
        tags: tags(headers)?,
        document,
        received,
        received_at,
        write_timeout: state.server.write_timeout,
        limits: state.limits,
        memory: Arc::clone(&state.memory),
        client_gone,
        stopping: Arc::clone(&state.workers.stopping),
    });
    worker.router.send(Route { job, presented }).await.map_err(|_| Refusal::Internal)?
}

fn model(document: &Document) -> Result<SmolStr, Refusal> {
    let wrong = |message: &str| Refusal::InvalidValue { param: "model".to_owned(), message: message.to_owned() };
    let raw = document.get("model").ok_or_else(|| wrong("`model` is missing; GET /v1/models lists what there is"))?;
    let model: SmolStr = serde_json::from_str(raw).map_err(|_| wrong("`model` has to be a string"))?;
    if model.is_empty() || model.len() > 256 || model.contains('\0') {
        return Err(wrong("`model` has to be a model id; GET /v1/models lists what there is"));
    }
    Ok(model)
}

fn flag(document: &Document, name: &str) -> Result<bool, Refusal> {
    match document.get(name) {
        None | Some("null" | "false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Refusal::InvalidValue { param: name.to_owned(), message: format!("`{name}` has to be true or false") }),
    }
}

/// How much prompt there is, for an estimate of its tokens.
fn prompt_bytes(document: &Document, operation: Operation) -> u64 {
    let member = match operation {
        Operation::Chat => "messages",
        Operation::Completions => "prompt",
        Operation::Embeddings => "input",
    };
    document.raw(member).map_or(0, |raw| raw.len() as u64)
}

static X_AIGW_TAGS: HeaderName = HeaderName::from_static("x-aigw-tags");

/// `x-aigw-tags: project=apollo,use-case=summaries`
fn tags(headers: &HeaderMap) -> Result<Vec<(String, String)>, Refusal> {
    let Some(value) = headers.get(&X_AIGW_TAGS) else { return Ok(Vec::new()) };
    let wrong = || Refusal::InvalidValue {
        param: "x-aigw-tags".to_owned(),
        message: "x-aigw-tags has to read name=value,name=value: at most 16 tags of at most 64 visible characters each way".to_owned(),
    };
    let text = value.to_str().map_err(|_| wrong())?;
    let mut tags = Vec::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or_else(wrong)?;
        let (name, value) = (name.trim(), value.trim());
        if name.is_empty() || name.len() > 64 || value.len() > 64 || tags.len() == 16 {
            return Err(wrong());
        }
        tags.push((name.to_owned(), value.to_owned()));
    }
    tags.sort();
    tags.dedup_by(|later, earlier| later.0 == earlier.0);
    Ok(tags)
}
