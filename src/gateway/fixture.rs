//! A worker's router over a real ledger, for the tests of the gateway.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix::{Actor, ActorContext, Addr, Context, Handler, Message};
use actix_web::rt;
use serde_json::json;

use super::adapter::Adapter;
use super::admission::Admission;
use super::byo::ByoKeys;
use super::disconnect::ClientGone;
use super::filter::Filter;
use super::job::{Forwarded, Job};
use super::messages::{Answer, Reply, ReplyBody, Route};
use super::router::{Router, RouterState};
use super::slots::AdapterSlots;
use crate::catalog::actor::Catalog;
use crate::catalog::caller::{Caller, Tenant};
use crate::catalog::offerings::Offerings;
use crate::catalog::provider::{Offer, Provider};
use crate::catalog::snapshot::Snapshot;
use crate::config::{self, Auth, Cooldown, Kind, Offering, Price, RetryPolicy};
use crate::dialect::call::{Call, Prepared, Script};
use crate::dialect::contract::Dialect;
use crate::dialect::failure::Failure;
use crate::dialect::openai::OpenAi;
use crate::dialect::request::{DialectRequest, Refused};
use crate::guard::{NetworkAccess, SelfListen};
use crate::json::JsonLimits;
use crate::ledger::entry::Entry;
use crate::ledger::handle::{self, LedgerHandle, LedgerOptions};
use crate::ledger::{Batch, EntrySink, Observer, Positions, SinkError};
use crate::memory::MemoryCapacity;
use crate::payload::{Payload, PayloadFormat};
use crate::surface::chat::Chat;
use crate::terms::Operation;
use crate::upstream::Network;
use crate::upstream::resolver::DnsResolver;

/// Patience of a test, far beyond what any step takes.
pub const LONG: Duration = Duration::from_secs(20);

/// A router with two models: `pair` at the first and then the second provider, `other` at the last
/// alone.
pub struct TestGateway {
    pub router: Addr<Router>,
    pub state: Rc<RouterState>,
    pub ledger: TestLedger,
    pub providers: Vec<Arc<Provider>>,
    pub pair: Vec<Arc<Offer>>,
}

/// A provider of a [`TestGateway`].
pub struct TestProvider {
    pub name: &'static str,
    pub dialect: &'static dyn Dialect,
    pub base_url: String,
}

/// OpenAI's dialect, answered in process. It keeps the bodies that it would have sent.
#[derive(Default)]
pub struct ScriptedDialect {
    answers: Mutex<VecDeque<Script>>,
    sent: Mutex<Vec<String>>,
}

/// The policies of a [`TestGateway`].
#[derive(Default)]
pub struct Policies {
    pub admission: Option<Arc<dyn Admission>>,
    pub filter: Option<Arc<dyn Filter>>,
}

/// Ends an actor.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "()")]
pub enum ActorFault {
    Panic,
    Stop,
}

impl Handler<ActorFault> for Adapter {
    type Result = ();

    fn handle(&mut self, fault: ActorFault, ctx: &mut Context<Self>) {
        match fault {
            ActorFault::Panic => panic!("panic on request"),
            ActorFault::Stop => ctx.stop(),
        }
    }
}

/// A ledger that remembers every entry as it was settled.
pub struct TestLedger {
    pub handle: LedgerHandle,
    settled: Arc<SettledEntries>,
    _journals: tempfile::TempDir,
}

#[derive(Default)]
struct SettledEntries(Mutex<Vec<Entry>>);

impl Observer for SettledEntries {
    fn settled(&self, entry: &Entry) {
        self.0.lock().unwrap().push(entry.clone());
    }
}

/// A sink that accepts everything and stores nothing.
struct NullSink;

impl EntrySink for NullSink {
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

impl ScriptedDialect {
    /// A dialect that gives these answers, one for each call.
    pub fn new(answers: impl IntoIterator<Item = Script>) -> &'static Self {
        Box::leak(Box::new(Self { answers: Mutex::new(answers.into_iter().collect()), ..Self::default() }))
    }

    /// The bodies sent so far.
    pub fn sent(&self) -> Vec<String> {
        self.sent.lock().unwrap().clone()
    }
}

impl Dialect for ScriptedDialect {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn path(&self, operation: Operation) -> Option<&'static str> {
        OpenAi.path(operation)
    }

    fn request(&self, ask: &DialectRequest<'_>) -> Result<Prepared, Refused> {
        let prepared = OpenAi.request(ask)?;
        let Call::Http { body, .. } = prepared.call else { panic!("not an HTTP call") };
        self.sent.lock().unwrap().push(String::from_utf8(body.to_vec()).unwrap());
        let script = self.answers.lock().unwrap().pop_front().expect("an answer for each call");
        Ok(Prepared { call: Call::Scripted(script), ..prepared })
    }

    fn failure(&self, status: u16, body: &[u8]) -> Failure {
        OpenAi.failure(status, body)
    }
}

