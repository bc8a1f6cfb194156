//! A scripted upstream: an HTTP/1.1 server on loopback that does to the byte what a test tells it, every fault included.
//!
//! One server plays for many tests at once. A test opens a [`Script`], puts its mark into the request body (a field no
//! gateway knows and every gateway must let through), and says for each lane (the first segment of the path, so one lane is
//! one provider) which answers to give in turn. Every call is recorded. A lane without answers gives good ones.

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

/// The body field that carries a script's mark.
pub const MARK: &str = "x_script";
/// The request header that carries it where the dialect lets no unknown field through.
pub const MARK_HEADER: &str = "x-script";

/// The server.
pub struct Upstream {
    pub address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    scenes: Mutex<HashMap<String, Arc<Scene>>>,
    unmarked: Arc<Scene>,
    connections: AtomicUsize,
}

/// One test's part of an upstream.
#[derive(Clone)]
pub struct Script {
    mark: String,
    scene: Arc<Scene>,
}

#[derive(Default)]
struct Scene {
    play: Mutex<Play>,
    changed: Condvar,
}

#[derive(Default)]
struct Play {
    answers: HashMap<String, VecDeque<Answer>>,
    calls: Vec<Call>,
}

/// One request that arrived.
#[derive(Clone, Debug)]
pub struct Call {
    pub lane: String,
    pub method: String,
    pub target: String,
    pub headers: Headers,
    pub body: Vec<u8>,
    /// Which connection it came over, counted from 1.
    pub connection: usize,
    /// How many requests that connection had brought before.
    pub earlier: usize,
    /// When the caller went away while it was still owed something.
    pub gone: Option<Instant>,
    /// When the last step of the answer was over.
    pub done: Option<Instant>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Upstream {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::<State>::default();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || {
                    let number = state.connections.fetch_add(1, Ordering::SeqCst) + 1;
                    let _ = serve(&state, stream, number);
                });
            }
        });
        Self { address, state }
    }

    /// The base URL of a lane.
    pub fn base_url(&self, lane: &str) -> String {
        format!("http://{}/{lane}/v1", self.address)
    }

    /// A new part for one test.
    pub fn script(&self) -> Script {
        let (mark, scene) = (unique("s"), Arc::<Scene>::default());
        lock(&self.state.scenes).insert(mark.clone(), Arc::clone(&scene));
        Script { mark, scene }
    }

    /// How many connections there have been.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// The calls that bore nobody's mark.
    pub fn unmarked(&self) -> Vec<Call> {
        lock(&self.state.unmarked.play).calls.clone()
    }
}

impl Script {
    /// The mark to put into the body under [`MARK`].
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// What a lane answers, in turn; the last one goes on for ever.
    pub fn on(&self, lane: &str, answers: impl IntoIterator<Item = Answer>) -> &Self {
        lock(&self.scene.play).answers.insert(lane.to_owned(), answers.into_iter().collect());
        self
    }

    /// Every call so far.
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.scene.play).calls.clone()
    }

    /// The only call.
    #[track_caller]
    pub fn call(&self) -> Call {
        let mut calls = self.calls();
        assert_eq!(calls.len(), 1, "calls made: {:?}", self.lanes());
        calls.remove(0)
    }

    /// The lanes called, in order.
    pub fn lanes(&self) -> Vec<String> {
        lock(&self.scene.play).calls.iter().map(|call| call.lane.clone()).collect()
    }

    /// Waits for something to be true of the calls.
    #[track_caller]
    pub fn until<T>(&self, what: &str, ask: impl Fn(&[Call]) -> Option<T>) -> T {
        let deadline = Instant::now() + LIMIT;
        let mut play = lock(&self.scene.play);
        loop {
            if let Some(answer) = ask(&play.calls) {
                return answer;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited {LIMIT:?} in vain for {what}");
            play = self.scene.changed.wait_timeout(play, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until so many calls have arrived.
    #[track_caller]
    pub fn arrived(&self, count: usize) {
        self.until(&format!("call number {count}"), |calls| (calls.len() >= count).then_some(()));
    }

    /// Waits until the caller of the latest call is gone, and says since when.
    #[track_caller]
    pub fn gone(&self) -> Instant {
        self.until("the caller to go away", |calls| calls.last().and_then(|call| call.gone))
    }
}

impl Scene {
    fn change(&self, change: impl FnOnce(&mut Play)) {
        change(&mut lock(&self.play));
        self.changed.notify_all();
    }
}

/// Why a connection is over.
struct Over;

impl From<std::io::Error> for Over {
    fn from(_: std::io::Error) -> Self {
        Over
    }
}

fn serve(state: &State, mut stream: TcpStream, connection: usize) -> Result<(), Over> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(120)))?;
    stream.set_write_timeout(Some(LIMIT))?;
    let mut pending = Vec::new();
    for earlier in 0.. {
        let (call, mark) = read_call(&mut stream, &mut pending, connection, earlier)?;
        let scene = mark.and_then(|mark| lock(&state.scenes).get(&mark).cloned()).unwrap_or_else(|| Arc::clone(&state.unmarked));
        let mut position = 0;
        let mut answer = Answer::good();
        scene.change(|play| {
            position = play.calls.len();
            if let Some(answers) = play.answers.get_mut(&call.lane) {
                answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() }.unwrap_or_else(Answer::good);
            }
            play.calls.push(call.clone());
        });
        let played = answer::play(&mut stream, answer, &call);
        scene.change(|play| {
            let now = Instant::now();
            play.calls[position].done = Some(now);
            if let Err(answer::Ended::Gone) = played {
                play.calls[position].gone = Some(now);
            }
        });
        if played.is_err() {
            break;
        }
    }
    Ok(())
}

fn read_call(stream: &mut TcpStream, pending: &mut Vec<u8>, connection: usize, earlier: usize) -> Result<(Call, Option<String>), Over> {
    let end = loop {
        if pending.first() == Some(&0x16) {
            // A TLS hello on a port that speaks none.
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
    let lane = target.split('/').nth(1).unwrap_or_default().to_owned();
    Ok((Call { lane, method, target, headers, body, connection, earlier, gone: None, done: None }, mark))
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
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}
