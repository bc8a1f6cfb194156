//! A policy at the admission station, before the real router and adapters.

use std::sync::Mutex;
use std::time::Duration;

use actix_web::rt;
use futures_util::FutureExt;
use tokio::sync::Semaphore;

use super::*;
use crate::gateway::disconnect::ClientGone;
use crate::gateway::fixture::{LONG, Policies, ScriptedDialect, TestGateway, body, error, job, stream, until, whole};
use crate::gateway::record::RequestRecord;
use crate::ledger::entry::{Entry, Outcome, UsageSource};

/// Admits as many requests as its semaphore has permits, and refuses a model by its payload.
/// Records what it saw and heard.
struct TestAdmission {
    admits: Semaphore,
    refuses: bool,
    candidates: Mutex<Vec<String>>,
    ends: Arc<Ends>,
}

#[derive(Default)]
struct Ends(Mutex<Vec<Entry>>);

struct TestGuard(Arc<Ends>);

impl SettlementGuard for TestGuard {
    fn settled(self: Box<Self>, entry: &Entry) {
        self.0.0.lock().unwrap().push(entry.clone());
    }
}

impl Admission for TestAdmission {
    fn admit<'a>(&'a self, candidate: Candidate<'a>) -> LocalBoxFuture<'a, Result<Option<Box<dyn SettlementGuard>>, Refusal>> {
        async move {
            let Candidate { job, plan } = candidate;
            let offers: Vec<_> = candidate.offers().map(|offer| offer.provider.name.to_string()).collect();
            let (tenant, model) = (&job.caller.tenant.id, &plan.model.definition.id);
            let member = job.payload.json().unwrap().get("model").unwrap_or_default();
            let size = candidate.payload_bytes();
            self.candidates.lock().unwrap().push(format!("{tenant} {} {model} {member} {} {size}", job.operation, offers.join(",")));
            self.admits.acquire().await.unwrap().forget();
            if self.refuses {
                return Err(Refusal::TooManyFailures { retry_after: Duration::from_secs(7) });
            }
            Ok(Some(Box::new(TestGuard(Arc::clone(&self.ends))) as Box<dyn SettlementGuard>))
        }
        .boxed_local()
    }
}

fn policy(permits: usize, refuses: bool) -> Arc<TestAdmission> {
    let admits = Semaphore::new(permits);
    Arc::new(TestAdmission { admits, refuses, candidates: Mutex::default(), ends: Arc::default() })
}

fn gateway(policy: &Arc<TestAdmission>, alpha: &'static ScriptedDialect, beta: &'static ScriptedDialect) -> TestGateway {
    let admission = Some(Arc::clone(policy) as Arc<dyn Admission>);
    TestGateway::scripted(alpha, beta, Policies { admission, ..Policies::default() })
}

/// How the guard heard each request end.
fn ends(policy: &TestAdmission) -> Vec<(Outcome, u16, Option<String>)> {
    let ends = policy.ends.0.lock().unwrap();
    ends.iter().map(|entry| (entry.outcome, entry.status, entry.error_code.as_deref().map(str::to_owned))).collect()
}

#[actix_web::test]
async fn a_policy_sees_the_request_and_hears_of_its_end_whole_or_streamed() {
    let policy = policy(9, false);
    let gateway =
        gateway(&policy, ScriptedDialect::new([whole("hi"), error(503), error(503)]), ScriptedDialect::new([stream(&["a", "b"], false)]));
    assert!(gateway.route(job("pair", 0, false)).await.is_ok());
    assert!(body(gateway.route(job("pair", 1, true)).await.unwrap()).await.ends_with("[DONE]\n\n"));
    let size = job("pair", 0, false).payload.bytes().len();
    assert_eq!(policy.candidates.lock().unwrap()[0], format!("acme chat pair \"pair\" alpha,beta {size}"));
    let entries = gateway.entries().await;
    assert_eq!(ends(&policy), [(Outcome::Ok, 200, None), (Outcome::Ok, 200, None)]);
    let heard = policy.ends.0.lock().unwrap();
    assert_eq!((&heard[0], &heard[1]), (&entries["pair-0"], &entries["pair-1"]), "the entry as settled");
    assert_eq!((heard[1].provider.to_string().as_str(), heard[1].attempts.len()), ("beta", 3));
}

#[actix_web::test]
async fn a_policy_hears_of_upstream_errors_and_of_a_broken_stream() {
    let policy = policy(9, false);
    let alpha = ScriptedDialect::new([error(400), stream(&["a"], true)]);
    let gateway = gateway(&policy, alpha, ScriptedDialect::new([]));
    assert_eq!(gateway.route(job("pair", 0, false)).await.unwrap().status, 400);
    let _ = body(gateway.route(job("pair", 1, true)).await.unwrap()).await;
    gateway.entries().await;
    let interrupted = (Outcome::Interrupted, 200, Some("upstream_interrupted".to_owned()));
    assert_eq!(ends(&policy), [(Outcome::ClientError, 400, Some("c".to_owned())), interrupted]);
}

#[actix_web::test]
async fn a_policy_hears_that_all_providers_failed() {
    let policy = policy(9, false);
    let gateway = gateway(&policy, ScriptedDialect::new([error(500), error(500)]), ScriptedDialect::new([error(429), error(429)]));
    assert!(gateway.route(job("pair", 0, false)).await.is_err());
    gateway.entries().await;
    assert_eq!(ends(&policy), [(Outcome::UpstreamError, 429, Some("all_providers_failed".to_owned()))]);
}

