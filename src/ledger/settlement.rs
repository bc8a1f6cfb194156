//! An entry in the making: opened before the first upstream call, written when the last holder lets go.
//!
//! Holders are the router's task and, for a stream, the pump. Whatever ends them (a value, a panic, a cancelled future) ends the
//! settlement, so no path can forget it and none can settle twice.

use std::sync::{Arc, Mutex};

use super::entry::Entry;
use super::journal::Journal;

/// A shared hold on an entry in the making.
#[derive(Clone)]
pub struct Settlement(Arc<Inner>);

struct Inner {
    entry: Mutex<Entry>,
    journal: Arc<Journal>,
}

impl Settlement {
    /// Journals that the request is about to reach an upstream. `draft` says what the entry will be if nothing more is learnt.
    pub fn open(journal: &Arc<Journal>, draft: Entry) -> Self {
        let _ = (journal, &draft);
        todo!("interface")
    }

    /// Reads or changes the entry.
    pub fn with<T>(&self, change: impl FnOnce(&mut Entry) -> T) -> T {
        let mut entry = self.0.entry.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        change(&mut entry)
    }
}
