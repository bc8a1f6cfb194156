//! Failure of a call: the stage it reached, its class, and whether to repeat it.

use std::fmt;

use crate::guard::Reason;

/// Failure of one call to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// Stage that failed.
    pub stage: Stage,
    /// Kind of failure.
    pub class: Class,
    /// Whether another call may succeed.
    pub retry: Retry,
    /// Status of the response, if its head had arrived.
    pub status: Option<u16>,
}

/// Stage of a call, in the order of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Name resolution.
    Resolve,
    /// Address check by the SSRF guard.
    Guard,
    /// TCP connection.
    Connect,
    /// TLS handshake.
    Tls,
    /// Sending of the request.
    Send,
    /// Wait for the response head.
    Head,
    /// Reading of the response body.
    Body,
}

/// Kind of failure. [`as_str`](Self::as_str) is the name that the ledger stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The SSRF guard refused the address.
    Denied(Reason),
    /// The name does not resolve.
    Dns,
    /// No address accepted the connection.
    Connect,
    /// TCP or TLS took too long.
    ConnectTimeout,
    /// The TLS handshake failed.
    Tls,
    /// The connection broke while the request was sent.
    Send,
    /// The peer closed the connection before the head was complete.
    Disconnected,
    /// The connection broke, or the body violates its framing.
    Reset,
    /// The head exceeds its limits.
    HeadTooLarge,
    /// The response is not HTTP/1.
    NotHttp,
    /// The response has a status below 200.
    Informational,
    /// The response has a content coding that was not asked for.
    Encoded,
    /// The end of the body could not be told from a broken connection.
    Framing,
    /// The head or a part of the body took too long.
    Timeout,
    /// The connection was closed before the end of the body.
    Truncated,
    /// The body exceeds its limit.
    TooLarge,
    /// The memory for buffered bodies is exhausted.
    OutOfMemory,
}

/// Whether another call may succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It would fail for the same reason, and the upstream is not at fault.
    Never,
    /// Yes, after a pause.
    AfterBackoff,
    /// Yes, at once. The call used an idle connection that the peer had probably closed: no byte of a response had arrived.
    Immediately,
}

impl Error {
    /// Creates a failure. Its class determines whether to repeat the call.
    pub const fn new(stage: Stage, class: Class) -> Self {
        let retry = match class {
            Class::Denied(_) | Class::OutOfMemory => Retry::Never,
            _ => Retry::AfterBackoff,
        };
        Self { stage, class, retry, status: None }
    }

    /// Creates the failure of a stage that took too long.
    pub const fn timeout(stage: Stage) -> Self {
        Self::new(stage, Class::Timeout)
    }

    /// Returns the failure with the status of the response head.
    #[must_use]
    pub const fn with_status(self, status: u16) -> Self {
        Self { status: Some(status), ..self }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: {}", self.stage.as_str(), self.class.as_str())
    }
}

impl std::error::Error for Error {}

impl Stage {
    /// Returns the stage's name, for logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Guard => "guard",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Send => "send",
            Self::Head => "head",
            Self::Body => "body",
        }
    }
}

impl Class {
    /// Returns the stable name, as stored in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Denied(reason) => reason.code(),
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::ConnectTimeout => "connect_timeout",
            Self::Tls => "tls",
            Self::Send => "send",
            Self::Disconnected => "disconnected",
            Self::Reset => "reset",
            Self::HeadTooLarge => "head_too_large",
            Self::NotHttp => "not_http",
            Self::Informational => "informational",
            Self::Encoded => "encoded",
            Self::Framing => "framing",
            Self::Timeout => "timeout",
            Self::Truncated => "truncated",
            Self::TooLarge => "too_large",
            Self::OutOfMemory => "no_room",
        }
    }

    /// Whether something took too long.
    pub const fn is_timeout(self) -> bool {
        matches!(self, Self::Timeout | Self::ConnectTimeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_not_repeated_where_the_upstream_is_not_at_fault() {
        assert_eq!(Error::new(Stage::Guard, Class::Denied(Reason::Port)).retry, Retry::Never);
        assert_eq!(Error::new(Stage::Body, Class::OutOfMemory).retry, Retry::Never);
        assert_eq!(Error::timeout(Stage::Head).retry, Retry::AfterBackoff);
    }

    #[test]
    fn a_failure_names_its_stage_and_its_class() {
        let error = Error::new(Stage::Guard, Class::Denied(Reason::Port)).with_status(200);
        assert_eq!((error.to_string().as_str(), error.status), ("guard failed: ssrf.port", Some(200)));
        assert_eq!(Error::timeout(Stage::Body).to_string(), "body failed: timeout");
    }
}
