//! The write-ahead journal: append-only segment files of records whose content it does not know.
//!
//! ```text
//! worker ── JournalWriter ──write(2)──► <dir>/<instance>-<worker>-<sequence>.journal
//!                │ request_poll (coalesced)          │
//! reader thread  └──────────► JournalReader ◄────────┘ ── records ──► consumer ── positions ──► its store
//! ```
//! * A [record](frame::Record) is a kind, an id and a payload. The code that defines a kind encodes
//!   and decodes its payload; the journal checks lengths and checksums.
//! * A [consumer](consumers::Consumer) reads the kinds it has registered and acknowledges what it
//!   has stored. Each consumer has positions of its own, which its store keeps, and may hold
//!   segments longer than they are unread.
//! * A segment is deleted when it is complete, every consumer has acknowledged all of it, and no
//!   consumer holds it.
//! * A dead process's segments are read by the same code, from the positions that each consumer's
//!   store has.
//!
//! # Several processes
//! Segment names contain an instance id that is never reused, and each instance holds an advisory
//! lock that the operating system releases when the process ends. So processes may share a
//! directory, and only one recovers a dead instance.
//!
//! # What cannot be read
//! A segment with records of an unknown kind, payloads that cannot be decoded or damage in its
//! middle is never deleted. It is renamed to `….journal.unreadable`, counted and logged. A torn
//! tail is expected after a kill and is ignored. A file that cannot be opened now is retried and
//! does not delay other files.
//!
//! # Power loss
//! With [`SyncPolicy::EachPoll`](sync_policy::SyncPolicy) the reader syncs the segments at each
//! poll, so no worker waits for the disk. A torn tail or hole that a power loss leaves is skipped
//! record by record ([`frame`]).

pub mod consumers;
pub mod delivery;
mod error;
pub mod frame;
pub mod instance;
pub mod position;
pub mod reader;
pub mod segment;
pub mod segment_name;
pub mod segment_reader;
pub mod segments;
pub mod status;
pub mod sync_policy;
pub mod writer;
