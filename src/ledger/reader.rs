//! The ledger's work, one step at a time: reads entries from all journals and stores them in
//! batches.
//!
//! No thread, no clock, no waiting: the actor decides when to step; tests step as they like.

use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::backlog::Backlog;
use super::codec;
use super::drafts::Drafts;
use super::observer::Observer;
use super::sink::{Batch, EntrySink, MAX_BATCH, SinkError};
use crate::journal::consumers::{Consumer, Consumers};
use crate::journal::instance::Instance;
use crate::journal::position::JournalMark;
use crate::journal::reader::JournalReader;
use crate::journal::sync_policy::SyncPolicy;
use crate::journal::writer::JournalWriter;

/// Reads entries from the journals of a directory and hands them to a sink.
pub struct EntryReader {
    journals: JournalReader,
    consumer: Consumer,
    backlog: Arc<Backlog>,
    observer: Arc<dyn Observer>,
    /// Open drafts by the id of their journal.
    drafts: HashMap<u64, Drafts>,
    /// Read and not yet stored. Unchanged until the sink stores it.
    batch: Batch,
    /// Number of entries of the batch that came from memory.
    from_memory: usize,
}

/// Result of one step.
#[derive(Debug)]
pub enum StepResult {
    /// Stored this number of entries; there may be more.
    Stored(usize),
    /// There was nothing to store.
    Idle,
    /// Everything readable is stored, but something cannot be read now.
    Unreadable(io::Error),
    /// The sink failed. The next step retries the same batch.
    Failed(SinkError),
}

/// End of everything settled at one moment.
#[derive(Clone, Debug)]
pub struct FlushMark {
    journals: JournalMark,
    overflow_added: u64,
}

impl EntryReader {
    /// Creates a reader of journals that hold entries only. The first step finds what dead
    /// processes left in the directory.
    pub fn new(instance: Arc<Instance>, backlog: Arc<Backlog>, observer: Arc<dyn Observer>, sync: SyncPolicy) -> Self {
        let mut consumers = Consumers::default();
        let consumer = consumers.add(codec::KINDS);
        let journals = JournalReader::new(instance, Arc::clone(backlog.journal()), consumers, sync);
        Self::over(journals, consumer, backlog, observer)
    }

    /// Creates a reader of journals that other consumers read too.
    pub fn over(journals: JournalReader, consumer: Consumer, backlog: Arc<Backlog>, observer: Arc<dyn Observer>) -> Self {
        let (drafts, batch) = (HashMap::new(), Batch::default());
        Self { journals, consumer, backlog, observer, drafts, batch, from_memory: 0 }
    }

    /// Returns the journals, for their other consumers.
    pub fn journals_mut(&mut self) -> &mut JournalReader {
        &mut self.journals
    }

    /// Adds a journal of this process.
    pub fn add(&mut self, writer: Arc<JournalWriter>) {
        self.journals.add(writer);
    }

    /// Stores the next batch.
    pub fn step(&mut self, sink: &mut dyn EntrySink) -> StepResult {
        self.journals.poll();
        let recovered = self.journals.recover(self.consumer, || guarded(|| sink.positions()));
        let mut filled = Ok(());
        if self.batch.entries.is_empty() {
            filled = self.fill();
            self.backlog.storing(self.batch.entries.iter().map(|entry| entry.created_at).min());
        }
        let rows = self.batch.entries.len();
        let stored = if rows > 0 { guarded(|| sink.store(&self.batch)) } else { Ok(()) };
        if let Err(error) = stored {
            self.observe_unstored();
            return StepResult::Failed(error);
        }
        self.commit(rows);
        self.reclaim(sink);
        match (recovered, filled) {
            _ if rows > 0 => StepResult::Stored(rows),
            (Err(error), _) => StepResult::Failed(error),
            (_, Err(error)) => StepResult::Unreadable(error),
            (Ok(()), Ok(())) => StepResult::Idle,
        }
    }

