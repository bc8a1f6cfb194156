//! The crash test: 64 clients, responses of every kind, and kill -9 at random moments, twenty
//! times, sometimes again during the recovery. The scripted upstream's own log and the ledger must
//! agree on every request.
//!
//! Another gateway on the same database and the same journal directory serves some of the clients
//! and is never killed: its journals must not be recovered.
//!
//! Each request has a script of its own, whose mark is its `x-request-id`: the upstream finds the
//! mark in the body and logs the call under it. A run prints its seed; `AIGW_TEST_SEED` repeats its
//! choices, but not the scheduling.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::support::client::Connection;
use crate::support::eventually;
use crate::support::gateway::{Gateway, Key, Setup, Tenant};
use crate::support::store::{Store, blocked};
use crate::support::test_gateway::{keyless, models};
use crate::support::upstream::{Answer, MARK, Script, Upstream, completion};

const CLIENTS: u64 = 64;
/// One in this many clients uses the other gateway.
const ELSEWHERE: u64 = 8;
const KILLS: usize = 20;
/// Number of requests of each client after the last kill.
const LAST_REQUESTS: usize = 3;
const RETRY: &str = r#"[retry]
attempts = 2
backoff = "1ms"
max_backoff = "10ms"
cooldown = { failures = 0, window = "30s", rest = "1s" }
"#;

/// Course of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Whole,
    Slow,
    Streamed,
    /// The first provider fails twice, the second answers.
    FailedOver,
    /// The upstream rejects the request.
    Refused,
    /// No provider answers.
    Exhausted,
    /// The stream is cut after its beginning.
    Cut,
    /// The client disconnects in the middle of the stream.
    Disconnected,
    /// The stream never ends: it is open when the process is killed.
    Hung,
}

/// One request, and what its client saw of it.
struct SentRequest {
    fate: Fate,
    /// Whether it went to the gateway that is never killed.
    is_elsewhere: bool,
    script: Script,
    prompt_tokens: i64,
    completion_tokens: i64,
    /// Status of the response, if the client saw its end.
    seen: Option<u16>,
}

struct CrashRun<'a> {
    gateway: &'a Gateway,
    other: &'a Gateway,
    upstream: &'a Upstream,
    key: &'a Key,
    answered: AtomicUsize,
}

impl Fate {
    fn draw(rng: &mut Rng) -> Self {
        match rng.u8(0..16) {
            0..4 => Fate::Whole,
            4..6 => Fate::Slow,
            6..10 => Fate::Streamed,
            10 => Fate::FailedOver,
            11 => Fate::Refused,
            12 => Fate::Exhausted,
            13 => Fate::Cut,
            14 => Fate::Disconnected,
            _ => Fate::Hung,
        }
    }

    fn is_stream(self) -> bool {
        matches!(self, Fate::Streamed | Fate::Cut | Fate::Disconnected | Fate::Hung)
    }

    /// Returns status, outcome and usage source of a completed request.
    fn end(self) -> (u16, &'static str, &'static str) {
        match self {
            Fate::Whole | Fate::Slow | Fate::Streamed | Fate::FailedOver => (200, "ok", "upstream"),
            Fate::Refused => (400, "client_error", "none"),
            Fate::Exhausted => (502, "upstream_error", "none"),
            Fate::Cut | Fate::Hung => (200, "interrupted", "estimated"),
            Fate::Disconnected => (200, "client_closed", "estimated"),
        }
    }
}

