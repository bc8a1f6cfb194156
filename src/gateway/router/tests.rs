//! Supervision, with faults that only a test can make: adapters that panic or stop and dialects
//! that panic, hundreds of requests in flight.

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use actix::fut::wrap_future;
use actix::{ActorFutureExt, AsyncContext, Message};
use actix_web::rt;
use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

use super::*;
use crate::dialect::call::Prepared;
use crate::dialect::contract::Dialect;
use crate::dialect::failure::Failure;
use crate::dialect::openai::OpenAi;
use crate::dialect::reader::{Flow, Observed, Reader};
use crate::dialect::request::{DialectRequest, Refused};
use crate::gateway::adapter::Adapter;
use crate::gateway::fixture::{ActorFault, Policies, TestGateway, TestProvider, job, until};
use crate::gateway::messages::ReplyBody;
use crate::gateway::slots::AdapterSlot;
use crate::ledger::entry::{Entry, Outcome, UsageSource};
use crate::terms::Operation;

/// Keeps an adapter from its mailbox until told.
#[derive(Message)]
#[rtype(result = "()")]
struct Hold(oneshot::Receiver<()>);

impl Handler<Hold> for Adapter {
    type Result = ();

    #[allow(clippy::disallowed_methods, reason = "stopping the mailbox is the point")]
    fn handle(&mut self, Hold(word): Hold, ctx: &mut Context<Self>) {
        ctx.wait(wrap_future(word).map(|_, _, _| ()));
    }
}

/// OpenAI's language, in which so many requests cannot be written and some answers cannot be read
/// without a panic.
struct Fragile(AtomicUsize);

struct Brittle(Box<dyn Reader>);

impl Dialect for Fragile {
    fn name(&self) -> &'static str {
        "fragile"
    }

    fn path(&self, operation: Operation) -> Option<&'static str> {
        OpenAi.path(operation)
    }

    fn request(&self, ask: &DialectRequest<'_>) -> Result<Prepared, Refused> {
        let spent = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        assert!(spent.is_err(), "panic on request");
        let prepared = OpenAi.request(ask)?;
        Ok(Prepared { reader: Box::new(Brittle(prepared.reader)), ..prepared })
    }

    fn failure(&self, status: u16, body: &[u8]) -> Failure {
        OpenAi.failure(status, body)
    }
}

impl Reader for Brittle {
    fn whole(&mut self, body: Bytes) -> Result<Bytes, Failure> {
        self.0.whole(body)
    }

    fn push(&mut self, piece: Bytes, out: &mut Vec<Bytes>) -> Flow {
        assert!(memchr::memmem::find(&piece, b"brittle").is_none(), "panic on request");
        self.0.push(piece, out)
    }

    fn end(&mut self, out: &mut Vec<Bytes>) -> Flow {
        self.0.end(out)
    }

    fn observed(&self) -> Observed {
        self.0.observed()
    }
}

/// An upstream that answers when its gate is open. It knows who was called by the first segment of
/// the path.
struct Loopback {
    address: std::net::SocketAddr,
    gate: watch::Sender<bool>,
    calls: Rc<RefCell<Vec<String>>>,
}

impl Loopback {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let this = Self { address: listener.local_addr().unwrap(), gate: watch::Sender::new(false), calls: Rc::default() };
        let (gate, calls) = (this.gate.subscribe(), Rc::clone(&this.calls));
        rt::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                rt::spawn(serve(stream, gate.clone(), Rc::clone(&calls)));
            }
        });
        this
    }

    fn calls(&self, provider: &str) -> usize {
        self.calls.borrow().iter().filter(|called| *called == provider).count()
    }
}

async fn serve(mut stream: TcpStream, mut gate: watch::Receiver<bool>, calls: Rc<RefCell<Vec<String>>>) -> std::io::Result<()> {
    let mut pending = Vec::new();
    loop {
        let (head, length) = loop {
            if let Some(end) = memchr::memmem::find(&pending, b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&pending[..end]).to_ascii_lowercase();
                let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok()).unwrap_or(0);
                if pending.len() >= end + 4 + length {
                    break (head, end + 4 + length);
                }
            }
            if stream.read_buf(&mut pending).await? == 0 {
                return Ok(());
            }
        };
        let body: Vec<u8> = pending.drain(..length).collect();
        let provider = head.split('/').nth(1).unwrap_or_default().to_owned();
        calls.borrow_mut().push(provider.clone());
        if memchr::memmem::find(&body, b"\"stream\":true").is_some() {
            let event = |text: &str| format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": {"content": text}}]}));
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\ncontent-length: 9999\r\n\r\n";
            stream.write_all(format!("{head}{}", event("sound")).as_bytes()).await?;
            let _ = gate.wait_for(|open| *open).await;
            stream.write_all(event("brittle").as_bytes()).await?;
            return Ok(());
        }
        let _ = gate.wait_for(|open| *open).await;
        let usage = json!({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5});
        let choice = json!({"index": 0, "message": {"role": "assistant", "content": provider}, "finish_reason": "stop"});
        let body = json!({"object": "chat.completion", "choices": [choice], "usage": usage}).to_string();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes()).await?;
    }
}

