//! Pool of the idle connections to one upstream on one worker. The most recently used one is taken first.
//!
//! A sweep closes connections that have been idle for too long, so that none of a burst's remain open. It runs only while there
//! are idle connections.
//!
//! The guard checks a connection when it is opened and not again when it is reused: a pool never serves two policies, because a
//! provider whose policy changes gets a new pool.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use actix_web::http::Uri;
use actix_web::rt;
use futures_util::FutureExt;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{self, sleep_until};

use super::connection::{Connection, ConnectionOrigin};
use super::connector::GuardedConnector;
use super::error::Error;

/// Longest idle time of a connection. Providers keep theirs for longer.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Shortest pause between two sweeps.
const SWEEP: Duration = Duration::from_secs(1);

/// Most idle connections to one origin. Further ones replace those that have been idle longest.
const MAX_IDLE: usize = 256;

/// Longest lifetime of a connection, so that DNS changes take effect.
const LIFETIME: Duration = Duration::from_secs(300);

/// Idle connections to one upstream, and the connector that opens more.
pub struct Pool {
    connector: GuardedConnector,
    connect_timeout: Duration,
    /// The connection that has been idle longest is first.
    idle: RefCell<VecDeque<Idle>>,
    /// Whether the sweep is running.
    is_swept: Cell<bool>,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

impl Pool {
    /// Creates an empty pool. `connect_timeout` limits name resolution and TCP together, and TLS.
    pub fn new(connector: GuardedConnector, connect_timeout: Duration) -> Self {
        Self { connector, connect_timeout, idle: RefCell::default(), is_swept: Cell::new(false) }
    }

    /// Returns an idle connection to the origin of `target`, for an exchange that starts `now`.
    pub fn take(&self, target: &Uri, now: Instant) -> Option<Connection> {
        self.close_expired(now);
        let mut idle = self.idle.borrow_mut();
        let is_match = |idle: &Idle| idle.connection.origin.is_of(target);
        while let Some(mut newest) = idle.iter().rposition(is_match).and_then(|at| idle.remove(at)) {
            if now.saturating_duration_since(newest.connection.opened_at) < LIFETIME && is_quiet(&mut newest.connection) {
                return Some(newest.connection);
            }
        }
        None
    }

    /// Opens a connection to the origin of `target`.
    ///
    /// # Errors
    /// As [`GuardedConnector::open`].
    pub async fn open(&self, target: &Uri) -> Result<Connection, Error> {
        let transport = self.connector.open(target, self.connect_timeout).await?;
        Ok(Connection::new(transport, ConnectionOrigin::of(target), Instant::now()))
    }

    /// Returns a connection to the pool after a complete exchange.
    pub fn put(self: &Rc<Self>, mut connection: Connection) {
        connection.is_reused = true;
        let mut idle = self.idle.borrow_mut();
        if idle.len() >= MAX_IDLE {
            let mut same = (0..idle.len()).filter(|at| idle[*at].connection.origin == connection.origin);
            if let Some(oldest) = same.next()
                && same.count() + 1 >= MAX_IDLE
            {
                idle.remove(oldest);
            }
        }
        idle.push_back(Idle { connection, since: now() });
        drop(idle);
        if !self.is_swept.replace(true) {
            self.sweep();
        }
    }

    /// Closes idle connections as they expire, until none is left.
    fn sweep(self: &Rc<Self>) {
        let pool = Rc::downgrade(self);
        rt::spawn(async move {
            let mut due = now() + KEEP_ALIVE;
            loop {
                sleep_until(due.max(now() + SWEEP).into()).await;
                let Some(pool) = pool.upgrade() else { return };
                pool.close_expired(now());
                let oldest = pool.idle.borrow().front().map(|oldest| oldest.since);
                let Some(oldest) = oldest else {
                    pool.is_swept.set(false);
                    return;
                };
                due = oldest + KEEP_ALIVE;
            }
        });
    }

    /// Closes the connections that have been idle for too long.
    fn close_expired(&self, now: Instant) {
        let mut idle = self.idle.borrow_mut();
        while idle.front().is_some_and(|oldest| now.saturating_duration_since(oldest.since) >= KEEP_ALIVE) {
            idle.pop_front();
        }
    }
}

/// Returns the time of tokio's clock, which tests can pause.
fn now() -> Instant {
    time::Instant::now().into_std()
}

/// Whether the peer has neither closed the connection nor sent unsolicited bytes.
fn is_quiet(connection: &mut Connection) -> bool {
    let mut byte = [0];
    let read = poll_fn(|cx| Poll::Ready(Pin::new(&mut connection.transport).poll_read(cx, &mut ReadBuf::new(&mut byte)))).now_or_never();
    connection.buffer.is_empty() && matches!(read, Some(Poll::Pending))
}

#[cfg(test)]
mod tests;
