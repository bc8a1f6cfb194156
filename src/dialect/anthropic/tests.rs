//! Shared functions of this dialect's tests: requests and answers.

use bytes::Bytes;
use serde_json::{Value, json};

use super::Anthropic;
use crate::dialect::call::{Call, Prepared};
use crate::dialect::contract::Dialect;
use crate::dialect::failure::Failure;
use crate::dialect::quirks::Quirks;
use crate::dialect::reader::{Flow, Observed, Reader};
use crate::dialect::request::{DialectRequest, HeaderView, Refused};
use crate::json::{Document, JsonLimits};
use crate::payload::Payload;
use crate::surface::Surface;
use crate::surface::chat::Chat;
use crate::terms::Operation;

#[path = "../../../tests/support/cases.rs"]
mod cases;

mod content;
mod errors;
mod golden;
mod messages;
mod noise;
mod parameters;
mod responses;
mod streams;
mod tools;

/// Context of a request, besides its body.
#[derive(Default)]
struct Asking<'a> {
    beta: Option<&'a str>,
    version: Option<&'a str>,
    max_output: Option<u64>,
    quirks: Quirks,
}

/// Translates a request for the upstream model that the body names.
fn ask_with(asking: &Asking<'_>, body: &Value) -> Result<Prepared, Refused> {
    let payload = Payload::Json(Document::parse(Bytes::from(body.to_string()), JsonLimits::default()).unwrap());
    Anthropic.request(&DialectRequest {
        operation: Operation::Chat,
        payload: &payload,
        stream: body["stream"] == true,
        upstream_model: body["model"].as_str().unwrap(),
        max_output_tokens: asking.max_output,
        quirks: &asking.quirks,
        headers: HeaderView { client: &header("anthropic-beta", asking.beta), fixed: &header("anthropic-version", asking.version) },
        created: 1_790_000_000,
        sse: crate::dialect::sse::SseLimits::default(),
        seed: 7,
    })
}

/// Returns a list of one header, or of none.
fn header<'a>(name: &'static str, value: Option<&'a str>) -> Vec<(&'static str, &'a str)> {
    value.map(|value| (name, value)).into_iter().collect()
}

fn ask(body: &Value) -> Result<Prepared, Refused> {
    ask_with(&Asking::default(), body)
}

/// Returns headers, body and dropped parameters of a prepared request.
fn parts(prepared: &Prepared) -> (Vec<(&'static str, String)>, Value, Vec<&'static str>) {
    match &prepared.call {
        Call::Http { headers, body, .. } => (headers.clone(), serde_json::from_slice(body).unwrap(), prepared.dropped.clone()),
        Call::Scripted(_) => panic!("a remote dialect plays nothing"),
    }
}

/// Returns a request for `model` with a message and these members.
fn with(model: &str, members: Value) -> Value {
    let mut body = json!({"model": model, "messages": [{"role": "user", "content": "Hi"}]});
    body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    body
}

/// Returns the upstream request.
#[track_caller]
fn sent(body: &Value) -> Value {
    parts(&ask(body).unwrap_or_else(|refused| panic!("{refused:?}"))).1
}

/// Returns the upstream request for these messages.
#[track_caller]
fn sent_for(messages: Value) -> Value {
    sent(&json!({"model": "claude-opus-4-8", "messages": messages}))
}

/// Returns the code and param of a refused request.
#[track_caller]
fn refusal(body: &Value) -> (&'static str, String) {
    match ask(body) {
        Err(refused) => (refused.code, refused.param.unwrap_or_default()),
        Ok(prepared) => panic!("was sent: {}", parts(&prepared).1),
    }
}

/// Translates a stream of these pieces to its end, including the frame of a failure.
fn stream(mut reader: Box<dyn Reader>, pieces: impl IntoIterator<Item = impl AsRef<[u8]>>) -> (String, Flow, Observed) {
    let (mut out, mut flow) = (Vec::new(), Flow::Opening);
    for piece in pieces {
        flow = reader.push(Bytes::copy_from_slice(piece.as_ref()), &mut out);
        if matches!(flow, Flow::Done | Flow::Failed(_)) {
            break;
        }
    }
    if !matches!(flow, Flow::Done | Flow::Failed(_)) {
        flow = reader.end(&mut out);
    }
    let has_begun = !out.is_empty();
    if let (Flow::Failed(failure), true) = (&flow, has_begun) {
        out.push(Chat.last_frame(failure, "req_1"));
    }
    (String::from_utf8(out.concat()).unwrap(), flow, reader.observed())
}

/// Returns the body of a failure.
fn body_of(failure: &Failure) -> Value {
    serde_json::from_slice(&Chat.failure(failure.clone(), "req_1").body).unwrap()
}
