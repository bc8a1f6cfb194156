//! Facts about the request that the translation of its answer needs.

/// Name of the tool that carries the answer for models without structured outputs. Its calls are
/// translated back into content.
pub const JSON_RESPONSE: &str = "json_response";

/// Options of the request that shape its answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expected {
    /// Whether a stream ends with a usage chunk.
    pub usage_chunk: bool,
    /// Whether the answer names the service tier that was used.
    pub service_tier: bool,
    /// Whether calls of [`JSON_RESPONSE`] carry the answer and become content.
    pub answers_by_tool: bool,
}

/// Values for the members of an answer that the upstream does not provide, or may not.
#[derive(Clone, Debug)]
pub struct AnswerOrigin {
    /// Unix time in seconds at which the request was received.
    pub created: u64,
    /// Requested model, for an upstream that does not name the model that answered.
    model: String,
    /// Makes the ids of answers without an upstream id distinct.
    seed: u64,
}

impl AnswerOrigin {
    /// Creates the values for the answer to one attempt.
    pub fn new(created: u64, model: &str, seed: u64) -> Self {
        Self { created, model: model.to_owned(), seed }
    }

    /// Returns the id that the client sees.
    pub fn completion_id(&self, upstream: &str) -> String {
        match upstream.strip_prefix("msg_").unwrap_or(upstream) {
            "" => format!("chatcmpl-{:016x}", self.seed),
            id => format!("chatcmpl-{id}"),
        }
    }

    /// Returns the model that the client sees.
    pub fn model_or<'a>(&'a self, upstream: &'a str) -> &'a str {
        if upstream.is_empty() { &self.model } else { upstream }
    }
}