#[actix_web::test]
async fn a_refused_request_gets_an_entry_and_reaches_no_provider() {
    let (policy, alpha) = (policy(9, true), ScriptedDialect::new([]));
    let gateway = gateway(&policy, alpha, ScriptedDialect::new([]));
    let rejection = gateway.route(job("pair", 0, false)).await.unwrap_err();
    assert_eq!((rejection.refusal.details().status, rejection.route.unwrap().attempts), (429, 0));
    let entry = gateway.entries().await.remove("pair-0").unwrap();
    assert_eq!((entry.outcome, entry.status, entry.error_code.as_deref()), (Outcome::ClientError, 429, Some("rate_limit_exceeded")));
    assert_eq!((entry.usage_source, alpha.sent().len(), ends(&policy).len()), (UsageSource::None, 0, 0));
}

#[actix_web::test]
async fn a_policy_holds_a_request_back_until_it_admits_it() {
    let (policy, alpha) = (policy(0, false), ScriptedDialect::new([whole("hi")]));
    let gateway = gateway(&policy, alpha, ScriptedDialect::new([]));
    let routed = gateway.route(job("pair", 0, false));
    let released = async {
        until("the request to arrive", || policy.candidates.lock().unwrap().len() == 1).await;
        assert_eq!((gateway.ledger.handle.open_settlements(), alpha.sent().len()), (0, 0));
        policy.admits.add_permits(1);
    };
    let (answer, ()) = tokio::join!(routed, released);
    assert_eq!((answer.unwrap().status, alpha.sent().len()), (200, 1));
    gateway.entries().await;
    assert_eq!(ends(&policy).len(), 1);
}

#[actix_web::test]
async fn a_client_that_goes_while_held_back_is_charged_nothing() {
    let (policy, alpha) = (policy(0, false), ScriptedDialect::new([]));
    let gateway = gateway(&policy, alpha, ScriptedDialect::new([]));
    let (client_gone, client) = ClientGone::new();
    drop(client);
    assert!(gateway.route(Job { client_gone, ..job("pair", 0, false) }).await.is_err());
    let entry = gateway.entries().await.remove("pair-0").unwrap();
    assert_eq!((entry.outcome, entry.status, entry.usage_source), (Outcome::ClientClosed, 499, UsageSource::None));
    assert_eq!((alpha.sent().len(), ends(&policy).len()), (0, 0));
}

/// A provider that does not answer while the test runs.
fn silent() -> &'static ScriptedDialect {
    let mut answer = whole("late");
    answer.pieces[0].0 = LONG / 2;
    ScriptedDialect::new([answer])
}

#[actix_web::test]
async fn a_policy_hears_that_the_client_is_gone() {
    let (policy, alpha) = (policy(9, false), silent());
    let gateway = gateway(&policy, alpha, ScriptedDialect::new([]));
    let (client_gone, client) = ClientGone::new();
    let leaves = async {
        until("the call", || alpha.sent().len() == 1).await;
        drop(client);
    };
    let (answer, ()) = tokio::join!(gateway.route(Job { client_gone, ..job("pair", 0, false) }), leaves);
    assert!(answer.is_err());
    gateway.entries().await;
    assert_eq!(ends(&policy), [(Outcome::ClientClosed, 499, Some("client_closed".to_owned()))]);
}

#[actix_web::test]
async fn a_policy_hears_that_the_task_of_a_request_was_dropped_or_panicked() {
    let policy = policy(9, false);
    let gateway = gateway(&policy, ScriptedDialect::new([]), ScriptedDialect::new([]));
    let offer = Arc::clone(&gateway.pair[0]);
    let open = |nth| {
        let guard = Box::new(TestGuard(Arc::clone(&policy.ends)));
        RequestRecord::open(&gateway.state.journal, &job("pair", nth, false), &offer.model, &offer, Some(guard))
    };
    let dropped = open(0);
    let task = rt::spawn(async move {
        std::future::pending::<()>().await;
        drop(dropped);
    });
    tokio::task::yield_now().await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    let panics = open(1);
    let task = rt::spawn(async move {
        let _record = panics;
        panic!("panic on request");
    });
    assert!(task.await.unwrap_err().is_panic());
    gateway.entries().await;
    let interrupted = (Outcome::Interrupted, 500, Some("interrupted".to_owned()));
    assert_eq!(ends(&policy), [interrupted.clone(), interrupted]);
}

#[actix_web::test]
async fn a_guard_that_panics_loses_no_entry() {
    struct Panics;
    impl SettlementGuard for Panics {
        fn settled(self: Box<Self>, _: &Entry) {
            panic!("panic on request");
        }
    }
    let gateway = TestGateway::scripted(ScriptedDialect::new([]), ScriptedDialect::new([]), Policies::default());
    let (job, offer) = (job("pair", 0, false), Arc::clone(&gateway.pair[0]));
    drop(RequestRecord::open(&gateway.state.journal, &job, &offer.model, &offer, Some(Box::new(Panics))));
    assert_eq!(gateway.entries().await["pair-0"].outcome, Outcome::Interrupted);
}
