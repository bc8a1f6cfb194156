//! Cost of a journal record to a worker, and of an entry to the ledger's thread.
#![allow(clippy::expect_used, missing_docs)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use aigw::journal::frame;
use aigw::journal::instance::Instance;
use aigw::journal::sync_policy::SyncPolicy;
use aigw::journal::writer::WriterOptions;
use aigw::ledger::backlog::Backlog;
use aigw::ledger::codec::{self, SETTLED};
use aigw::ledger::entry::{AttemptRecord, Entry, Outcome, UsageSource};
use aigw::ledger::journal::Journal;
use aigw::ledger::reader::{EntryReader, StepResult};
use aigw::ledger::settlement::Settlement;
use aigw::ledger::{Batch, EntrySink, Observer, Positions, SinkError};
use aigw::metrics::Metrics;
use aigw::terms::{Billing, NanoUsd, Operation, Usage};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

/// A sink that does nothing.
struct Nowhere;

impl EntrySink for Nowhere {
    fn store(&mut self, batch: &Batch) -> Result<(), SinkError> {
        black_box(batch);
        Ok(())
    }

    fn positions(&mut self) -> Result<Positions, SinkError> {
        Ok(Positions::new())
    }

    fn forget(&mut self, _: &[String]) -> Result<(), SinkError> {
        Ok(())
    }
}

fn entry() -> Entry {
    Entry {
        id: "0199c0de-0000-7000-8000-0123456789ab".to_owned(),
        request_id: "0199c0de-0000-7000-8000-0123456789ab".into(),
        created_at: 1_760_000_000_000,
        tenant: "acme".into(),
        team: Some("search".into()),
        key_id: "key_0199c0de00007000".into(),
        subject: "ada@example.com".into(),
        user: None,
        tags: vec![("project".to_owned(), "apollo".to_owned()), ("use-case".to_owned(), "summaries".to_owned())],
        operation: Operation::Chat,
        model: "claude-sonnet-4-6".into(),
        upstream_model: "claude-sonnet-4-6-20260101".into(),
        provider: "1-anthropic".into(),
        kind: "anthropic".into(),
        billing: Billing::Brokered,
        stream: true,
        status: 200,
        outcome: Outcome::Ok,
        error_code: None,
        finish_reason: Some("stop".into()),
        usage: Usage { prompt_tokens: 1_000, completion_tokens: 500, ..Usage::default() },
        usage_source: UsageSource::Upstream,
        cost: NanoUsd(10_500_000),
        list_cost: NanoUsd(10_500_000),
        attempts: vec![AttemptRecord { provider: "1-anthropic".into(), status: Some(200), error: None, ms: 400, request_id: None }],
        latency_ms: 4_000,
        ttfb_ms: Some(410),
    }
}

fn encode(entry: &Entry, record: &mut Vec<u8>) -> std::io::Result<()> {
    frame::encode(SETTLED, entry.id.as_bytes(), record, |out| codec::encode(entry, out))
}

struct TestJournal {
    _dir: tempfile::TempDir,
    instance: Arc<Instance>,
    backlog: Arc<Backlog>,
    journal: Arc<Journal>,
}

fn test_journal() -> std::io::Result<TestJournal> {
    let dir = tempfile::tempdir()?;
    let instance = Arc::new(Instance::open(dir.path())?);
    let backlog = Arc::new(Backlog::new(u64::MAX));
    let journal = Journal::create(&instance, &backlog, 0, WriterOptions::default())?;
    Ok(TestJournal { _dir: dir, instance, backlog, journal })
}

fn journal(c: &mut Criterion) {
    let entry = entry();
    let mut group = c.benchmark_group("journal");
    let mut record = Vec::new();
    group.bench_function("encode", |b| {
        b.iter(|| {
            record.clear();
            encode(black_box(&entry), &mut record)
        });
    });
    record.clear();
    group.bench_function("decode", |b| {
        let payload = encode(&entry, &mut record).map(|()| record[frame::HEADER + entry.id.len()..].to_vec());
        let payload = payload.expect("a record");
        b.iter(|| codec::decode(black_box(&payload)));
    });
    let at = test_journal().expect("a temporary directory");
    group.bench_function("append", |b| {
        b.iter(|| {
            at.journal.settle(&entry);
            at.journal.write();
        });
    });
    let at = test_journal().expect("a temporary directory");
    group.bench_function("open and settle", |b| {
        b.iter_batched(|| entry.clone(), |draft| drop(Settlement::open(&at.journal, draft, Instant::now())), BatchSize::SmallInput);
    });
    group.finish();
}

fn reader(c: &mut Criterion) {
    let entry = entry();
    let observer: Arc<dyn Observer> = Arc::new(Metrics::new());
    c.bench_function("reader/500 entries", |b| {
        b.iter_batched(
            || {
                let at = test_journal().expect("a temporary directory");
                let mut reader =
                    EntryReader::new(Arc::clone(&at.instance), Arc::clone(&at.backlog), Arc::clone(&observer), SyncPolicy::Never);
                reader.add(Arc::clone(at.journal.writer()));
                (0..500).for_each(|_| drop(Settlement::open(&at.journal, entry.clone(), Instant::now())));
                (at, reader)
            },
            |(at, mut reader)| {
                assert!(matches!(reader.step(&mut Nowhere), StepResult::Stored(500)));
                (at, reader)
            },
            BatchSize::PerIteration,
        );
    });
}

criterion_group!(benches, journal, reader);
criterion_main!(benches);
