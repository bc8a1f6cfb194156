//! The usage ledger: every routed request becomes one entry, stored exactly once, whatever process
//! is killed and when.
//!
//! # How it works
//! ```text
//! worker ── Settlement ── Journal ──write(2)──► segment files (crate::journal)
//!                            │ wake-up (coalesced)       │
//! ledger thread              └────► Ledger ── EntryReader ┴─► batch of ≤ 2,000 ──► EntrySink:
//!                                                             entries + positions, one transaction
//! ```
//! 1. Before the first upstream call a [`settlement::Settlement`] writes an *opened* record: the
//!    entry as it will be stored if nothing more is known. When its last holder is dropped it
//!    writes the *settled* record, before the end of the answer is sent. Both go to the worker's
//!    own file, with one `write(2)` for all requests that are ready in the same turn of the worker.
//!    No worker ever waits for a database, an fsync or another worker.
//! 2. The ledger's thread reads the journals, up to the length that the writer reports and so never
//!    half a record. It hands batches to the [`EntrySink`], which stores a batch and its positions
//!    in one transaction. If the sink fails, the same batch is retried; meanwhile the journals
//!    grow, and the observer (metrics) still sees what is settled. A sink that hangs delays this
//!    thread and the observer, and nothing else.
//! 3. A segment is deleted when it is complete, stored to its end, and every entry opened in it is
//!    settled and stored.
//! 4. At start a process locks the journals of dead instances, reads them by the same code, and
//!    settles drafts without a settlement as interrupted.
//!
//! # Why every request that reached an upstream is stored
//! The opened record is in the operating system's hands before the call, and a killed process does
//! not lose it. It is deleted only after its settlement is stored (3). So whenever the process is
//! killed, either the settlement is stored, or it is in a journal and will be read, or only the
//! opened record is there and is settled at recovery. `tests/crash.rs` tests this from outside.
//!
//! If the disk is full, or the maximum of the journals is reached (half of it raises the alarm),
//! settled entries are kept in memory until they are stored. Entries in memory are lost if the
//! process is killed; a request whose opened record was written before is then stored as
//! interrupted.
//!
//! # Why none is stored twice
//! Positions move in the transaction that stores the entries. So a settled record is not read again
//! after it was stored, by this process or the next. Positions do not cover three cases, in which
//! the entry's id, its primary key, decides, because the sink skips ids that it has: an opened
//! record that outlives the segment of its settlement because a slower request holds its segment;
//! an entry stored by way of memory; and a recovery that was itself killed between storing
//! interrupted entries and deleting their segments. In all three the entry stored first is right,
//! and the skipped one an estimate or a copy.
//!
//! # Records that cannot be decoded
//! A settled record of another version is quarantined by the journal, and its draft is billed.

pub mod actor;
pub mod backlog;
pub mod codec;
pub mod drafts;
pub mod entry;
pub mod handle;
pub mod journal;
pub mod observer;
pub mod overflow;
pub mod reader;
pub mod settlement;
pub mod settlement_guard;
pub mod sink;

pub use observer::Observer;
pub use sink::{Batch, EntrySink, Positions, SinkError};

#[cfg(test)]
pub(crate) mod tests;
