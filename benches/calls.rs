//! Cost of the ledger per chat call: p50 and p99 with and without it, in one run.
//!
//! Two gateways in this process, identical except that the journal of one discards its entries. The
//! same clients call them alternately for half a second each, with changing order, so that other
//! load on the machine affects both. The ledger is flushed between turns, so that one gateway never
//! pays for the other. First with an upstream that takes 20 ms, which is little for a model, then
//! with one that answers at once: those ratios are the worst case.
//!
//! `cargo bench --bench calls`; `AIGW_BENCH_TURNS` sets the number of turns per gateway.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "the peers are the benchmark's own")]

mod world;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use actix_server::ServerBuilder;
use actix_web::middleware::from_fn;
use actix_web::{App, rt, web};
use aigw::catalog::snapshot::Snapshot;
use aigw::config::{self, DatabaseUrl, Settings};
use aigw::control::store::Store;
use aigw::credential::{Credential, CredentialKind};
use aigw::gateway::worker::{WorkerOptions, Workers};
use aigw::guard::SelfListen;
use aigw::http;
use aigw::http::connections::Connections;
use aigw::http::identity::Authenticator;
use aigw::http::probes::Probes;
use aigw::http::state::AppState;
use aigw::ledger::Observer;
use aigw::ledger::handle::{LedgerHandle, LedgerOptions, start};
use aigw::memory::MemoryCapacity;
use aigw::metrics::Metrics;
use aigw::upstream::Network;
use aigw::upstream::resolver::DnsResolver;

/// Same allocator as the product.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TURN: Duration = Duration::from_millis(500);
const LONG: Duration = Duration::from_secs(3_600);
const ANSWER: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"The quick brown fox jumps over the lazy dog."},"finish_reason":"stop"}],"usage":{"prompt_tokens":20,"completion_tokens":11,"total_tokens":31}}"#;
const BODY: &str = r#"{"model":"m","messages":[{"role":"system","content":"You are a helpful assistant."},{"role":"user","content":"What does the quick brown fox do, and to whom?"}],"temperature":0.7,"user":"u-1"}"#;

/// Latency of the upstream in milliseconds.
static DELAY: AtomicU64 = AtomicU64::new(0);

/// Connection of a client to a gateway.
struct Line(BufReader<TcpStream>);

/// Addresses of both gateways, and the ledger of the one that stores entries.
struct Gateways {
    with: SocketAddr,
    without: SocketAddr,
    ledger: LedgerHandle,
    key: Credential,
}

impl Line {
    fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream))
    }

    /// Reads a message and returns its first line. `None` if the peer has disconnected.
    fn read(&mut self) -> Option<String> {
        let (mut first, mut line, mut length) = (String::new(), String::new(), 0);
        self.0.read_line(&mut first).ok().filter(|read| *read > 0)?;
        while line != "\r\n" {
            line.clear();
            self.0.read_line(&mut line).ok().filter(|read| *read > 0)?;
            if let Some(("content-length", value)) = line.to_ascii_lowercase().split_once(':') {
                length = value.trim().parse().ok()?;
            }
        }
        std::io::copy(&mut self.0.by_ref().take(length), &mut std::io::sink()).ok()?;
        Some(first)
    }

    fn write(&mut self, message: &[u8]) {
        // A disconnected peer is noticed by the next read.
        let _ = self.0.get_mut().write_all(message);
    }
}

/// Starts an upstream that answers after [`DELAY`].
fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{ANSWER}", ANSWER.len());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = answer.clone();
            stream.set_nodelay(true).unwrap();
            std::thread::spawn(move || {
                let mut line = Line(BufReader::new(stream));
                while line.read().is_some() {
                    std::thread::sleep(Duration::from_millis(DELAY.load(Ordering::Relaxed)));
                    line.write(answer.as_bytes());
                }
            });
        }
    });
    address
}

/// Starts a gateway with one worker.
fn serve(settings: &Settings, snapshot: Snapshot, ledger: LedgerHandle, metrics: &Arc<Metrics>) -> SocketAddr {
    let network = Network { resolver: Arc::new(DnsResolver::start().unwrap()), self_listen: SelfListen::default() };
    let options = WorkerOptions { max_in_flight: 1_000, fail_static: LONG, edge: None, cache: LONG, admission: None, filter: None };
    let state = web::Data::new(AppState {
        workers: Workers::new(snapshot, ledger, network, options),
        authenticator: Authenticator::new(600),
        server: settings.server.clone(),
        limits: settings.upstream,
        memory: MemoryCapacity::new(settings.server.buffer_budget),
        metrics: Arc::clone(metrics),
        probes: Probes { database: Box::new(|| Box::pin(async { true })), metrics: Box::new(|| (String::new(), Metrics::CONTENT_TYPE)) },
    });
    let app = move || App::new().wrap(from_fn(http::middleware::guard_request)).app_data(state.clone()).configure(http::routes);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let lasting = config::Server { keep_alive: LONG, ..settings.server.clone() };
    let builder = ServerBuilder::new().workers(1).disable_signals();
    let server = http::serve::listen(builder, listener, &lasting, Connections::new(&lasting), app).unwrap();
    rt::spawn(server.run());
    address
}

