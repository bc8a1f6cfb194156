//! Idle connections of one provider on one worker, used again from the newest.
//!
//! A connection that is taken has passed the guard when it was dialled and is not judged again: a pool is never shared between
//! policies, and a changed policy is another provider with a pool of its own.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use actix_web::http::Uri;
use futures_util::FutureExt;
use tokio::io::{AsyncRead, ReadBuf};

use super::connection::{Connection, Origin};
use super::connector::{DialError, GuardedConnector};

/// How long an idle connection is kept: shorter than providers keep theirs.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How long a connection is used at all, so that changes in DNS are noticed.
const LIFETIME: Duration = Duration::from_secs(300);

/// The connections of one provider that are not in use, and how more are made.
pub struct Pool {
    connector: GuardedConnector,
    connect_timeout: Duration,
    /// From the one that has been idle longest.
    idle: RefCell<VecDeque<Idle>>,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

impl Pool {
    /// An empty one. `connect_timeout` holds for TCP and, apart, for TLS.
    pub fn new(connector: GuardedConnector, connect_timeout: Duration) -> Self {
        Self { connector, connect_timeout, idle: RefCell::default() }
    }

    /// An idle connection to where `target` is, for an exchange that begins `now`.
    pub fn take(&self, target: &Uri, now: Instant) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        while idle.front().is_some_and(|oldest| now.saturating_duration_since(oldest.since) > KEEP_ALIVE) {
            idle.pop_front();
        }
        let leads_there = |idle: &Idle| idle.connection.origin.is_of(target);
        while let Some(mut newest) = idle.iter().rposition(leads_there).and_then(|at| idle.remove(at)) {
            if now.saturating_duration_since(newest.connection.opened) < LIFETIME && is_quiet(&mut newest.connection) {
                return Some(newest.connection);
            }
        }
        None
    }

    /// A new connection to where `target` is.
    ///
    /// # Errors
    /// As [`GuardedConnector::dial`].
    pub async fn open(&self, target: &Uri) -> Result<Connection, DialError> {
        let wire = self.connector.dial(target, self.connect_timeout).await?;
        Ok(Connection::new(wire, Origin::of(target), Instant::now()))
    }

    /// Keeps a connection that has carried an exchange to its end.
    pub fn put(&self, mut connection: Connection) {
        connection.is_reused = true;
        self.idle.borrow_mut().push_back(Idle { connection, since: Instant::now() });
    }
}

/// Whether the peer has neither closed the connection nor said anything that nobody asked for.
fn is_quiet(connection: &mut Connection) -> bool {
    let mut byte = [0];
    let read = poll_fn(|cx| Poll::Ready(Pin::new(&mut connection.wire).poll_read(cx, &mut ReadBuf::new(&mut byte)))).now_or_never();
    connection.buffer.is_empty() && matches!(read, Some(Poll::Pending))
}
