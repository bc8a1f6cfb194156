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
pub mod probes;
pub mod response;
pub mod serve;
pub mod state;
pub mod tags;

use actix_web::{HttpRequest, HttpResponse, web};

use crate::gateway::refusal::Refusal;
use crate::surface::operations::{OPERATIONS, surface_of};

/// Adds the routes of the data plane and the probes.
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

/// Refuses every other path, in the error shape of its surface.
pub async fn unknown_endpoint(request: HttpRequest) -> HttpResponse {
    refuse(&request, Refusal::UnknownEndpoint(request.path().to_owned()))
}

async fn wrong_method(request: HttpRequest) -> HttpResponse {
    refuse(&request, Refusal::MethodNotAllowed(format!("{} {}", request.method(), request.path())))
}

fn refuse(request: &HttpRequest, refusal: Refusal) -> HttpResponse {
    response::refused(&refusal.into(), surface_of(request.path()), &response::request_id(request.headers()))
}
