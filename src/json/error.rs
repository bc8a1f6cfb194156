//! Errors of reading JSON.

/// Reason why a body is rejected: the problem and its byte offset, without any of the body's text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at byte {at}")]
pub struct JsonError {
    /// The problem, such as `unterminated string`.
    pub problem: &'static str,
    /// Offset in the body.
    pub at: usize,
}

/// A member has another type than it must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be {expected}")]
pub struct WrongType {
    /// The type it must have, such as `a string`.
    pub expected: &'static str,
}
