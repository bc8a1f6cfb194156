//! A client's request as the gateway works on it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use smol_str::SmolStr;
use tokio_util::sync::CancellationToken;

use super::disconnect::ClientGone;
use crate::catalog::caller::Caller;
use crate::config::UpstreamLimits;
use crate::memory::MemoryCapacity;
use crate::payload::Payload;
use crate::surface::Surface;
use crate::terms::{Operation, RequestId};

/// A client's request. Built once by `http`, never changed.
#[derive(Debug)]
pub struct Job {
    /// The id in headers, logs and the ledger.
    pub request_id: RequestId,
    /// The authenticated caller.
    pub caller: Arc<Caller>,
    /// The requested operation.
    pub operation: Operation,
    /// The client's language.
    pub surface: &'static dyn Surface,
    /// The requested model: an id or an alias.
    pub model: SmolStr,
    /// Whether the client asked for a stream.
    pub stream: bool,
    /// The body.
    pub payload: Payload,
    /// Bytes of the prompt, for an estimate of its tokens.
    pub prompt_bytes: u64,
    /// The client's headers that may go upstream.
    pub forwarded: Forwarded,
    /// OpenAI's `user` field.
    pub user: Option<SmolStr>,
    /// The request's own tags.
    pub tags: Vec<(String, String)>,
    /// Time of arrival on the monotonic clock.
    pub received: Instant,
    /// Time of arrival in unix milliseconds.
    pub received_at: i64,
    /// Time that the client may leave a frame unread.
    pub write_timeout: Duration,
    /// Limits on the buffered part of an answer.
    pub limits: UpstreamLimits,
    /// Memory for buffered data.
    pub memory: Arc<MemoryCapacity>,
    /// Signals that the client has closed the connection.
    pub client_gone: ClientGone,
    /// Cancelled when the grace period of a shutdown is over.
    pub stopping: Arc<CancellationToken>,
}

/// The client's headers that may go upstream (spec/security.md 7.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forwarded {
    /// Verbatim values, names in lower case.
    pub headers: Vec<(&'static str, String)>,
}
