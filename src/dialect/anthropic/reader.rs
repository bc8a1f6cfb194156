//! Reads the answer to one request, whole or piece by piece.

use bytes::Bytes;

use super::response;
use super::stream::Translation;
use crate::dialect::{Ask, Failure, Flow, Observed, Reader};

/// What the request asked of the answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
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

/// The reader of one answer.
pub struct AnswerReader {
    stream: Translation,
    /// What a complete answer showed.
    whole: Option<Observed>,
}

impl AnswerReader {
    /// The reader of the answer to `ask`.
    pub fn new(ask: &Ask<'_>, wanted: Wanted) -> Self {
        let origin = Origin { created: ask.created, model: ask.upstream_model.to_owned(), seed: ask.seed };
        Self { stream: Translation::new(origin, wanted, ask.sse), whole: None }
    }
}

impl Reader for AnswerReader {
    fn whole(&mut self, body: Bytes) -> Result<Bytes, Failure> {
        let (completion, observed) = response::translate(&body, &self.stream.origin, self.stream.wanted)?;
        self.whole = Some(observed);
        Ok(completion)
    }

    fn push(&mut self, piece: Bytes, out: &mut Vec<Bytes>) -> Flow {
        self.stream.push(piece, out)
    }

    fn end(&mut self, out: &mut Vec<Bytes>) -> Flow {
        self.stream.end(out)
    }

    fn held(&self) -> usize {
        self.stream.held()
    }

    fn observed(&self) -> Observed {
        self.whole.clone().unwrap_or_else(|| self.stream.observed())
    }
}
