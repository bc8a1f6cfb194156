//! The usage ledger: every routed request becomes one entry, stored exactly once, whatever is killed.
//!
//! # How it works
//! ```text
//! worker ── Settlement ── Journal ──write(2)──► <dir>/<instance>-<worker>-<sequence>.journal
//!                            │ "look" (coalesced)        │
//! ledger thread              └────────► Ledger ── Reader ┴─► batch of ≤ 2,000 ──► EntrySink: entries + positions, one transaction
//! ```
//! 1. Before the first upstream call a [`settlement::Settlement`] writes an *opened* record: the entry as it will be if nothing
//!    more is learnt. When its last holder lets go it writes the *settled* record, before the end of the answer leaves. Both go to the
//!    worker's own file, with one `write(2)` for all requests that are as far in the same turn of the worker; no worker ever waits
//!    for a database, an fsync or another worker.
//! 2. The ledger's thread reads the journals (up to the length the journal says it has written, so never half a record) and
//!    hands batches to the [`EntrySink`], which stores a batch together with how far it reaches in one transaction. A sink that fails is
//!    tried again with the same batch; meanwhile the journals grow, and the observer (metrics) is shown what is settled. One that
//!    neither takes a batch nor fails holds up this thread and the observer, and nobody else.
//! 3. A segment is deleted when it is full, stored to its end, and every entry opened in it is settled and stored.
//! 4. At start a process takes what dead instances left (their locks can be had), reads it by the same code, and settles what
//!    was opened and not settled as interrupted.
//!
//! # Why every request that reached an upstream is stored
//! The opened record is in the operating system's hands before the call, and a killed process does not lose it. It is deleted
//! only after its settlement was stored (3). So at any moment of a crash either the settlement is stored, or it is in a journal and
//! will be read, or only the opened record is there and will be settled at recovery. `tests/crash.rs` tries it from outside.
//!
//! A full disk (or the bound on the backlog, whose half raises the alarm) moves settled entries into memory until they are stored. What
//! is in memory does not outlive a kill; a request whose opened record was written before does, as interrupted.
//!
//! # Why none is stored twice
//! Positions move in the transaction that stores the entries, so a settled record is not read again after it was stored, by
//! this process or the next. Three cases are beyond positions, and there the entry's id, its primary key, decides, the sink passing
//! over ids it has: an opened record that outlived the segment of its settlement because a slower request holds its segment;
//! an entry stored by way of memory; and a recovery that was itself killed between storing interrupted entries and
//! deleting their segments. In all three what is stored first is the truth, and what is passed over an estimate or a copy.
//!
//! # Several processes
//! Names of segments hold an instance id that is never used twice, and each instance holds an advisory lock that dies with it. So
//! processes may share a directory, a database, or both, and only one recovers a dead instance.
//!
//! # What cannot be read
//! A record whose checksum is right and whose words are not understood (a later version wrote it) is never deleted: its segment
//! is set aside as `….journal.unreadable`, counted and told, and its draft is billed. A file that cannot be opened now is tried
//! again and holds nothing else up.
//!
//! # Power cuts
//! With [`SyncPolicy::EachPoll`](crate::journal::sync_policy::SyncPolicy) the ledger's thread has the journals written to the disk at each look, which is at most
//! about 50 ms after a record, and still no worker waits. A torn tail or a hole that a power cut leaves is stepped over record by
//! record ([`frame`]).

pub mod actor;
pub mod backlog;
pub mod entry;
pub mod frame;
pub mod handle;
pub mod instance;
pub mod journal;
pub mod observer;
pub mod reader;
pub mod records;
pub mod segment;
pub mod settlement;
pub mod sink;
pub mod trail;

pub use observer::Observer;
pub use sink::{Batch, EntrySink, Positions, SinkError};

#[cfg(test)]
pub(crate) mod tests;