/// A gateway and its upstream: `pair` is served by alpha and then beta, `other` by gamma alone.
struct Supervised {
    upstream: Loopback,
    gateway: TestGateway,
}

/// In alpha's dialect, translation of the first `panics` requests panics.
async fn supervised(panics: usize) -> Supervised {
    let upstream = Loopback::start().await;
    let fragile: &'static Fragile = Box::leak(Box::new(Fragile(AtomicUsize::new(panics))));
    let provider = |name, dialect| TestProvider { name, dialect, base_url: format!("http://{}/{name}", upstream.address) };
    let providers = [provider("alpha", fragile), provider("beta", &OpenAi), provider("gamma", &OpenAi)];
    Supervised { gateway: TestGateway::start(&providers, Policies::default()), upstream }
}

/// Requests in flight.
type Flight = Vec<rt::task::JoinHandle<Answer>>;

impl Supervised {
    /// Sends requests with numbers from `first` on, and returns them once each is routed.
    async fn send(&self, model: &str, first: usize, count: usize) -> Flight {
        let ledger = &self.gateway.ledger.handle;
        let open = ledger.open_settlements() + count;
        let send = |nth| self.gateway.router.send(Route { job: Arc::new(job(model, nth, false)), presented: None });
        let flight = (first..first + count).map(send).map(|sent| rt::spawn(async move { sent.await.unwrap() })).collect();
        until("the settlements to be opened", || ledger.open_settlements() == open).await;
        flight
    }

    fn alpha(&self) -> Rc<AdapterSlot> {
        self.gateway.state.slots.get(&self.gateway.providers[0])
    }

    fn adapter(&self) -> Addr<Adapter> {
        self.alpha().adapter.clone()
    }
}

/// The provider that answered each request, and its number of calls.
async fn answers(flight: Flight) -> Vec<(String, usize)> {
    let answered = |answer: Answer| {
        let reply = answer.unwrap();
        let ReplyBody::Whole(body) = reply.body else { panic!("a stream") };
        let answer: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(answer["choices"][0]["message"]["content"], *reply.route.provider, "the answer of another provider");
        (reply.route.provider.to_string(), reply.route.attempts)
    };
    join_all(flight).await.into_iter().map(|answer| answered(answer.unwrap())).collect()
}

fn errors(entry: &Entry) -> Vec<Option<&str>> {
    entry.attempts.iter().map(|attempt| attempt.error.as_deref()).collect()
}

/// Ends alpha's adapter with a hundred of its requests at the upstream and a hundred in its
/// mailbox.
async fn with_two_hundred_in_flight(fault: ActorFault, calls_of_the_waiting: usize) {
    let test = supervised(0).await;
    let mut flight = test.send("pair", 0, 100).await;
    until("the first hundred to reach the upstream", || test.upstream.calls("alpha") == 100).await;
    let (word, held) = oneshot::channel();
    let before = test.adapter();
    before.do_send(Hold(held));
    before.do_send(fault);
    flight.extend(test.send("pair", 100, 100).await);
    let others = test.send("other", 0, 50).await;
    word.send(()).unwrap();
    until("the second hundred to reach the upstream", || test.upstream.calls("alpha") == 200).await;
    test.upstream.gate.send_replace(true);

    let answers = [answers(flight).await, self::answers(others).await];
    assert!(answers[0][..100].iter().all(|answer| *answer == ("alpha".to_owned(), 1)), "{fault:?}: {answers:?}");
    assert!(answers[0][100..].iter().all(|answer| *answer == ("alpha".to_owned(), calls_of_the_waiting)), "{fault:?}: {answers:?}");
    assert!(answers[1].iter().all(|answer| *answer == ("gamma".to_owned(), 1)), "{fault:?}: {answers:?}");
    assert!(test.adapter().connected());
    assert_eq!(test.adapter() == before, before.connected(), "{fault:?}");
    assert_eq!(test.alpha().health.status(Instant::now()).cooldown_until, None, "the gateway's failure was counted against the provider");
    assert_eq!((test.upstream.calls("alpha"), test.upstream.calls("beta"), test.upstream.calls("gamma")), (200, 0, 50));
    let entries = test.gateway.entries().await;
    assert_eq!(entries.len(), 250);
    for (id, entry) in &entries {
        assert_eq!((entry.outcome, entry.status, errors(entry).last()), (Outcome::Ok, 200, Some(&None)), "{id}");
    }
}

