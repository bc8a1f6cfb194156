//! What is settled but not yet stored, as counts everyone may read at any time, and the room for what no disk would take.
//!
//! Shared by the journals, which fill it, the ledger's thread, which empties it, and whoever watches. Reading it never waits
//! for the ledger's thread: that one may be waiting for a database.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::entry::Entry;

/// How many entries wait in memory at most, when the disk takes none.
const OVERFLOW: usize = 50_000;

/// Counts of what is under way. All of one process.
#[derive(Default)]
pub struct Backlog {
    /// Bytes of journal that may wait to be stored.
    max_bytes: u64,
    /// Tells the ledger's thread that there is something to read.
    wake: OnceLock<Box<dyn Fn() + Send + Sync>>,
    /// Whether it has been told since it last looked.
    dirty: AtomicBool,
    open: AtomicUsize,
    settled: AtomicU64,
    stored: AtomicU64,
    bytes: AtomicU64,
    /// Unix milliseconds; 0 for none.
    oldest: AtomicI64,
    write_errors: AtomicU64,
    lost: AtomicU64,
    damaged: AtomicU64,
    overflow: Mutex<Overflow>,
}

/// Settled entries that the disk did not take.
#[derive(Default)]
struct Overflow {
    /// The oldest first.
    entries: VecDeque<Entry>,
    /// How many of them, from the front, were shown to the observer.
    observed: usize,
    /// How many were ever put in.
    taken_in: u64,
    /// How many were ever stored.
    stored: u64,
}

/// What waits to be stored, and what went wrong, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Settled entries not yet stored.
    pub entries: u64,
    /// Bytes of journal not yet stored.
    pub bytes: u64,
    /// How many of those there may be.
    pub max_bytes: u64,
    /// When the oldest entry being stored now was received, in Unix milliseconds.
    pub oldest: Option<i64>,
    /// Entries waiting in memory because the disk took none.
    pub in_memory: u64,
    /// Records the disk did not take.
    pub write_errors: u64,
    /// Entries for which there was no room on disk nor in memory.
    pub lost: u64,
    /// Segments with something in them that could not be read; such files are kept aside for a human.
    pub damaged: u64,
}

impl Lag {
    /// Whether someone should look: half of the room is used, or the disk does not take what it should.
    pub fn is_alarming(&self) -> bool {
        self.bytes >= self.max_bytes / 2 || self.in_memory > 0 || self.lost > 0
    }
}

impl Backlog {
    /// Nothing waits yet; up to `max_bytes` of journal may.
    pub fn new(max_bytes: u64) -> Self {
        Self { max_bytes, ..Self::default() }
    }

    /// Says how the ledger's thread is told that there is something to read. Once.
    pub fn on_dirty(&self, wake: impl Fn() + Send + Sync + 'static) {
        let _ = self.wake.set(Box::new(wake));
    }

    /// Tells the ledger's thread, unless it has been told and has not looked yet. To be called after what it is to see
    /// has been let out of its lock: then the thread, which first calls [`looking`](Self::looking) and then takes that
    /// lock, either sees it or is told again.
    pub fn touch(&self) {
        if !self.dirty.load(Ordering::Acquire)
            && !self.dirty.swap(true, Ordering::AcqRel)
            && let Some(wake) = self.wake.get()
        {
            wake();
        }
    }

    /// The ledger's thread is about to look.
    pub fn looking(&self) {
        self.dirty.swap(false, Ordering::AcqRel);
    }

    /// What waits now.
    pub fn lag(&self) -> Lag {
        let stored = self.stored.load(Ordering::Acquire);
        let in_memory = {
            let overflow = self.overflow();
            overflow.taken_in - overflow.stored
        };
        Lag {
            entries: self.settled.load(Ordering::Acquire).saturating_sub(stored),
            bytes: self.bytes.load(Ordering::Relaxed),
            max_bytes: self.max_bytes,
            oldest: Some(self.oldest.load(Ordering::Relaxed)).filter(|at| *at != 0),
            in_memory,
            write_errors: self.write_errors.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
            damaged: self.damaged.load(Ordering::Relaxed),
        }
    }

    /// Settlements opened and not yet settled.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// One more settlement is open.
    pub fn opened(&self) {
        self.open.fetch_add(1, Ordering::AcqRel);
    }

    /// One less, and what it said is in a journal, in memory or lost.
    pub fn closed(&self) {
        self.open.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether `more` bytes of journal may still be written.
    pub fn has_room(&self, more: u64) -> bool {
        self.bytes.load(Ordering::Relaxed).saturating_add(more) <= self.max_bytes
    }

    /// So many bytes of journal are to be read.
    pub fn grew(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many of them need not be read again.
    pub fn shrank(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// So many entries are settled and have to be stored.
    pub fn settled(&self, entries: u64) {
        self.settled.fetch_add(entries, Ordering::AcqRel);
    }

    /// So many of them are.
    pub fn stored(&self, entries: u64) {
        self.stored.fetch_add(entries, Ordering::AcqRel);
    }

    /// How many have been stored since the start.
    pub fn rows(&self) -> u64 {
        self.stored.load(Ordering::Acquire)
    }

    /// The oldest of the entries being stored; `None` when nothing is.
    pub fn storing(&self, oldest: Option<i64>) {
        self.oldest.store(oldest.unwrap_or(0), Ordering::Relaxed);
    }

    /// A record was not written.
    pub fn write_failed(&self) {
        self.write_errors.fetch_add(1, Ordering::Relaxed);
    }

    /// So many segments have something in them that makes no sense.
    pub fn found_damage(&self, segments: u64) {
        self.damaged.fetch_add(segments, Ordering::Relaxed);
    }

    /// Takes up to `room` entries out of memory, the oldest first, and says how many of these were observed before.
    pub fn take(&self, room: usize) -> (usize, Vec<Entry>) {
        let mut overflow = self.overflow();
        let count = overflow.entries.len().min(room);
        let observed = overflow.observed.min(count);
        overflow.observed -= observed;
        (observed, overflow.entries.drain(..count).collect())
    }

    /// Shows each entry in memory that was not shown before. The lock is held briefly: workers may want it.
    pub fn observe(&self, mut show: impl FnMut(&Entry)) {
        loop {
            let mut overflow = self.overflow();
            let next: Vec<Entry> = overflow.entries.iter().skip(overflow.observed).take(100).cloned().collect();
            overflow.observed += next.len();
            drop(overflow);
            if next.is_empty() {
                return;
            }
            next.iter().for_each(&mut show);
        }
    }

    /// How many entries were ever kept in memory.
    pub fn kept(&self) -> u64 {
        self.overflow().taken_in
    }

    /// How many of these were ever stored.
    pub fn kept_and_stored(&self) -> u64 {
        self.overflow().stored
    }

    /// So many entries taken out of memory are stored.
    pub fn stored_from_memory(&self, entries: usize) {
        self.overflow().stored += entries as u64;
    }

    fn overflow(&self) -> MutexGuard<'_, Overflow> {
        self.overflow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a settled entry in memory that no disk would take. `false`: there is no room here either. What was opened
    /// for it is still in its journal then, and is settled as interrupted at the next start.
    pub fn keep(&self, entry: Entry) -> bool {
        let mut overflow = self.overflow();
        if overflow.entries.len() >= OVERFLOW {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        overflow.taken_in += 1;
        overflow.entries.push_back(entry);
        true
    }
}
