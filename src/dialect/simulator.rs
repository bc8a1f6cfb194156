//! The `simulator` dialect: deterministic answers in OpenAI's format, generated in process for
//! trials and tests.
//!
//! `sim-echo` answers with the last user message, `sim-lorem` with placeholder text. The kind's
//! `simulate` table adds latency and failures. `text` and `embedding` generate the content,
//! `answer` formats it.

mod answer;
mod embedding;
mod refusal;
mod text;

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::dialect::call::{AnswerFormat, Call, Prepared, Script};
use crate::dialect::contract::Dialect;
use crate::dialect::failure::Failure;
use crate::dialect::openai::{self, OpenAi};
use crate::dialect::quirks::Simulate;
use crate::dialect::request::{DialectRequest, JsonRequest, Refused};
use crate::terms::Operation;

/// Dialect that answers in process.
pub struct Simulator;

impl Dialect for Simulator {
    fn name(&self) -> &'static str {
        "simulator"
    }

    fn path(&self, operation: Operation) -> Option<&'static str> {
        OpenAi.path(operation)
    }

    fn is_remote(&self) -> bool {
        false
    }

    fn request(&self, request: &DialectRequest<'_>) -> Result<Prepared, Refused> {
        let request = &request.json()?;
        let reader = openai::reader(request)?;
        let simulate = &request.quirks.simulate;
        let script = match failure(simulate, request.seed) {
            Some((status, error)) => whole(status, &error, simulate),
            None => generate(request)?,
        };
        Ok(Prepared { call: Call::Scripted(script), reader, format: AnswerFormat::of_json(request.stream), dropped: Vec::new() })
    }

    fn failure(&self, status: u16, body: &[u8]) -> Failure {
        // The body that `error` makes is in no client's language.
        Failure { original: None, ..OpenAi.failure(status, body) }
    }
}

/// Generates the answer to a request that does not fail.
fn generate(request: &JsonRequest<'_>) -> Result<Script, Refused> {
    let simulate = &request.quirks.simulate;
    if request.operation == Operation::Embeddings {
        return Ok(whole(200, &embedding::answer(request)?, simulate));
    }
    let Some(reply) = text::reply(request)? else {
        let message = format!("the simulator has no model {:?}, only sim-echo and sim-lorem", request.upstream_model);
        return Ok(whole(404, &error(&message, "invalid_request_error", "model_not_found"), simulate));
    };
    if !request.stream {
        return Ok(whole(200, &answer::whole(request, &reply), simulate));
    }
    let mut pieces = answer::events(request, &reply);
    pieces.push("data: [DONE]\n\n".to_owned());
    let pieces = pieces.into_iter().enumerate().map(|(nth, event)| {
        let delay = if nth == 0 { simulate.latency } else { simulate.chunk_delay };
        (delay, Bytes::from(event))
    });
    Ok(Script { status: 200, content_type: "text/event-stream", pieces: pieces.collect() })
}

fn whole(status: u16, body: &Value, simulate: &Simulate) -> Script {
    let pieces: Vec<(Duration, Bytes)> = vec![(simulate.latency, Bytes::from(body.to_string()))];
    Script { status, content_type: "application/json", pieces }
}

/// Decides by the seed whether this call fails. Returns its status and error.
fn failure(simulate: &Simulate, seed: u64) -> Option<(u16, Value)> {
    if fastrand::Rng::with_seed(seed).f64() >= simulate.failure_rate {
        return None;
    }
    let status = if (400..600).contains(&simulate.failure_status) { simulate.failure_status } else { 503 };
    let kind = match status {
        429 => "rate_limit_error",
        400..500 => "invalid_request_error",
        _ => "server_error",
    };
    Some((status, error("simulated failure (failure_rate)", kind, "simulated_failure")))
}

/// Returns an error as the members that [`OpenAi`] reads.
fn error(message: &str, kind: &str, code: &str) -> Value {
    json!({"message": message, "type": kind, "code": code})
}

#[cfg(test)]
mod tests;