/// An answer that is complete at once.
pub fn whole(content: &str) -> Script {
    let usage = json!({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5});
    let choice = json!({"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"});
    let body = json!({"object": "chat.completion", "choices": [choice], "usage": usage}).to_string();
    Script { status: 200, content_type: "application/json", pieces: vec![(Duration::ZERO, body.into())] }
}

/// A stream of one event for each text, each in a piece of its own. It breaks off before its
/// terminal event if `is_cut`.
pub fn stream(texts: &[&str], is_cut: bool) -> Script {
    let event = |text: &&str| format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": {"content": text}}]}));
    let end = format!("data: {}\n\ndata: [DONE]\n\n", json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}));
    let events = texts.iter().map(event).chain((!is_cut).then_some(end));
    Script { status: 200, content_type: "text/event-stream", pieces: events.map(|event| (Duration::ZERO, event.into())).collect() }
}

/// An error.
pub fn error(status: u16) -> Script {
    let body = json!({"error": {"message": "no", "type": "t", "code": "c"}}).to_string();
    Script { status, content_type: "application/json", pieces: vec![(Duration::ZERO, body.into())] }
}

/// Two attempts, almost no backoff, long timeouts, cooldown after one failure.
pub fn retry_policy() -> RetryPolicy {
    RetryPolicy {
        attempts: 2,
        backoff: Duration::from_millis(1),
        max_backoff: Duration::from_millis(1),
        connect_timeout: LONG,
        first_byte_timeout: LONG,
        idle_timeout: LONG,
        total_timeout: LONG * 3,
        cooldown: Cooldown { failures: 1, window: Duration::from_secs(60), rest: Duration::from_secs(60) },
    }
}

/// The models of a [`TestGateway`] with at least two providers, in alphabetical order.
pub fn offerings(providers: &[TestProvider]) -> Offerings {
    let network = NetworkAccess { allow_private: true, ..NetworkAccess::default() };
    let retry = retry_policy();
    let kind = |provider: &TestProvider| {
        Arc::new(Kind {
            name: provider.name.into(),
            dialect: provider.dialect,
            base_url: Some(provider.base_url.clone()),
            auth: Auth::None,
            headers: Vec::new(),
            query: Vec::new(),
            paths: [(Operation::Chat, "/chat/completions".to_owned())].into(),
            quirks: Arc::default(),
            network: network.clone(),
            retry: retry.clone(),
        })
    };
    let kinds: Vec<Arc<Kind>> = providers.iter().map(kind).collect();
    let provider = |kind: &Arc<Kind>| config::ProviderSettings {
        name: kind.name.to_string().into(),
        kind: Arc::clone(kind),
        api_key: None,
        disabled: None,
        tenants: None,
        base_url: kind.base_url.clone(),
        headers: Vec::new(),
        query: Vec::new(),
        network: network.clone(),
        retry: retry.clone(),
    };
    let model = |id: &str, kinds: &[Arc<Kind>]| config::ModelSettings {
        id: id.into(),
        aliases: Vec::new(),
        context_window: None,
        max_output_tokens: None,
        served_by: kinds
            .iter()
            .map(|kind| (kind.name.clone(), Offering { upstream_model: id.to_owned(), price: Arc::new(Price::default()) }))
            .collect(),
    };
    let catalog = config::CatalogSettings {
        providers: kinds.iter().map(provider).collect(),
        models: vec![model("other", &kinds[kinds.len() - 1..]), model("pair", &kinds[..2])],
        kinds: kinds.iter().map(|kind| (kind.name.clone(), Arc::clone(kind))).collect(),
    };
    Offerings::build(&catalog, None, 0)
}

/// A network without listeners of its own.
pub fn network() -> Network {
    let self_listen = SelfListen { listeners: Vec::new(), interfaces: Vec::new() };
    Network { resolver: Arc::new(DnsResolver::start().unwrap()), self_listen }
}

impl TestLedger {
    /// Starts a ledger with a journal of its own.
    pub fn start() -> Self {
        let (journals, settled) = (tempfile::tempdir().unwrap(), Arc::<SettledEntries>::default());
        let observer = Arc::clone(&settled) as Arc<dyn Observer>;
        let handle = handle::start(LedgerOptions::new(journals.path()), Box::new(NullSink), observer).unwrap();
        Self { handle, settled, _journals: journals }
    }