impl SentRequest {
    /// Creates a request and scripts the upstream's response.
    fn new(upstream: &Upstream, fate: Fate, is_elsewhere: bool, rng: &mut Rng) -> Self {
        // Random counts, so that no entry can be mistaken for another.
        let (prompt_tokens, completion_tokens) = (rng.i64(1..1_000_000), rng.i64(1..1_000_000));
        let script = upstream.script();
        let usage = json!({"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens});
        let mut body = completion("some text");
        body["usage"] = usage.clone();
        let some = Answer::stream().delta("some").delta(" text");
        let answer = match fate {
            Fate::Whole | Fate::FailedOver => Answer::json(200, &body),
            Fate::Slow => Answer::head(200).pause(Duration::from_millis(rng.u64(1..30))).before_head().piece(body.to_string().as_bytes()),
            Fate::Streamed => Answer::streamed(&["some", " text", " and", " more"], Some(&usage)),
            Fate::Refused => Answer::error(400),
            Fate::Exhausted => Answer::error(500),
            Fate::Cut => some.close(),
            Fate::Disconnected | Fate::Hung => some.hang(),
        };
        let first = if fate == Fate::FailedOver { Answer::error(500) } else { answer.clone() };
        script.on("alpha", [first]).on("beta", [answer]);
        Self { fate, is_elsewhere, script, prompt_tokens, completion_tokens, seen: None }
    }

    fn id(&self) -> &str {
        self.script.mark()
    }

    fn has_reached_upstream(&self) -> bool {
        !self.script.calls().is_empty()
    }

    /// Sends the request. Returns `None` if it was not accepted or not completed.
    fn send(&mut self, run: &CrashRun<'_>) -> Option<()> {
        let body = json!({"model": "pair", "messages": [], "stream": self.fate.is_stream(), MARK: self.id()});
        let gateway = if self.is_elsewhere { run.other } else { run.gateway };
        let request = gateway.chat(run.key, &body).header("x-request-id", self.id());
        let mut connection = Connection::try_open(gateway.address).ok()?;
        connection.try_write(&request.wire()).then_some(())?;
        let mut reply = connection.try_reply().ok()?;
        if self.fate == Fate::Disconnected {
            return reply.frame().map(|_| ());
        }
        let answer = reply.whole();
        let text = answer.text();
        let has_end = answer.complete && (!text.starts_with("data:") || text.contains("[DONE]") || text.contains("upstream_interrupted"));
        self.seen = has_end.then_some(answer.status);
        self.seen.map(|_| ())
    }

    /// Returns how an entry contradicts what the client saw or what the upstream has logged.
    fn contradiction(&self, entry: &Value) -> Option<&'static str> {
        let (status, outcome, source) = self.fate.end();
        // At 1 and 2 dollars per million tokens.
        let cost = self.prompt_tokens * 1_000 + self.completion_tokens * 2_000;
        let usage = |prompt: i64, completion: i64, cost: i64| {
            entry["prompt_tokens"] == prompt && entry["completion_tokens"] == completion && entry["cost_nanousd"] == cost
        };
        let is_settled = entry["status"] == status
            && entry["outcome"] == outcome
            && entry["usage_source"] == source
            && entry["attempts"].as_array().is_some_and(|attempts| attempts.len() == self.script.calls().len())
            && match source {
                "upstream" => usage(self.prompt_tokens, self.completion_tokens, cost),
                "none" => usage(0, 0, 0),
                _ => true,
            };
        let is_estimated = entry["usage_source"] == "estimated" && entry["cost_nanousd"].as_i64().is_some_and(|cost| cost > 0);
        let is_killed = is_estimated && entry["outcome"] == "interrupted" && entry["error_code"] == "process_killed";
        // Clients lose patience too, where the machine is that busy.
        let is_left = is_estimated && entry["outcome"] == "client_closed";
        match self.seen {
            Some(seen) if seen != status => Some("the client got the wrong status"),
            Some(_) if !is_settled => Some("the client saw its end, but the entry does not show it as settled"),
            None if is_killed && self.is_elsewhere => Some("it was recovered while its process was alive"),
            None if !is_settled && !is_killed && !is_left => Some("it is neither settled nor estimated"),
            None if is_settled && !self.has_reached_upstream() => Some("the upstream has not logged it"),
            _ => None,
        }
    }
}

impl CrashRun<'_> {
    /// Lets each client send requests until it has sent enough or the gateway is gone.
    fn run_clients(&self, seed: u64, more: impl Fn(usize) -> bool + Sync, draw: impl Fn(&mut Rng) -> Fate + Sync) -> Vec<SentRequest> {
        let client = |nth: u64| {
            let (mut rng, is_elsewhere, mut all) = (Rng::with_seed(seed ^ nth), nth.is_multiple_of(ELSEWHERE), Vec::new());
            while more(all.len()) {
                let fate = Some(draw(&mut rng)).filter(|fate| !is_elsewhere || *fate != Fate::Hung).unwrap_or(Fate::Disconnected);
                let mut sent = SentRequest::new(self.upstream, fate, is_elsewhere, &mut rng);
                let went_on = sent.send(self);
                all.push(sent);
                if went_on.is_none() {
                    break;
                }
                self.answered.fetch_add(1, Ordering::SeqCst);
            }
            all
        };
        std::thread::scope(|scope| {
            let client = &client;
            let clients: Vec<_> = (0..CLIENTS).map(|nth| scope.spawn(move || client(nth))).collect();
            clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
        })
    }

