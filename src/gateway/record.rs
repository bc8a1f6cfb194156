//! The ledger entry of a request in progress. This is the only file that fills in the fields of an
//! [`Entry`].
//!
//! An entry is opened as a draft that holds if the process is killed, then follows the request:
//! rerouted to another provider, one record for each upstream call, and one ending.

use std::sync::Arc;
use std::time::{Duration, Instant};

use smol_str::SmolStr;
use uuid::{NoContext, Timestamp, Uuid};

use super::job::Job;
use super::refusal::Refusal;
use super::retry;
use crate::catalog::price;
use crate::catalog::provider::Offer;
use crate::dialect::failure::{Failure, FailureOrigin};
use crate::dialect::reader::Observed;
use crate::ledger::entry::{AttemptRecord, Entry, Outcome, UsageSource};
use crate::ledger::journal::Journal;
use crate::ledger::settlement::Settlement;
use crate::ledger::settlement_guard::SettlementGuard;
use crate::terms::{Billing, ModelId, NanoUsd, Usage};

/// A shared hold on the entry of one request. The entry is settled when the last hold is dropped or
/// closed.
#[derive(Clone)]
pub struct RequestRecord(Settlement);

/// One finished upstream call.
#[derive(Debug)]
pub struct FinishedCall {
    /// Start of the call.
    pub started_at: Instant,
    /// The upstream's status, if a head arrived.
    pub status: Option<u16>,
    /// Class of the failure.
    pub error: Option<&'static str>,
    /// The upstream's own id of the call.
    pub request_id: Option<String>,
}

/// How a stream ended after its first event.
#[derive(Debug)]
pub enum StreamEnd {
    /// The terminal event arrived.
    Complete,
    /// The stream broke; the client gets the failure as its last frame.
    Broken(Failure),
    /// The client closed the connection.
    ClientClosed,
    /// The client did not read for the whole write timeout.
    ClientStalled,
    /// The virtual key was revoked or expired.
    KeyRevoked,
}

/// How far an answer got.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// To its end: the provider's own figures hold.
    Complete,
    /// Not to its end: figures are estimated from what was seen, and never below what the provider
    /// reported.
    Partial,
}

impl RequestRecord {
    /// Opens the entry of a request that goes to `first`. `guard` is told how the request ended.
    pub fn open(journal: &Arc<Journal>, job: &Job, model: &ModelId, first: &Offer, guard: Option<Box<dyn SettlementGuard>>) -> Self {
        Self(Settlement::open_guarded(journal, draft(job, model, first), job.received, guard))
    }

    /// Moves the entry to `offer`, if that is another provider or another account. The new draft is
    /// journaled, so that a killed process bills the provider that was called last.
    pub fn reroute(&self, job: &Job, offer: &Offer) {
        let provider = &offer.provider;
        if self.0.with(|entry| entry.provider != provider.name || entry.billing != provider.billing) {
            self.0.redraft(|entry| {
                set_provider(entry, offer);
                assume_prompt(entry, offer, job.prompt_bytes);
            });
        }
    }

    /// Waits until the draft is in the journal. No upstream may be called before that.
    pub async fn journaled(&self) {
        self.0.journaled().await;
    }

    /// Number of upstream calls so far.
    pub fn attempts(&self) -> usize {
        self.0.with(|entry| entry.attempts.len())
    }

    /// Amount owed so far.
    pub fn cost(&self) -> NanoUsd {
        self.0.with(|entry| entry.cost)
    }

    /// The upstream's own id of the last call.
    pub fn last_upstream_request_id(&self) -> Option<String> {
        self.0.with(|entry| entry.attempts.last().and_then(|last| last.request_id.clone()))
    }

    /// Adds one upstream call.
    pub fn attempted(&self, offer: &Offer, call: FinishedCall) {
        let attempt = AttemptRecord {
            provider: offer.provider.name.clone(),
            status: call.status,
            error: call.error.map(SmolStr::new_static),
            ms: millis(call.started_at.elapsed()),
            request_id: call.request_id,
        };
        self.0.with(|entry| entry.attempts.push(attempt));
    }

    /// Adds an attempt that was given up before anything was sent, because its credential is
    /// unavailable.
    pub fn not_attempted(&self, offer: &Offer, error: &'static str) {
        let provider = offer.provider.name.clone();
        let attempt = AttemptRecord { provider, status: None, error: Some(error.into()), ms: 0, request_id: None };
        self.0.with(|entry| {
            set_provider(entry, offer);
            entry.attempts.push(attempt);
        });
    }

