//! Errors of reading JSON.

use std::borrow::Cow;

/// Reason why a body is rejected: the problem and its byte offset. Of the body's text it contains a duplicated key at most.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at byte {at}")]
pub struct JsonError {
    /// The problem, such as `unterminated string`.
    pub problem: Cow<'static, str>,
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

impl JsonError {
    /// Creates the error of a key that is given twice. The key is quoted if it is short and plain.
    pub(super) fn duplicate_key(name: &[u8], at: usize) -> Self {
        let is_plain = name.len() <= 64 && name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
        let problem = match str::from_utf8(name) {
            Ok(name) if is_plain => format!("duplicate key `{name}`").into(),
            _ => "duplicate key".into(),
        };
        Self { problem, at }
    }
}
