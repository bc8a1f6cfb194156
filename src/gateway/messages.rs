//! Messages between the actors of one worker, and the replies they lead to.

use std::sync::Arc;
use std::time::Instant;

use actix::Message;
use actix_web::http::header::{HeaderName, HeaderValue};
use bytes::Bytes;
use smol_str::SmolStr;
use tokio::sync::mpsc;

use super::byo::Presented;
use super::call_failure::CallFailure;
use super::headers::ResponseHeaders;
use super::job::Job;
use super::record::RequestRecord;
use super::refusal::Refusal;
use crate::catalog::provider::Offer;
use crate::dialect::failure::Failure;
use crate::dialect::request::Refused;
use crate::surface::ErrorAnswer;
use crate::terms::{KindName, ModelId, NanoUsd, ProviderName};

/// Handler → Router: answer this request.
#[derive(Message, Debug)]
#[rtype(result = "Answer")]
pub struct Route {
    /// The request.
    pub job: Arc<Job>,
    /// The virtual key as presented, if its tenant has providers of its own.
    pub presented: Option<Presented>,
}

/// Result of routing.
pub type Answer = Result<Reply, Rejection>;

/// Router → Adapter: call this provider, as often as its policy allows.
#[derive(Message)]
#[rtype(result = "AttemptOutcome")]
pub struct Attempt {
    /// The request.
    pub job: Arc<Job>,
    /// The offer to call.
    pub offer: Arc<Offer>,
    /// The request's ledger entry.
    pub record: RequestRecord,
    /// Number of calls to this provider already made for this request.
    pub attempts_made: u32,
    /// Start of the first of these calls.
    pub started_at: Instant,
    /// The tenant's own key as a sensitive header, if the tenant pays the provider.
    pub auth_header: Option<(HeaderName, HeaderValue)>,
}

impl Attempt {
    /// The header that authorizes the call: the tenant's own key or the operator's. A provider has
    /// at most one of them.
    pub fn credential(&self) -> Option<&(HeaderName, HeaderValue)> {
        self.auth_header.as_ref().or(self.offer.provider.credential.as_ref())
    }
}

/// Adapter → Router: result of an attempt.
#[derive(Debug)]
pub enum AttemptOutcome {
    /// An answer for the client: a success, or the upstream's rejection of an invalid request.
    Relayed(Box<Reply>),
    /// This provider cannot answer; another may.
    Exhausted(CallFailure),
    /// The request cannot be expressed in the provider's language.
    Inexpressible(Refused),
    /// A policy refused the request.
    Refused(Refusal),
    /// The client closed the connection.
    Abandoned,
}

/// An answer on its way to the client.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The upstream's content type.
    pub content_type: SmolStr,
    /// Upstream headers for the client, names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// The route of the request.
    pub route: RouteInfo,
    /// The body.
    pub body: ReplyBody,
}

/// The body of a reply.
#[derive(Debug)]
pub enum ReplyBody {
    /// A complete body.
    Whole(Bytes),
    /// Frames as they arrive. The channel closes at the end of the stream; dropping the receiver
    /// cancels the upstream call.
    Stream(mpsc::Receiver<StreamFrame>),
}

/// A frame of a stream, or its abortion.
pub type StreamFrame = Result<Bytes, Aborted>;

/// A stream that broke off in a format without errors. The client must see that it is incomplete,
/// so its connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer broke off")]
pub struct Aborted;

/// Content type of answers that the gateway makes itself.
pub const JSON: &str = "application/json";

/// Content of the `x-aigw-*` headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteInfo {
    /// The provider that answered, or the last one called.
    pub provider: ProviderName,
    /// That provider's kind.
    pub kind: KindName,
    /// The catalog's model id.
    pub model: ModelId,
    /// Number of upstream calls.
    pub attempts: usize,
    /// Amount owed; known only for a complete answer.
    pub cost: Option<NanoUsd>,
    /// Parameters dropped on the way.
    pub dropped: Vec<&'static str>,
    /// The upstream's id of its last call, if the answer is the gateway's and not the upstream's.
    pub upstream_request_id: Option<String>,
}

/// A refusal and the route up to it.
#[derive(Debug)]
pub struct Rejection {
    /// The refusal.
    pub refusal: Refusal,
    /// The route, if the request was routed.
    pub route: Option<Box<RouteInfo>>,
}

impl Reply {
    /// The reply of `offer`.
    pub fn new(offer: &Offer, status: u16, headers: ResponseHeaders, dropped: Vec<&'static str>, body: ReplyBody) -> Self {
        let ResponseHeaders { content_type, headers } = headers;
        Self { status, content_type, headers, route: RouteInfo { dropped, ..RouteInfo::new(offer, 0) }, body }
    }

    /// The failure of `offer` as a complete answer in the client's language.
    pub fn error(job: &Job, offer: &Offer, failure: Failure, mut headers: ResponseHeaders) -> Self {
        let ErrorAnswer { status, body } = job.surface.failure(failure, &job.request_id);
        if headers.content_type.is_empty() {
            headers.content_type = SmolStr::new_static(JSON);
        }
        Self::new(offer, status, headers, Vec::new(), ReplyBody::Whole(body))
    }
}

impl RouteInfo {
    /// The route to `offer` after a number of upstream calls.
    pub fn new(offer: &Offer, attempts: usize) -> Self {
        Self {
            provider: offer.provider.name.clone(),
            kind: offer.provider.kind.clone(),
            model: offer.model.clone(),
            attempts,
            cost: None,
            dropped: Vec::new(),
            upstream_request_id: None,
        }
    }
}

impl Rejection {
    /// A refusal of a request that was routed to `offer`.
    pub fn routed(refusal: Refusal, offer: &Offer, attempts: usize) -> Self {
        Self { refusal, route: Some(Box::new(RouteInfo::new(offer, attempts))) }
    }
}

impl From<Refusal> for Rejection {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, route: None }
    }
}
