//! Replies and refusals as responses: the headers every answer carries, and bodies that hold on to what must last as long.

use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::HttpResponse;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use tokio::sync::mpsc;
use uuid::fmt::Simple;
use uuid::{NoContext, Timestamp, Uuid};

use super::error;
use crate::gateway::disconnect::DisconnectGuard;
use crate::gateway::messages::{Aborted, JSON, Rejection, Reply, ReplyBody, RouteInfo, StreamFrame};
use crate::gateway::worker::InFlightGuard;
use crate::surface::Surface;
use crate::terms::RequestId;

// Made once: a name made of its text is checked each time.
static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
static X_AIGW_COST_USD: HeaderName = HeaderName::from_static("x-aigw-cost-usd");
static X_AIGW_PROVIDER: HeaderName = HeaderName::from_static("x-aigw-provider");
static X_AIGW_MODEL: HeaderName = HeaderName::from_static("x-aigw-model");
static X_AIGW_ATTEMPTS: HeaderName = HeaderName::from_static("x-aigw-attempts");
static X_UPSTREAM_REQUEST_ID: HeaderName = HeaderName::from_static("x-upstream-request-id");
static X_AIGW_DROPPED_PARAMS: HeaderName = HeaderName::from_static("x-aigw-dropped-params");

/// The client's own request id if it is sane, else a new one.
pub fn request_id(headers: &HeaderMap) -> RequestId {
    let sane = |id: &&str| (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte));
    match headers.get(&X_REQUEST_ID).and_then(|value| value.to_str().ok()).filter(sane) {
        Some(id) => RequestId::from(id),
        None => new_request_id(),
    }
}

/// Made without the counter of `Uuid::now_v7`, which all workers would share behind a lock.
fn new_request_id() -> RequestId {
    const PREFIX: &str = "req_";
    let mut text = [0; PREFIX.len() + Simple::LENGTH];
    text[..PREFIX.len()].copy_from_slice(PREFIX.as_bytes());
    Uuid::new_v7(Timestamp::now(NoContext)).simple().encode_lower(&mut text[PREFIX.len()..]);
    RequestId::from(str::from_utf8(&text).unwrap_or(PREFIX))
}

/// A provider's answer.
pub fn relayed(reply: Reply, request_id: &RequestId, in_flight: InFlightGuard, client: DisconnectGuard) -> HttpResponse {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let (mut response, is_stream) = match reply.body {
        ReplyBody::Whole(bytes) => {
            // The answer is whole: nothing upstream is left to cancel.
            client.disarm();
            (HttpResponse::with_body(status, BoxBody::new(bytes)), false)
        }
        ReplyBody::Stream(frames) => {
            (HttpResponse::with_body(status, BoxBody::new(Frames { frames, _in_flight: in_flight, _client: client })), true)
        }
    };
    let headers = response.headers_mut();
    for (name, value) in &reply.headers {
        insert(headers, HeaderName::from_static(name), value);
    }
    if reply.content_type == JSON {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    } else {
        insert(headers, CONTENT_TYPE, &reply.content_type);
    }
    if is_stream {
        headers.insert(X_ACCEL_BUFFERING.clone(), HeaderValue::from_static("no"));
    }
    if let Some(cost) = reply.route.cost {
        insert(headers, X_AIGW_COST_USD.clone(), &cost.to_string());
    }
    route_headers(headers, &reply.route);
    common_headers(headers, request_id);
    response
}

/// A refusal.
pub fn refused(rejection: &Rejection, surface: &dyn Surface, request_id: &RequestId) -> HttpResponse {
    let mut response = error::response(&rejection.refusal, surface, request_id);
    if let Some(route) = &rejection.route {
        route_headers(response.headers_mut(), route);
    }
    common_headers(response.headers_mut(), request_id);
    response
}

/// What every answer carries.
pub fn common_headers(headers: &mut HeaderMap, request_id: &RequestId) {
    insert(headers, X_REQUEST_ID.clone(), request_id);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

fn route_headers(headers: &mut HeaderMap, route: &RouteInfo) {
    insert(headers, X_AIGW_PROVIDER.clone(), &route.provider);
    insert(headers, X_AIGW_MODEL.clone(), &route.model);
    headers.insert(X_AIGW_ATTEMPTS.clone(), HeaderValue::from(route.attempts));
    if let Some(id) = &route.upstream_request_id {
        insert(headers, X_UPSTREAM_REQUEST_ID.clone(), id);
    }
    if !route.dropped.is_empty() {
        insert(headers, X_AIGW_DROPPED_PARAMS.clone(), &route.dropped.join(","));
    }
}

/// Inserts a value if it is one; what is no header value is left out rather than half sent.
fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// A stream's body. Dropping it, as the server does when the client goes away, cancels the upstream call.
struct Frames {
    frames: mpsc::Receiver<StreamFrame>,
    _in_flight: InFlightGuard,
    _client: DisconnectGuard,
}

impl MessageBody for Frames {
    type Error = Aborted;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<StreamFrame>> {
        self.frames.poll_recv(cx)
    }
}
