//! Facts about the request that the translation of its answer needs.

/// Name of the tool that carries the answer for models without structured outputs. Its calls are
/// translated back into content.
pub const JSON_RESPONSE: &str = "json_response";

/// What the request asked of the answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expected {
    /// A stream ends with a chunk that holds the usage.
    pub usage_chunk: bool,
    /// The answer names the tier that served it.
    pub service_tier: bool,
    /// The answer is given by calling a tool of ours, and is to be turned back into content.
    pub answers_by_tool: bool,
}

/// What an answer shows that is not from the upstream, or might not be.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Unix seconds at which the request was received.
    pub created: u64,
    /// The model that was asked, for an upstream that does not say which one answered.
    model: String,
    /// Tells answers without an id apart.
    seed: u64,
}

impl Origin {
    /// The origin of the answer to one attempt.
    pub fn new(created: u64, model: &str, seed: u64) -> Self {
        Self { created, model: model.to_owned(), seed }
    }

    /// The id the client sees.
    pub fn completion_id(&self, upstream: &str) -> String {
        match upstream.strip_prefix("msg_").unwrap_or(upstream) {
            "" => format!("chatcmpl-{:016x}", self.seed),
            id => format!("chatcmpl-{id}"),
        }
    }

    /// The model the client sees.
    pub fn model_or<'a>(&'a self, upstream: &'a str) -> &'a str {
        if upstream.is_empty() { &self.model } else { upstream }
    }
}
