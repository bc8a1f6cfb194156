//! `GET /v1/models` and `/v1/models/{id}`: what this key may use, from the snapshot.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use super::{AppState, response};
use crate::catalog::caller::Caller;
use crate::catalog::price::decimal_usd;
use crate::catalog::snapshot::{Resolved, Snapshot};
use crate::clock;
use crate::gateway::messages::Rejection;
use crate::gateway::refusal::Refusal;

/// OpenAI's model object and what aigw adds to it.
#[derive(Serialize)]
struct Shown<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    owned_by: &'a str,
    aliases: &'a [String],
    kinds: Vec<&'a str>,
    context_length: Option<u64>,
    max_completion_tokens: Option<u64>,
    pricing: Pricing,
}

/// US dollars per token, or per call, as decimal text.
#[derive(Serialize)]
struct Pricing {
    prompt: String,
    completion: String,
    input_cache_read: String,
    input_cache_write: String,
    request: String,
}

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Shown<'a>>,
}

/// `GET /v1/models`
pub async fn list(request: HttpRequest, state: web::Data<AppState>) -> HttpResponse {
    respond(&request, &state, |snapshot, caller| {
        let found: Vec<Resolved> = snapshot.models_for(caller).collect();
        let data = found.iter().map(|found| show(snapshot, found)).collect();
        Ok(HttpResponse::Ok().json(List { object: "list", data }))
    })
}

/// `GET /v1/models/{id}`; ids may hold slashes.
pub async fn show_one(request: HttpRequest, id: web::Path<String>, state: web::Data<AppState>) -> HttpResponse {
    respond(&request, &state, |snapshot, caller| {
        let found = snapshot.find(caller, &id).ok_or_else(|| Refusal::UnknownModel(id.to_string()))?;
        Ok(HttpResponse::Ok().json(show(snapshot, &found)))
    })
}

fn respond(
    request: &HttpRequest,
    state: &AppState,
    answer_from: impl FnOnce(&Snapshot, &Arc<Caller>) -> Result<HttpResponse, Refusal>,
) -> HttpResponse {
    let request_id = response::request_id(request.headers());
    let found = || {
        let worker = state.workers.current().map_err(|_| Refusal::Internal)?;
        let caller = state.identify(request, &worker, clock::unix_seconds())?;
        answer_from(&worker.snapshot.borrow(), &caller)
    };
    match found() {
        Ok(mut response) => {
            response::common_headers(response.headers_mut(), &request_id);
            response
        }
        Err(refusal) => response::refused(&Rejection::from(refusal), &request_id),
    }
}

fn show<'a>(snapshot: &Snapshot, Resolved { model, chain }: &'a Resolved) -> Shown<'a> {
    let definition = &model.definition;
    let (owner, price) = chain.first().map_or(("aigw", None), |offer| (offer.provider.kind.as_str(), Some(&offer.price)));
    let base = price.map(|price| price.base.clone()).unwrap_or_default();
    let mut kinds: Vec<&str> = chain.iter().map(|offer| offer.provider.kind.as_str()).collect();
    kinds.dedup();
    Shown {
        id: &definition.id,
        object: "model",
        created: snapshot.offerings.built_at,
        owned_by: owner,
        aliases: &definition.aliases,
        kinds,
        context_length: definition.context_window,
        max_completion_tokens: definition.max_output_tokens,
        pricing: Pricing {
            prompt: decimal_usd(base.input),
            completion: decimal_usd(base.output),
            input_cache_read: decimal_usd(base.cached_input),
            input_cache_write: decimal_usd(base.cache_write),
            request: decimal_usd(price.map(|price| price.request).unwrap_or_default()),
        },
    }
}
