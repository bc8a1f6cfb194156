//! One call to one upstream: send a request, get a head, read a body. Says precisely how it failed; never retries.
//!
//! Which headers go out and which answers are usable is decided here; the connection is [`pool`]'s, the bytes are
//! [`h1`]'s. Answers that are made up in process are played through the same door.

pub mod body;
pub mod connection;
pub mod connector;
pub mod h1;
pub mod pool;

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::Uri;
use actix_web::http::header::{HeaderName, HeaderValue};
use bytes::Bytes;
use futures_util::FutureExt;
use tokio::time::{timeout, timeout_at};
use zeroize::Zeroizing;

use crate::catalog::provider::Provider;
use crate::dialect::Script;
use crate::gateway::headers::{self, ResponseHeaders};
use crate::guard::{Policy, SelfListen};
use crate::ledger::entry::Billing;
use body::{Incoming, Remote};
use connection::Connection;
use connector::{DialError, GuardedConnector, Resolve};
use h1::{Broken, exchange};
use pool::Pool;

/// What all ways out of this process share.
#[derive(Clone)]
pub struct Network {
    /// Looks names up.
    pub resolver: Arc<dyn Resolve>,
    /// Where this process listens: it never calls itself.
    pub self_listen: SelfListen,
}

/// The way to one provider on one worker: its guard and its pool.
pub struct Upstream {
    pool: Rc<Pool>,
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
    /// When the call began.
    pub begun: Instant,
    /// Until when the head has to be in.
    pub head_until: Instant,
    /// Whose bill: decides what passes of the answer's head.
    pub billing: Billing,
}

/// Who asks, unless the kind says otherwise.
const AGENT: (&str, &[u8]) = ("user-agent", concat!("aigw/", env!("CARGO_PKG_VERSION")).as_bytes());
/// What every request says. An answer that comes encoded could not be read in passing.
const OURS: [(&str, &[u8]); 2] = [("content-type", b"application/json"), ("accept-encoding", b"identity")];

/// An answer whose head is in.
pub struct Arrived {
    /// Its status.
    pub status: u16,
    /// What passes of its headers.
    pub passed: ResponseHeaders,
    /// Its body, not read yet.
    pub body: Incoming,
}

/// How a call failed: where, why, and whether the connection may just have been stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallError {
    /// The class the ledger records.
    pub name: &'static str,
    /// What it means for the client if it was the last.
    pub why: Why,
    /// A pooled connection broke before a byte of an answer came: worth one free try.
    pub may_be_stale: bool,
    /// The status of a head that was in when it failed.
    pub status: Option<u16>,
}

/// Class of a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Too slow.
    TimedOut,
    /// No connection, a broken connection, or an unusable response.
    Unreachable,
    /// The SSRF guard refused the address.
    Forbidden,
}

impl CallError {
    const fn unreachable(name: &'static str) -> Self {
        Self { name, why: Why::Unreachable, may_be_stale: false, status: None }
    }