#[actix_web::test]
async fn an_adapter_that_panics_is_replaced_and_what_it_held_is_tried_again() {
    with_two_hundred_in_flight(ActorFault::Panic, 2).await;
}

#[actix_web::test]
async fn an_adapter_that_stops_is_restarted_and_loses_nothing() {
    with_two_hundred_in_flight(ActorFault::Stop, 1).await;
}

#[actix_web::test]
async fn an_adapter_that_dies_while_idle_costs_the_next_request_one_attempt_at_most() {
    let test = supervised(0).await;
    test.upstream.gate.send_replace(true);
    for nth in 0..3 {
        let gone = test.adapter();
        gone.do_send(ActorFault::Panic);
        until("the adapter to be gone", || !gone.connected()).await;
        assert_eq!(answers(test.send("pair", nth, 1).await).await, [("alpha".to_owned(), 2)]);
    }
}

#[actix_web::test]
async fn a_dialect_that_panics_costs_one_attempt_and_no_adapter() {
    let test = supervised(200).await;
    let before = test.adapter();
    let flight = test.send("pair", 0, 200).await;
    let others = test.send("other", 0, 50).await;
    until("all to reach the upstream", || test.upstream.calls.borrow().len() == 250).await;
    test.upstream.gate.send_replace(true);
    let answers = [answers(flight).await, self::answers(others).await];
    assert!(answers[1].iter().all(|answer| *answer == ("gamma".to_owned(), 1)), "{answers:?}");
    assert!(test.adapter() == before && before.connected(), "a panic in one call was taken for a dead adapter");
    assert_eq!(test.alpha().health.status(Instant::now()).cooldown_until, None, "the gateway's failure was counted against the provider");
    let entries = test.gateway.entries().await;
    assert_eq!(entries.len(), 250);
    let lost: usize = entries.values().map(|entry| errors(entry).iter().filter(|error| **error == Some("adapter")).count()).sum();
    assert_eq!(lost, 200);
    assert!(entries.values().all(|entry| (entry.outcome, errors(entry).last()) == (Outcome::Ok, Some(&None))));
}

#[actix_web::test]
async fn a_dialect_that_always_panics_leaves_the_request_to_the_next_provider() {
    let test = supervised(usize::MAX).await;
    test.upstream.gate.send_replace(true);
    let answers = answers(test.send("pair", 0, 200).await).await;
    assert!(answers.iter().all(|answer| *answer == ("beta".to_owned(), 3)), "{answers:?}");
    assert_eq!((test.upstream.calls("alpha"), test.upstream.calls("beta")), (0, 200));
    let entries = test.gateway.entries().await;
    assert_eq!(entries.len(), 200);
    assert!(entries.values().all(|entry| errors(entry) == [Some("adapter"), Some("adapter"), None] && entry.provider == "beta".into()));
}

#[actix_web::test]
async fn a_dialect_that_panics_in_the_middle_of_a_stream_ends_it_with_an_error_frame() {
    let test = supervised(0).await;
    let reply = test.gateway.route(job("pair", 0, true)).await.unwrap();
    let ReplyBody::Stream(mut frames) = reply.body else { panic!("no stream") };
    assert!(frames.recv().await.is_some());
    test.upstream.gate.send_replace(true);
    let last = frames.recv().await.unwrap().unwrap();
    assert!(memchr::memmem::find(&last, b"upstream_interrupted").is_some(), "{last:?}");
    assert_eq!(frames.recv().await, None);
    let entries = test.gateway.entries().await;
    let entry = &entries["pair-0"];
    assert_eq!((entry.outcome, entry.status, entry.usage_source), (Outcome::Interrupted, 200, UsageSource::Estimated));
    assert!(entry.usage.completion_tokens > 0);
}
