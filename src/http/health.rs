//! `/healthz`, `/readyz` and `/metrics`, which need no key and call no upstream.

use actix_web::{HttpRequest, HttpResponse, web};

use super::response;
use super::state::AppState;

/// `GET /healthz`: the process runs.
pub async fn live(request: HttpRequest) -> HttpResponse {
    probe_response(&request, HttpResponse::Ok(), "ok")
}

/// `GET /readyz`: the database is reachable. The catalog is always loaded once the process listens.
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
