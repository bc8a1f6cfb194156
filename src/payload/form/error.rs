//! Errors of forms and of their fields.

/// The reason why a body is not a form that may pass. The text names a byte offset and never quotes
/// the body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct FormError {
    /// The problem.
    pub what: &'static str,
    /// Offset in the body.
    pub at: usize,
}

/// The reason why a field cannot be read or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// No part has this name.
    #[error("the field is missing")]
    Missing,
    /// Several parts have this name.
    #[error("the field is repeated")]
    Repeated,
    /// The part is a file, or not UTF-8.
    #[error("the field is not a text")]
    NotText,
    /// The text contains a line break or a boundary.
    #[error("the form cannot hold this text")]
    Unspeakable,
}