    /// Shows the observer what has been settled, without storing anything.
    pub fn observe(&mut self) {
        self.journals.poll();
        self.observe_unstored();
    }

    /// Returns the end of everything settled so far.
    pub fn mark(&mut self) -> FlushMark {
        FlushMark { journals: self.journals.mark(), overflow_added: self.backlog.overflow_added() }
    }

    /// Returns the number of entries stored since the start.
    pub fn rows(&self) -> u64 {
        self.backlog.rows()
    }

    /// Returns whether everything settled before that mark is stored, and everything of dead
    /// processes.
    pub fn has_stored(&self, mark: &FlushMark) -> bool {
        self.journals.has_stored(self.consumer, &mark.journals) && self.backlog.overflow_stored() >= mark.overflow_added
    }

    /// Completes the journals if no request is open, because the process is about to end. Then
    /// nothing is left to recover.
    pub fn close(&mut self, sink: &mut dyn EntrySink) {
        if self.backlog.open() > 0 {
            return;
        }
        self.journals.close();
        while let StepResult::Stored(_) = self.step(sink) {}
        self.journals.release_if_empty();
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut result = Ok(());
        for journal in self.journals.sets_mut(self.consumer) {
            let before = self.batch.entries.len();
            let drafts = self.drafts.entry(journal.id()).or_default();
            let read = drafts.read(journal, self.consumer, &mut self.batch, &*self.observer);
            if journal.is_orphaned() {
                self.backlog.settled((self.batch.entries.len() - before) as u64);
            }
            result = result.and(read);
            if self.batch.entries.len() >= MAX_BATCH {
                return result;
            }
        }
        // Journals first: the drafts of entries in memory have been read then.
        let (observed, taken) = self.backlog.take_overflow(MAX_BATCH - self.batch.entries.len());
        self.from_memory = taken.len();
        for (index, entry) in taken.into_iter().enumerate() {
            if index >= observed {
                self.observer.settled(&entry);
            }
            for journal in self.journals.sets_mut(self.consumer) {
                if let Some(drafts) = self.drafts.get_mut(&journal.id()) {
                    drafts.mark_settled(&entry.id, journal, self.consumer);
                }
            }
            self.batch.entries.push(entry);
        }
        result
    }

    fn observe_unstored(&mut self) {
        let observer = &*self.observer;
        for journal in self.journals.sets_mut(self.consumer) {
            let observed = journal.observe(self.consumer, |record| {
                if record.kind == codec::SETTLED
                    && let Ok(entry) = codec::decode(record.payload)
                {
                    observer.settled(&entry);
                }
            });
            if let Err(error) = observed {
                log::debug!("settled entries are not observed yet: {error}");
            }
        }
        self.backlog.observe_overflow(|entry| observer.settled(entry));
    }

    fn commit(&mut self, rows: usize) {
        self.journals.commit(self.consumer);
        self.backlog.stored_overflow(std::mem::take(&mut self.from_memory));
        self.backlog.stored(rows as u64);
        self.batch.entries.clear();
        self.batch.positions.clear();
    }

    fn reclaim(&mut self, sink: &mut dyn EntrySink) {
        self.journals.reclaim();
        if self.drafts.len() > self.journals.set_ids().count() {
            let left: Vec<u64> = self.journals.set_ids().collect();
            self.drafts.retain(|id, _| left.contains(id));
        }
        let deleted = self.journals.deleted_mut(self.consumer);
        if !deleted.is_empty() {
            match guarded(|| sink.forget(deleted)) {
                Ok(()) => deleted.clear(),
                Err(error) => log::debug!("positions of deleted journal segments are not removed yet: {error}"),
            }
        }
    }
}

/// Turns a panic of the sink into an error, so that it does not end the ledger.
fn guarded<T>(call: impl FnOnce() -> Result<T, SinkError>) -> Result<T, SinkError> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| Err(SinkError("the store panicked".to_owned())))
}