    /// A complete answer.
    pub fn answered(&self, job: &Job, offer: &Offer, status: u16, observed: Observed) {
        self.metered(job, offer, observed, Extent::Complete, |entry| {
            (entry.status, entry.outcome, entry.error_code) = (status, Outcome::Ok, None);
        });
    }

    /// The first event of a stream has arrived.
    pub fn first_event(&self, job: &Job) {
        let waited = millis(job.received.elapsed());
        self.0.with(|entry| entry.ttfb_ms = Some(waited));
    }

    /// A stream has ended after its first event.
    pub fn stream_ended(&self, job: &Job, offer: &Offer, observed: Observed, end: &StreamEnd) {
        let extent = if matches!(end, StreamEnd::Complete) { Extent::Complete } else { Extent::Partial };
        self.metered(job, offer, observed, extent, |entry| {
            entry.status = 200;
            (entry.outcome, entry.error_code) = match end {
                StreamEnd::Complete => (Outcome::Ok, None),
                StreamEnd::Broken(failure) if failure.origin == FailureOrigin::Policy => {
                    (Outcome::Interrupted, Some(failure_code(failure)))
                }
                StreamEnd::Broken(_) => (Outcome::Interrupted, Some("upstream_interrupted".into())),
                StreamEnd::KeyRevoked => (Outcome::Interrupted, Some("key_revoked".into())),
                StreamEnd::ClientClosed => (Outcome::ClientClosed, Some("client_closed".into())),
                StreamEnd::ClientStalled => (Outcome::ClientClosed, Some("client_stalled".into())),
            };
        });
    }

    /// A policy blocked an answer before anything of it reached the client. The provider is paid
    /// for it all the same.
    pub fn answer_blocked(&self, job: &Job, offer: &Offer, observed: Observed, failure: &Failure) {
        self.metered(job, offer, observed, Extent::Partial, |entry| {
            (entry.status, entry.outcome) = (failure.status, Outcome::ClientError);
            entry.error_code = Some(failure_code(failure));
        });
    }

    /// The upstream rejected the request as invalid, and the client gets that answer.
    pub fn rejected_upstream(&self, failure: &Failure) {
        self.0.with(|entry| {
            nothing_used(entry);
            (entry.status, entry.outcome) = (failure.status, Outcome::ClientError);
            entry.error_code = Some(failure_code(failure));
        });
    }

    /// The last upstream of an exhausted chain does not know the model, and the client gets its
    /// answer.
    pub fn not_found_upstream(&self, job: &Job, failure: &Failure) {
        self.rejected_upstream(failure);
        self.0.with(|entry| {
            entry.error_code = Some(failure.ledger_code().unwrap_or("not_found").into());
            entry.latency_ms = millis(job.received.elapsed());
        });
    }

    /// The gateway refused the request, and no provider has accepted it.
    pub fn refused(&self, job: &Job, refusal: &Refusal) {
        let details = refusal.details();
        self.0.with(|entry| {
            nothing_used(entry);
            entry.status = details.status;
            entry.outcome = if refusal.is_upstream_failure() { Outcome::UpstreamError } else { Outcome::ClientError };
            entry.error_code = Some(details.code.into());
            entry.latency_ms = millis(job.received.elapsed());
        });
    }

    /// The client closed the connection before there was an answer. The provider may have read the
    /// prompt, so it is billed.
    pub fn abandoned(&self, job: &Job) {
        self.0.with(|entry| {
            (entry.status, entry.outcome) = (499, Outcome::ClientClosed);
            entry.error_code = Some("client_closed".into());
            entry.latency_ms = millis(job.received.elapsed());
        });
    }

    /// The client closed the connection before any provider was called.
    pub fn abandoned_unsent(&self, job: &Job) {
        self.0.with(nothing_used);
        self.abandoned(job);
    }

    /// Drops this hold. If it was the last, waits until the settled entry is in the journal.
    pub async fn close(self) {
        self.0.close().await;
    }

    /// Fills in usage, cost and times of an answer of `offer`, then the rest by `end`.
    fn metered(&self, job: &Job, offer: &Offer, observed: Observed, extent: Extent, end: impl FnOnce(&mut Entry)) {
        let elapsed = millis(job.received.elapsed());
        if observed.has_absurd_usage {
            let provider = &offer.provider.name;
            log::warn!("provider {provider} reported impossible usage for request {}; it is estimated", job.request_id);
        }
        self.0.with(|entry| {
            meter(entry, offer, observed, extent, job.prompt_bytes);
            entry.ttfb_ms.get_or_insert(elapsed);
            entry.latency_ms = elapsed;
            end(entry);
        });
    }
}

