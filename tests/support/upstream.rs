//! Scripted upstream: an HTTP/1.1 server on loopback that follows a test's script to the byte,
//! faults included.
//!
//! One server serves many tests at once. A test opens a [`Script`], puts its mark into the request
//! body (a field that no gateway knows and every gateway must pass on), and lists for each provider
//! the answers to give in turn. The first segment of a path names the provider. Every call is
//! recorded. A provider without answers gives good ones.

use std::collections::{HashMap, VecDeque};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::client::{Headers, find};
use super::{LIMIT, unique};

mod answer;
pub use answer::*;

/// Body field with a script's mark.
pub const MARK: &str = "x_script";
/// Request header with the mark, for dialects that pass no unknown field.
pub const MARK_HEADER: &str = "x-script";

/// Scripted server.
pub struct Upstream {
    pub address: SocketAddr,
    server: Arc<Server>,
}

#[derive(Default)]
struct Server {
    scripts: Mutex<HashMap<String, Arc<UpstreamState>>>,
    unmarked: Arc<UpstreamState>,
    connections: AtomicUsize,
}

/// Answers and recorded calls of one test.
#[derive(Clone)]
pub struct Script {
    mark: String,
    state: Arc<UpstreamState>,
}

#[derive(Default)]
struct UpstreamState {
    recording: Mutex<Recording>,
    changed: Condvar,
}

#[derive(Default)]
struct Recording {
    answers: HashMap<String, VecDeque<Answer>>,
    calls: Vec<Call>,
}

/// Request that arrived.
#[derive(Clone, Debug)]
pub struct Call {
    pub provider: String,
    pub method: String,
    pub target: String,
    pub headers: Headers,
    pub body: Vec<u8>,
    /// Number of its connection, from 1.
    pub connection: usize,
    /// Number of earlier requests on that connection.
    pub earlier: usize,
    /// Time at which the caller disconnected before the end of the answer.
    pub gone: Option<Instant>,
    /// Time at which the answer was complete.
    pub done: Option<Instant>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Upstream {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = Arc::<Server>::default();
        let shared = Arc::clone(&server);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = Arc::clone(&shared);
                std::thread::spawn(move || {
                    let number = server.connections.fetch_add(1, Ordering::SeqCst) + 1;
                    let _ = serve(&server, stream, number);
                });
            }
        });
        Self { address, server }
    }

    /// Base URL of a provider.
    pub fn base_url(&self, provider: &str) -> String {
        format!("http://{}/{provider}/v1", self.address)
    }

    /// Creates the script of one test.
    pub fn script(&self) -> Script {
        let (mark, state) = (unique("s"), Arc::<UpstreamState>::default());
        lock(&self.server.scripts).insert(mark.clone(), Arc::clone(&state));
        Script { mark, state }
    }

    /// Returns the number of connections so far.
    pub fn connections(&self) -> usize {
        self.server.connections.load(Ordering::SeqCst)
    }

    /// Returns the calls without a known mark.
    pub fn unmarked(&self) -> Vec<Call> {
        lock(&self.server.unmarked.recording).calls.clone()
    }
}

impl Script {
    /// Returns the mark to put into the body under [`MARK`].
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// Sets the answers of a provider, in turn; the last one is repeated.
    pub fn on(&self, provider: &str, answers: impl IntoIterator<Item = Answer>) -> &Self {
        lock(&self.state.recording).answers.insert(provider.to_owned(), answers.into_iter().collect());
        self
    }

