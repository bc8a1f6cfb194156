//! Spans of top-level members.

use std::ops::Range;

/// Top-level member of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The key, if it is spelled with escapes.
    pub(super) unescaped: Option<Box<str>>,
    /// Span of the key, including its quotes.
    pub key: Range<usize>,
    /// Span of the value.
    pub value: Range<usize>,
}