/// The entry that holds if nothing more is learned: the request was sent and its prompt must be
/// paid for.
fn draft(job: &Job, model: &ModelId, first: &Offer) -> Entry {
    let caller = &job.caller;
    let mut entry = Entry {
        id: entry_id(job.received_at),
        request_id: job.request_id.clone(),
        created_at: job.received_at,
        tenant: caller.tenant.id.clone(),
        team: caller.team.clone(),
        key_id: caller.key_id.clone(),
        subject: caller.subject.clone(),
        user: job.user.clone(),
        tags: merged_tags(&caller.tags, &job.tags),
        operation: job.operation,
        model: model.clone(),
        upstream_model: first.upstream_model.clone(),
        provider: first.provider.name.clone(),
        kind: first.provider.kind.clone(),
        billing: first.provider.billing,
        stream: job.stream,
        status: 500,
        outcome: Outcome::Interrupted,
        error_code: Some("interrupted".into()),
        finish_reason: None,
        usage: Usage::default(),
        usage_source: UsageSource::None,
        cost: NanoUsd(0),
        list_cost: NanoUsd(0),
        attempts: Vec::new(),
        latency_ms: 0,
        ttfb_ms: None,
    };
    assume_prompt(&mut entry, first, job.prompt_bytes);
    entry
}

/// A unique id that sorts by the time the request was received, in unix milliseconds.
/// `Uuid::now_v7` is not used because its process-wide counter is a lock between the workers.
fn entry_id(received_at: i64) -> String {
    let milliseconds = u64::try_from(received_at).unwrap_or_default();
    let within_second = (milliseconds % 1_000) as u32 * 1_000_000;
    let id = Uuid::new_v7(Timestamp::from_unix(NoContext, milliseconds / 1_000, within_second));
    id.hyphenated().encode_lower(&mut Uuid::encode_buffer()).to_owned()
}

/// The tags of the key and of the request, sorted by name. The request's win.
fn merged_tags(of_key: &[(String, String)], of_request: &[(String, String)]) -> Vec<(String, String)> {
    let mut tags = of_request.to_vec();
    tags.extend(of_key.iter().filter(|(name, _)| of_request.iter().all(|(other, _)| other != name)).cloned());
    tags.sort();
    tags
}

fn set_provider(entry: &mut Entry, offer: &Offer) {
    entry.provider = offer.provider.name.clone();
    entry.kind = offer.provider.kind.clone();
    entry.billing = offer.provider.billing;
    entry.upstream_model = offer.upstream_model.clone();
}

fn failure_code(failure: &Failure) -> SmolStr {
    failure.ledger_code().unwrap_or(retry::name_of_status(failure.status)).into()
}

/// Fills in usage and cost. The size of the prompt stands in for a count that the provider did not
/// report.
fn meter(entry: &mut Entry, offer: &Offer, observed: Observed, extent: Extent, prompt_bytes: u64) {
    let output = Usage::estimate(observed.output_bytes);
    (entry.usage, entry.usage_source) = match (observed.usage, extent) {
        (Some(usage), Extent::Complete) => (usage, UsageSource::Upstream),
        (Some(usage), Extent::Partial) => {
            let completion_tokens = usage.completion_tokens.max(output);
            (Usage { completion_tokens, ..usage }, UsageSource::Estimated)
        }
        (None, _) => {
            let prompt_tokens = Usage::estimate(prompt_bytes);
            (Usage { prompt_tokens, completion_tokens: output, ..Usage::default() }, UsageSource::Estimated)
        }
    };
    if observed.finish_reason.is_some() {
        entry.finish_reason = observed.finish_reason;
    }
    entry.list_cost = price::cost(&offer.price, &entry.usage);
    entry.cost = match entry.billing {
        Billing::Brokered => entry.list_cost,
        Billing::Byo => NanoUsd(0),
    };
}

/// Fills in the amount owed if the prompt was sent and nothing comes back.
fn assume_prompt(entry: &mut Entry, offer: &Offer, prompt_bytes: u64) {
    meter(entry, offer, Observed::default(), Extent::Partial, prompt_bytes);
}

/// Clears the assumed usage: no provider accepted the request.
fn nothing_used(entry: &mut Entry) {
    entry.usage = Usage::default();
    entry.usage_source = UsageSource::None;
    entry.cost = NanoUsd(0);
    entry.list_cost = NanoUsd(0);
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