    /// Sends requests until the gateway is killed at a random moment; returns them.
    fn run_until_killed(&self, rng: &mut Rng) -> Vec<SentRequest> {
        let (seed, enough) = (rng.u64(..), self.answered.load(Ordering::SeqCst) + rng.usize(0..600));
        let (pause, over) = (Duration::from_micros(rng.u64(0..20_000)), AtomicBool::new(false));
        // Sometimes the database is locked, so that much is left to recover.
        let block = (rng.u8(0..4) == 0).then(|| blocked(&self.gateway.database));
        let sent = std::thread::scope(|scope| {
            let running = scope.spawn(|| self.run_clients(seed, |_| !over.load(Ordering::SeqCst), Fate::draw));
            let start = Instant::now();
            // Clients that wait for endless streams send nothing more.
            let is_time = || self.answered.load(Ordering::SeqCst) >= enough || start.elapsed() > Duration::from_secs(1);
            eventually("the moment to kill it", || is_time().then_some(()));
            std::thread::sleep(pause);
            self.gateway.kill9();
            over.store(true, Ordering::SeqCst);
            running.join().unwrap()
        });
        drop(block);
        sent
    }

    /// Restarts the gateway, sometimes after killing it during its recovery.
    fn recover(&self, rng: &mut Rng) {
        let recoveries = || self.gateway.log().matches("recovering the journal").count();
        for _ in 0..[0, 0, 1, 2][rng.usize(0..4)] {
            let before = recoveries();
            self.gateway.begin_restart();
            eventually("its recovery to begin", || (recoveries() > before).then_some(()));
            std::thread::sleep(Duration::from_micros(rng.u64(0..30_000)));
        }
        self.gateway.restart();
    }
}

/// Reserves a port for this test while the gateway does not listen on it.
fn held_port() -> (u16, Socket) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    (socket.local_addr().unwrap().as_socket().unwrap().port(), socket)
}

/// Returns every entry of the tenant by the id of its request.
fn ledger(tenant: &Tenant<'_>) -> HashMap<String, Value> {
    let (mut entries, mut cursor) = (HashMap::new(), String::new());
    loop {
        let page = tenant.gateway.admin("GET", &format!("/ledger?tenant={}&limit=1000{cursor}", tenant.id), None).expect(200);
        for entry in page["data"].as_array().unwrap() {
            let id = entry["request_id"].as_str().unwrap();
            let duplicate = entries.insert(id.to_owned(), entry.clone());
            assert!(duplicate.is_none(), "request {id} has two entries:\n{entry}\n{duplicate:?}");
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return entries,
        }
    }
}