    /// Something took too long.
    pub const TIMED_OUT: Self = Self { name: "timeout", why: Why::TimedOut, may_be_stale: false, status: None };
    /// The connection broke.
    pub const RESET: Self = Self::unreachable("reset");
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
        let connector = GuardedConnector::new(policy, Arc::clone(&network.resolver));
        Self { pool: Rc::new(Pool::new(connector, provider.retry.connect_timeout)) }
    }

    /// Sends one request and waits for the head of the answer.
    ///
    /// # Errors
    /// Everything that keeps a usable head from arriving: DNS, guard, TCP, TLS, time, and answers that are not HTTP as we need it.
    pub async fn exchange(&self, request: Request<'_>) -> Result<Arrived, CallError> {
        let (until, billing, target) = (request.head_until, request.billing, request.target);
        let sending = async {
            let connection = match self.pool.take(target, request.begun) {
                Some(connection) => connection,
                // Boxed: dialling takes room that most calls do without.
                None => self.pool.open(target).boxed_local().await.map_err(|error| undialled(&error))?,
            };
            let head = request.head();
            exchange(connection, head, request.body).await.map_err(|(broken, connection)| unanswered(&broken, &connection))
        };
        let (head, receiving) = timeout_at(until.into(), sending).await.map_err(|_| CallError::TIMED_OUT)??;
        let status = head.status;
        let unusable = |name| CallError { status: Some(status), ..CallError::unreachable(name) };
        if status < 200 {
            return Err(CallError::unreachable("informational"));
        }
        if head.get("content-encoding").is_some_and(|value| !value.eq_ignore_ascii_case(b"identity")) {
            return Err(unusable("encoded"));
        }
        if receiving.ends_with_connection() && head.is_http_1_1 {
            // Nobody could tell half of such a body from all of it: better no answer than half of one.
            return Err(unusable("framing"));
        }
        let passed = headers::response(&head, billing);
        let body = Incoming::Remote(Remote::new(receiving, &self.pool));
        Ok(Arrived { status, passed, body })
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
        let passed = ResponseHeaders { content_type: script.content_type.into(), headers: Vec::new() };
        Ok(Arrived { status: script.status, passed, body: Incoming::Played(pieces) })
    }
}

impl Request<'_> {
    /// Request line and headers. Of two values for one name the later wins: the kind's word goes above the client's, the
    /// dialect's above the kind's. None of them may name what frames the request. It holds a key, so it is wiped once it is sent.
    fn head(&self) -> Bytes {
        let mut lines: Vec<(&str, &[u8])> = Vec::with_capacity(16);
        let forwarded = self.forwarded.iter().map(|(name, value)| (*name, value.as_bytes()));
        let of_kind = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let more = self.more.iter().map(|(name, value)| (*name, value.as_bytes()));
        let credential = self.credential.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        for (name, value) in [AGENT].into_iter().chain(forwarded).chain(of_kind).chain(more).chain(OURS).chain(credential) {
            match lines.iter_mut().find(|(other, _)| *other == name) {
                Some(line) => line.1 = value,
                None => lines.push((name, value)),
            }
        }
        let path = self.target.path_and_query().map_or("/", |path| path.as_str());
        let host = self.target.authority().map_or("", |authority| authority.as_str());
        let length = self.body.len().to_string();
        lines.extend([("host", host.as_bytes()), ("content-length", length.as_bytes())]);
        let size = path.len() + lines.iter().map(|(name, value)| name.len() + value.len() + 4).sum::<usize>() + 32;
        let mut out = Zeroizing::new(Vec::with_capacity(size));
        for part in [b"POST ", path.as_bytes(), b" HTTP/1.1\r\n"] {
            out.extend_from_slice(part);
        }
        for (name, value) in lines {
            for part in [name.as_bytes(), b": ", value, b"\r\n"] {
                out.extend_from_slice(part);
            }
        }
        out.extend_from_slice(b"\r\n");
        Bytes::from_owner(out)
    }
}

/// Why there is no connection, in our classes. The error's text goes nowhere but into the operator's log: it may name addresses.
fn undialled(error: &DialError) -> CallError {
    match error {
        DialError::Denied(denied) => {
            log::warn!("the network guard refused an upstream address: {denied}");
            CallError { why: Why::Forbidden, ..CallError::unreachable(denied.code()) }
        }
        DialError::Dns => CallError::unreachable("dns"),
        DialError::Connect(_) => CallError::unreachable("connect"),
        DialError::Tls(_) => CallError::unreachable("tls"),
        DialError::TimedOut => CallError { name: "connect_timeout", ..CallError::TIMED_OUT },
    }
}

/// Why there is no head, in our classes.
fn unanswered(broken: &Broken, connection: &Connection) -> CallError {
    let name = match broken {
        Broken::Closed => "disconnected",
        Broken::Reset => "reset",
        Broken::Send => "send",
        Broken::HeadTooLarge => return CallError::unreachable("head_too_large"),
        Broken::NotHttp => return CallError::unreachable("not_http"),
    };
    CallError { may_be_stale: connection.is_reused && connection.buffer.is_empty(), ..CallError::unreachable(name) }
}
