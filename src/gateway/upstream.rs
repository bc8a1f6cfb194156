//! One call to one upstream: send a request, get a head, read a body. Says precisely how it failed; never retries.
//!
//! awc takes a body that was cut off for a complete one and waits for ever between two reads, so completeness and time are
//! watched here. Answers that are made up in process are played through the same door.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use actix_web::error::ParseError;
use actix_web::http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, TRANSFER_ENCODING,
};
use actix_web::http::{Uri, Version};
use awc::error::{ConnectError, SendRequestError};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::budget::Claim;
use super::connector::{self, ConnectionCount, Resolve};
use super::messages::Why;
use super::passing::{self, Passed};
use crate::catalog::snapshot::Provider;
use crate::dialect::Script;
use crate::guard::{Policy, SelfListen};
use crate::ledger::entry::Billing;

/// As much is allocated because a head promises it; more only as it comes.
const BELIEVED: usize = 1 << 20;

/// What all ways out of this process share.
#[derive(Clone)]
pub struct Network {
    /// Looks names up.
    pub resolver: Arc<dyn Resolve>,
    /// Where this process listens: it never calls itself.
    pub self_listen: SelfListen,
}

/// The way to one provider: its client, its pool, its guard.
pub struct Upstream {
    client: awc::Client,
    connections: ConnectionCount,
}

/// What is sent.
pub struct Request<'a> {
    /// Where to.
    pub target: &'a Uri,
    /// The client's headers that pass, names in lower case.
    pub forwarded: &'a [(&'static str, String)],
    /// The kind's static headers.
    pub headers: &'a [(HeaderName, HeaderValue)],
    /// What the dialect adds, names in lower case.
    pub more: &'a [(&'static str, String)],
    /// The provider's key.
    pub credential: Option<&'a (HeaderName, HeaderValue)>,
    /// The body.
    pub body: Bytes,
    /// How long the head may take.
    pub head_within: Duration,
    /// Whose bill: decides what passes of the answer's head.
    pub billing: Billing,
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const IDENTITY: HeaderValue = HeaderValue::from_static("identity");

/// An answer whose head is in.
pub struct Arrived {
    /// Its status.
    pub status: u16,
    /// What passes of its headers.
    pub passed: Passed,
    /// Its body, not read yet.
    pub body: Incoming,
}

/// A body as it comes in.
pub enum Incoming {
    /// From the network.
    Remote {
        /// The response it belongs to; dropping it closes the connection unless it was read to its end.
        response: Box<awc::ClientResponse>,
        /// What `content-length` promised and what has come.
        promised: Option<u64>,
        /// Bytes so far.
        seen: u64,
    },
    /// From a script.
    Played(VecDeque<(Duration, Bytes)>),
}

/// How a call failed: where, why, and whether the connection may just have been stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallError {
    /// The class the ledger records.
    pub name: &'static str,
    /// What it means for the client if it was the last.
    pub why: Why,
    /// The connection broke before a byte of an answer came: on a pooled connection, worth one free try.
    pub may_be_stale: bool,
    /// The status of a head that was in when it failed.
    pub status: Option<u16>,
}

impl CallError {
    const fn unreachable(name: &'static str) -> Self {
        Self { name, why: Why::Unreachable, may_be_stale: false, status: None }
    }

    /// Something took too long.
    pub const TIMED_OUT: Self = Self { name: "timeout", why: Why::TimedOut, may_be_stale: false, status: None };
    /// The body ended before its end.
    pub const TRUNCATED: Self = Self::unreachable("truncated");
    /// The body is larger than it may be.
    pub const TOO_LARGE: Self = Self::unreachable("too_large");
    /// There is no memory left to hold the body.
    pub const NO_ROOM: Self = Self::unreachable("no_room");
}

impl Upstream {
    /// The way to `provider`.
    pub fn new(network: &Network, provider: &Provider) -> Self {
        let policy = Policy { source: provider.source.clone(), self_listen: network.self_listen.clone() };
        let connections = ConnectionCount::default();
        let client = connector::client(policy, Arc::clone(&network.resolver), provider.retry.connect_timeout, connections.clone());
        Self { client, connections }
    }

    /// How many connections have been opened so far. If a call did not change it, the call went over a pooled one.
    pub fn connections(&self) -> u64 {
        self.connections.get()
    }

    /// Sends one request and waits for the head of the answer.
    ///
    /// # Errors
    /// Everything that keeps a usable head from arriving: DNS, guard, TCP, TLS, time, and answers that are not HTTP as we need it.
    pub async fn exchange(&self, request: Request<'_>) -> Result<Arrived, CallError> {
        let mut call = self.client.post(request.target.clone()).no_decompress();
        // Each may replace what came before: the kind's word goes above the client's, the dialect's above the kind's.
        for (name, value) in request.forwarded {
            call = call.insert_header((*name, value.as_str()));
        }
        for (name, value) in request.headers {
            call = call.insert_header((name.clone(), value.clone()));
        }
        for (name, value) in request.more {
            call = call.insert_header((*name, value.as_str()));
        }
        call = call.insert_header((CONTENT_TYPE, JSON)).insert_header((ACCEPT_ENCODING, IDENTITY));
        if let Some((name, value)) = request.credential {
            call = call.insert_header((name.clone(), value.clone()));
        }
        let billing = request.billing;
        let response = match timeout(request.head_within, call.send_body(request.body)).await {
            Err(_) => return Err(CallError::TIMED_OUT),
            Ok(Err(error)) => return Err(told(&error)),
            Ok(Ok(response)) => response,
        };
        let status = response.status().as_u16();
        let headers = response.headers();
        let unusable = |name| CallError { status: Some(status), ..CallError::unreachable(name) };
        if status < 200 {
            return Err(CallError::unreachable("informational"));
        }
        if headers.get(CONTENT_ENCODING).is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity")) {
            return Err(unusable("encoded"));
        }
        let promised = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let is_framed = promised.is_some() || headers.contains_key(TRANSFER_ENCODING) || status == 204 || status == 304;
        if !is_framed && response.version() == Version::HTTP_11 {
            // awc reads such a body as empty: better no answer than half of one.
            return Err(unusable("framing"));
        }
        let passed = passing::response(headers, billing);
        Ok(Arrived { status, passed, body: Incoming::Remote { response: Box::new(response), promised, seen: 0 } })
    }

    /// Plays a made-up answer.
    pub async fn play(script: Script, head_within: Duration) -> Result<Arrived, CallError> {
        let mut pieces = VecDeque::from(script.pieces);
        if let Some(first) = pieces.front_mut() {
            let latency = std::mem::take(&mut first.0);
            if timeout(head_within, tokio::time::sleep(latency)).await.is_err() {
                return Err(CallError::TIMED_OUT);
            }
        }
        let passed = Passed { content_type: script.content_type.to_owned(), headers: Vec::new() };
        Ok(Arrived { status: script.status, passed, body: Incoming::Played(pieces) })
    }
}

