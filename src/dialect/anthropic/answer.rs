//! Reader of the answer to one request, whole or piece by piece.

use bytes::Bytes;

use crate::dialect::failure::Failure;
use crate::dialect::reader::{Flow, Observed, Reader};
use crate::dialect::request::JsonRequest;

mod block;
mod blocks;
mod chunk;
pub mod error;
pub mod expected;
mod stream;
mod usage;
mod whole;

use expected::AnswerOrigin;
pub use expected::Expected;
use stream::Translation;

/// Reader of one answer.
pub struct AnswerReader {
    stream: Translation,
    /// Observations from a complete answer.
    whole: Option<Observed>,
}

impl AnswerReader {
    /// Creates the reader of the answer to `request`.
    pub fn new(request: &JsonRequest<'_>, expected: Expected) -> Self {
        let origin = AnswerOrigin::new(request.created, request.upstream_model, request.seed);
        Self { stream: Translation::new(origin, expected, request.sse), whole: None }
    }
}

impl Reader for AnswerReader {
    fn whole(&mut self, body: Bytes) -> Result<Bytes, Failure> {
        let (completion, observed) = whole::translate(&body, &self.stream.origin, self.stream.expected)?;
        self.whole = Some(observed);
        Ok(completion)
    }

    fn push(&mut self, piece: Bytes, out: &mut Vec<Bytes>) -> Flow {
        self.stream.push(piece, out)
    }

    fn end(&mut self, out: &mut Vec<Bytes>) -> Flow {
        self.stream.end(out)
    }

    fn held(&self) -> usize {
        self.stream.held()
    }

    fn observed(&self) -> Observed {
        self.whole.clone().unwrap_or_else(|| self.stream.observed())
    }
}
