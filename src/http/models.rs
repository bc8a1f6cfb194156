//! `GET /v1/models` and `/v1/models/{id}`: what this key may use, from the snapshot.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;

use super::response;
use super::state::AppState;
use crate::catalog::caller::Caller;
use crate::catalog::price::decimal_usd;
use crate::catalog::snapshot::{Resolved, Snapshot};
use crate::clock;
use crate::gateway::messages::Rejection;
use crate::gateway::refusal::Refusal;
use crate::surface::operations::surface_of;
use crate::surface::{ModelFacts, Pricing, Surface};

/// `GET /v1/models`
pub async fn list(request: HttpRequest, state: web::Data<AppState>) -> HttpResponse {
    respond(&request, &state, |surface, snapshot, caller| {
        let found: Vec<Resolved> = snapshot.models_for(caller).collect();
        let models: Vec<_> = found.iter().map(|found| facts(snapshot, found)).collect();
        Ok(surface.models(&models))
    })
}

/// `GET /v1/models/{id}`; ids may hold slashes.
pub async fn show_one(request: HttpRequest, id: web::Path<String>, state: web::Data<AppState>) -> HttpResponse {
    respond(&request, &state, |surface, snapshot, caller| {
        let found = snapshot.find(caller, &id).ok_or_else(|| Refusal::UnknownModel(id.to_string()))?;
        Ok(surface.model(&facts(snapshot, &found)))
    })
}

fn respond(
    request: &HttpRequest,
    state: &AppState,
    body_from: impl FnOnce(&dyn Surface, &Snapshot, &Arc<Caller>) -> Result<Bytes, Refusal>,
) -> HttpResponse {
    let request_id = response::request_id(request.headers());
    let surface = surface_of(request.path());
    let found = || {
        let worker = state.workers.current().map_err(|_| Refusal::Internal)?;
        let caller = state.identify(request, &worker, clock::unix_seconds())?;
        body_from(surface, &worker.snapshot.borrow(), &caller)
    };
    match found() {
        Ok(body) => {
            let mut response = HttpResponse::Ok().content_type("application/json").body(body);
            response::common_headers(response.headers_mut(), &request_id);
            response
        }
        Err(refusal) => response::refused(&Rejection::from(refusal), surface, &request_id),
    }
}

fn facts<'a>(snapshot: &Snapshot, Resolved { model, chain }: &'a Resolved) -> ModelFacts<'a> {
    let definition = &model.definition;
    let (owner, price) = chain.first().map_or(("aigw", None), |offer| (offer.provider.kind.as_str(), Some(&offer.price)));
    let base = price.map(|price| price.base.clone()).unwrap_or_default();
    let mut kinds: Vec<&str> = chain.iter().map(|offer| offer.provider.kind.as_str()).collect();
    kinds.dedup();
    ModelFacts {
        id: &definition.id,
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
