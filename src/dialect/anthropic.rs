//! The `anthropic` dialect: translates between OpenAI's chat API and Anthropic's Messages API,
//! streams included.
//!
//! Implements spec/anthropic-translation.md; section numbers in this folder refer to it. This is
//! pure translation: the gateway decides which response headers pass, what is retried and which
//! error the client gets.
//!
//! Two options that the specification leaves to the operator are always on: `thinking_blocks` in
//! answers (section 7) and the client's `anthropic-beta` header (rule 1.4). A kind's `request`
//! quirks apply to the translated body.

use crate::dialect::call::Prepared;
use crate::dialect::contract::Dialect;
use crate::dialect::failure::Failure;
use crate::dialect::request::{DialectRequest, Refused};
use crate::terms::Operation;

mod answer;
mod profile;
mod request;
mod text;

/// Dialect of the Messages API.
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

    fn request(&self, request: &DialectRequest<'_>) -> Result<Prepared, Refused> {
        request::translate(&request.json()?)
    }

    fn failure(&self, status: u16, body: &[u8]) -> Failure {
        answer::error::failure(status, body)
    }
}

#[cfg(test)]
mod tests;
