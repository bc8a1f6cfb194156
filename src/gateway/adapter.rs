//! The `Adapter` actor: one provider on one worker. It calls, retries with backoff, and reports to the provider's health.
//!
//! Each attempt is a task of its own; the actor itself never waits. It knows no other provider: failing over is the router's.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use actix::{Actor, Context, Handler, ResponseFuture, Supervised};
use bytes::Bytes;
use smol_str::SmolStr;
use tokio::select;

use super::health::Health;
use super::messages::{Attempt, AttemptOutcome, Exhausted, Reply, Why};
use super::redact::{self, Redactor};
use super::relay::{self, Relay};
use super::retry::{self, Class};
use super::{headers, metering};
use crate::dialect::sse::SseLimits;
use crate::dialect::{Ask, Call, Failure, Prepared, Refused};
use crate::ledger::entry::{AttemptRecord, Outcome};
use crate::upstream::{CallError, Request, Upstream};

/// Within this time a connection that broke without an answer may have been closed by the peer before our request reached it.
const STALE_WITHIN: std::time::Duration = std::time::Duration::from_secs(1);

/// One provider on one worker.
pub struct Adapter {
    upstream: Rc<Upstream>,
    health: Arc<Health>,
}

/// A call that did not lead to an answer for the client.
struct Fallen {
    name: &'static str,
    class: Class,
    /// A broken pooled connection.
    may_be_stale: bool,
    /// The upstream's own status.
    status: Option<u16>,
    exhausted: Exhausted,
}

impl Adapter {
    /// An adapter that calls by `upstream` and reports to `health`.
    pub fn new(upstream: Upstream, health: Arc<Health>) -> Self {
        Self { upstream: Rc::new(upstream), health }
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
        let (upstream, health) = (Rc::clone(&self.upstream), Arc::clone(&self.health));
        Box::pin(async move { attempt_until_settled(&upstream, &health, &attempt).await })
    }
}

/// Calls until there is an answer, the policy is used up, or the client has gone.
async fn attempt_until_settled(upstream: &Upstream, health: &Health, attempt: &Attempt) -> AttemptOutcome {
    let provider = &attempt.offer.provider;
    let (mut attempts_made, mut may_try_stale, mut started_at) = (attempt.attempts_made, true, attempt.started_at);
    loop {
        let prepared = match prepare(attempt, attempts_made) {
            Ok(prepared) => prepared,
            Err(refused) => {
                health.inconclusive();
                return AttemptOutcome::Inexpressible(refused);
            }
        };
        let mut request_id = None;
        let result = select! {
            biased;
            () = attempt.job.client_gone.closed() => None,
            result = call(upstream, attempt, prepared, started_at, &mut request_id) => Some(result),
        };
        let (status, error) = match &result {
            None => (None, Some("client_closed")),
            Some(Ok(reply)) => (Some(reply.status), (reply.status >= 400).then(|| retry::name_of_status(reply.status))),
            Some(Err(fallen)) => (fallen.status, Some(fallen.name)),
        };
        if let Some(error) = error {
            let (provider, ours, theirs) = (&provider.name, &attempt.job.request_id, request_id.as_deref().unwrap_or("none"));
            log::debug!("attempt at provider {provider} failed: {error}, request {ours}, upstream request {theirs}");
        }
        record(attempt, started_at, status, error, request_id);
        let fallen = match result {
            None => {
                health.inconclusive();
                return AttemptOutcome::Abandoned;
            }
            Some(Ok(mut reply)) => {
                health.succeeded();
                reply.route.attempts = attempt.settlement.with(|entry| entry.attempts.len());
                return AttemptOutcome::Relayed(reply);
            }
            Some(Err(fallen)) => fallen,
        };
        if fallen.class != Class::Transient {
            health.inconclusive();
            return AttemptOutcome::Exhausted(fallen.exhausted);
        }
        if fallen.may_be_stale && may_try_stale && started_at.elapsed() < STALE_WITHIN {
            (may_try_stale, started_at) = (false, Instant::now());
            continue;
        }
        health.failed(fallen.name, &provider.retry.cooldown, Instant::now());
        attempts_made += 1;
        let Some(pause) = retry::pause(&provider.retry, attempts_made, fallen.exhausted.retry_after, fastrand::f64()) else {
            return AttemptOutcome::Exhausted(fallen.exhausted);
        };
        select! {
            biased;
            () = attempt.job.client_gone.closed() => return AttemptOutcome::Abandoned,
            () = tokio::time::sleep(pause) => started_at = Instant::now(),
        }
    }
}

