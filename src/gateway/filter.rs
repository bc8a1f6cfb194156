//! Filter: the station for content policies such as data loss prevention and audit (DESIGN.md
//! section 10).
//!
//! It stands around the request's body before a dialect sees it, and around the [`Reader`] of
//! the answer. Each attempt gets a filter of its own, so retry and failover reset it. Production
//! has no policy here yet.

use super::job::Job;
use super::refusal::Refusal;
use crate::catalog::provider::Offer;
use crate::dialect::reader::Reader;
use crate::payload::Payload;

/// Builds the filter of each attempt.
pub trait Filter: Send + Sync {
    /// A filter for one call of `offer`.
    fn begin(&self, job: &Job, offer: &Offer) -> Box<dyn AttemptFilter>;
}

/// The filter of one attempt.
pub trait AttemptFilter {
    /// Inspects the request's body. Returns the one to send in its place, `None` to leave it as it
    /// is.
    ///
    /// # Errors
    /// The refusal for the client. No provider is called any more.
    fn request(&mut self, payload: &Payload) -> Result<Option<Payload>, Refusal>;

    /// Wraps the reader of the answer. The wrapper may change, hold back and end the answer; its
    /// [`held`](Reader::held) must include the bytes that it holds back. To block an answer it
    /// returns a [`Failure`](crate::dialect::failure::Failure) of origin
    /// [`Policy`](crate::dialect::failure::FailureOrigin::Policy), which is not retried.
    fn answer(self: Box<Self>, reader: Box<dyn Reader>) -> Box<dyn Reader>;
}

#[cfg(test)]
mod tests;
