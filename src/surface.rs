//! The languages that clients speak. A surface gives the parts of an exchange that depend on the
//! client's language and not on the provider their shape: errors, the last frame of a broken
//! stream, the model list, and the names of the request members that routing reads.
//!
//! [`operations`] lists the operations, each with its surface. Adding a surface takes one file or
//! folder here, and rows there. Translation between languages is the dialects' work.

pub mod chat;
pub mod operations;

use std::fmt;

use bytes::Bytes;
use smol_str::SmolStr;

use crate::dialect::failure::Failure;
use crate::payload::Payload;
use crate::terms::Wire;

/// Language of a client, implemented in code.
pub trait Surface: Send + Sync + 'static {
    /// The language.
    fn wire(&self) -> Wire;

    /// Names of the request members that routing reads.
    fn members(&self) -> RoutingMembers;

    /// Returns the end user that the request names, for the ledger.
    fn user(&self, payload: &Payload) -> Option<SmolStr>;

    /// Shapes an error as a complete answer.
    fn error(&self, error: &ClientError<'_>) -> ErrorAnswer;

    /// Shapes the last frame of a stream that failed after its first event.
    fn last_frame(&self, failure: &Failure, request_id: &str) -> Bytes;

    /// Shapes the description of one model.
    fn model(&self, model: &ModelFacts<'_>) -> Bytes;

    /// Shapes the list of models.
    fn models(&self, models: &[ModelFacts<'_>]) -> Bytes;

    /// Returns the answer to a request that failed upstream: the upstream's own error if it is in
    /// the client's language.
    fn failure(&self, failure: Failure, request_id: &str) -> ErrorAnswer {
        match failure.original {
            Some(original) if original.wire == self.wire() => ErrorAnswer { status: failure.status, body: original.body },
            _ => self.error(&ClientError {
                status: failure.status,
                message: &failure.message,
                kind: &failure.kind,
                param: failure.param.as_deref(),
                code: failure.code.as_deref(),
                request_id,
            }),
        }
    }
}

/// Names of the top-level request members that routing reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoutingMembers {
    /// The requested model.
    pub model: &'static str,
    /// Whether a stream is wanted.
    pub stream: &'static str,
}

/// Facts of an error for a client. Type and code are OpenAI's; a surface maps them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientError<'a> {
    /// HTTP status.
    pub status: u16,
    /// The problem and its remedy.
    pub message: &'a str,
    /// Error type.
    pub kind: &'a str,
    /// The request's field at fault.
    pub param: Option<&'a str>,
    /// Stable machine-readable code.
    pub code: Option<&'a str>,
    /// The id of the request.
    pub request_id: &'a str,
}

/// An error as a client gets it. The body is JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorAnswer {
    /// HTTP status.
    pub status: u16,
    /// The body.
    pub body: Bytes,
}

/// Facts of a model for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFacts<'a> {
    /// The catalog's model id.
    pub id: &'a str,
    /// Unix time in seconds at which the catalog was built.
    pub created: i64,
    /// Kind of the first provider.
    pub owned_by: &'a str,
    /// Other names of the model.
    pub aliases: &'a [String],
    /// Kinds of all providers, in order.
    pub kinds: Vec<&'a str>,
    /// Size of the context window in tokens.
    pub context_length: Option<u64>,
    /// Maximum number of output tokens.
    pub max_completion_tokens: Option<u64>,
    /// Prices of the first provider.
    pub pricing: Pricing,
}

/// Prices in US dollars as decimal text.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Pricing {
    /// One input token.
    pub prompt: String,
    /// One output token.
    pub completion: String,
    /// One input token read from the provider's cache.
    pub input_cache_read: String,
    /// One input token written to the provider's cache.
    pub input_cache_write: String,
    /// One call.
    pub request: String,
}

impl fmt::Debug for dyn Surface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.wire().fmt(f)
    }
}
