//! The walk along a chain of providers until one of them answers (DESIGN.md section 5).
//!
//! Providers in cooldown are skipped as long as there are others. Retries of one provider are the
//! adapter's.

use std::sync::Arc;
use std::time::Instant;

use super::byo::{ByoError, ByoKeys, Presented};
use super::call_failure::{CallFailure, Cause};
use super::headers::ResponseHeaders;
use super::job::Job;
use super::messages::{Answer, Attempt, AttemptOutcome, Rejection, Reply};
use super::record::{FinishedCall, RequestRecord};
use super::refusal::Refusal;
use super::slots::AdapterSlots;
use crate::catalog::provider::Offer;

/// One request on its way along its chain.
pub struct Failover<'a> {
    /// The worker's adapters.
    pub slots: &'a AdapterSlots,
    /// Opens tenants' own provider keys.
    pub byo_keys: &'a ByoKeys,
    /// The request.
    pub job: &'a Arc<Job>,
    /// The virtual key as presented, if its tenant has providers of its own.
    pub presented: Option<&'a Presented>,
    /// The request's ledger entry.
    pub record: &'a RequestRecord,
}

/// Result of one offer.
enum Step {
    /// The request is answered.
    Answer(Answer),
    /// The next offer may answer.
    Next(CallFailure),
    /// The offer's dialect cannot express the request.
    Inexpressible(crate::dialect::request::Refused),
}

impl Failover<'_> {
    /// Tries one offer after the other until there is an answer for the client.
    pub async fn try_chain(&self, chain: &[Arc<Offer>]) -> Answer {
        let job = self.job;
        let mut last: Option<(&Arc<Offer>, CallFailure)> = None;
        let mut skipped = Vec::new();
        for offer in chain.iter().filter(|offer| offer.can_do(job.operation)) {
            if self.slots.get(&offer.provider).health.admits(Instant::now()) {
                match self.attempt(offer).await {
                    Step::Answer(answer) => return answer,
                    Step::Next(failure) => last = Some((offer, failure)),
                    Step::Inexpressible(refused) if last.is_none() => return Err(self.refuse(offer, Refusal::Inexpressible(refused), 0)),
                    Step::Inexpressible(_) => {}
                }
            } else {
                skipped.push(offer);
            }
        }
        if last.is_none() {
            // All of them are in cooldown: a provider in cooldown is better than none.
            for offer in skipped {
                match self.attempt(offer).await {
                    Step::Answer(answer) => return answer,
                    Step::Next(failure) => last = Some((offer, failure)),
                    Step::Inexpressible(refused) => return Err(self.refuse(offer, Refusal::Inexpressible(refused), 0)),
                }
            }
        }
        let Some((offer, failure)) = last else { return Err(Refusal::UnknownModel(job.model.to_string()).into()) };
        self.exhausted(offer, failure)
    }

    /// Sends one offer to its adapter. An adapter that dies of it is replaced, and the call is
    /// repeated.
    async fn attempt(&self, offer: &Arc<Offer>) -> Step {
        let (job, record) = (self.job, self.record);
        let auth_header = match &offer.byo_auth {
            None => None,
            Some(byo_auth) => match self.byo_keys.authorize(self.presented, &job.caller, offer, byo_auth, &job.request_id) {
                Ok(header) => Some(header),
                Err(error) => {
                    self.slots.get(&offer.provider).health.inconclusive();
                    return self.without_credential(offer, error);
                }
            },
        };
        record.reroute(job, offer);
        record.journaled().await;
        let calls = || u32::try_from(record.attempts()).unwrap_or(u32::MAX);
        let before = calls();
        loop {
            let attempts_made = calls() - before;
            if attempts_made >= offer.provider.retry.attempts {
                return Step::Next(CallFailure::new(Cause::Adapter));
            }
            let slot = self.slots.get(&offer.provider);
            let started_at = Instant::now();
            let attempt = Attempt {
                job: Arc::clone(job),
                offer: Arc::clone(offer),
                record: record.clone(),
                attempts_made,
                started_at,
                auth_header: auth_header.clone(),
            };
            match slot.adapter.send(attempt).await {
                Ok(AttemptOutcome::Relayed(reply)) => return Step::Answer(Ok(*reply)),
                Ok(AttemptOutcome::Exhausted(failure)) => return Step::Next(failure),
                Ok(AttemptOutcome::Inexpressible(refused)) => return Step::Inexpressible(refused),
                Ok(AttemptOutcome::Refused(refusal)) => return Step::Answer(Err(self.refuse(offer, refusal, record.attempts()))),
                Ok(AttemptOutcome::Abandoned) => {
                    record.abandoned(job);
                    return Step::Answer(Err(Refusal::Internal.into()));
                }
                Err(_) => {
                    if self.slots.replace(&slot) {
                        log::error!("the adapter of provider {} failed and was replaced", offer.provider.name);
                    }
                    log::error!("a call of provider {} was lost, request {}", offer.provider.name, job.request_id);
                    // The gateway's own failure says nothing about the provider.
                    slot.health.inconclusive();
                    let error = Some(CallFailure::new(Cause::Adapter).name());
                    record.attempted(offer, FinishedCall { started_at, status: None, error, request_id: None });
                }
            }
        }
    }

    /// The tenant's own key is unavailable: nothing is sent, and it counts as if the provider had
    /// rejected the key.
    fn without_credential(&self, offer: &Offer, error: ByoError) -> Step {
        let failure = CallFailure::new(match error {
            ByoError::Unopened => Cause::NoCredential,
            ByoError::Misdirected => Cause::Misdirected,
        });
        self.record.not_attempted(offer, failure.name());
        Step::Next(failure)
    }

    fn refuse(&self, offer: &Offer, refusal: Refusal, attempts: usize) -> Rejection {
        self.record.refused(self.job, &refusal);
        Rejection::routed(refusal, offer, attempts)
    }

    /// The chain is exhausted: the last failure decides the answer.
    fn exhausted(&self, offer: &Offer, last: CallFailure) -> Answer {
        let attempts = self.record.attempts();
        let upstream_request_id = self.record.last_upstream_request_id();
        let refusal = last.refusal();
        if let (Cause::Status(404), Some(failure)) = (last.cause, last.response) {
            self.record.not_found_upstream(self.job, &failure);
            let headers = ResponseHeaders::json(upstream_request_id);
            let mut reply = Reply::error(self.job, offer, failure, headers);
            reply.route.attempts = attempts;
            return Ok(reply);
        }
        let mut rejection = self.refuse(offer, refusal, attempts);
        if let Some(route) = &mut rejection.route {
            route.upstream_request_id = upstream_request_id;
        }
        Err(rejection)
    }
}
