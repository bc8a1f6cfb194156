//! A translated request: the call to make and the reader of its answer.

use std::time::Duration;

use bytes::Bytes;

use super::reader::Reader;

/// A request that is ready to be sent.
pub struct Prepared {
    /// The call to make.
    pub call: Call,
    /// Reads the answer to exactly this request.
    pub reader: Box<dyn Reader>,
    /// Names of the parameters that were dropped or degraded, sorted: `x-aigw-dropped-params`.
    pub dropped: Vec<&'static str>,
}

/// The way to get an answer.
pub enum Call {
    /// `POST` over HTTP.
    Http {
        /// Request headers besides content type and credential, names in lower case.
        headers: Vec<(&'static str, String)>,
        /// The body, JSON.
        body: Bytes,
    },
    /// An answer made in process, for trials and tests.
    Scripted(Script),
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
