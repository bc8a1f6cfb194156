//! An entry in the making: opened before the first upstream call, written when the last holder lets go.
//!
//! Holders are the router's task and, for a stream, the pump. Whatever ends them (a value, a panic, a cancelled future) ends the
//! settlement, so no path can forget it and none can settle twice.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::entry::Entry;
use super::journal::Journal;

/// A shared hold on an entry in the making.
#[derive(Clone)]
pub struct Settlement(Arc<Inner>);

struct Inner {
    entry: Mutex<Entry>,
    journal: Arc<Journal>,
    received: Instant,
    is_settled: bool,
}

impl Settlement {
    /// Gathers for the journal that the request is about to reach an upstream, which it may once this is
    /// [`journaled`](Self::journaled). `draft` says what the entry will be if nothing more is learnt: outcome, estimated usage and
    /// cost included. The request was `received` then.
    pub fn open(journal: &Arc<Journal>, mut draft: Entry, received: Instant) -> Self {
        draft.truncate_texts();
        journal.backlog().opened();
        journal.open(&draft);
        let (entry, journal) = (Mutex::new(draft), Arc::clone(journal));
        Self(Arc::new(Inner { entry, journal, received, is_settled: false }))
    }

    /// Reads or changes the entry.
    pub fn with<T>(&self, change: impl FnOnce(&mut Entry) -> T) -> T {
        change(&mut self.0.entry.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until the draft is in the journal: from then on a killed process bills it.
    pub async fn journaled(&self) {
        let journal = &self.0.journal;
        // This one is open itself.
        let others = journal.backlog().open() > 1;
        journal.written(others).await;
    }

    /// Changes the entry and gathers it as the new draft: for a request that moves on to another provider, so that a killed
    /// process bills the one that was called last.
    pub fn redraft(&self, change: impl FnOnce(&mut Entry)) {
        self.with(|entry| {
            change(entry);
            entry.truncate_texts();
            self.0.journal.open(entry);
        });
    }

    /// Lets go. If this was the last hold, waits until the entry is in the journal; a plain drop writes it at once and alone.
    pub async fn close(mut self) {
        let Some(inner) = Arc::get_mut(&mut self.0) else { return };
        inner.settle();
        let journal = Arc::clone(&inner.journal);
        drop(self);
        let others = journal.backlog().open() > 0;
        journal.written(others).await;
    }
}

impl Inner {
    /// An entry that nobody gave a latency gets the time since its request was received.
    fn settle(&mut self) {
        let entry = self.entry.get_mut().unwrap_or_else(PoisonError::into_inner);
        if entry.latency_ms == 0 {
            entry.latency_ms = u64::try_from(self.received.elapsed().as_millis()).unwrap_or(u64::MAX);
        }
        entry.truncate_texts();
        self.journal.settle(entry);
        self.journal.backlog().closed();
        self.is_settled = true;
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if !self.is_settled {
            self.settle();
            self.journal.write();
        }
    }
}