    /// Returns all calls so far.
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.state.recording).calls.clone()
    }

    /// Returns the only call.
    #[track_caller]
    pub fn call(&self) -> Call {
        let mut calls = self.calls();
        assert_eq!(calls.len(), 1, "calls made: {:?}", self.called());
        calls.remove(0)
    }

    /// Returns the called providers, in order.
    pub fn called(&self) -> Vec<String> {
        lock(&self.state.recording).calls.iter().map(|call| call.provider.clone()).collect()
    }

    /// Waits until `ask` returns a value for the calls.
    #[track_caller]
    pub fn until<T>(&self, what: &str, ask: impl Fn(&[Call]) -> Option<T>) -> T {
        let deadline = Instant::now() + LIMIT;
        let mut recording = lock(&self.state.recording);
        loop {
            if let Some(answer) = ask(&recording.calls) {
                return answer;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "timed out after {LIMIT:?} waiting for {what}");
            recording = self.state.changed.wait_timeout(recording, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until `count` calls have arrived.
    #[track_caller]
    pub fn arrived(&self, count: usize) {
        self.until(&format!("call number {count}"), |calls| (calls.len() >= count).then_some(()));
    }

    /// Waits until the caller of the latest call has disconnected, and returns the time.
    #[track_caller]
    pub fn gone(&self) -> Instant {
        self.until("the caller to go away", |calls| calls.last().and_then(|call| call.gone))
    }
}

impl UpstreamState {
    fn change(&self, change: impl FnOnce(&mut Recording)) {
        change(&mut lock(&self.recording));
        self.changed.notify_all();
    }
}

/// Marker for the end of a connection.
struct Over;

impl From<std::io::Error> for Over {
    fn from(_: std::io::Error) -> Self {
        Over
    }
}

fn serve(server: &Server, mut stream: TcpStream, connection: usize) -> Result<(), Over> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(120)))?;
    stream.set_write_timeout(Some(LIMIT))?;
    let mut pending = Vec::new();
    for earlier in 0.. {
        let (call, mark) = read_call(&mut stream, &mut pending, connection, earlier)?;
        let state = mark.and_then(|mark| lock(&server.scripts).get(&mark).cloned()).unwrap_or_else(|| Arc::clone(&server.unmarked));
        let mut position = 0;
        let mut answer = Answer::good();
        state.change(|recording| {
            position = recording.calls.len();
            if let Some(answers) = recording.answers.get_mut(&call.provider) {
                answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() }.unwrap_or_else(Answer::good);
            }
            recording.calls.push(call.clone());
        });
        let responded = answer::respond(&mut stream, answer, &call);
        state.change(|recording| {
            let now = Instant::now();
            recording.calls[position].done = Some(now);
            if let Err(answer::Ended::Gone) = responded {
                recording.calls[position].gone = Some(now);
            }
        });
        if responded.is_err() {
            break;
        }
    }
    Ok(())
}

fn read_call(stream: &mut TcpStream, pending: &mut Vec<u8>, connection: usize, earlier: usize) -> Result<(Call, Option<String>), Over> {
    let end = loop {
        if pending.first() == Some(&0x16) {
            // A TLS handshake on a plaintext port.
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")?;
            return Err(Over);
        }
        match find(pending, b"\r\n\r\n") {
            Some(end) => break end,
            None => more(stream, pending)?,
        }
    };
    let head = String::from_utf8_lossy(&pending[..end]).into_owned();
    pending.drain(..end + 4);
    let mut lines = head.split("\r\n");
    let mut start = lines.next().unwrap_or_default().split(' ');
    let (method, target) = (start.next().unwrap_or_default().to_owned(), start.next().unwrap_or_default().to_owned());
    let headers = Headers(
        lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect(),
    );
    let body = if headers.get("transfer-encoding") == Some("chunked") {
        read_chunks(stream, pending)?
    } else {
        let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        while pending.len() < length {
            more(stream, pending)?;
        }
        pending.drain(..length).collect()
    };
    let in_body = || {
        let at = find(&body, format!("\"{MARK}\":").as_bytes())?;
        let text = String::from_utf8_lossy(&body[at + MARK.len() + 3..]);
        text.trim_start().strip_prefix('"')?.split('"').next().map(str::to_owned)
    };
    let mark = headers.get(MARK_HEADER).map(str::to_owned).or_else(in_body);
    let provider = target.split('/').nth(1).unwrap_or_default().to_owned();
    Ok((Call { provider, method, target, headers, body, connection, earlier, gone: None, done: None }, mark))
}

fn read_chunks(stream: &mut TcpStream, pending: &mut Vec<u8>) -> Result<Vec<u8>, Over> {
    let mut body = Vec::new();
    loop {
        let line = loop {
            match find(pending, b"\r\n") {
                Some(end) => break pending.drain(..end + 2).collect::<Vec<u8>>(),
                None => more(stream, pending)?,
            }
        };
        let size = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16).map_err(|_| Over)?;
        while pending.len() < size + 2 {
            more(stream, pending)?;
        }
        body.extend(pending.drain(..size));
        pending.drain(..2);
        if size == 0 {
            return Ok(body);
        }
    }
}

fn more(stream: &mut TcpStream, pending: &mut Vec<u8>) -> Result<(), Over> {
    let mut buffer = [0; 16 * 1024];
    let read = stream.read(&mut buffer)?;
    if read == 0 {
        return Err(Over);
    }
    pending.extend_from_slice(&buffer[..read]);
    Ok(())
}

impl Call {
    /// Returns the body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}
