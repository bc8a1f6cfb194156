//! The entry of a request under way: opened before the first upstream call, written when its last
//! holder is dropped.
//!
//! Holders are the router's task and, for a stream, the pump. However they end (a value, a panic, a
//! canceled future), the settlement ends with them, so no path can forget it and none can settle
//! twice.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::entry::Entry;
use super::journal::Journal;
use super::settlement_guard::SettlementGuard;

/// A shared handle of the entry of a request under way.
#[derive(Clone)]
pub struct Settlement(Arc<Inner>);

struct Inner {
    entry: Mutex<Entry>,
    journal: Arc<Journal>,
    received: Instant,
    guard: Option<Box<dyn SettlementGuard>>,
    is_settled: bool,
}

impl Settlement {
    /// Gathers the draft for the journal. The request must not reach an upstream before it is
    /// [`journaled`](Self::journaled). `draft` is the entry that is stored if nothing more is
    /// known, with outcome, estimated usage and cost. `received` is the time at which the request
    /// was received.
    pub fn open(journal: &Arc<Journal>, draft: Entry, received: Instant) -> Self {
        Self::open_guarded(journal, draft, received, None)
    }

    /// Like [`open`](Self::open). `guard` is told how the request ended.
    pub fn open_guarded(journal: &Arc<Journal>, mut draft: Entry, received: Instant, guard: Option<Box<dyn SettlementGuard>>) -> Self {
        draft.truncate_texts();
        journal.backlog().opened();
        journal.open(&draft);
        let (entry, journal) = (Mutex::new(draft), Arc::clone(journal));
        Self(Arc::new(Inner { entry, journal, received, guard, is_settled: false }))
    }

    /// Reads or changes the entry.
    pub fn with<T>(&self, change: impl FnOnce(&mut Entry) -> T) -> T {
        change(&mut self.0.entry.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until the draft is in the journal: from then on it is billed even if the process is
    /// killed.
    pub async fn journaled(&self) {
        let journal = &self.0.journal;
        // This settlement is counted too.
        let others = journal.backlog().open() > 1;
        journal.written(others).await;
    }

    /// Changes the entry and gathers it as the new draft, for a request that fails over to another
    /// provider: if the process is killed, the provider that was called last is billed.
    pub fn redraft(&self, change: impl FnOnce(&mut Entry)) {
        self.with(|entry| {
            change(entry);
            entry.truncate_texts();
            self.0.journal.open(entry);
        });
    }

    /// Drops this handle. If it is the last one, waits until the entry is in the journal; a plain
    /// drop writes it at once and alone.
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
    /// Writes the final entry. Without a latency it gets the time since its request was received.
    fn settle(&mut self) {
        let entry = self.entry.get_mut().unwrap_or_else(PoisonError::into_inner);
        if entry.latency_ms == 0 {
            entry.latency_ms = u64::try_from(self.received.elapsed().as_millis()).unwrap_or(u64::MAX);
        }
        entry.truncate_texts();
        self.journal.settle(entry);
        self.journal.backlog().closed();
        self.is_settled = true;
        if let Some(guard) = self.guard.take()
            && catch_unwind(AssertUnwindSafe(|| guard.settled(entry))).is_err()
        {
            log::error!("a settlement guard failed for request {}", entry.request_id);
        }
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
