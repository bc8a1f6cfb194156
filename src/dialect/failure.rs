//! The facts of a failed call. A surface shapes them for the client.

use bytes::Bytes;

use crate::terms::Wire;

/// A failure that an upstream reported, or that its answer amounts to. Types and codes are OpenAI's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Status, for retry decisions and for a client that gets the failure.
    pub status: u16,
    /// Message for the client. It may quote the prompt and is never logged.
    pub message: String,
    /// Error type for the client.
    pub kind: Box<str>,
    /// Stable error code.
    pub code: Option<Box<str>>,
    /// The request's field at fault, in the words of the upstream.
    pub param: Option<Box<str>>,
    /// Error type as the upstream spelled it. The ledger records it if there is no code.
    pub reported_kind: Option<Box<str>>,
    /// The upstream's own id of the call, if its body has one.
    pub request_id: Option<Box<str>>,
    /// Source of the failure.
    pub origin: FailureOrigin,
    /// The upstream's error as it came, for a client that speaks the same language.
    pub original: Option<Box<Original>>,
}

/// An upstream's error as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Original {
    /// Language of the body.
    pub wire: Wire,
    /// The body, or the data of the event.
    pub body: Bytes,
}

/// Source of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureOrigin {
    /// The upstream reported an error.
    Upstream,
    /// The answer broke off or could not be parsed.
    Interrupted,
    /// A policy blocked the answer; see `gateway::filter`.
    Policy,
}

impl Failure {
    /// Creates the failure of an answer that broke off or could not be parsed. It holds nothing of
    /// its bytes.
    pub fn interrupted(message: &str) -> Self {
        Self {
            status: 502,
            message: message.to_owned(),
            kind: "upstream_error".into(),
            code: Some("upstream_interrupted".into()),
            param: None,
            reported_kind: None,
            request_id: None,
            origin: FailureOrigin::Interrupted,
            original: None,
        }
    }

    /// Returns the code for the ledger: the code, or else the type that the upstream reported.
    pub fn ledger_code(&self) -> Option<&str> {
        self.code.as_deref().or(self.reported_kind.as_deref())
    }
}
