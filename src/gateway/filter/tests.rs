//! A policy at the filter station, before the real router and adapters.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use super::*;
use crate::config;
use crate::dialect::failure::{Failure, FailureOrigin};
use crate::dialect::reader::{Flow, Observed};
use crate::gateway::fixture::{Policies, ScriptedDialect, TestGateway, body, job, json, stream, whole};
use crate::ledger::entry::{Entry, Outcome, UsageSource};
use crate::memory::MemoryCapacity;

/// Masks the word `secret` both ways. Refuses a request about `forbidden` things, blocks an answer
/// with `blocked` in it, and ends a stream at `enough`. Holds back the frames of a stream until its
/// end.
#[derive(Default)]
struct TestFilterPolicy {
    begun: AtomicUsize,
    holds_back: bool,
}

struct TestFilter {
    holds_back: bool,
}

struct FilteredReader {
    inner: Box<dyn Reader>,
    holds_back: bool,
    held: Vec<Bytes>,
}

impl Filter for TestFilterPolicy {
    fn begin(&self, _: &Job, _: &Offer) -> Box<dyn AttemptFilter> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        Box::new(TestFilter { holds_back: self.holds_back })
    }
}

impl AttemptFilter for TestFilter {
    fn request(&mut self, payload: &Payload) -> Result<Option<Payload>, Refusal> {
        let text = String::from_utf8_lossy(payload.bytes()).into_owned();
        if text.contains("forbidden") {
            return Err(Refusal::InvalidValue { param: "messages".to_owned(), message: "the policy forbids it".to_owned() });
        }
        let masked = text.replace("secret", "masked");
        Ok((masked != text).then(|| json(masked)))
    }

    fn answer(self: Box<Self>, inner: Box<dyn Reader>) -> Box<dyn Reader> {
        Box::new(FilteredReader { inner, holds_back: self.holds_back, held: Vec::new() })
    }
}

fn blocked() -> Failure {
    Failure { status: 403, code: Some("content_blocked".into()), origin: FailureOrigin::Policy, ..Failure::interrupted("blocked") }
}

fn masked(bytes: &Bytes) -> Result<Bytes, Failure> {
    let text = String::from_utf8_lossy(bytes);
    if text.contains("blocked") { Err(blocked()) } else { Ok(text.replace("secret", "masked").into()) }
}

impl Reader for FilteredReader {
    fn whole(&mut self, body: Bytes) -> Result<Bytes, Failure> {
        masked(&self.inner.whole(body)?)
    }

    fn push(&mut self, piece: Bytes, out: &mut Vec<Bytes>) -> Flow {
        let mut frames = Vec::new();
        let flow = self.inner.push(piece, &mut frames);
        for frame in frames {
            match masked(&frame) {
                Ok(frame) if frame.windows(6).any(|word| word == b"enough") => return Flow::Done,
                Ok(frame) => self.held.push(frame),
                Err(failure) => return Flow::Failed(failure),
            }
        }
        if self.holds_back && !matches!(flow, Flow::Done) {
            return if matches!(flow, Flow::Flowing) { Flow::Opening } else { flow };
        }
        out.append(&mut self.held);
        flow
    }

    fn end(&mut self, out: &mut Vec<Bytes>) -> Flow {
        self.inner.end(out)
    }

    fn held(&self) -> usize {
        self.inner.held() + self.held.iter().map(Bytes::len).sum::<usize>()
    }

    fn observed(&self) -> Observed {
        self.inner.observed()
    }
}

fn gateway(policy: &Arc<TestFilterPolicy>, alpha: &'static ScriptedDialect, beta: &'static ScriptedDialect) -> TestGateway {
    let filter = Some(Arc::clone(policy) as Arc<dyn Filter>);
    TestGateway::scripted(alpha, beta, Policies { filter, ..Policies::default() })
}

/// A chat request about `content`.
fn about(content: &str, stream: bool) -> Job {
    let job = job("pair", 0, stream);
    let body = String::from_utf8_lossy(job.payload.bytes()).replace("\"hi\"", &format!("{content:?}"));
    Job { payload: json(body), ..job }
}

fn ended(entry: &Entry) -> (Outcome, u16, Option<&str>) {
    (entry.outcome, entry.status, entry.error_code.as_deref())
}

#[actix_web::test]
async fn a_policy_changes_request_and_whole_answer() {
    let (policy, alpha) = (Arc::default(), ScriptedDialect::new([whole("your secret"), whole("plain")]));
    let gateway = gateway(&policy, alpha, ScriptedDialect::new([]));
    let answer = body(gateway.route(about("my secret", false)).await.unwrap()).await;
    assert!(answer.contains("your masked") && alpha.sent()[0].contains("my masked"), "{answer}");
    let second = Job { request_id: "second".into(), ..about("plain", false) };
    assert!(body(gateway.route(second).await.unwrap()).await.contains("plain"));
    assert_eq!(policy.begun.load(Ordering::Relaxed), 2);
    assert_eq!(ended(&gateway.entries().await["pair-0"]), (Outcome::Ok, 200, None));
}

