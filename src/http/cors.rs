//! Which pages may call the data plane from a browser: those of the origins the operator lists, nobody else's.
//!
//! Callers present keys and never cookies, so credentials are not allowed for; the admin plane is not for browsers of others.

use actix_web::HttpResponse;
use actix_web::dev::ServiceRequest;
use actix_web::http::Method;
use actix_web::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue, ORIGIN, VARY,
};

/// What of our answers a page may read.
const EXPOSED: &str = "x-request-id, x-upstream-request-id, x-aigw-provider, x-aigw-model, x-aigw-attempts, x-aigw-cost-usd, \
     x-aigw-dropped-params, retry-after";

/// A listed origin that asks for something of the data plane.
pub struct AllowedOrigin {
    origin: HeaderValue,
}

impl AllowedOrigin {
    /// Whoever asks from a listed origin; `None` for all others and all without one.
    pub fn of(request: &ServiceRequest, listed: &[String]) -> Option<Self> {
        if listed.is_empty() {
            return None;
        }
        let mut origins = request.headers().get_all(ORIGIN);
        let (Some(origin), None) = (origins.next(), origins.next()) else { return None };
        let is_listed = listed.iter().any(|listed| listed.as_bytes() == origin.as_bytes());
        // As the router reads it, so that no spelling of an admin path passes for another.
        let path = request.match_info().as_str();
        let is_data = path.starts_with("/v1/") && !path.starts_with("/v1/organization");
        (is_listed && is_data).then(|| Self { origin: origin.clone() })
    }

    /// The answer to a preflight, if that is what the request is.
    pub fn preflight(&self, request: &ServiceRequest) -> Option<HttpResponse> {
        if request.method() != Method::OPTIONS || !request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
            return None;
        }
        let mut response = HttpResponse::NoContent().finish();
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
        // Which headers a listed page sends is its own affair: upstream go those of our list alone.
        if let Some(names) = request.headers().get(ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
        }
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        Some(response)
    }

    /// Lets the origin's page read the answer.
    pub fn welcome(self, headers: &mut HeaderMap) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, self.origin);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        headers.append(VARY, HeaderValue::from_static("origin"));
    }
}
