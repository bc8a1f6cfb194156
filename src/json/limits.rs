//! Limits of a body (spec/security.md 7.4).

/// Largest depth and size of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonLimits {
    /// Nesting of arrays and objects, including the outermost. More than 127 counts as 127.
    pub depth: usize,
    /// Number of string values in the whole document.
    pub strings: usize,
    /// Number of object keys in the whole document.
    pub keys: usize,
}

impl JsonLimits {
    /// No limits, for text within a document that was checked as a whole.
    pub(super) const NONE: Self = Self { depth: usize::MAX, strings: usize::MAX, keys: usize::MAX };
}

impl Default for JsonLimits {
    fn default() -> Self {
        Self { depth: 64, strings: 100_000, keys: 200_000 }
    }
}
