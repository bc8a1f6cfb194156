//! Guarantees of the ledger, tested on real files with a sink in memory. This file has the
//! fixtures; the cases are by topic.

mod actor;
mod crash;
mod earlier;
mod gathering;
mod mixed;
mod promises;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tempfile::TempDir;

use super::backlog::Backlog;
use super::entry::{Entry, Outcome, UsageSource};
use super::journal::Journal;
use super::observer::Observer;
use super::reader::{EntryReader, StepResult};
use super::settlement::Settlement;
use super::sink::{Batch, EntrySink, Positions, SinkError};
use crate::journal::instance::Instance;
use crate::journal::sync_policy::SyncPolicy;
use crate::journal::writer::WriterOptions;
use crate::terms::{Billing, NanoUsd, Operation, Usage};

/// Returns the entry of a successful request.
pub fn entry(id: &str) -> Entry {
    Entry {
        id: id.to_owned(),
        request_id: "req-1".into(),
        created_at: 1_760_000_000_000,
        tenant: "acme".into(),
        team: None,
        key_id: "key_1".into(),
        subject: "ada".into(),
        user: Some("grace".into()),
        tags: vec![("project".to_owned(), "apollo".to_owned())],
        operation: Operation::Chat,
        model: "gpt".into(),
        upstream_model: "gpt-2026".into(),
        provider: "1-openai".into(),
        kind: "openai".into(),
        billing: Billing::Brokered,
        stream: true,
        status: 200,
        outcome: Outcome::Ok,
        error_code: None,
        finish_reason: Some("stop".into()),
        usage: Usage { prompt_tokens: 10, completion_tokens: 5, ..Usage::default() },
        usage_source: UsageSource::Upstream,
        cost: NanoUsd(1_500),
        list_cost: NanoUsd(1_500),
        attempts: Vec::new(),
        latency_ms: 0,
        ttfb_ms: None,
    }
}

/// A sink in memory with the semantics of a transactional one, which can be made to fail.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Stored>>);

#[derive(Clone, Default)]
struct Stored {
    entries: BTreeMap<String, Entry>,
    /// Ids in the order in which they were stored.
    order: Vec<String>,
    positions: Positions,
    /// Number of entries that were skipped because their id was stored.
    skipped: usize,
    batches: usize,
    /// Number of calls that fail before one succeeds.
    failing: usize,
    panicking: bool,
}

impl Memory {
    fn now(&self) -> Stored {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Stored> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Returns an independent copy of the database.
    fn fork(&self) -> Self {
        Self(Arc::new(Mutex::new(self.now())))
    }

    fn fail(&self, times: usize) {
        self.lock().failing = times;
    }

    fn call(&self) -> Result<std::sync::MutexGuard<'_, Stored>, SinkError> {
        let mut stored = self.lock();
        assert!(!stored.panicking, "a panic of the sink");
        if stored.failing > 0 {
            stored.failing -= 1;
            return Err(SinkError("the database is unavailable".to_owned()));
        }
        Ok(stored)
    }

    fn ids(&self) -> Vec<String> {
        self.now().entries.keys().cloned().collect()
    }
}

impl EntrySink for Memory {
    fn store(&mut self, batch: &Batch) -> Result<(), SinkError> {
        assert!(batch.entries.len() <= 2_000 && !batch.entries.is_empty());
        let mut stored = self.call()?;
        stored.batches += 1;
        for entry in &batch.entries {
            if stored.entries.contains_key(&entry.id) {
                stored.skipped += 1;
            } else {
                stored.order.push(entry.id.clone());
                stored.entries.insert(entry.id.clone(), entry.clone());
            }
        }
        for (segment, position) in &batch.positions {
            let before = stored.positions.insert(segment.clone(), *position);
            assert!(before.is_none_or(|before| before <= *position), "a position went back");
        }
        Ok(())
    }

    fn positions(&mut self) -> Result<Positions, SinkError> {
        Ok(self.call()?.positions.clone())
    }

    fn forget(&mut self, segments: &[String]) -> Result<(), SinkError> {
        let mut stored = self.call()?;
        for segment in segments {
            stored.positions.remove(segment);
        }
        Ok(())
    }
}

/// Records the ids it is shown.
#[derive(Default)]
struct Seen(Mutex<Vec<String>>);

impl Observer for Seen {
    fn settled(&self, entry: &Entry) {
        self.0.lock().unwrap().push(entry.id.clone());
    }
}

/// A process with two workers, as `start` builds it, but without a thread.
struct Process {
    backlog: Arc<Backlog>,
    reader: EntryReader,
    seen: Arc<Seen>,
    journals: Vec<Arc<Journal>>,
}

impl Process {
    fn start(dir: &Path) -> Self {
        Self::with(dir, u64::MAX, 2048)
    }

    fn with(dir: &Path, max_bytes: u64, segment_bytes: u64) -> Self {
        Self::with_workers(2, dir, max_bytes, segment_bytes)
    }

    /// Starts one that only recovers the journals of others.
    fn recovering(dir: &Path) -> Self {
        Self::with_workers(0, dir, u64::MAX, 2048)
    }

    fn with_workers(workers: usize, dir: &Path, max_bytes: u64, segment_bytes: u64) -> Self {
        let instance = Arc::new(Instance::open(dir).unwrap());
        let backlog = Arc::new(Backlog::new(max_bytes));
        let seen = Arc::new(Seen::default());
        let observer: Arc<dyn Observer> = Arc::clone(&seen) as _;
        let mut reader = EntryReader::new(Arc::clone(&instance), Arc::clone(&backlog), observer, SyncPolicy::Never);
        let options = WriterOptions { segment_bytes, always_wakes: false };
        let journals: Vec<_> = (0..workers).map(|worker| Journal::create(&instance, &backlog, worker, options).unwrap()).collect();
        journals.iter().for_each(|journal| reader.add(Arc::clone(journal.writer())));
        Self { backlog, reader, seen, journals }
    }

    /// Opens a settlement and writes its draft.
    fn open(&self, worker: usize, id: &str) -> Settlement {
        let settlement = Settlement::open(&self.journals[worker], draft(id), Instant::now());
        self.journals[worker].write();
        settlement
    }

    /// Opens a settlement and settles it at once.
    fn serve(&self, worker: usize, id: &str) {
        self.open(worker, id).with(|settled| *settled = entry(id));
    }

    /// Steps until there is nothing to do, also while the sink fails.
    fn drain(&mut self, sink: &mut Memory) {
        for _ in 0..1000 {
            if let StepResult::Idle = self.reader.step(sink) {
                return;
            }
        }
        panic!("never idle");
    }

    fn seen(&self) -> Vec<String> {
        let mut seen = self.seen.0.lock().unwrap().clone();
        seen.sort();
        seen
    }
}

/// A draft: the entry as it is stored if nothing more is known.
pub fn draft(id: &str) -> Entry {
    Entry { outcome: Outcome::Interrupted, status: 499, finish_reason: None, cost: NanoUsd(7), ..entry(id) }
}

/// Returns the names of the files in a journal directory, except locks.
fn files(dir: &Path) -> Vec<String> {
    let mut files: Vec<String> = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    files.retain(|name| !name.ends_with(".lock"));
    files.sort();
    files
}

/// Copies what `kill -9` leaves of the processes in a journal directory: their files as they are
/// now, without locks.
fn killed(dir: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in files(dir) {
        std::fs::copy(dir.join(&name), copy.path().join(&name)).unwrap();
    }
    copy
}
