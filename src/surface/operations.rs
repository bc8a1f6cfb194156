//! The operations of the data plane: one row for each [`Operation`].
//!
//! Adding an operation takes a variant there, a row here, and a path in each dialect that supports
//! it.

use super::Surface;
use super::chat::Chat;
use crate::payload::PayloadFormat;
use crate::terms::Operation;

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct OperationSpec {
    /// The operation.
    pub operation: Operation,
    /// Path of its `POST` endpoint.
    pub path: &'static str,
    /// Language of its clients.
    pub surface: &'static dyn Surface,
    /// Format of its request bodies.
    pub payload: PayloadFormat,
    /// Whether the answer may be a stream.
    pub may_stream: bool,
    /// Request members that hold the prompt, for an estimate of its tokens.
    pub prompt: &'static [&'static str],
}

/// All operations, in the order of [`Operation::ALL`].
pub static OPERATIONS: [OperationSpec; Operation::ALL.len()] = [
    OperationSpec {
        operation: Operation::Chat,
        path: "/v1/chat/completions",
        surface: &Chat,
        payload: PayloadFormat::Json,
        may_stream: true,
        prompt: &["messages"],
    },
    OperationSpec {
        operation: Operation::Completions,
        path: "/v1/completions",
        surface: &Chat,
        payload: PayloadFormat::Json,
        may_stream: true,
        prompt: &["prompt"],
    },
    OperationSpec {
        operation: Operation::Embeddings,
        path: "/v1/embeddings",
        surface: &Chat,
        payload: PayloadFormat::Json,
        may_stream: false,
        prompt: &["input"],
    },
];

/// Surface of answers to requests for no operation.
pub static DEFAULT: &dyn Surface = &Chat;

/// Returns the surface of a request to `path`, for answers given before its operation is known.
pub fn surface_of(path: &str) -> &'static dyn Surface {
    OPERATIONS.iter().find(|spec| path.starts_with(spec.path)).map_or(DEFAULT, |spec| spec.surface)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_its_row() {
        assert_eq!(OPERATIONS.map(|spec| spec.operation), Operation::ALL);
    }
}
