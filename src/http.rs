//! The route table. The paths of operations come from [`operations`](crate::surface::operations); no
//! other file lists paths. Handlers live in the files below, one concern each.
//!
//! The order of a data-plane request: [`middleware`], [`inference`] (with [`identity`], [`body`] and the JSON reader), the gateway,
//! [`response`]; a refusal becomes HTTP in [`error`].

pub mod body;
pub mod connections;
pub mod cors;
pub mod error;
pub mod health;
pub mod identity;
pub mod inference;
pub mod middleware;
pub mod models;
pub mod response;
pub mod serve;
pub mod tags;

use std::rc::Rc;
use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};

use crate::catalog::caller::Caller;
use crate::config::{Server, UpstreamLimits};
use crate::gateway::refusal::Refusal;
use crate::gateway::worker::{Worker, Workers};
use crate::memory::MemoryCapacity;
use crate::metrics::Metrics;
use crate::surface::operations::{OPERATIONS, surface_of};
use connections::ClientConnection;
use identity::Authenticator;

/// What the handlers of one process share. Nothing of it is looked up twice.
pub struct AppState {
    /// The gateway half.
    pub workers: Arc<Workers>,
    /// Who counts failed authentications.
    pub authenticator: Authenticator,
    /// `[server]`.
    pub server: Server,
    /// `[upstream]`.
    pub limits: UpstreamLimits,
    /// Memory for bodies in flight.
    pub memory: Arc<MemoryCapacity>,
    /// Where refusals are counted: no entry tells of them.
    pub metrics: Arc<Metrics>,
    /// What the probes ask.
    pub probes: health::Probes,
}

/// The data plane and the probes.
pub fn routes(config: &mut web::ServiceConfig) {
    for spec in &OPERATIONS {
        config.service(resource(spec.path).route(inference::route(spec)));
    }
    config
        .service(resource("/v1/models").route(web::get().to(models::list)))
        .service(resource("/v1/models/{id:.+}").route(web::get().to(models::show_one)))
        .service(resource("/healthz").route(web::get().to(health::live)))
        .service(resource("/readyz").route(web::get().to(health::ready)))
        .service(resource("/metrics").route(web::get().to(health::metrics)));
}

fn resource(path: &str) -> actix_web::Resource {
    web::resource(path).default_service(web::to(wrong_method))
}

/// Everything else, in OpenAI's error shape.
pub async fn unknown_endpoint(request: HttpRequest) -> HttpResponse {
    refuse(&request, Refusal::UnknownEndpoint(request.path().to_owned()))
}

async fn wrong_method(request: HttpRequest) -> HttpResponse {
    refuse(&request, Refusal::MethodNotAllowed(format!("{} {}", request.method(), request.path())))
}

fn refuse(request: &HttpRequest, refusal: Refusal) -> HttpResponse {
    response::refused(&refusal.into(), surface_of(request.path()), &response::request_id(request.headers()))
}

impl AppState {
    /// Who asks, by this worker's snapshot. `now` is in unix seconds.
    ///
    /// # Errors
    /// As [`Authenticator::admit`], or if it has been unknown for too long whether keys are revoked.
    pub fn identify(&self, request: &HttpRequest, worker: &Worker, now: i64) -> Result<Arc<Caller>, Refusal> {
        let from = request.peer_addr().map(|peer| peer.ip());
        let alone = std::cell::Cell::default();
        let last = request.conn_data::<Rc<ClientConnection>>().map_or(&alone, |connection| &connection.last_key);
        let caller = self.authenticator.admit(request.headers(), last, from, &worker.snapshot.borrow(), now)?;
        if self.workers.is_trusted() { Ok(caller) } else { Err(Refusal::Unconfirmed) }
    }
}