#[actix_web::test]
async fn a_refused_request_is_sent_to_no_provider() {
    let (policy, alpha, beta) = (Arc::default(), ScriptedDialect::new([]), ScriptedDialect::new([]));
    let gateway = gateway(&policy, alpha, beta);
    let rejection = gateway.route(about("forbidden", false)).await.unwrap_err();
    assert_eq!((rejection.refusal.details().param, alpha.sent().len(), beta.sent().len()), (Some("messages"), 0, 0));
    let entry = &gateway.entries().await["pair-0"];
    assert_eq!((ended(entry), entry.usage_source), ((Outcome::ClientError, 400, Some("invalid_value")), UsageSource::None));
}

#[actix_web::test]
async fn a_policy_changes_the_frames_of_a_stream() {
    let policy = Arc::default();
    let gateway = gateway(&policy, ScriptedDialect::new([stream(&["a secret", "more"], false)]), ScriptedDialect::new([]));
    let answer = body(gateway.route(about("hi", true)).await.unwrap()).await;
    assert!(answer.contains("a masked") && answer.contains("more") && answer.ends_with("[DONE]\n\n"), "{answer}");
    assert_eq!(ended(&gateway.entries().await["pair-0"]), (Outcome::Ok, 200, None));
}

#[actix_web::test]
async fn frames_held_back_are_charged_to_the_memory() {
    let policy = Arc::new(TestFilterPolicy { holds_back: true, ..TestFilterPolicy::default() });
    let long = "x".repeat(8 << 10);
    let script = || stream(&[&long, &long], false);
    let gateway = gateway(&policy, ScriptedDialect::new([script(), script(), script()]), ScriptedDialect::new([script(), script()]));
    assert!(body(gateway.route(about("hi", true)).await.unwrap()).await.matches(&long).count() == 2);
    let limits = config::UpstreamLimits { stream_buffer: 1 << 10, ..about("hi", true).limits };
    let cramped = Job { request_id: "cramped".into(), limits, memory: MemoryCapacity::new(1 << 10), ..about("hi", true) };
    let memory = Arc::clone(&cramped.memory);
    assert!(gateway.route(cramped).await.is_err());
    assert_eq!(memory.used(), 0);
    let entry = &gateway.entries().await["cramped"];
    assert!(entry.attempts.iter().all(|attempt| attempt.error.as_deref() == Some("no_room")), "{entry:?}");
}

#[actix_web::test]
async fn a_blocked_whole_answer_is_paid_for_and_not_retried() {
    let (policy, alpha, beta) = (Arc::default(), ScriptedDialect::new([whole("blocked")]), ScriptedDialect::new([]));
    let gateway = gateway(&policy, alpha, beta);
    let reply = gateway.route(about("hi", false)).await.unwrap();
    assert_eq!((reply.status, alpha.sent().len(), beta.sent().len()), (403, 1, 0));
    let entry = &gateway.entries().await["pair-0"];
    assert_eq!(ended(entry), (Outcome::ClientError, 403, Some("content_blocked")));
    assert_eq!((entry.usage.prompt_tokens, entry.attempts[0].status, entry.attempts[0].error.as_deref()), (3, Some(200), None));
}

#[actix_web::test]
async fn a_stream_is_blocked_before_its_first_event_or_in_the_middle() {
    let policy = Arc::default();
    let alpha = ScriptedDialect::new([stream(&["blocked"], false), stream(&["fine", "blocked", "more"], false)]);
    let gateway = gateway(&policy, alpha, ScriptedDialect::new([]));
    assert_eq!(gateway.route(about("hi", true)).await.unwrap().status, 403);
    let late = Job { request_id: "late".into(), ..about("hi", true) };
    let answer = body(gateway.route(late).await.unwrap()).await;
    assert!(answer.contains("fine") && answer.contains("error") && !answer.contains("more"), "{answer}");
    let entries = gateway.entries().await;
    assert_eq!(ended(&entries["pair-0"]), (Outcome::ClientError, 403, Some("content_blocked")));
    assert_eq!(ended(&entries["late"]), (Outcome::Interrupted, 200, Some("content_blocked")));
    assert!(entries["late"].usage.completion_tokens > 0);
}

#[actix_web::test]
async fn a_policy_ends_a_stream_that_counts_as_complete() {
    let policy = Arc::default();
    let gateway = gateway(&policy, ScriptedDialect::new([stream(&["fine", "enough", "more"], false)]), ScriptedDialect::new([]));
    let answer = body(gateway.route(about("hi", true)).await.unwrap()).await;
    assert!(answer.contains("fine") && !answer.contains("more"), "{answer}");
    assert_eq!(ended(&gateway.entries().await["pair-0"]), (Outcome::Ok, 200, None));
}

#[actix_web::test]
async fn failover_resets_the_filter() {
    let policy = Arc::new(TestFilterPolicy { holds_back: true, ..TestFilterPolicy::default() });
    let alpha = ScriptedDialect::new([stream(&["first try"], true), stream(&["second try"], true)]);
    let gateway = gateway(&policy, alpha, ScriptedDialect::new([stream(&["from beta"], false)]));
    let answer = body(gateway.route(about("hi", true)).await.unwrap()).await;
    assert!(answer.contains("from beta") && !answer.contains("try"), "{answer}");
    assert_eq!(policy.begun.load(Ordering::Relaxed), 3);
    let entry = &gateway.entries().await["pair-0"];
    assert_eq!((entry.provider.to_string().as_str(), entry.attempts.len(), ended(entry)), ("beta", 3, (Outcome::Ok, 200, None)));
}
