//! Supervision, with faults that only a test can make: adapters that panic or stop and dialects that panic, hundreds of
//! requests in flight.

use std::cell::RefCell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{ActorContext, ActorFutureExt, AsyncContext, Message};
use actix_web::rt;
use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

use super::*;
use crate::catalog::caller::{Caller, Tenant};
use crate::catalog::offerings::Offerings;
use crate::config::{self, Auth, Cooldown, Kind, Price, Reach, RetryPolicy, Served};
use crate::dialect::openai::OpenAi;
use crate::dialect::{Ask, Dialect, Failure, Flow, Observed, Prepared, Reader, Refused};
use crate::gateway::disconnect::ClientGone;
use crate::gateway::messages::{Body, Forwarded};
use crate::guard::SelfListen;
use crate::json::{Document, JsonLimits};
use crate::ledger::handle::{LedgerHandle, LedgerOptions};
use crate::ledger::{Batch, EntrySink, Observer, Positions, SinkError};
use crate::memory::MemoryCapacity;
use crate::terms::Operation;
use crate::upstream::connector::SystemResolver;

/// Keeps an adapter from its mailbox until told.
#[derive(Message)]
#[rtype(result = "()")]
struct Hold(oneshot::Receiver<()>);

/// Ends an adapter.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "()")]
enum Fault {
    Panic,
    Stop,
}

impl Handler<Hold> for Adapter {
    type Result = ();

    #[allow(clippy::disallowed_methods, reason = "stopping the mailbox is the point")]
    fn handle(&mut self, Hold(word): Hold, ctx: &mut Context<Self>) {
        ctx.wait(wrap_future(word).map(|_, _, _| ()));
    }
}

impl Handler<Fault> for Adapter {
    type Result = ();

    fn handle(&mut self, fault: Fault, ctx: &mut Context<Self>) {
        match fault {
            Fault::Panic => panic!("told to"),
            Fault::Stop => ctx.stop(),
        }
    }
}

/// OpenAI's language, in which so many requests cannot be written and some answers cannot be read without a panic.
struct Fragile(AtomicUsize);

struct Brittle(Box<dyn Reader>);

impl Dialect for Fragile {
    fn name(&self) -> &'static str {
        "fragile"
    }

    fn path(&self, operation: Operation) -> Option<&'static str> {
        OpenAi.path(operation)
    }

    fn request(&self, ask: &Ask<'_>) -> Result<Prepared, Refused> {
        let spent = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        assert!(spent.is_err(), "told to");
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
        assert!(memchr::memmem::find(&piece, b"brittle").is_none(), "told to");
        self.0.push(piece, out)
    }

    fn end(&mut self, out: &mut Vec<Bytes>) -> Flow {
        self.0.end(out)
    }

    fn observed(&self) -> Observed {
        self.0.observed()
    }
}

/// An upstream that answers when its gate is open. It knows who was called by the first segment of the path.
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

/// Takes everything and keeps nothing.
struct Nowhere;

impl EntrySink for Nowhere {
    fn store(&mut self, _: &Batch) -> Result<(), SinkError> {
        Ok(())
    }

    fn positions(&mut self) -> Result<Positions, SinkError> {
        Ok(Positions::default())
    }

    fn forget(&mut self, _: &[String]) -> Result<(), SinkError> {
        Ok(())
    }
}

/// Every entry as it was settled.
#[derive(Default)]
struct Seen(Mutex<Vec<Entry>>);

impl Observer for Seen {
    fn settled(&self, entry: &Entry) {
        self.0.lock().unwrap().push(entry.clone());
    }
}

/// A router with two models: `pair` at alpha and then beta, `other` at gamma alone.
struct Bench {
    upstream: Loopback,
    state: Rc<RouterState>,
    router: Addr<Router>,
    ledger: LedgerHandle,
    seen: Arc<Seen>,
    alpha: Arc<Provider>,
    _journals: tempfile::TempDir,
}

const COOLDOWN: Cooldown = Cooldown { failures: 1, window: Duration::from_secs(60), rest: Duration::from_secs(60) };

