//! What travels between the actors of one worker. Nouns and verbs only; no behaviour.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::Message;
use actix_web::http::header::{HeaderName, HeaderValue};
use bytes::Bytes;
use smol_str::SmolStr;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::byo::Presented;
use super::disconnect::ClientGone;
use super::refusal::Refusal;
use crate::catalog::caller::Caller;
use crate::catalog::provider::Offer;
use crate::config::Upstream;
use crate::dialect::{Failure, Refused};
use crate::json::Document;
use crate::ledger::settlement::Settlement;
use crate::memory::MemoryCapacity;
use crate::terms::{KindName, ModelId, NanoUsd, Operation, ProviderName, RequestId};

/// A client's request, read once and never changed again.
#[derive(Debug)]
pub struct Job {
    /// The id in headers, logs and the ledger.
    pub request_id: RequestId,
    /// Who asks.
    pub caller: Arc<Caller>,
    /// What for.
    pub operation: Operation,
    /// The model as asked for: an id or an alias.
    pub model: SmolStr,
    /// Whether a stream is wanted.
    pub stream: bool,
    /// The body.
    pub document: Document,
    /// Bytes of the prompt, for an estimate of its tokens.
    pub prompt_bytes: u64,
    /// The client's headers that may go upstream.
    pub forwarded: Forwarded,
    /// OpenAI's `user` field.
    pub user: Option<SmolStr>,
    /// The request's own tags.
    pub tags: Vec<(String, String)>,
    /// When it arrived, on the clock that never jumps.
    pub received: Instant,
    /// When it arrived, in unix milliseconds.
    pub received_at: i64,
    /// How long the client may leave a frame unread.
    pub write_timeout: Duration,
    /// How much of an answer may be held.
    pub limits: Upstream,
    /// Where what is held is claimed.
    pub memory: Arc<MemoryCapacity>,
    /// Cut when the client has gone.
    pub client_gone: ClientGone,
    /// Cancelled when the process can wait for its streams no longer.
    pub stopping: Arc<CancellationToken>,
}

/// The client's headers that may go upstream (spec/security.md 7.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forwarded {
    /// Verbatim, names in lower case.
    pub headers: Vec<(&'static str, String)>,
}

/// Handler → Router: answer this.
#[derive(Message, Debug)]
#[rtype(result = "Answer")]
pub struct Route {
    /// The request.
    pub job: Arc<Job>,
    /// The virtual key it presents, where its tenant's own providers may have to be auth_header with it.
    pub presented: Option<Presented>,
}

/// What a route comes to.
pub type Answer = Result<Reply, Rejection>;

/// Router → Adapter: try this provider, as often as its policy allows.
#[derive(Message)]
#[rtype(result = "AttemptOutcome")]
pub struct Attempt {
    /// The request.
    pub job: Arc<Job>,
    /// The offer to take up.
    pub offer: Arc<Offer>,
    /// The entry in the making; each call is recorded there.
    pub settlement: Settlement,
    /// Calls of this provider that were made for the request already.
    pub attempts_made: u32,
    /// When the first of these calls begins.
    pub started_at: Instant,
    /// The tenant's own key as a header, marked sensitive, where that is what pays.
    pub auth_header: Option<(HeaderName, HeaderValue)>,
}

impl Attempt {
    /// What authorises the call: the tenant's own key, or the operator's. A provider has one of the two at most.
    pub fn credential(&self) -> Option<&(HeaderName, HeaderValue)> {
        self.auth_header.as_ref().or(self.offer.provider.credential.as_ref())
    }
}

/// Adapter → Router: what became of it.
#[derive(Debug)]
pub enum AttemptOutcome {
    /// An answer for the client: a success, or the upstream's word that the request is wrong.
    Relayed(Box<Reply>),
    /// This provider cannot answer; another may.
    Exhausted(Exhausted),
    /// The request cannot be expressed in the provider's language.
    Inexpressible(Refused),
    /// The client has gone.
    Abandoned,
}

/// Why a provider could not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exhausted {
    /// The last failure.
    pub why: Why,
    /// How long the upstream asked us to wait.
    pub retry_after: Option<Duration>,
    /// The upstream's answer, for the cases in which the client may see it.
    pub said: Option<Failure>,
}

/// The classes of failure a provider is given up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// An upstream status.
    Status(u16),
    /// Too slow.
    TimedOut,
    /// No connection, or it broke, or what came made no sense.
    Unreachable,
    /// The SSRF guard refused the address.
    Forbidden,
    /// The adapter itself failed.
    Adapter,
}

/// An answer on its way to the client.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The content type, as the upstream gave it.
    pub content_type: SmolStr,
    /// Upstream headers that may pass, names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// Who answered.
    pub route: RouteInfo,
    /// The body.
    pub body: Body,
}

/// The body of a reply.
#[derive(Debug)]
pub enum Body {
    /// All of it.
    Whole(Bytes),
    /// Frames as they come. The receiver ends when the stream does; dropping it cancels the upstream call.
    Stream(mpsc::Receiver<Bytes>),
}

/// What the `x-aigw-*` headers say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteInfo {
    /// Who answered, or was asked last.
    pub provider: ProviderName,
    /// That provider's kind.
    pub kind: KindName,
    /// The catalog's model id.
    pub model: ModelId,
    /// Upstream calls made.
    pub attempts: usize,
    /// What is owed; known only once the answer is whole.
    pub cost: Option<NanoUsd>,
    /// Parameters dropped on the way.
    pub dropped: Vec<&'static str>,
    /// The id the upstream gave its last call, where the answer is ours and not the upstream's.
    pub upstream_request_id: Option<String>,
}

/// A refusal, and who was asked before it if anyone was.
#[derive(Debug)]
pub struct Rejection {
    /// Why.
    pub refusal: Refusal,
    /// Who was asked.
    pub route: Option<Box<RouteInfo>>,
}

impl From<Refusal> for Rejection {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, route: None }
    }
}
