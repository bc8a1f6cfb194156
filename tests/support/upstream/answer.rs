//! What a scripted upstream does with one request: head, framing and body in steps, faults among
//! them; and the payloads.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::super::LIMIT;
use super::{Call, lock};

/// What to do with one request.
#[derive(Clone)]
pub struct Answer {
    before: Vec<Step>,
    head: Head,
    framing: Framing,
    steps: Vec<Step>,
}

#[derive(Clone)]
enum Head {
    /// Plausible answer to the request.
    Good,
    Status(u16, Vec<(String, String)>),
    /// Raw bytes instead of a head.
    Raw(Vec<u8>),
}

#[derive(Clone, Copy)]
enum Framing {
    Length(Option<usize>),
    Chunked,
    UntilClose,
}

#[derive(Clone)]
enum Step {
    Piece(Vec<u8>),
    Gate(Gate),
    Pause(Duration),
    Hang,
    Reset,
    Close,
}

/// A door in the middle of an answer.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub fn open(&self) {
        *lock(&self.0.0) = true;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let _ = self.0.1.wait_timeout_while(lock(&self.0.0), LIMIT, |open| !*open);
    }
}

impl Answer {
    /// Creates a plausible answer to any request.
    pub fn good() -> Self {
        Self { before: Vec::new(), head: Head::Good, framing: Framing::Length(None), steps: Vec::new() }
    }

    /// Creates an answer with a JSON body and its length.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::text(status, "application/json", &body.to_string())
    }

    /// Creates an error in OpenAI's shape.
    pub fn error(status: u16) -> Self {
        Self::json(
            status,
            &json!({"error": {"message": format!("upstream says {status}"), "type": "upstream_type", "param": null, "code": "upstream_code"}}),
        )
    }

    /// Creates an answer with a body of that type and its length.
    pub fn text(status: u16, content_type: &str, body: &str) -> Self {
        Self::head(status).header("content-type", content_type).piece(body.as_bytes())
    }

    /// Creates an answer with a head only.
    pub fn head(status: u16) -> Self {
        Self { before: Vec::new(), head: Head::Status(status, Vec::new()), framing: Framing::Length(None), steps: Vec::new() }
    }

    /// Creates the head of a chunked event stream.
    pub fn stream() -> Self {
        Self::head(200).header("content-type", "text/event-stream").chunked()
    }

    /// Creates an answer of raw bytes; its further parts are unframed.
    pub fn raw(bytes: &[u8]) -> Self {
        Self { before: Vec::new(), head: Head::Raw(bytes.to_vec()), framing: Framing::UntilClose, steps: Vec::new() }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Head::Status(_, headers) = &mut self.head {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    pub fn chunked(mut self) -> Self {
        self.framing = Framing::Chunked;
        self
    }

    /// Removes the framing: the body ends with the connection.
    pub fn until_close(mut self) -> Self {
        self.framing = Framing::UntilClose;
        self
    }

    /// Sets the content-length, right or wrong.
    pub fn claiming(mut self, length: usize) -> Self {
        self.framing = Framing::Length(Some(length));
        self
    }

    /// Adds a piece of the body, written separately.
    pub fn piece(mut self, bytes: &[u8]) -> Self {
        self.steps.push(Step::Piece(bytes.to_vec()));
        self
    }

    /// Adds a stream event with this data.
    pub fn event(self, data: &str) -> Self {
        self.piece(format!("data: {data}\n\n").as_bytes())
    }

    /// Adds a stream event with a chunk of text.
    pub fn delta(self, text: &str) -> Self {
        self.event(&delta(text))
    }

    /// Waits until the test opens the gate.
    pub fn gate(mut self, gate: &Gate) -> Self {
        self.steps.push(Step::Gate(gate.clone()));
        self
    }

    /// Pauses, to test a timeout.
    pub fn pause(mut self, pause: Duration) -> Self {
        self.steps.push(Step::Pause(pause));
        self
    }

    /// Sends nothing more until the caller disconnects.
    pub fn hang(mut self) -> Self {
        self.steps.push(Step::Hang);
        self
    }

    pub fn reset(mut self) -> Self {
        self.steps.push(Step::Reset);
        self
    }

    /// Closes the connection here, complete or not.
    pub fn close(mut self) -> Self {
        self.steps.push(Step::Close);
        self
    }

    /// Moves the steps so far (hang, close, wait) before the head.
    pub fn before_head(mut self) -> Self {
        self.before = std::mem::take(&mut self.steps);
        self
    }

    /// Creates a complete stream of these texts, with `usage` if there is one.
    pub fn streamed(texts: &[&str], usage: Option<&Value>) -> Self {
        let mut answer = Self::stream().event(&chunk(json!({"role": "assistant", "content": ""}), Value::Null));
        for text in texts {
            answer = answer.delta(text);
        }
        answer = answer.event(&chunk(json!({}), json!("stop")));
        if let Some(usage) = usage {
            answer = answer.event(&usage_chunk(usage));
        }
        answer.event("[DONE]")
    }
}

/// The data of a chat chunk.
pub fn chunk(delta: Value, finish_reason: Value) -> String {
    json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "up", "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]})
        .to_string()
}

/// The data of a chat chunk with text.
pub fn delta(text: &str) -> String {
    chunk(json!({"content": text}), Value::Null)
}

/// The data of the chunk that only carries usage.
pub fn usage_chunk(usage: &Value) -> String {
    json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "up", "choices": [], "usage": usage})
        .to_string()
}