fn prepare(attempt: &Attempt, attempts_made: u32) -> Result<Prepared, Refused> {
    let (job, offer) = (&attempt.job, &attempt.offer);
    let provider = &offer.provider;
    let version = provider.headers.iter().find(|(name, _)| name == "anthropic-version");
    provider.dialect.request(&Ask {
        operation: job.operation,
        document: &job.document,
        stream: job.stream,
        upstream_model: &offer.upstream_model,
        max_output_tokens: offer.max_output_tokens,
        quirks: &provider.quirks,
        anthropic_beta: job.forwarded.get("anthropic-beta"),
        anthropic_version: version.and_then(|(_, value)| value.to_str().ok()),
        created: u64::try_from(job.received_at / 1000).unwrap_or_default(),
        sse: SseLimits { line: job.limits.max_line, event: job.limits.max_event },
        seed: seed(&job.request_id, attempts_made),
    })
}

/// The simulator's chance: the same request id and try give the same answer.
fn seed(request_id: &str, attempts_made: u32) -> u64 {
    request_id.bytes().fold(u64::from(attempts_made), |seed, byte| seed.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte))
}

fn record(attempt: &Attempt, started_at: Instant, status: Option<u16>, error: Option<&'static str>, request_id: Option<String>) {
    let provider = attempt.offer.provider.name.clone();
    let ms = u64::try_from(started_at.elapsed().as_millis()).unwrap_or(u64::MAX);
    attempt.settlement.with(|entry| {
        entry.attempts.push(AttemptRecord { provider, status, error: error.map(SmolStr::new_static), ms, request_id });
    });
}

