//! State that the handlers of one process share.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use actix_web::HttpRequest;

use super::connections::ClientConnection;
use super::identity::Authenticator;
use super::probes::Probes;
use crate::catalog::caller::Caller;
use crate::config::{Server, UpstreamLimits};
use crate::gateway::refusal::Refusal;
use crate::gateway::worker::{Worker, Workers};
use crate::memory::MemoryCapacity;
use crate::metrics::Metrics;

/// State of the data plane's handlers.
pub struct AppState {
    /// The gateway half.
    pub workers: Arc<Workers>,
    /// Authenticates virtual keys and counts failures.
    pub authenticator: Authenticator,
    /// `[server]`.
    pub server: Server,
    /// `[upstream]`.
    pub limits: UpstreamLimits,
    /// Memory for bodies in flight.
    pub memory: Arc<MemoryCapacity>,
    /// Counter of refusals, which leave no ledger entry.
    pub metrics: Arc<Metrics>,
    /// Sources of the probes' answers.
    pub probes: Probes,
}

impl AppState {
    /// Returns the caller of a request, by the snapshot of `worker`. `now` is in unix seconds.
    ///
    /// # Errors
    /// As [`Authenticator::admit`], or if revoked keys have been unknown for too long.
    pub fn identify(&self, request: &HttpRequest, worker: &Worker, now: i64) -> Result<Arc<Caller>, Refusal> {
        let from = request.peer_addr().map(|peer| peer.ip());
        let alone = Cell::default();
        let last = request.conn_data::<Rc<ClientConnection>>().map_or(&alone, |connection| &connection.last_key);
        let caller = self.authenticator.admit(request.headers(), last, from, &worker.snapshot.borrow(), now)?;
        if self.workers.is_trusted() { Ok(caller) } else { Err(Refusal::Unconfirmed) }
    }
}
