//! The reader of one answer: what a dialect makes of it, whole or piece by piece.

use bytes::Bytes;
use smol_str::SmolStr;

use super::failure::Failure;
use crate::terms::Usage;

/// Reads the answer to one request.
pub trait Reader: Send {
    /// Reads a complete answer of status 200 to 299 that is not a stream. Returns the body for the
    /// client.
    ///
    /// # Errors
    /// [`Failure`] if the answer is an error or cannot be parsed.
    fn whole(&mut self, body: Bytes) -> Result<Bytes, Failure>;

    /// Reads the next piece of a stream, and appends the frames for the client to `out`. A piece
    /// may be any split of the bytes. It is not called again after [`Flow::Done`] or
    /// [`Flow::Failed`]. If it fails before the first event, `out` is left empty: nothing of such an
    /// attempt reaches the client.
    fn push(&mut self, piece: Bytes, out: &mut Vec<Bytes>) -> Flow;

    /// Handles the end of the stream, and what is pending. A stream that had not reached its
    /// terminal event gives [`Flow::Failed`] with [`Failure::interrupted`].
    fn end(&mut self, out: &mut Vec<Bytes>) -> Flow;

    /// Number of bytes of a stream that are held because their event is not complete.
    fn held(&self) -> usize {
        0
    }

    /// Returns the observations so far. It may be called at any time.
    fn observed(&self) -> Observed;
}

/// State of a stream after a piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flow {
    /// No event has been seen yet (comments and pings do not count). The attempt may still be
    /// repeated elsewhere.
    Opening,
    /// At least one event has been seen, and more are to come.
    Flowing,
    /// The terminal event has been seen. Anything after it is ignored.
    Done,
    /// An error event, unreadable bytes, or an end too early. Before the first event the attempt has
    /// failed; after it, the client gets this as the last frame.
    Failed(Failure),
}

/// Observations of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Usage that the upstream reported.
    pub usage: Option<Usage>,
    /// Whether the reported usage is impossible: negative, absurdly large, or with a part larger
    /// than its whole. Then `usage` is `None`.
    pub has_absurd_usage: bool,
    /// `finish_reason` of the first choice, in OpenAI's words.
    pub finish_reason: Option<SmolStr>,
    /// Number of UTF-8 bytes of generated text (content, reasoning, tool arguments), for an
    /// estimate of the usage.
    pub output_bytes: u64,
}
