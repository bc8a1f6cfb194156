//! Counters of settled but unstored entries, readable at any time, and the in-memory overflow used
//! when the disk rejects writes.
//!
//! Shared by the journals, which add to it, by the ledger's thread, which removes from it, and by
//! metrics and health checks. Reading it never waits for the ledger's thread, which may be waiting
//! for a database.

use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::codec::{self, SETTLED};
use super::entry::Entry;
use super::overflow::EntryQueue;
use crate::journal::frame::Record;
use crate::journal::status::JournalStatus;
use crate::journal::writer::Overflow;

/// Number of entries cloned at once for the observer, so that the lock is held briefly.
const OBSERVED_AT_ONCE: usize = 100;

/// Counters of one process.
#[derive(Default)]
pub struct Backlog {
    journal: Arc<JournalStatus>,
    open: AtomicUsize,
    settled: AtomicU64,
    stored: AtomicU64,
    /// Unix milliseconds; 0 if nothing is being stored.
    oldest: AtomicI64,
    lost: AtomicU64,
    overflow: Mutex<EntryQueue>,
}

/// Settled entries that wait to be stored, and failures, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Settled entries not yet stored.
    pub entries: u64,
    /// Bytes of journal not yet stored.
    pub bytes: u64,
    /// Largest number of bytes of journal that may wait.
    pub max_bytes: u64,
    /// Time at which the oldest entry being stored now was received, in Unix milliseconds.
    pub oldest: Option<i64>,
    /// Entries kept in memory because the disk did not take them.
    pub in_memory: u64,
    /// Number of failed writes to the journals.
    pub write_errors: u64,
    /// Entries that fitted neither on disk nor in memory.
    pub lost: u64,
    /// Quarantined segments: something in them could not be read, and the files are kept for
    /// inspection.
    pub damaged: u64,
}

impl Lag {
    /// Returns whether an operator should look: half of the journal's maximum is used, or the disk
    /// rejects writes.
    pub fn is_alarming(&self) -> bool {
        self.bytes >= self.max_bytes / 2 || self.in_memory > 0 || self.lost > 0
    }
}

impl Backlog {
    /// Creates an empty backlog whose journals may hold up to `max_bytes` bytes of unstored
    /// records.
    pub fn new(max_bytes: u64) -> Self {
        Self { journal: Arc::new(JournalStatus::new(max_bytes)), ..Self::default() }
    }

    /// Returns the state of the journals.
    pub fn journal(&self) -> &Arc<JournalStatus> {
        &self.journal
    }

    /// Returns what waits now.
    pub fn lag(&self) -> Lag {
        let stored = self.stored.load(Ordering::Acquire);
        let in_memory = {
            let overflow = self.overflow();
            overflow.added() - overflow.stored()
        };
        Lag {
            entries: self.settled.load(Ordering::Acquire).saturating_sub(stored),
            bytes: self.journal.unstored_bytes(),
            max_bytes: self.journal.max_bytes(),
            oldest: Some(self.oldest.load(Ordering::Relaxed)).filter(|at| *at != 0),
            in_memory,
            write_errors: self.journal.write_errors(),
            lost: self.lost.load(Ordering::Relaxed),
            damaged: self.journal.damaged_segments(),
        }
    }

    /// Returns the number of settlements that are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// Counts a settlement that is opened.
    pub fn opened(&self) {
        self.open.fetch_add(1, Ordering::AcqRel);
    }

    /// Counts a settlement that is closed: its entry is in a journal, in memory, or lost.
    pub fn closed(&self) {
        self.open.fetch_sub(1, Ordering::AcqRel);
    }

    /// Counts entries that are settled and have to be stored.
    pub fn settled(&self, entries: u64) {
        self.settled.fetch_add(entries, Ordering::AcqRel);
    }

    /// Counts entries that are stored.
    pub fn stored(&self, entries: u64) {
        self.stored.fetch_add(entries, Ordering::AcqRel);
    }

    /// Returns the number of entries stored since the start.
    pub fn rows(&self) -> u64 {
        self.stored.load(Ordering::Acquire)
    }

    /// Sets when the oldest of the entries being stored was received, in Unix milliseconds; `None`
    /// if nothing is being stored.
    pub fn storing(&self, oldest: Option<i64>) {
        self.oldest.store(oldest.unwrap_or(0), Ordering::Relaxed);
    }

    /// Keeps a settled entry in memory because no journal took it. If there is no capacity, the
    /// entry is lost; its draft, if that was written, is settled as interrupted at the next start.
    pub fn push_overflow(&self, entry: Entry) {
        if !self.overflow().push(entry) {
            self.lost.fetch_add(1, Ordering::Relaxed);
            self.settled.fetch_sub(1, Ordering::AcqRel);
            log::error!("a ledger entry is lost: the journal cannot be written and the memory overflow is full; free space on its disk");
        }
    }

    /// Removes up to `limit` entries from memory, oldest first. Also returns how many of them were
    /// observed before.
    pub fn take_overflow(&self, limit: usize) -> (usize, Vec<Entry>) {
        self.overflow().take(limit)
    }

    /// Shows each entry in memory that was not shown before.
    pub fn observe_overflow(&self, mut observe: impl FnMut(&Entry)) {
        loop {
            let next = self.overflow().observe(OBSERVED_AT_ONCE);
            if next.is_empty() {
                return;
            }
            next.iter().for_each(&mut observe);
        }
    }

    /// Counts entries taken out of memory that are now stored.
    pub fn stored_overflow(&self, entries: usize) {
        self.overflow().count_stored(entries as u64);
    }

    /// Returns the number of entries ever kept in memory.
    pub fn overflow_added(&self) -> u64 {
        self.overflow().added()
    }

    /// Returns how many of these were ever stored.
    pub fn overflow_stored(&self) -> u64 {
        self.overflow().stored()
    }

    fn overflow(&self) -> MutexGuard<'_, EntryQueue> {
        self.overflow.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Overflow for Backlog {
    /// Keeps settled entries. A draft is dropped: the request goes on, and only a kill would lose
    /// it.
    fn keep(&self, record: Record<'_>) {
        if record.kind == SETTLED
            && let Ok(entry) = codec::decode(record.payload)
        {
            self.push_overflow(entry);
        }
    }
}
