//! One call of one provider: translates and filters the request, sends it, and reads the answer up
//! to the point where it can be relayed. Never retries.

use std::time::{Instant, SystemTime};

use bytes::Bytes;
use smol_str::SmolStr;

use super::call_failure::{CallFailure, Cause};
use super::filter::Filter;
use super::headers::ResponseHeaders;
use super::messages::{Attempt, Reply};
use super::redact::{self, Redactor};
use super::refusal::Refusal;
use super::relay::{Broken, Relay};
use super::retry::{self, RetryClass};
use super::{headers, script};
use crate::dialect::call::{Call, Prepared};
use crate::dialect::failure::Failure;
use crate::dialect::request::{DialectRequest, HeaderView, Refused};
use crate::dialect::sse::SseLimits;
use crate::payload::Payload;
use crate::upstream::{Request, Upstream};

/// A call that led to an answer for the client.
pub struct Answered {
    /// The reply.
    pub reply: Box<Reply>,
    /// Status of the call in the ledger.
    pub status: u16,
}

/// The reason why a request was not sent.
pub enum NotPrepared {
    /// The dialect cannot express it.
    Inexpressible(Refused),
    /// A policy refused it.
    Refused(Refusal),
}

/// Translates the request of one attempt.
///
/// # Errors
/// The dialect cannot express it, or `filter` refuses it.
pub fn prepare(attempt: &Attempt, attempts_made: u32, filter: Option<&dyn Filter>) -> Result<Prepared, NotPrepared> {
    let Some(filter) = filter else {
        return translate(attempt, attempts_made, &attempt.job.payload).map_err(NotPrepared::Inexpressible);
    };
    let mut filter = filter.begin(&attempt.job, &attempt.offer);
    let replaced = filter.request(&attempt.job.payload).map_err(NotPrepared::Refused)?;
    let mut reservation = attempt.job.memory.reservation();
    if let Some(payload) = &replaced {
        reservation.resize(payload.bytes().len()).map_err(|_| NotPrepared::Refused(Refusal::Overloaded))?;
    }
    let payload = replaced.as_ref().unwrap_or(&attempt.job.payload);
    let prepared = translate(attempt, attempts_made, payload).map_err(NotPrepared::Inexpressible)?;
    Ok(Prepared { reader: filter.answer(prepared.reader), ..prepared })
}

fn translate(attempt: &Attempt, attempts_made: u32, payload: &Payload) -> Result<Prepared, Refused> {
    let (job, offer) = (&attempt.job, &attempt.offer);
    let provider = &offer.provider;
    provider.dialect.request(&DialectRequest {
        operation: job.operation,
        payload,
        stream: job.stream,
        upstream_model: &offer.upstream_model,
        max_output_tokens: offer.max_output_tokens,
        quirks: &provider.quirks,
        headers: HeaderView { client: &job.forwarded.headers, fixed: &provider.headers },
        created: u64::try_from(job.received_at / 1000).unwrap_or_default(),
        sse: SseLimits { line: job.limits.max_line, event: job.limits.max_event },
        seed: seed(&job.request_id, attempts_made),
    })
}

/// The simulator's randomness: the same request id and attempt give the same answer.
fn seed(request_id: &str, attempts_made: u32) -> u64 {
    request_id.bytes().fold(u64::from(attempts_made), |seed, byte| seed.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte))
}