/// Alpha speaks a language in which the first `panics` requests cannot be written.
async fn bench(panics: usize) -> Bench {
    let upstream = Loopback::start().await;
    let long = Duration::from_secs(20);
    let retry = RetryPolicy {
        attempts: 2,
        backoff: Duration::from_millis(1),
        max_backoff: Duration::from_millis(1),
        connect_timeout: long,
        first_byte_timeout: long,
        idle_timeout: long,
        total_timeout: long,
        cooldown: COOLDOWN,
    };
    let fragile: &'static Fragile = Box::leak(Box::new(Fragile(AtomicUsize::new(panics))));
    let reach = Reach { allow_private: true, ..Reach::default() };
    let kinds: Vec<Arc<Kind>> = ["alpha", "beta", "gamma"]
        .into_iter()
        .map(|name| {
            Arc::new(Kind {
                name: name.into(),
                dialect: if name == "alpha" { fragile } else { &OpenAi },
                base_url: Some(format!("http://{}/{name}", upstream.address)),
                auth: Auth::None,
                headers: Vec::new(),
                query: Vec::new(),
                paths: [(Operation::Chat, "/chat/completions".to_owned())].into(),
                quirks: Arc::default(),
                reach: reach.clone(),
                retry: retry.clone(),
            })
        })
        .collect();
    let provider = |kind: &Arc<Kind>| config::Provider {
        name: kind.name.to_string().into(),
        kind: Arc::clone(kind),
        api_key: None,
        disabled: None,
        tenants: None,
        base_url: kind.base_url.clone(),
        headers: Vec::new(),
        query: Vec::new(),
        reach: reach.clone(),
        retry: retry.clone(),
    };
    let model = |id: &str, kinds: &[&str]| config::Model {
        id: id.into(),
        aliases: Vec::new(),
        context_window: None,
        max_output_tokens: None,
        served_by: kinds
            .iter()
            .map(|kind| ((*kind).into(), Served { upstream_model: id.to_owned(), price: Arc::new(Price::default()) }))
            .collect(),
    };
    let catalog = config::Catalog {
        providers: kinds.iter().map(provider).collect(),
        models: vec![model("other", &["gamma"]), model("pair", &["alpha", "beta"])],
        kinds: kinds.into_iter().map(|kind| (kind.name.clone(), kind)).collect(),
    };
    let offerings = Arc::new(Offerings::build(&catalog, None, 0));
    let alpha = Arc::clone(&offerings.providers[0].provider);
    let (journals, seen) = (tempfile::tempdir().unwrap(), Arc::<Seen>::default());
    let observer = Arc::clone(&seen) as Arc<dyn Observer>;
    let ledger = crate::ledger::handle::start(LedgerOptions::new(journals.path()), Box::new(Nowhere), observer).unwrap();
    let self_listen = SelfListen { listeners: Vec::new(), interfaces: Vec::new() };
    let network = Network { resolver: Arc::new(SystemResolver), self_listen };
    let catalog = Catalog::new(Snapshot { offerings, directory: Arc::default() }).start();
    let router = Router::new(catalog, ledger.journal(0).unwrap(), Arc::default(), network, ByoKeys::new(None, Duration::ZERO));
    let state = Rc::clone(&router.state);
    Bench { upstream, state, router: router.start(), ledger, seen, alpha, _journals: journals }
}

fn job(model: &str, nth: usize, stream: bool) -> Job {
    let (client_gone, client) = ClientGone::new();
    client.disarm();
    let tenant = Arc::new(Tenant::minimal("acme".into()));
    let caller = Caller { subject: "s".into(), ..Caller::minimal(tenant, "key_1".into(), [0; 32]) };
    let body = json!({"model": model, "stream": stream, "messages": [{"role": "user", "content": "hi"}]}).to_string();
    Job {
        request_id: format!("{model}-{nth}").into(),
        caller: Arc::new(caller),
        operation: Operation::Chat,
        model: model.into(),
        stream,
        document: Document::parse(Bytes::from(body), JsonLimits::default()).unwrap(),
        prompt_bytes: 2,
        forwarded: Forwarded::default(),
        user: None,
        tags: Vec::new(),
        received: Instant::now(),
        received_at: 0,
        write_timeout: Duration::from_secs(20),
        limits: config::Upstream::default(),
        memory: MemoryCapacity::new(1 << 30),
        client_gone,
        stopping: Arc::default(),
    }
}

