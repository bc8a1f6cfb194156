//! Admission: the station for budgets and limits (DESIGN.md section 10).
//!
//! The router calls it once for each request, after the chain is resolved and before the ledger
//! entry opens. Production has no policy here yet.

use std::sync::Arc;

use futures_util::future::LocalBoxFuture;

use super::job::Job;
use super::refusal::Refusal;
use crate::catalog::provider::Offer;
use crate::catalog::snapshot::Resolved;
use crate::ledger::settlement_guard::SettlementGuard;

/// Decides whether and when a request may go to a provider.
pub trait Admission: Send + Sync {
    /// Admits the request, now or after a wait. The guard, if any, is told exactly once how the
    /// request ended. The future is dropped when the client closes the connection.
    ///
    /// # Errors
    /// The refusal for the client. The request gets an entry in the ledger all the same.
    fn admit<'a>(&'a self, candidate: Candidate<'a>) -> LocalBoxFuture<'a, Result<Option<Box<dyn SettlementGuard>>, Refusal>>;
}

/// A routed request before its first call.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The request: caller, operation and payload among the rest.
    pub job: &'a Job,
    /// The resolved model and its chain.
    pub plan: &'a Resolved,
}

impl Candidate<'_> {
    /// Size of the payload in bytes.
    pub fn payload_bytes(&self) -> usize {
        self.job.payload.bytes().len()
    }

    /// The offers that can serve the request, in order.
    pub fn offers(&self) -> impl Iterator<Item = &Arc<Offer>> {
        self.plan.chain.iter().filter(|offer| offer.can_do(self.job.operation))
    }
}

#[cfg(test)]
mod tests;