/// Compares the ledger with the upstream's log and what clients saw; returns the ledger.
fn compare(all: &[SentRequest], tenant: &Tenant<'_>) -> HashMap<String, Value> {
    let missing = |entries: &HashMap<String, Value>| -> Vec<&str> {
        let reached = all.iter().filter(|sent| sent.has_reached_upstream()).map(SentRequest::id);
        reached.filter(|id| !entries.contains_key(*id)).collect()
    };
    let start = Instant::now();
    let entries = eventually("the ledger", || {
        let entries = ledger(tenant);
        (missing(&entries).is_empty() || start.elapsed() > Duration::from_secs(5)).then_some(entries)
    });
    assert!(missing(&entries).is_empty(), "requests in the upstream's log are not in the ledger: {:?}", missing(&entries));
    let mut unmatched = entries.clone();
    for sent in all {
        match unmatched.remove(sent.id()) {
            None => assert!(sent.seen.is_none(), "an answered request has no entry: {}", sent.id()),
            Some(entry) => {
                let contradiction = sent.contradiction(&entry);
                assert!(
                    contradiction.is_none(),
                    "{contradiction:?}: {:?}, seen {:?}, {} calls\n{entry}",
                    sent.fate,
                    sent.seen,
                    sent.script.calls().len()
                );
            }
        }
    }
    assert!(unmatched.is_empty(), "entries without a request: {unmatched:?}");
    entries
}

fn crash(store: Store) {
    if !store.is_available() {
        return;
    }
    let seed = std::env::var("AIGW_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("AIGW_TEST_SEED={seed}");
    let (mut rng, upstream, (port, _held)) = (Rng::with_seed(seed), Upstream::start(), held_port());
    let durability = ["process", "power"][rng.usize(0..2)];
    let setup = |journal: &str| {
        Setup::new()
            .store(store)
            .server("workers = 2\nreuse_port = true")
            .section(&format!("{RETRY}\n[ledger]\njournal = \"{journal}\"\ndurability = \"{durability}\""))
            .provider("alpha.toml", &keyless("alpha", "1-alpha", &upstream.base_url("alpha")))
            .provider("beta.toml", &keyless("beta", "2-beta", &upstream.base_url("beta")))
            .provider("models.toml", &models(&[("pair", &["alpha", "beta"])]))
    };
    let gateway = setup("journal").port(port).start();
    let tenant = gateway.tenant();
    let key = tenant.key();
    let journal = gateway.directory.join("journal");
    let other = setup(journal.to_str().unwrap()).database(&gateway.database).start();
    let run = CrashRun { gateway: &gateway, other: &other, upstream: &upstream, key: &key, answered: AtomicUsize::new(0) };
    let mut all = Vec::new();
    for _ in 0..KILLS {
        all.extend(run.run_until_killed(&mut rng));
        run.recover(&mut rng);
    }
    let last = run.run_clients(seed, |sent| sent < LAST_REQUESTS, |rng| [Fate::Whole, Fate::Streamed][rng.usize(0..2)]);
    assert!(last.iter().all(|sent| sent.seen == Some(200)), "a request after the last restart failed");
    all.extend(last);

    let entries = compare(&all, &tenant);
    let reached = all.iter().filter(|sent| sent.has_reached_upstream()).count();
    let killed = entries.values().filter(|entry| entry["error_code"] == "process_killed").count();
    println!(
        "{durability}: {} requests, {reached} in the upstream's log, {} in the ledger, {killed} of them killed",
        all.len(),
        entries.len()
    );
    assert!(killed >= 2 * KILLS, "too few requests were open at a kill");
    let sum: i64 = entries.values().map(|entry| entry["cost_nanousd"].as_i64().unwrap()).sum();
    let usage = gateway.admin("GET", &format!("/usage?tenant={}", tenant.id), None).expect(200)["data"][0].clone();
    assert_eq!((&usage["requests"], &usage["cost_nanousd"]), (&json!(entries.len()), &json!(sum)));
    let files = std::fs::read_dir(journal).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let left: Vec<String> = files.filter(|name| !name.ends_with(".lock")).collect();
    assert_eq!(left.len(), 4, "there are files besides the journals of two gateways with two workers: {left:?}");
    for gateway in [&gateway, &other] {
        assert!(!gateway.log().contains("panicked"), "{}", gateway.log());
    }
}

#[test]
fn the_ledger_agrees_with_the_upstream_log_after_kills_on_sqlite() {
    crash(Store::Sqlite);
}

#[test]
fn the_ledger_agrees_with_the_upstream_log_after_kills_on_postgresql() {
    crash(Store::Postgres);
}
