//! A translated request: the call to make and the reader of its answer.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;

use super::reader::Reader;

/// A request that is ready to be sent.
pub struct Prepared {
    /// The call to make.
    pub call: Call,
    /// Reads the answer to exactly this request.
    pub reader: Box<dyn Reader>,
    /// Format of the answer, if it is a success.
    pub format: AnswerFormat,
    /// Names of the parameters that were dropped or degraded, sorted: `x-aigw-dropped-params`.
    pub dropped: Vec<&'static str>,
}

/// Format of a successful answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerFormat {
    /// JSON, which is read whole.
    Json,
    /// Server-sent events, or JSON from an upstream that does not stream.
    Events,
    /// Bytes such as audio, which pass unread as they arrive, or JSON.
    Opaque,
}

/// Content type of JSON.
pub const JSON: Cow<'static, str> = Cow::Borrowed("application/json");

/// The way to get an answer.
pub enum Call {
    /// `POST` over HTTP.
    Http {
        /// Request headers besides content type and credential, names in lower case.
        headers: Vec<(&'static str, String)>,
        /// Content type of the body: that of a form has a boundary.
        content_type: Cow<'static, str>,
        /// The body.
        body: Bytes,
    },
    /// An answer made in process, for trials and tests.
    Scripted(Script),
}

impl AnswerFormat {
    /// Returns the format of an operation that answers with JSON, or events if `stream`.
    pub fn of_json(stream: bool) -> Self {
        if stream { Self::Events } else { Self::Json }
    }

    /// Whether an answer of this content type is relayed piece by piece.
    pub fn is_relayed(self, content_type: &str) -> bool {
        self != Self::Json && !content_type.starts_with("application/json")
    }

    /// Content type of an answer that names none.
    pub fn default_content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Events => "text/event-stream",
            Self::Opaque => "application/octet-stream",
        }
    }
}

/// An answer that is made in process.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// Status.
    pub status: u16,
    /// Content type.
    pub content_type: &'static str,
    /// Pieces of the body, each after a delay.
    pub pieces: Vec<(Duration, Bytes)>,
}
