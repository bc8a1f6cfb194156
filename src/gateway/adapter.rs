//! The `Adapter` actor: one provider on one worker. It calls, retries with backoff, and reports to
//! the provider's health.
//!
//! Each attempt is a task of its own; the actor itself never waits. It knows no other provider:
//! failover is the router's.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, Context, Handler, ResponseFuture, Supervised};
use tokio::select;

use super::call::{self, NotPrepared};
use super::filter::Filter;
use super::health::Health;
use super::messages::{Attempt, AttemptOutcome};
use super::record::FinishedCall;
use super::retry::{self, RetryClass};
use crate::upstream::Upstream;

/// A pooled connection that broke without a response within this time may have been closed by the
/// peer before the request arrived.
const STALE_WITHIN: Duration = Duration::from_secs(1);

/// One provider on one worker.
pub struct Adapter {
    shared: Rc<AdapterState>,
}

struct AdapterState {
    upstream: Upstream,
    health: Arc<Health>,
    filter: Option<Arc<dyn Filter>>,
}

impl Adapter {
    /// An adapter that calls by `upstream`, reports to `health`, and filters each attempt.
    pub fn new(upstream: Upstream, health: Arc<Health>, filter: Option<Arc<dyn Filter>>) -> Self {
        Self { shared: Rc::new(AdapterState { upstream, health, filter }) }
    }
}

impl Actor for Adapter {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(0);
    }
}

impl Supervised for Adapter {}

impl Handler<Attempt> for Adapter {
    type Result = ResponseFuture<AttemptOutcome>;

    fn handle(&mut self, attempt: Attempt, _: &mut Self::Context) -> Self::Result {
        let shared = Rc::clone(&self.shared);
        Box::pin(async move { shared.attempt_until_settled(&attempt).await })
    }
}

impl AdapterState {
    /// Calls until there is an answer, the policy is used up, or the client closes the connection.
    async fn attempt_until_settled(&self, attempt: &Attempt) -> AttemptOutcome {
        let health = &self.health;
        let provider = &attempt.offer.provider;
        let (mut attempts_made, mut may_try_stale, mut started_at) = (attempt.attempts_made, true, attempt.started_at);
        loop {
            let prepared = match call::prepare(attempt, attempts_made, self.filter.as_deref()) {
                Ok(prepared) => prepared,
                Err(reason) => {
                    health.inconclusive();
                    return match reason {
                        NotPrepared::Inexpressible(refused) => AttemptOutcome::Inexpressible(refused),
                        NotPrepared::Refused(refusal) => AttemptOutcome::Refused(refusal),
                    };
                }
            };
            let mut request_id = None;
            let result = select! {
                biased;
                () = attempt.job.client_gone.closed() => None,
                result = call::call(&self.upstream, attempt, prepared, started_at, &mut request_id) => Some(result),
            };
            let (status, error) = match &result {
                None => (None, Some("client_closed")),
                Some(Ok(answered)) => (Some(answered.status), (answered.status >= 400).then(|| retry::name_of_status(answered.status))),
                Some(Err(failure)) => (failure.status, Some(failure.name())),
            };
            if let Some(error) = error {
                let (provider, ours, theirs) = (&provider.name, &attempt.job.request_id, request_id.as_deref().unwrap_or("none"));
                log::debug!("attempt at provider {provider} failed: {error}, request {ours}, upstream request {theirs}");
            }
            attempt.record.attempted(&attempt.offer, FinishedCall { started_at, status, error, request_id });
            let failure = match result {
                None => {
                    health.inconclusive();
                    return AttemptOutcome::Abandoned;
                }
                Some(Ok(answered)) => {
                    health.succeeded();
                    let mut reply = answered.reply;
                    reply.route.attempts = attempt.record.attempts();
                    return AttemptOutcome::Relayed(reply);
                }
                Some(Err(failure)) => failure,
            };
            if failure.class() != RetryClass::Transient {
                health.inconclusive();
                return AttemptOutcome::Exhausted(failure);
            }
            if failure.may_be_stale() && may_try_stale && started_at.elapsed() < STALE_WITHIN {
                (may_try_stale, started_at) = (false, Instant::now());
                continue;
            }
            health.failed(failure.name(), &provider.retry.cooldown, Instant::now());
            attempts_made += 1;
            let Some(pause) = retry::pause(&provider.retry, attempts_made, failure.retry_after, fastrand::f64()) else {
                return AttemptOutcome::Exhausted(failure);
            };
            select! {
                biased;
                () = attempt.job.client_gone.closed() => return AttemptOutcome::Abandoned,
                () = tokio::time::sleep(pause) => started_at = Instant::now(),
            }
        }
    }
}
