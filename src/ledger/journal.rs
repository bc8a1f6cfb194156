//! One worker's journal as a settlement uses it: opened and settled records of entries.

use std::io;
use std::sync::Arc;

use super::backlog::Backlog;
use super::codec::{self, OPENED, SETTLED};
use super::entry::Entry;
use crate::journal::instance::Instance;
use crate::journal::writer::{JournalWriter, Overflow, WriterOptions};

/// One worker's journal.
pub struct Journal {
    writer: Arc<JournalWriter>,
    backlog: Arc<Backlog>,
    /// Whether entries are recorded at all.
    records: bool,
}

impl Journal {
    /// Starts a worker's journal with an empty segment.
    ///
    /// # Errors
    /// The segment file cannot be created.
    pub fn create(instance: &Arc<Instance>, backlog: &Arc<Backlog>, worker: usize, options: WriterOptions) -> io::Result<Arc<Self>> {
        let overflow = Arc::clone(backlog) as Arc<dyn Overflow>;
        let writer = JournalWriter::create(instance, backlog.journal(), overflow, worker, options)?;
        Ok(Self::over(writer, backlog))
    }

    /// Uses a writer that also records other kinds. Its overflow must pass settled entries on to
    /// `backlog`.
    pub fn over(writer: Arc<JournalWriter>, backlog: &Arc<Backlog>) -> Arc<Self> {
        Arc::new(Self { writer, backlog: Arc::clone(backlog), records: true })
    }

    /// Starts a journal that drops what it is given, to measure requests without a ledger
    /// (`benches/calls.rs`).
    ///
    /// # Errors
    /// As [`create`](Self::create).
    #[doc(hidden)]
    pub fn forgetful(instance: &Arc<Instance>, backlog: &Arc<Backlog>, worker: usize) -> io::Result<Arc<Self>> {
        let overflow = Arc::clone(backlog) as Arc<dyn Overflow>;
        let writer = JournalWriter::create(instance, backlog.journal(), overflow, worker, WriterOptions::default())?;
        Ok(Arc::new(Self { writer, backlog: Arc::clone(backlog), records: false }))
    }

    /// Returns the writer of its records.
    pub fn writer(&self) -> &Arc<JournalWriter> {
        &self.writer
    }

    /// Returns the counters it feeds.
    pub fn backlog(&self) -> &Arc<Backlog> {
        &self.backlog
    }

    /// Gathers a draft: the request is about to reach an upstream, or its draft has changed. The
    /// draft survives a killed process once it is [`written`](Self::written). If it cannot be
    /// written the request goes on, and is lost only if the process is killed before it is settled.
    pub fn open(&self, draft: &Entry) {
        if self.records {
            // The writer logs and counts the failure.
            let _ = self.writer.gather(OPENED, draft.id.as_bytes(), false, |out| codec::encode(draft, out));
        }
    }

    /// Gathers a final entry. If it cannot be written it is kept in memory for the ledger's thread.
    pub fn settle(&self, entry: &Entry) {
        if !self.records {
            return;
        }
        self.backlog.settled(1);
        if self.writer.gather(SETTLED, entry.id.as_bytes(), true, |out| codec::encode(entry, out)).is_err() {
            self.backlog.push_overflow(entry.clone());
            self.backlog.journal().request_poll();
        }
    }

    /// Waits until what has been gathered is written. With `others` under way, the other ready
    /// tasks of this worker run first, so that the records of many requests share one write. If the
    /// future is dropped, they are written all the same.
    pub fn written(&self, others: bool) -> impl Future<Output = ()> {
        self.writer.written(others)
    }

    /// Writes what has been gathered.
    pub fn write(&self) {
        self.writer.write();
    }
}
