//! The trait by which the store takes entries, and the batch it is given.

use super::entry::Entry;
pub use crate::journal::position::Positions;

/// Largest number of entries in one batch. With 500, SQLite cost the thread a seventh more per
/// entry; larger batches gain nothing and make the transaction longer.
pub const MAX_BATCH: usize = 2_000;

/// Destination of settled entries. The store implements it; the ledger does not know the store.
pub trait EntrySink: Send + 'static {
    /// Stores the batch and its positions in one transaction. Skips entries whose id is already
    /// stored.
    ///
    /// # Errors
    /// The reason why nothing of the batch was stored. The ledger keeps the batch and retries it.
    fn store(&mut self, batch: &Batch) -> Result<(), SinkError>;

    /// Returns how far each journal segment has been stored.
    ///
    /// # Errors
    /// As [`store`](Self::store).
    fn positions(&mut self) -> Result<Positions, SinkError>;

    /// Removes the positions of segments that have been deleted.
    ///
    /// # Errors
    /// As [`store`](Self::store).
    fn forget(&mut self, segments: &[String]) -> Result<(), SinkError>;
}

/// Entries to store, and the positions that storing them reaches.
#[derive(Debug, Default)]
pub struct Batch {
    /// At most [`MAX_BATCH`].
    pub entries: Vec<Entry>,
    /// Positions of the segments that were read for this batch.
    pub positions: Positions,
}

/// Reason why a batch was not stored.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SinkError(pub String);