/// Requests on their way.
type Flight = Vec<rt::task::JoinHandle<Answer>>;

impl Bench {
    /// Sends requests with numbers from `first` on, and gives them back once each has reached its adapter's mailbox.
    async fn send(&self, model: &str, first: usize, count: usize) -> Flight {
        let open = self.ledger.open_settlements() + count;
        let send = |nth| self.router.send(Route { job: Arc::new(job(model, nth, false)), presented: None });
        let flight = (first..first + count).map(send).map(|sent| rt::spawn(async move { sent.await.unwrap() })).collect();
        until("the settlements to be opened", || self.ledger.open_settlements() == open).await;
        flight
    }

    fn adapter(&self) -> Addr<Adapter> {
        self.state.adapter_slot(&self.alpha).adapter.clone()
    }

    /// Every entry, by request id; each request's only one.
    async fn entries(self) -> HashMap<String, Entry> {
        until("every request to be settled", || self.ledger.open_settlements() == 0).await;
        self.ledger.stop(Duration::from_secs(20)).await.unwrap();
        let seen = self.seen.0.lock().unwrap().clone();
        let count = seen.len();
        let entries: HashMap<_, _> = seen.into_iter().map(|entry| (entry.request_id.to_string(), entry)).collect();
        assert_eq!(entries.len(), count, "a request was settled twice");
        entries
    }
}

/// Lets the others run until it is so.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let started_at = Instant::now();
    while !is_so() {
        assert!(started_at.elapsed() < Duration::from_secs(20), "waited in vain for {what}");
        rt::task::yield_now().await;
    }
}

/// Who answered each, and after how many calls.
async fn answers(flight: Flight) -> Vec<(String, usize)> {
    let answered = |answer: Answer| {
        let reply = answer.unwrap();
        let Body::Whole(body) = reply.body else { panic!("a stream") };
        let said: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(said["choices"][0]["message"]["content"], *reply.route.provider, "somebody else's answer");
        (reply.route.provider.to_string(), reply.route.attempts)
    };
    join_all(flight).await.into_iter().map(|answer| answered(answer.unwrap())).collect()
}

fn errors(entry: &Entry) -> Vec<Option<&str>> {
    entry.attempts.iter().map(|attempt| attempt.error.as_deref()).collect()
}

/// Ends alpha's adapter with a hundred of its requests at the upstream and a hundred in its mailbox.
async fn with_two_hundred_in_flight(fault: Fault, calls_of_the_waiting: usize) {
    let bench = bench(0).await;
    let mut flight = bench.send("pair", 0, 100).await;
    until("the first hundred to reach the upstream", || bench.upstream.calls("alpha") == 100).await;
    let (word, held) = oneshot::channel();
    let before = bench.adapter();
    before.do_send(Hold(held));
    before.do_send(fault);
    flight.extend(bench.send("pair", 100, 100).await);
    let others = bench.send("other", 0, 50).await;
    word.send(()).unwrap();
    until("the second hundred to reach the upstream", || bench.upstream.calls("alpha") == 200).await;
    bench.upstream.gate.send_replace(true);

    let answers = [answers(flight).await, self::answers(others).await];
    assert!(answers[0][..100].iter().all(|answer| *answer == ("alpha".to_owned(), 1)), "{fault:?}: {answers:?}");
    assert!(answers[0][100..].iter().all(|answer| *answer == ("alpha".to_owned(), calls_of_the_waiting)), "{fault:?}: {answers:?}");
    assert!(answers[1].iter().all(|answer| *answer == ("gamma".to_owned(), 1)), "{fault:?}: {answers:?}");
    assert!(bench.adapter().connected());
    assert_eq!(bench.adapter() == before, before.connected(), "{fault:?}");
    assert_eq!(
        bench.state.adapter_slot(&bench.alpha).health.status(Instant::now()).cooldown_until,
        None,
        "our fault is not the provider's"
    );
    assert_eq!((bench.upstream.calls("alpha"), bench.upstream.calls("beta"), bench.upstream.calls("gamma")), (200, 0, 50));
    let entries = bench.entries().await;
    assert_eq!(entries.len(), 250);
    for (id, entry) in &entries {
        assert_eq!((entry.outcome, entry.status, errors(entry).last()), (Outcome::Ok, 200, Some(&None)), "{id}");
    }
}