impl Incoming {
    /// The next piece; `None`: the body is complete.
    ///
    /// # Errors
    /// It broke, was cut short, or nothing came for `idle`.
    pub async fn next(&mut self, idle: Duration) -> Result<Option<Bytes>, CallError> {
        match self {
            Incoming::Remote { response, promised, seen } => match timeout(idle, response.next()).await {
                Err(_) => Err(CallError::TIMED_OUT),
                Ok(Some(Ok(piece))) => {
                    *seen += piece.len() as u64;
                    Ok(Some(piece))
                }
                Ok(Some(Err(_))) => Err(CallError::unreachable("reset")),
                Ok(None) if promised.is_some_and(|promised| *seen < promised) => Err(CallError::TRUNCATED),
                Ok(None) => Ok(None),
            },
            Incoming::Played(pieces) => {
                let Some((delay, piece)) = pieces.pop_front() else { return Ok(None) };
                if !delay.is_zero() {
                    tokio::time::sleep(delay).await;
                }
                Ok(Some(piece))
            }
        }
    }

    /// The whole body, at most `limit` bytes of it, which `claim` is made to cover.
    ///
    /// # Errors
    /// As [`next`](Self::next), or the body is larger, or the budget is used up.
    pub async fn whole(mut self, limit: usize, idle: Duration, claim: &mut Claim) -> Result<Bytes, CallError> {
        let Some(first) = self.next(idle).await? else { return Ok(Bytes::new()) };
        let expected = match &self {
            Incoming::Remote { promised, .. } => promised.and_then(|promised| usize::try_from(promised).ok()),
            Incoming::Played(_) => None,
        };
        if first.len() > limit || expected.is_some_and(|expected| expected > limit) {
            return Err(CallError::TOO_LARGE);
        }
        claim.resize(first.len()).map_err(|_| CallError::NO_ROOM)?;
        let Some(second) = self.next(idle).await? else { return Ok(first) };
        let mut body = BytesMut::new();
        let mut pieces = [first, second].into_iter();
        loop {
            let next = match pieces.next() {
                Some(piece) => Some(piece),
                None => self.next(idle).await?,
            };
            let Some(piece) = next else { return Ok(body.freeze()) };
            let length = body.len() + piece.len();
            if length > limit {
                return Err(CallError::TOO_LARGE);
            }
            if length > body.capacity() {
                // What is promised is believed up to a point; past it room is doubled as the body comes.
                let capacity = length.max(expected.unwrap_or(0).min(BELIEVED)).max((body.capacity() * 2).min(limit));
                claim.resize(capacity).map_err(|_| CallError::NO_ROOM)?;
                body.reserve(capacity - body.len());
            }
            body.extend_from_slice(&piece);
        }
    }
}

/// What awc's error says, in our classes. Its text goes nowhere: it may name addresses.
fn told(error: &SendRequestError) -> CallError {
    if let Some(denied) = connector::denied(error) {
        log::warn!("the network guard refused an upstream address: {denied}");
        return CallError { why: Why::Forbidden, ..CallError::unreachable(denied.code()) };
    }
    let stale = |name| CallError { may_be_stale: true, ..CallError::unreachable(name) };
    match error {
        // Has the shape of a connect error, but comes after sending: the peer closed the connection under us.
        SendRequestError::Connect(ConnectError::Disconnected) => stale("disconnected"),
        SendRequestError::Send(_) => stale("send"),
        SendRequestError::Response(ParseError::Io(_)) => stale("reset"),
        SendRequestError::Response(ParseError::TooLarge) => CallError::unreachable("head_too_large"),
        SendRequestError::Response(_) => CallError::unreachable("not_http"),
        SendRequestError::Connect(ConnectError::Timeout) => CallError { name: "connect_timeout", ..CallError::TIMED_OUT },
        SendRequestError::Connect(ConnectError::Resolver(_) | ConnectError::NoRecords | ConnectError::Unresolved) => {
            CallError::unreachable("dns")
        }
        SendRequestError::Connect(ConnectError::Io(error)) if is_tls(error) => CallError::unreachable("tls"),
        SendRequestError::Connect(_) => CallError::unreachable("connect"),
        SendRequestError::Timeout => CallError::TIMED_OUT,
        _ => CallError::unreachable("protocol"),
    }
}

fn is_tls(error: &std::io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
}