/// One call that begins at `started_at`, up to an answer that can be relayed: whole, or as far as the first event. `request_id` is the
/// upstream's, known as soon as a head is in, whatever becomes of the call.
async fn call(
    upstream: &Upstream,
    attempt: &Attempt,
    prepared: Prepared,
    started_at: Instant,
    request_id: &mut Option<String>,
) -> Result<Box<Reply>, Fallen> {
    let (job, offer) = (&attempt.job, &attempt.offer);
    let provider = &offer.provider;
    let Prepared { call, reader, dropped } = prepared;
    let deadline = started_at + provider.retry.first_byte_timeout;
    let arrived = match call {
        Call::Http { headers, body } => {
            let target = offer.targets.get(&job.operation).ok_or_else(|| Fallen::ours("no_target"))?;
            // Whoever is to be paid by key gets one: the client's own never goes upstream in its place.
            let credential = attempt.credential();
            let request = Request {
                target,
                forwarded: &job.forwarded.headers,
                headers: &provider.headers,
                more: &headers,
                credential,
                body,
                begun: started_at,
                head_until: deadline,
                billing: provider.billing,
            };
            upstream.exchange(request).await
        }
        Call::Played(script) => Upstream::play(script, provider.retry.first_byte_timeout).await,
    }
    .map_err(|error| Fallen::broken(error, None))?;

    let status = arrived.status;
    let sent = attempt.credential().map(|(_, value)| value);
    let is_failure = !(200..300).contains(&status);
    let redactor = if is_failure { Redactor::of(sent) } else { Redactor::default() };
    let mut response_headers = arrived.passed.retain_safe(|value| redact::contains_key_fragment(value, sent) || redactor.matches(value));
    *request_id = response_headers.upstream_request_id().map(str::to_owned);
    let retry_after = response_headers.retry_after(SystemTime::now);
    let refused = |failure: Failure| Fallen::said(status, failure, retry_after);
    if is_failure {
        let mut reservation = job.memory.reservation();
        let within = (job.limits.max_error_body, provider.retry.idle_timeout);
        let body = match arrived.body.whole(within.0, within.1, &mut reservation).await {
            Ok(body) => body,
            // The client would have to be told what is wrong, and nobody knows: the call has failed.
            Err(error) if retry::class_of_status(status) == Class::Fault => return Err(Fallen::broken(error, Some(status))),
            Err(_) => Bytes::new(),
        };
        let failure = provider.dialect.failure(status, &redactor.body(body));
        if let Some(id) = failure.request_id.as_deref().and_then(|id| response_headers.adopt_body_request_id(id)) {
            *request_id = Some(id);
        }
        if retry::class_of_status(failure.status) != Class::Fault {
            return Err(refused(failure));
        }
        return Ok(Box::new(fault(attempt, failure, response_headers)));
    }
    let relay = Relay { job, offer, settlement: &attempt.settlement, response_headers, dropped, reader, deadline: deadline.into(), sent };
    let is_stream = job.stream && !relay.response_headers.content_type.starts_with("application/json");
    let result = if is_stream { relay.stream(arrived.body).await } else { relay.whole(status, arrived.body).await };
    match result {
        Ok(reply) => Ok(Box::new(reply)),
        Err(relay::Broken::Call(error)) => Err(Fallen::broken(error, Some(status))),
        Err(relay::Broken::Said(mut failure)) => {
            failure.body = Redactor::of(sent).body(failure.body);
            failure.code = failure.code.filter(|code| !redact::contains_key_fragment(code, sent));
            if retry::class_of_status(failure.status) == Class::Fault {
                return Ok(Box::new(fault(attempt, failure, headers::ResponseHeaders::json(request_id.clone()))));
            }
            Err(refused(failure))
        }
    }
}

/// The upstream's word that the request is wrong, as a reply.
pub(super) fn fault(attempt: &Attempt, failure: Failure, response_headers: headers::ResponseHeaders) -> Reply {
    let (job, offer) = (&attempt.job, &attempt.offer);
    attempt.settlement.with(|entry| {
        metering::nothing_used(entry);
        entry.status = failure.status;
        entry.outcome = Outcome::ClientError;
        entry.error_code = Some(failure.code.as_deref().unwrap_or(retry::name_of_status(failure.status)).into());
    });
    relay::reply(job, offer, failure.status, response_headers, Vec::new(), super::messages::Body::Whole(failure.body))
}

impl Fallen {
    fn broken(error: CallError, status: Option<u16>) -> Self {
        let class = match error.why {
            Why::Forbidden => Class::Local,
            // Not the provider's fault, and another try would be in want of the same memory.
            _ if error == CallError::NO_ROOM => Class::Local,
            _ => Class::Transient,
        };
        let exhausted = Exhausted { why: error.why, retry_after: None, said: None };
        Self { name: error.name, class, may_be_stale: error.may_be_stale, status: error.status.or(status), exhausted }
    }

    fn said(status: u16, failure: Failure, retry_after: Option<std::time::Duration>) -> Self {
        let class = retry::class_of_status(failure.status);
        let is_ours = failure.code.as_deref() == Some("upstream_interrupted");
        let name = if is_ours { "interrupted" } else { retry::name_of_status(failure.status) };
        let why = if is_ours { Why::Unreachable } else { Why::Status(failure.status) };
        let exhausted = Exhausted { why, retry_after, said: Some(failure) };
        Self { name, class, may_be_stale: false, status: Some(status), exhausted }
    }

    fn ours(name: &'static str) -> Self {
        let exhausted = Exhausted { why: Why::Adapter, retry_after: None, said: None };
        Self { name, class: Class::Local, may_be_stale: false, status: None, exhausted }
    }
}