#[actix_web::test]
async fn an_adapter_that_panics_is_replaced_and_what_it_held_is_tried_again() {
    with_two_hundred_in_flight(Fault::Panic, 2).await;
}

#[actix_web::test]
async fn an_adapter_that_stops_is_restarted_and_loses_nothing() {
    with_two_hundred_in_flight(Fault::Stop, 1).await;
}

#[actix_web::test]
async fn an_adapter_that_dies_while_idle_costs_the_next_request_one_attempt_at_most() {
    let bench = bench(0).await;
    bench.upstream.gate.send_replace(true);
    for nth in 0..3 {
        let gone = bench.adapter();
        gone.do_send(Fault::Panic);
        until("the adapter to be gone", || !gone.connected()).await;
        assert_eq!(answers(bench.send("pair", nth, 1).await).await, [("alpha".to_owned(), 2)]);
    }
}

#[actix_web::test]
async fn a_dialect_that_panics_costs_one_attempt_and_no_adapter() {
    let bench = bench(200).await;
    let before = bench.adapter();
    let flight = bench.send("pair", 0, 200).await;
    let others = bench.send("other", 0, 50).await;
    until("all to reach the upstream", || bench.upstream.calls.borrow().len() == 250).await;
    bench.upstream.gate.send_replace(true);
    let answers = [answers(flight).await, self::answers(others).await];
    assert!(answers[1].iter().all(|answer| *answer == ("gamma".to_owned(), 1)), "{answers:?}");
    assert!(bench.adapter() == before && before.connected(), "a panic in one call was taken for a dead adapter");
    assert_eq!(
        bench.state.adapter_slot(&bench.alpha).health.status(Instant::now()).cooldown_until,
        None,
        "our fault is not the provider's"
    );
    let entries = bench.entries().await;
    assert_eq!(entries.len(), 250);
    let lost: usize = entries.values().map(|entry| errors(entry).iter().filter(|error| **error == Some("adapter")).count()).sum();
    assert_eq!(lost, 200);
    assert!(entries.values().all(|entry| (entry.outcome, errors(entry).last()) == (Outcome::Ok, Some(&None))));
}

#[actix_web::test]
async fn a_dialect_that_always_panics_leaves_the_request_to_the_next_provider() {
    let bench = bench(usize::MAX).await;
    bench.upstream.gate.send_replace(true);
    let answers = answers(bench.send("pair", 0, 200).await).await;
    assert!(answers.iter().all(|answer| *answer == ("beta".to_owned(), 3)), "{answers:?}");
    assert_eq!((bench.upstream.calls("alpha"), bench.upstream.calls("beta")), (0, 200));
    let entries = bench.entries().await;
    assert_eq!(entries.len(), 200);
    assert!(entries.values().all(|entry| errors(entry) == [Some("adapter"), Some("adapter"), None] && entry.provider == "beta".into()));
}

#[actix_web::test]
async fn a_dialect_that_panics_in_the_middle_of_a_stream_ends_it_with_a_word() {
    let bench = bench(0).await;
    let reply = bench.router.send(Route { job: Arc::new(job("pair", 0, true)), presented: None }).await.unwrap().unwrap();
    let Body::Stream(mut frames) = reply.body else { panic!("no stream") };
    assert!(frames.recv().await.is_some());
    bench.upstream.gate.send_replace(true);
    let last = frames.recv().await.unwrap();
    assert!(memchr::memmem::find(&last, b"upstream_interrupted").is_some(), "{last:?}");
    assert_eq!(frames.recv().await, None);
    let entries = bench.entries().await;
    let entry = &entries["pair-0"];
    assert_eq!((entry.outcome, entry.status, entry.usage_source), (Outcome::Interrupted, 200, UsageSource::Estimated));
    assert!(entry.usage.completion_tokens > 0);
}
