//! State of one client connection that outlives its requests.

use std::cell::Cell;
use std::rc::Rc;

use tokio::time::Instant;

use crate::http::identity::LastKey;

/// State of one client connection.
#[derive(Debug)]
pub struct ClientConnection {
    /// Whether it must close: actix would still serve a request that arrived behind the last one.
    pub is_closing: Cell<bool>,
    /// Key that the last request presented.
    pub last_key: Cell<Option<LastKey>>,
    state: Cell<ConnState>,
}

/// State in the exchange of requests and responses.
#[derive(Clone, Copy, Debug)]
enum ConnState {
    /// No request has begun.
    Idle,
    /// A head has been arriving since this time.
    Head(Instant),
    /// A request is being served, or its body is arriving.
    Request,
}

/// Marks that a request is being served. After it is dropped, the next bytes are a new head.
#[derive(Debug)]
pub struct RequestGuard(Rc<ClientConnection>);

impl ClientConnection {
    /// Creates the state of a new connection, whose first head is due.
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self { is_closing: Cell::new(false), last_key: Cell::default(), state: Cell::new(ConnState::Head(Instant::now())) })
    }

    /// Marks the head of a request as complete.
    pub fn begin(self: &Rc<Self>) -> RequestGuard {
        self.state.set(ConnState::Request);
        RequestGuard(Rc::clone(self))
    }

    /// Notes that bytes were received.
    pub(super) fn received(&self) {
        if let ConnState::Idle = self.state.get() {
            self.state.set(ConnState::Head(Instant::now()));
        }
    }

    /// Returns the time since which a head has been due.
    pub(super) fn head_due_since(&self) -> Option<Instant> {
        match self.state.get() {
            ConnState::Head(since) => Some(since),
            ConnState::Idle | ConnState::Request => None,
        }
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.0.state.set(ConnState::Idle);
    }
}
