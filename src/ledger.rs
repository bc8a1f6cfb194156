//! The usage ledger: every routed request becomes one entry, written once, whatever is killed.
//!
//! A worker appends to its own journal file (a `write(2)`, no database, no fsync); the ledger actor on its own thread
//! reads the journals and hands batches to an [`EntrySink`]. The sink stores a batch and how far the journals have been
//! read in one transaction, so an entry is stored exactly once.

pub mod actor;
pub mod entry;
pub mod journal;
pub mod settlement;

use std::collections::BTreeMap;

use entry::Entry;

/// Where entries end up. The store implements it; the ledger does not know the store.
pub trait EntrySink: Send + 'static {
    /// Stores the batch and its positions in one transaction. Entries whose id is stored already are passed over.
    ///
    /// # Errors
    /// Says why nothing of the batch was stored. The ledger keeps it and tries again.
    fn store(&mut self, batch: &Batch) -> Result<(), SinkError>;

    /// How far each journal segment has been stored.
    ///
    /// # Errors
    /// As [`store`](Self::store).
    fn positions(&mut self) -> Result<Positions, SinkError>;

    /// Forgets the positions of segments that are gone.
    ///
    /// # Errors
    /// As [`store`](Self::store).
    fn forget(&mut self, segments: &[String]) -> Result<(), SinkError>;
}

/// Journal segments by name, each with the offset up to which its settled entries are stored.
pub type Positions = BTreeMap<String, u64>;

/// Entries to store, and the positions that storing them reaches.
#[derive(Debug, Default)]
pub struct Batch {
    /// At most 500.
    pub entries: Vec<Entry>,
    /// Only segments that moved.
    pub positions: Positions,
}

/// Why a batch was not stored.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SinkError(pub String);
