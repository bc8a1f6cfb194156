//! `/healthz`, `/readyz` and `/metrics`: no key, no money, nothing upstream.

use std::future::Future;
use std::pin::Pin;

use actix_web::{HttpRequest, HttpResponse, web};

use super::{AppState, response};

/// What the probes ask the rest of the process.
pub struct Probes {
    /// Whether the database answers. Asked off the workers.
    pub database: Box<dyn Fn() -> Pin<Box<dyn Future<Output = bool>>> + Send + Sync>,
    /// What Prometheus reads, and its content type.
    pub metrics: Box<dyn Fn() -> (String, &'static str) + Send + Sync>,
}

/// `GET /healthz`: the process serves.
pub async fn live(request: HttpRequest) -> HttpResponse {
    probe_response(&request, HttpResponse::Ok(), "ok")
}

/// `GET /readyz`: the catalog is loaded (it always is, once we listen) and the database is reachable.
pub async fn ready(request: HttpRequest, state: web::Data<AppState>) -> HttpResponse {
    if (state.probes.database)().await {
        probe_response(&request, HttpResponse::Ok(), "ready")
    } else {
        probe_response(&request, HttpResponse::ServiceUnavailable(), "the database is not reachable")
    }
}

/// `GET /metrics`: Prometheus text.
pub async fn metrics(request: HttpRequest, state: web::Data<AppState>) -> HttpResponse {
    let (text, content_type) = (state.probes.metrics)();
    let mut response = HttpResponse::Ok().content_type(content_type).body(text);
    response::common_headers(response.headers_mut(), &response::request_id(request.headers()));
    response
}

fn probe_response(request: &HttpRequest, mut builder: actix_web::HttpResponseBuilder, status: &str) -> HttpResponse {
    let mut response = builder.json(serde_json::json!({"status": status}));
    response::common_headers(response.headers_mut(), &response::request_id(request.headers()));
    response
}
