//! Settled entries kept in memory because the disk did not take them.

use std::collections::VecDeque;

use super::entry::Entry;

/// Largest number of entries kept in memory.
const CAPACITY: usize = 50_000;

/// Queue of settled entries that could not be written to a journal. Lost if the process is killed.
#[derive(Default)]
pub struct EntryQueue {
    /// Oldest first.
    entries: VecDeque<Entry>,
    /// Number of entries, from the front, that the observer has seen.
    observed: usize,
    /// Number of entries ever added.
    added: u64,
    /// Number of entries ever stored.
    stored: u64,
}

impl EntryQueue {
    /// Adds an entry. Returns `false` if there is no capacity for it.
    pub fn push(&mut self, entry: Entry) -> bool {
        if self.entries.len() >= CAPACITY {
            return false;
        }
        self.added += 1;
        self.entries.push_back(entry);
        true
    }

    /// Removes up to `limit` entries, oldest first. Also returns how many of them the observer has
    /// seen.
    pub fn take(&mut self, limit: usize) -> (usize, Vec<Entry>) {
        let count = self.entries.len().min(limit);
        let observed = self.observed.min(count);
        self.observed -= observed;
        (observed, self.entries.drain(..count).collect())
    }

    /// Returns copies of up to `limit` entries that the observer has not seen, and counts them as
    /// seen.
    pub fn observe(&mut self, limit: usize) -> Vec<Entry> {
        let next: Vec<Entry> = self.entries.iter().skip(self.observed).take(limit).cloned().collect();
        self.observed += next.len();
        next
    }

    /// Counts entries that were taken and are now stored.
    pub fn count_stored(&mut self, entries: u64) {
        self.stored += entries;
    }

    /// Returns the number of entries ever added.
    pub fn added(&self) -> u64 {
        self.added
    }

    /// Returns the number of entries ever stored.
    pub fn stored(&self) -> u64 {
        self.stored
    }
}