    /// Every settled entry by request id, after the ledger has stopped. Each request must have
    /// exactly one.
    pub async fn entries(self) -> HashMap<String, Entry> {
        until("every request to be settled", || self.handle.open_settlements() == 0).await;
        self.handle.stop(LONG).await.unwrap();
        let settled = self.settled.0.lock().unwrap().clone();
        let count = settled.len();
        let entries: HashMap<_, _> = settled.into_iter().map(|entry| (entry.request_id.to_string(), entry)).collect();
        assert_eq!(entries.len(), count, "a request was settled twice");
        entries
    }
}

impl TestGateway {
    /// Starts a router over at least two providers. Their names must be in alphabetical order.
    pub fn start(providers: &[TestProvider], policies: Policies) -> Self {
        let offerings = Arc::new(offerings(providers));
        let providers: Vec<_> = offerings.providers.iter().map(|listed| Arc::clone(&listed.provider)).collect();
        let ledger = TestLedger::start();
        let snapshot = Snapshot { offerings, directory: Arc::default() };
        let pair = snapshot.find(&caller(), "pair").unwrap().chain.to_vec();
        let state = Rc::new(RouterState {
            catalog: Catalog::new(snapshot).start(),
            journal: ledger.handle.journal(0).unwrap(),
            slots: AdapterSlots::new(Arc::default(), network(), policies.filter),
            byo_keys: ByoKeys::new(None, Duration::ZERO),
            admission: policies.admission,
        });
        let router = Router::new(Rc::clone(&state)).start();
        Self { router, state, ledger, providers, pair }
    }

    /// Starts a router over alpha and beta, which answer in process.
    pub fn scripted(alpha: &'static ScriptedDialect, beta: &'static ScriptedDialect, policies: Policies) -> Self {
        let provider = |name, dialect| TestProvider { name, dialect, base_url: "http://127.0.0.1:1".to_owned() };
        Self::start(&[provider("alpha", alpha), provider("beta", beta)], policies)
    }

    /// Routes one request.
    pub async fn route(&self, job: Job) -> Answer {
        self.router.send(Route { job: Arc::new(job), presented: None }).await.unwrap()
    }

    /// Every settled entry by request id, after the ledger has stopped. Each request must have
    /// exactly one.
    pub async fn entries(self) -> HashMap<String, Entry> {
        self.ledger.entries().await
    }
}

/// A caller who may use every model.
pub fn caller() -> Caller {
    let tenant = Arc::new(Tenant::minimal("acme".into()));
    Caller { subject: "s".into(), ..Caller::minimal(tenant, "key_1".into(), [0; 32]) }
}

/// A JSON payload.
pub fn json(body: String) -> Payload {
    PayloadFormat::Json.parse("", body.into(), JsonLimits::default()).unwrap()
}

/// A chat request with the id `model-nth`.
pub fn job(model: &str, nth: usize, stream: bool) -> Job {
    let (client_gone, client) = ClientGone::new();
    client.disarm();
    let body = json!({"model": model, "stream": stream, "messages": [{"role": "user", "content": "hi"}]}).to_string();
    Job {
        request_id: format!("{model}-{nth}").into(),
        caller: Arc::new(caller()),
        operation: Operation::Chat,
        surface: &Chat,
        model: model.into(),
        stream,
        payload: json(body),
        prompt_bytes: 2,
        forwarded: Forwarded::default(),
        user: None,
        tags: Vec::new(),
        received: Instant::now(),
        received_at: 0,
        write_timeout: LONG,
        limits: config::UpstreamLimits::default(),
        memory: MemoryCapacity::new(1 << 30),
        client_gone,
        stopping: Arc::default(),
    }
}

/// The reply's body, of a stream all its frames.
pub async fn body(reply: Reply) -> String {
    let mut all = Vec::new();
    match reply.body {
        ReplyBody::Whole(bytes) => all.extend_from_slice(&bytes),
        ReplyBody::Stream(mut frames) => {
            while let Some(frame) = frames.recv().await {
                all.extend_from_slice(&frame.unwrap());
            }
        }
    }
    String::from_utf8(all).unwrap()
}

/// Yields to other tasks until `holds`.
pub async fn until(condition: &str, holds: impl Fn() -> bool) {
    let started_at = Instant::now();
    while !holds() {
        assert!(started_at.elapsed() < LONG, "timed out waiting for {condition}");
        rt::task::yield_now().await;
    }
}
