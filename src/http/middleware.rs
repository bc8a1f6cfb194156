//! What every request passes before any handler looks at it, and what every answer takes along (spec/security.md 7.1, 7.7).
//!
//! actix-http refuses what is ambiguous (lengths, hosts, chunks) itself; here goes what it would let through and we do not want.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Payload, RequestHead, ServiceRequest, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::http::header::{CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING, UPGRADE, X_CONTENT_TYPE_OPTIONS};
use actix_web::http::{ConnectionType, Method, Version};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, web};
use bytes::Bytes;
use futures_util::Stream;

use super::connections::{ClientConnection, RequestGuard};
use super::cors::AllowedOrigin;
use super::response;
use super::state::AppState;
use crate::gateway::refusal::Refusal;
use crate::surface::operations::surface_of;

/// The middleware around all routes.
pub async fn guard_request(mut request: ServiceRequest, next: Next<BoxBody>) -> Result<ServiceResponse, Error> {
    let unread = UnreadBody::of(&mut request);
    let listed = request.app_data::<web::Data<AppState>>().map_or(&[][..], |state| &state.server.cors_origins);
    let origin = AllowedOrigin::of(&request, listed);
    let connection = request.conn_data::<Rc<ClientConnection>>();
    let guard = connection.map(ClientConnection::begin);
    let verdict = match connection {
        Some(connection) if connection.is_closing.get() => Err(Refusal::BadRequest("the request before was this connection's last")),
        _ => judge(request.head()),
    };
    if let Some(connection) = connection {
        connection.is_closing.set(verdict.is_err() || request.head().connection_type() == ConnectionType::Close);
    }
    let answered = match verdict {
        Err(refusal) => Some(response::refused(&refusal.into(), surface_of(request.path()), &response::request_id(request.headers()))),
        Ok(()) => origin.as_ref().and_then(|origin| origin.preflight(&request)),
    };
    let mut response = match answered {
        Some(response) => request.into_response(response),
        None => next.call(request).await?,
    };
    if !response.headers().contains_key(X_CONTENT_TYPE_OPTIONS) {
        let id = response::request_id(response.request().headers());
        response::common_headers(response.headers_mut(), &id);
    }
    if let Some(origin) = origin {
        origin.welcome(response.headers_mut());
    }
    if response.response().head().connection_type() == ConnectionType::Close
        && let Some(connection) = response.request().conn_data::<Rc<ClientConnection>>()
    {
        connection.is_closing.set(true);
    }
    let unread = unread.filter(|unread| !unread.borrow().has_ended);
    Ok(response.map_body(|_, body| BoxBody::new(GuardedAnswer { body, _unread: unread, _request: guard })))
}

/// Whether the head is of a form we take.
fn judge(head: &RequestHead) -> Result<(), Refusal> {
    let headers = &head.headers;
    if head.method == Method::CONNECT || head.method == Method::TRACE {
        return Err(Refusal::MethodNotAllowed(head.method.to_string()));
    }
    if head.uri.scheme().is_some() || head.uri.authority().is_some() {
        return Err(Refusal::BadRequest("the request's target has to be a path, not a URL: this is no proxy"));
    }
    if headers.contains_key(UPGRADE) {
        return Err(Refusal::BadRequest("connections are not upgraded; leave out the upgrade header"));
    }
    if headers.get_all(EXPECT).any(|value| !value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"100-continue")) {
        return Err(Refusal::ExpectationFailed);
    }
    let has_body = || {
        let length = headers.get(CONTENT_LENGTH).is_some_and(|length| length.as_bytes().trim_ascii() != b"0");
        length || headers.contains_key(TRANSFER_ENCODING)
    };
    if head.version < Version::HTTP_11 && has_body() {
        return Err(Refusal::BadRequest("a body needs HTTP/1.1"));
    }
    Ok(())
}

/// A chunked body whose handler may not read it to its end.
///
/// Once such a body is dropped, actix reads on for as long as the client likes to send, and throws away what comes. While it is
/// held, actix closes the connection after the answer, as it does with bodies of a known length.
struct UnreadBody {
    payload: Payload,
    has_ended: bool,
}

/// The handler's hold on it.
struct BodyHandle(Rc<RefCell<UnreadBody>>);

/// An answer on its way out, which holds on to what must last until it is out.
struct GuardedAnswer {
    body: BoxBody,
    _unread: Option<Rc<RefCell<UnreadBody>>>,
    _request: Option<RequestGuard>,
}

impl UnreadBody {
    fn of(request: &mut ServiceRequest) -> Option<Rc<RefCell<Self>>> {
        if !request.headers().contains_key(TRANSFER_ENCODING) {
            return None;
        }
        let unread = Rc::new(RefCell::new(Self { payload: request.take_payload(), has_ended: false }));
        request.set_payload(Payload::Stream { payload: Box::pin(BodyHandle(Rc::clone(&unread))) });
        Some(unread)
    }
}

impl Stream for BodyHandle {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut unread = self.0.borrow_mut();
        let piece = ready!(Pin::new(&mut unread.payload).poll_next(cx));
        unread.has_ended = piece.is_none();
        Poll::Ready(piece)
    }
}

impl MessageBody for GuardedAnswer {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}
