//! The `anthropic` dialect: OpenAI's chat API on one side, Anthropic's Messages API on the other, streams included.
//!
//! Implements spec/anthropic-translation.md; section numbers in this folder are that document's. Pure translation: which
//! headers of an answer are passed on, what is retried and what a client finally sees is the gateway's business.
//!
//! Two things the specification leaves to the operator are always on: `thinking_blocks` in answers (section 7) and the
//! client's own `anthropic-beta` header (rule 1.4). A kind's `request` quirks apply to the translated body.

use super::{Ask, Dialect, Failure, Operation, Prepared, Refused};

mod answer;
mod profile;
mod request;
mod text;

/// The Messages API, as a language.
pub struct Anthropic;

impl Dialect for Anthropic {
    fn name(&self) -> &'static str {
        "anthropic"
    }

    fn path(&self, operation: Operation) -> Option<&'static str> {
        match operation {
            Operation::Chat => Some("messages"),
            Operation::Completions | Operation::Embeddings => None,
        }
    }

    fn request(&self, ask: &Ask<'_>) -> Result<Prepared, Refused> {
        request::translate(ask)
    }

    fn failure(&self, status: u16, body: &[u8]) -> Failure {
        answer::error::failure(status, body)
    }
}

#[cfg(test)]
mod tests;