/// Starts both gateways on their own threads.
fn start_gateways(directory: &Path) -> Gateways {
    let settings = world::settings(upstream());
    let store = Store::open(&DatabaseUrl::Sqlite(directory.join("bench.db"))).unwrap();
    let options = LedgerOptions::new(directory.join("journal"));
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let metrics = Arc::new(Metrics::new());
            let ledger = start(options, Box::new(store.sink()), Arc::clone(&metrics) as Arc<dyn Observer>).unwrap();
            let key = Credential::mint(CredentialKind::Virtual).unwrap();
            let snapshot = world::snapshot(&settings, &key, 0);
            let with = serve(&settings, snapshot.clone(), ledger.clone(), &metrics);
            let without = serve(&settings, snapshot, ledger.clone().forgetful(), &metrics);
            sender.send(Gateways { with, without, ledger, key }).unwrap();
            std::future::pending::<()>().await;
        });
    });
    receiver.recv().unwrap()
}

/// Runs all clients for one turn, with a think time between calls. Returns the duration of each
/// call.
fn turn(lines: &mut [Line], request: &[u8], think: Duration) -> Vec<Duration> {
    let until = Instant::now() + TURN;
    let ask = |line: &mut Line| {
        let mut took = Vec::new();
        while Instant::now() < until {
            let start = Instant::now();
            line.write(request);
            let status = line.read().unwrap();
            took.push(start.elapsed());
            assert!(status.contains(" 200 "), "{status}");
            if !think.is_zero() {
                std::thread::sleep(think);
            }
        }
        took
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = lines.iter_mut().map(|line| scope.spawn(move || ask(line))).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    })
}

/// Returns a per-mille rank in microseconds.
fn permille(sorted: &[Duration], nth: usize) -> f64 {
    sorted[(sorted.len() - 1) * nth / 1_000].as_secs_f64() * 1e6
}

fn measure(gateways: &Gateways, turns: usize, load: &str, clients: usize, think: Duration) {
    let key = gateways.key.text().expose();
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    let runtime = rt::Runtime::new().unwrap();
    let stored = || runtime.block_on(gateways.ledger.flush(LONG)).unwrap().rows;
    let before = stored();
    let mut lines = [gateways.without, gateways.with].map(|address| (0..clients).map(|_| Line::open(address)).collect::<Vec<_>>());
    let mut took = [Vec::new(), Vec::new()];
    for nth in 0..2 * (turns + 1) {
        // A B B A; the first of each only warms up.
        let which = ((nth % 4) / 2) ^ (nth % 2);
        let calls = turn(&mut lines[which], request.as_bytes(), think);
        stored();
        if nth >= 2 {
            took[which].extend(calls);
        }
    }
    let [without, with] = took.map(|mut calls| {
        calls.sort_unstable();
        calls
    });
    assert!(stored() - before >= with.len() as u64, "the ledger has not been at work");
    println!("{load}: {} calls without the ledger, {} with it", without.len(), with.len());
    for (name, nth) in [("p50", 500), ("p90", 900), ("p99", 990)] {
        let (without, with) = (permille(&without, nth), permille(&with, nth));
        println!("  {name}: {without:.1} us without, {with:.1} us with: {:.3}", with / without);
    }
}

fn main() {
    let turns = std::env::var("AIGW_BENCH_TURNS").ok().and_then(|turns| turns.parse().ok()).unwrap_or(40);
    let directory = tempfile::tempdir().unwrap();
    let gateways = start_gateways(directory.path());
    DELAY.store(20, Ordering::Relaxed);
    measure(&gateways, turns, "16 clients of an upstream that takes 20 ms", 16, Duration::ZERO);
    DELAY.store(0, Ordering::Relaxed);
    // Without spare cores, the ledger's work delays calls that wait for a core.
    measure(&gateways, turns, "4 clients that think for 4 ms", 4, Duration::from_millis(4));
    measure(&gateways, turns, "1 client after its own answer", 1, Duration::ZERO);
    measure(&gateways, turns, "8 clients, all cores busy", 8, Duration::ZERO);
}
