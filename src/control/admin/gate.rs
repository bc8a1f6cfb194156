//! Middleware of every admin route: checks the token and adds the common response headers.

use std::sync::Arc;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest, HttpResponse, ResponseError, web};

use super::error::AdminError;
use crate::control::Control;
use crate::control::store::changes::Actor;
use crate::credential::Credential;
use crate::http::{identity, response};
use crate::terms::RequestId;

/// Header with the tenant key, for tenants with custody `tenant`.
const TENANT_KEY: &str = "x-aigw-tenant-key";

/// Passes requests with the admin token. Without a configured token every path is unknown.
pub async fn gate(request: ServiceRequest, next: Next<impl MessageBody + 'static>) -> Result<ServiceResponse, Error> {
    let id = response::request_id(request.headers());
    request.extensions_mut().insert(id.clone());
    let admitted = request.app_data::<web::Data<Control>>().and_then(|control| control.admits(bearer(request.headers())));
    let mut response = match admitted {
        Some(true) => next.call(request).await?.map_into_boxed_body(),
        Some(false) => request.into_response(AdminError::Unauthorized.error_response()),
        None => {
            let refusal = AdminError::UnknownEndpoint(request.path().to_owned()).error_response();
            request.into_response(refusal)
        }
    };
    response::common_headers(response.headers_mut(), &id);
    Ok(response)
}

/// Refuses a path that is not in the route table.
pub async fn unknown_endpoint(request: HttpRequest) -> HttpResponse {
    AdminError::UnknownEndpoint(request.path().to_owned()).error_response()
}

/// Refuses a method that the path does not have.
pub async fn wrong_method(request: HttpRequest) -> HttpResponse {
    AdminError::MethodNotAllowed(request.method().to_string()).error_response()
}

/// Returns the actor to record for a mutation, with the tenant key of the request.
pub fn actor(request: &HttpRequest) -> Actor {
    let request_id = request.extensions().get::<RequestId>().cloned();
    let mut keys = request.headers().get_all(TENANT_KEY);
    let tenant_key = match (keys.next(), keys.next()) {
        (Some(key), None) => key.to_str().ok().and_then(|key| Credential::parse(key.trim())).map(Arc::new),
        _ => None,
    };
    Actor { who: "admin", request_id, tenant_key }
}

/// Returns the bearer token; `None` unless there is exactly one `authorization` header.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION);
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    identity::bearer(value.to_str().ok()?)
}