/// What good answers say they used.
pub fn good_usage() -> Value {
    json!({"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18})
}

/// A whole good chat completion.
pub fn completion(text: &str) -> Value {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1_700_000_000, "model": "up",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": good_usage()
    })
}

/// Why an answer stopped.
pub(super) enum Ended {
    /// The answer was sent as scripted.
    Told,
    /// The caller disconnected.
    Gone,
}

pub(super) fn respond(stream: &mut TcpStream, answer: Answer, call: &Call) -> Result<(), Ended> {
    let Answer { before, head, framing, steps } = match answer.head {
        Head::Good => Answer { before: answer.before, ..good(call) },
        _ => answer,
    };
    run(stream, before, false)?;
    match head {
        Head::Good => unreachable!("a good answer is never in doubt about its head"),
        Head::Raw(bytes) => write(stream, &bytes)?,
        Head::Status(status, headers) => {
            let mut text = format!("HTTP/1.1 {status} Scripted\r\n");
            for (name, value) in headers {
                text.push_str(&format!("{name}: {value}\r\n"));
            }
            match framing {
                Framing::Chunked => text.push_str("transfer-encoding: chunked\r\n"),
                Framing::UntilClose => {}
                Framing::Length(length) => {
                    let sum = steps.iter().map(|step| if let Step::Piece(bytes) = step { bytes.len() } else { 0 }).sum();
                    text.push_str(&format!("content-length: {}\r\n", length.unwrap_or(sum)));
                }
            }
            text.push_str("\r\n");
            write(stream, text.as_bytes())?;
        }
    }
    run(stream, steps, matches!(framing, Framing::Chunked))?;
    match framing {
        Framing::Chunked => write(stream, b"0\r\n\r\n"),
        Framing::UntilClose => Err(Ended::Told),
        Framing::Length(_) => Ok(()),
    }
}

fn run(stream: &mut TcpStream, steps: Vec<Step>, chunked: bool) -> Result<(), Ended> {
    for step in steps {
        match step {
            Step::Piece(bytes) if chunked => {
                let mut framed = format!("{:x}\r\n", bytes.len()).into_bytes();
                framed.extend_from_slice(&bytes);
                framed.extend_from_slice(b"\r\n");
                write(stream, &framed)?;
            }
            Step::Piece(bytes) => write(stream, &bytes)?,
            Step::Gate(gate) => gate.pass(),
            Step::Pause(pause) => std::thread::sleep(pause),
            Step::Hang => {
                let mut sink = [0; 1024];
                while matches!(stream.read(&mut sink), Ok(read) if read > 0) {}
                return Err(Ended::Gone);
            }
            Step::Reset => {
                let _ = socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO));
                return Err(Ended::Told);
            }
            Step::Close => return Err(Ended::Told),
        }
    }
    Ok(())
}

fn write(stream: &mut TcpStream, bytes: &[u8]) -> Result<(), Ended> {
    stream.write_all(bytes).map_err(|_| Ended::Gone)
}

fn good(call: &Call) -> Answer {
    let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
    let text = format!("hello from {}", call.provider);
    if call.target.contains("/embeddings") {
        return Answer::json(
            200,
            &json!({"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -0.25]}], "model": "up", "usage": {"prompt_tokens": 5, "total_tokens": 5}}),
        );
    }
    let usage = good_usage();
    let asked = body["stream_options"]["include_usage"] == json!(true);
    match (body["stream"] == json!(true), call.target.contains("/chat/")) {
        (true, true) => Answer::streamed(&["hello ", "from ", &call.provider], asked.then_some(&usage)),
        (false, true) => Answer::json(200, &completion(&text)),
        (false, false) => Answer::json(
            200,
            &json!({"id": "cmpl-1", "object": "text_completion", "created": 1_700_000_000, "model": "up", "choices": [{"index": 0, "text": text, "finish_reason": "length", "logprobs": null}], "usage": usage}),
        ),
        (true, false) => {
            let piece = |text: &str, finish: Value| {
                json!({"id": "cmpl-1", "object": "text_completion", "created": 1_700_000_000, "model": "up", "choices": [{"index": 0, "text": text, "finish_reason": finish}]}).to_string()
            };
            let answer = Answer::stream().event(&piece("hello ", Value::Null)).event(&piece("there", json!("stop")));
            let answer = if asked {
                answer.event(&json!({"id": "cmpl-1", "object": "text_completion", "choices": [], "usage": usage}).to_string())
            } else {
                answer
            };
            answer.event("[DONE]")
        }
    }
}
