//! What the ledger promises, tried on real files with a sink in memory. This file is the props; the cases are by theme.

mod actor;
mod crash;
mod gathering;
mod promises;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tempfile::TempDir;

use super::backlog::Backlog;
use super::entry::{Billing, Entry, Outcome, UsageSource};
use super::journal::Journal;
use super::observer::Observer;
use super::reader::{Reader, Step};
use super::settlement::Settlement;
use super::sink::{Batch, EntrySink, Positions, SinkError};
use super::{frame, instance::Instance};
use crate::journal::sync_policy::SyncPolicy;
use crate::terms::{NanoUsd, Operation, Usage};

/// An entry that went well.
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

/// A sink in memory that keeps the contract of one with transactions, and can be told to fail.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Stored>>);

#[derive(Clone, Default)]
struct Stored {
    entries: BTreeMap<String, Entry>,
    /// Ids in the order they came.
    order: Vec<String>,
    positions: Positions,
    /// Entries that came although their id was there.
    passed_over: usize,
    batches: usize,
    /// So many calls fail before one succeeds.
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

    /// The same database, once more, going its own way from here.
    fn fork(&self) -> Self {
        Self(Arc::new(Mutex::new(self.now())))
    }

    fn fail(&self, times: usize) {
        self.lock().failing = times;
    }

    fn call(&self) -> Result<std::sync::MutexGuard<'_, Stored>, SinkError> {
        let mut stored = self.lock();
        assert!(!stored.panicking, "told to panic");
        if stored.failing > 0 {
            stored.failing -= 1;
            return Err(SinkError("the database is away".to_owned()));
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
                stored.passed_over += 1;
            } else {
                stored.order.push(entry.id.clone());
                stored.entries.insert(entry.id.clone(), entry.clone());
            }
        }
        for (segment, position) in &batch.positions {
            let before = stored.positions.insert(segment.clone(), *position);
            assert!(before.is_none_or(|before| before <= *position), "positions never go back");
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

/// Counts what it is shown.
#[derive(Default)]
struct Seen(Mutex<Vec<String>>);

impl Observer for Seen {
    fn settled(&self, entry: &Entry) {
        self.0.lock().unwrap().push(entry.id.clone());
    }
}

/// A process with two workers, as `start` builds it but without a thread.
struct Process {
    backlog: Arc<Backlog>,
    reader: Reader,
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

    /// One that only recovers what others left.
    fn recovering(dir: &Path) -> Self {
        Self::with_workers(0, dir, u64::MAX, 2048)
    }

    fn with_workers(workers: usize, dir: &Path, max_bytes: u64, segment_bytes: u64) -> Self {
        let instance = Arc::new(Instance::enter(dir).unwrap());
        let backlog = Arc::new(Backlog::new(max_bytes));
        let seen = Arc::new(Seen::default());
        let observer: Arc<dyn Observer> = Arc::clone(&seen) as _;
        let mut reader = Reader::new(Arc::clone(&instance), Arc::clone(&backlog), observer, SyncPolicy::Never);
        let journals: Vec<_> =
            (0..workers).map(|worker| Journal::with_segments_of(segment_bytes, &instance, &backlog, worker, false).unwrap()).collect();
        journals.iter().for_each(|journal| reader.join(Arc::clone(journal)));
        Self { backlog, reader, seen, journals }
    }

    /// Opens, and is journaled.
    fn open(&self, worker: usize, id: &str) -> Settlement {
        let settlement = Settlement::open(&self.journals[worker], draft(id), Instant::now());
        self.journals[worker].write();
        settlement
    }

    /// Opens and settles at once.
    fn serve(&self, worker: usize, id: &str) {
        self.open(worker, id).with(|settled| *settled = entry(id));
    }

    /// Steps until there is nothing to do, giving a failing sink time.
    fn drain(&mut self, sink: &mut Memory) {
        for _ in 0..1000 {
            if let Step::Idle = self.reader.step(sink) {
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

fn draft(id: &str) -> Entry {
    Entry { outcome: Outcome::Interrupted, status: 499, finish_reason: None, cost: NanoUsd(7), ..entry(id) }
}

/// Names of the files in a journal directory, but for locks.
fn files(dir: &Path) -> Vec<String> {
    let mut files: Vec<String> = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    files.retain(|name| !name.ends_with(".lock"));
    files.sort();
    files
}

/// What `kill -9` leaves of the processes in a journal directory: their files as they are now, and no lock.
fn killed(dir: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in files(dir) {
        std::fs::copy(dir.join(&name), copy.path().join(&name)).unwrap();
    }
    copy
}
