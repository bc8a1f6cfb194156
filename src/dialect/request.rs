//! A client's request as a dialect sees it.

use std::fmt::Debug;

use super::quirks::Quirks;
use super::sse::SseLimits;
use crate::json::Document;
use crate::payload::Payload;
use crate::terms::Operation;

/// One client request for one model of one provider.
#[derive(Clone, Copy, Debug)]
pub struct DialectRequest<'a, P = Payload> {
    /// Requested operation.
    pub operation: Operation,
    /// The client's body.
    pub payload: &'a P,
    /// Whether the client wants a stream.
    pub stream: bool,
    /// Name of the model at the provider.
    pub upstream_model: &'a str,
    /// Maximum number of output tokens that the catalog allows for this model.
    pub max_output_tokens: Option<u64>,
    /// Peculiarities of the provider's kind.
    pub quirks: &'a Quirks,
    /// Headers that go upstream besides the dialect's own.
    pub headers: HeaderView<'a>,
    /// Unix time in seconds at which the request was received: `created` of answers that have none.
    pub created: u64,
    /// Limits on the part of a stream that is held.
    pub sse: SseLimits,
    /// Distinguishes attempts and is the simulator's only source of randomness. The same seed gives
    /// the same answer.
    pub seed: u64,
}

/// A request whose body is a JSON object.
pub type JsonRequest<'a> = DialectRequest<'a, Document>;

/// Headers that go upstream besides a dialect's own.
#[derive(Clone, Copy, Debug)]
pub struct HeaderView<'a> {
    /// The client's headers that are forwarded.
    pub client: &'a dyn HeaderLookup,
    /// Static headers of the provider and its kind.
    pub fixed: &'a dyn HeaderLookup,
}

/// A list of headers. It hides the types of the HTTP library from dialects.
pub trait HeaderLookup: Debug {
    /// Returns the value of the header with this name in lower case, if it is ASCII.
    fn get(&self, name: &str) -> Option<&str>;
}

impl<'a> DialectRequest<'a> {
    /// Returns the same request with its JSON object.
    ///
    /// # Errors
    /// [`Refused`] if the body is a form.
    pub fn json(&self) -> Result<JsonRequest<'a>, Refused> {
        let Some(payload) = self.payload.json() else {
            let message = "this model's provider takes no forms; send JSON".to_owned();
            return Err(Refused { code: "unsupported_value", param: None, message });
        };
        let Self { operation, stream, upstream_model, max_output_tokens, quirks, headers, created, sse, seed, .. } = *self;
        Ok(DialectRequest { payload, operation, stream, upstream_model, max_output_tokens, quirks, headers, created, sse, seed })
    }
}

impl<N: AsRef<str> + Debug, V: AsRef<[u8]> + Debug> HeaderLookup for Vec<(N, V)> {
    fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.iter().find(|(other, _)| other.as_ref() == name)?;
        str::from_utf8(value.as_ref()).ok().filter(|value| value.is_ascii())
    }
}

impl HeaderLookup for () {
    fn get(&self, _: &str) -> Option<&str> {
        None
    }
}

impl HeaderView<'static> {
    /// No headers.
    pub const EMPTY: Self = Self { client: &(), fixed: &() };
}

/// A request that a dialect cannot express. The client gets it with status 400 and no provider is
/// called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// `invalid_value`, `unsupported_value` or `unsupported_parameter`.
    pub code: &'static str,
    /// The parameter at fault, such as `messages[2].content[0]`.
    pub param: Option<String>,
    /// The problem and its remedy. It holds nothing of the prompt.
    pub message: String,
}
