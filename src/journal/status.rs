//! Counters that the writers and the reader of the journals share, and the wake-up of the reader's
//! thread.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// State of all journals of one process. Every counter can be read at any time without waiting for
/// the reader's thread.
#[derive(Default)]
pub struct JournalStatus {
    /// Largest number of bytes that may wait to be stored.
    max_bytes: u64,
    /// Wakes the reader's thread.
    wake: OnceLock<Box<dyn Fn() + Send + Sync>>,
    /// Whether the reader has been woken since its last poll.
    poll_requested: AtomicBool,
    /// Bytes written, or left by dead processes, and not yet stored.
    unstored_bytes: AtomicU64,
    write_errors: AtomicU64,
    damaged_segments: AtomicU64,
}

impl JournalStatus {
    /// Creates the status of empty journals that may hold up to `max_bytes` bytes of unstored
    /// records.
    pub fn new(max_bytes: u64) -> Self {
        Self { max_bytes, ..Self::default() }
    }

    /// Sets the function that wakes the reader's thread. Only the first call has an effect.
    pub fn on_poll_requested(&self, wake: impl Fn() + Send + Sync + 'static) {
        let _ = self.wake.set(Box::new(wake));
    }

    /// Wakes the reader's thread, unless it has been woken since its last poll. Must be called
    /// after the lock that guards the new data is released: the thread first calls
    /// [`poll_started`](Self::poll_started) and then takes that lock, so it either sees the data or
    /// is woken again.
    pub fn request_poll(&self) {
        if !self.poll_requested.load(Ordering::Acquire)
            && !self.poll_requested.swap(true, Ordering::AcqRel)
            && let Some(wake) = self.wake.get()
        {
            wake();
        }
    }

    /// Notes that the reader is about to poll the writers.
    pub fn poll_started(&self) {
        self.poll_requested.swap(false, Ordering::AcqRel);
    }

    /// Returns the largest number of bytes that may wait to be stored.
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Returns the number of bytes that wait to be stored.
    pub fn unstored_bytes(&self) -> u64 {
        self.unstored_bytes.load(Ordering::Relaxed)
    }

    /// Returns whether `more` bytes may be written.
    pub fn has_capacity(&self, more: u64) -> bool {
        self.unstored_bytes().saturating_add(more) <= self.max_bytes
    }

    /// Adds bytes that wait to be stored.
    pub fn add_unstored(&self, bytes: u64) {
        self.unstored_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Subtracts bytes that have been stored.
    pub fn subtract_stored(&self, bytes: u64) {
        self.unstored_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Returns the number of failed writes and syncs.
    pub fn write_errors(&self) -> u64 {
        self.write_errors.load(Ordering::Relaxed)
    }

    /// Counts a failed write or sync.
    pub fn count_write_error(&self) {
        self.write_errors.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of segments in which something could not be read.
    pub fn damaged_segments(&self) -> u64 {
        self.damaged_segments.load(Ordering::Relaxed)
    }

    /// Counts segments in which something could not be read.
    pub fn count_damaged(&self, segments: u64) {
        self.damaged_segments.fetch_add(segments, Ordering::Relaxed);
    }
}