/// Makes one call that starts at `started_at`, up to an answer that can be relayed: complete, or as
/// far as the first event. `request_id` is set to the upstream's as soon as it is known, whatever
/// becomes of the call.
///
/// # Errors
/// There is no answer for the client.
pub async fn call(
    upstream: &Upstream,
    attempt: &Attempt,
    prepared: Prepared,
    started_at: Instant,
    request_id: &mut Option<String>,
) -> Result<Answered, CallFailure> {
    let (job, offer) = (&attempt.job, &attempt.offer);
    let provider = &offer.provider;
    let Prepared { call, reader, format, dropped } = prepared;
    let deadline = started_at + provider.retry.first_byte_timeout;
    let (status, response_headers, body) = match call {
        Call::Http { headers, content_type, body } => {
            let target = offer.targets.get(&job.operation).ok_or_else(|| CallFailure::new(Cause::NoTarget))?;
            let request = Request {
                target,
                forwarded: &job.forwarded.headers,
                headers: &provider.headers,
                more: &headers,
                // The provider's own credential or none: the client's never goes upstream.
                credential: attempt.credential(),
                content_type: &content_type,
                body,
                started_at,
                head_deadline: deadline,
            };
            let response = upstream.exchange(request).await.map_err(|error| CallFailure::transport(error, None))?;
            (response.head.status, headers::response(&response.head, provider.billing), response.body)
        }
        Call::Scripted(script) => {
            let responding = script::respond(script, provider.retry.first_byte_timeout);
            responding.await.map_err(|error| CallFailure::transport(error, None))?
        }
    };
    let sent = attempt.credential().map(|(_, value)| value);
    let is_failure = !(200..300).contains(&status);
    let redactor = if is_failure { Redactor::of(sent) } else { Redactor::default() };
    let mut response_headers = response_headers.retain_safe(|value| redact::contains_key_fragment(value, sent) || redactor.matches(value));
    *request_id = response_headers.upstream_request_id().map(str::to_owned);
    let retry_after = response_headers.retry_after(SystemTime::now);
    if is_failure {
        let mut reservation = job.memory.reservation();
        let (limit, idle) = (job.limits.max_error_body, provider.retry.idle_timeout);
        let body = match body.collect(limit, idle, &mut reservation).await {
            Ok(body) => body,
            // The client needs to know what is wrong with the request, and only the lost body said
            // it: the call has failed.
            Err(error) if retry::class_of_status(status) == RetryClass::Fault => return Err(CallFailure::transport(error, Some(status))),
            Err(_) => Bytes::new(),
        };
        let failure = provider.dialect.failure(status, &redactor.body(body));
        if let Some(id) = failure.request_id.as_deref().and_then(|id| response_headers.adopt_body_request_id(id)) {
            *request_id = Some(id);
        }
        if retry::class_of_status(failure.status) != RetryClass::Fault {
            return Err(CallFailure::response(status, failure, retry_after));
        }
        return Ok(rejected(attempt, failure, response_headers));
    }
    let is_relayed = format.is_relayed(&response_headers.content_type);
    if response_headers.content_type.is_empty() {
        response_headers.content_type = SmolStr::new_static(format.default_content_type());
    }
    let relay = Relay { job, offer, record: &attempt.record, response_headers, dropped, reader, format, deadline: deadline.into(), sent };
    let result = if is_relayed { relay.stream(body).await } else { relay.whole(status, body).await };
    match result {
        Ok(reply) => Ok(Answered { status: reply.status, reply: Box::new(reply) }),
        Err(Broken::Transport(error)) => Err(CallFailure::transport(error, Some(status))),
        Err(Broken::Blocked(failure)) => {
            let headers = ResponseHeaders::json(request_id.clone());
            Ok(Answered { status, reply: Box::new(Reply::error(job, offer, failure, headers)) })
        }
        Err(Broken::Failed(failure)) => {
            let failure = Redactor::of(sent).failure(failure);
            if retry::class_of_status(failure.status) == RetryClass::Fault {
                return Ok(rejected(attempt, failure, ResponseHeaders::json(request_id.clone())));
            }
            Err(CallFailure::response(status, failure, retry_after))
        }
    }
}

/// The upstream's rejection of an invalid request, as a reply.
fn rejected(attempt: &Attempt, failure: Failure, response_headers: ResponseHeaders) -> Answered {
    attempt.record.rejected_upstream(&failure);
    let status = failure.status;
    Answered { status, reply: Box::new(Reply::error(&attempt.job, &attempt.offer, failure, response_headers)) }
}
