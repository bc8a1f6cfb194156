//! Throughput of the ledger into the store, compared with inserting the same rows in plain batches,
//! and duration of sums over a million entries.
//!
//! `cargo bench --bench ledger` measures SQLite, and also PostgreSQL if `AIGW_TEST_POSTGRES_URL`
//! names an empty database. `AIGW_BENCH_ENTRIES` sets the number of entries.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use aigw::config::DatabaseUrl;
use aigw::control::store::batches::insert_entries;
use aigw::control::store::connection::AnyConnection;
use aigw::control::store::entries::{EntryRow, LedgerFilter, TagRow};
use aigw::control::store::sink::StoreSink;
use aigw::control::store::usage::{BucketWidth, Dimension, UsageQuery, usage};
use aigw::control::store::{Store, StoreError};
use aigw::journal::instance::Instance;
use aigw::journal::sync_policy::SyncPolicy;
use aigw::journal::writer::WriterOptions;
use aigw::ledger::Observer;
use aigw::ledger::backlog::Backlog;
use aigw::ledger::entry::{AttemptRecord, Entry, Outcome, UsageSource};
use aigw::ledger::journal::Journal;
use aigw::ledger::reader::{EntryReader, StepResult};
use aigw::ledger::settlement::Settlement;
use aigw::ledger::sink::MAX_BATCH;
use aigw::metrics::Metrics;
use aigw::secret::Secret;
use aigw::terms::{Billing, NanoUsd, Operation, Usage};
use diesel::connection::SimpleConnection;
use diesel::{Connection as _, PgConnection, SqliteConnection};

const DAY: i64 = 86_400_000;
/// Number of entries stored in one way before the other's turn.
const TURN: u64 = MAX_BATCH as u64;

fn entry(nth: u64, count: u64) -> Entry {
    let (tenant, key, model, provider) = (nth * 7 % 20, nth * 31 % 200, nth * 13 % 12, nth % 4);
    let (prompt, completion) = (nth * 7919 % 5_000, nth * 104_729 % 800);
    let cost = NanoUsd(i64::try_from(prompt * 2_500 + completion * 10_000).unwrap());
    let provider = format!("{provider}-provider");
    Entry {
        id: format!("019a{nth:08x}-7000-7000-8000-{:012x}", nth.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16),
        request_id: format!("req_{nth:032x}").into(),
        // Ninety days of traffic.
        created_at: 1_760_000_000_000 + 90 * DAY * i64::try_from(nth).unwrap() / i64::try_from(count).unwrap(),
        tenant: format!("tenant-{tenant}").into(),
        team: Some(format!("team-{}", tenant % 5).into()),
        key_id: format!("key_{key:020}").into(),
        subject: format!("user-{key}@example.com").into(),
        user: None,
        tags: vec![("project".to_owned(), format!("p{}", model % 7)), ("use-case".to_owned(), "summaries".to_owned())],
        operation: Operation::Chat,
        model: format!("model-{model}").into(),
        upstream_model: format!("model-{model}-2025-10-01").into(),
        provider: provider.as_str().into(),
        kind: "openai".into(),
        billing: Billing::Brokered,
        stream: true,
        status: 200,
        outcome: Outcome::Ok,
        error_code: None,
        finish_reason: Some("stop".into()),
        usage: Usage { prompt_tokens: prompt, cached_tokens: prompt / 3, completion_tokens: completion, ..Usage::default() },
        usage_source: UsageSource::Upstream,
        cost,
        list_cost: cost,
        attempts: vec![AttemptRecord { provider: provider.as_str().into(), status: Some(200), error: None, ms: 812, request_id: None }],
        latency_ms: 3_200,
        ttfb_ms: Some(812),
    }
}

/// Number of entries stored in one way, and the time it took.
#[derive(Default)]
struct Spent {
    entries: u64,
    time: Duration,
}

/// The ledger's thread with its journal, its reader and its sink.
struct Ledger {
    journal: Arc<Journal>,
    reader: EntryReader,
    sink: StoreSink,
    _dir: tempfile::TempDir,
}

impl Spent {
    fn on<T>(&mut self, entries: u64, work: impl FnOnce() -> T) {
        let start = Instant::now();
        work();
        self.time += start.elapsed();
        self.entries += entries;
    }

    fn rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let entries = self.entries as f64;
        entries / self.time.as_secs_f64()
    }
}

impl Ledger {
    fn new(store: &Store) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let instance = Arc::new(Instance::open(dir.path()).unwrap());
        let backlog = Arc::new(Backlog::new(u64::MAX));
        let observer: Arc<dyn Observer> = Arc::new(Metrics::new());
        let mut reader = EntryReader::new(Arc::clone(&instance), Arc::clone(&backlog), observer, SyncPolicy::Never);
        let journal = Journal::create(&instance, &backlog, 0, WriterOptions::default()).unwrap();
        reader.add(Arc::clone(journal.writer()));
        Self { journal, reader, sink: store.sink(), _dir: dir }
    }

    /// Stores the entries in the journal.
    fn store(&mut self, name: &str, mut left: u64) {
        while left > 0 {
            match self.reader.step(&mut self.sink) {
                StepResult::Stored(entries) => left -= entries as u64,
                StepResult::Failed(error) => println!("{name}: {error}; retrying, as the ledger does"),
                StepResult::Idle | StepResult::Unreadable(_) => panic!("{left} entries are not in the journal"),
            }
        }
    }
}

/// Opens a connection with the settings of the store's.
fn bare(url: &DatabaseUrl) -> AnyConnection {
    match url {
        DatabaseUrl::Sqlite(path) => {
            let mut connection = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
            let settings = "PRAGMA busy_timeout = 5000; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON";
            connection.batch_execute(settings).unwrap();
            AnyConnection::Sqlite(connection)
        }
        DatabaseUrl::Postgres(url) => AnyConnection::Postgres(PgConnection::establish(url.expose()).unwrap()),
    }
}

/// Inserts a batch of prepared rows in one transaction.
fn insert(connection: &mut AnyConnection, rows: &[EntryRow<'_>], tags: &[TagRow<'_>]) {
    connection.transaction(|connection| insert_entries(connection, rows, tags)).unwrap();
}

/// Fills the database alternately with plain batches and by the ledger's thread from a journal.
/// Both use the same tables, indexes and caches.
fn fill(name: &str, url: &DatabaseUrl, store: &Store, count: u64) {
    let (mut connection, mut ledger) = (bare(url), Ledger::new(store));
    let (mut plain, mut by_ledger) = (Spent::default(), Spent::default());
    for (turn, begin) in (0..count).step_by(usize::try_from(TURN).unwrap()).enumerate() {
        let end = (begin + TURN).min(count);
        let entries: Vec<Entry> = (begin..end).map(|nth| entry(nth, count)).collect();
        if turn % 2 == 0 {
            for batch in entries.chunks(MAX_BATCH) {
                let rows: Vec<EntryRow<'_>> = batch.iter().map(EntryRow::of).collect();
                let tags: Vec<TagRow<'_>> = batch.iter().flat_map(TagRow::all_of).collect();
                plain.on(batch.len() as u64, || insert(&mut connection, &rows, &tags));
            }
        } else {
            entries.into_iter().for_each(|entry| drop(Settlement::open(&ledger.journal, entry, Instant::now())));
            by_ledger.on(end - begin, || ledger.store(name, end - begin));
        }
    }
    let (plain, ledger) = (plain.rate(), by_ledger.rate());
    println!("{name}: {plain:.0} entries/s as plain batches, {ledger:.0} by the ledger's thread from its journal ({:.2})", ledger / plain);
}

fn measure(name: &str, url: &DatabaseUrl, count: u64) {
    let store = Store::open(url).unwrap();
    fill(name, url, &store, count);
    let month = LedgerFilter { from: Some(1_760_000_000_000 + 60 * DAY), ..LedgerFilter::default() };
    let tenant = LedgerFilter { tenant: Some("tenant-3".to_owned()), ..LedgerFilter::default() };
    for (what, filter) in [("all", LedgerFilter::default()), ("30 of 90 days", month), ("one tenant of 20", tenant)] {
        let query = UsageQuery { filter, group_by: vec![Dimension::Model], bucket_width: Some(BucketWidth::Day), ..UsageQuery::default() };
        let best = (0..3).map(|_| {
            let start = Instant::now();
            let rows: Result<_, StoreError> = store.read(|connection| Ok(usage(connection, &query)?));
            (start.elapsed(), rows.unwrap().map_or(0, |rows| rows.len()))
        });
        let (best, rows) = best.min().unwrap();
        println!("{name}: usage by day and model over {count} entries, {what}: {best:.2?} for {rows} rows");
    }
}

fn main() {
    let count = std::env::var("AIGW_BENCH_ENTRIES").ok().and_then(|count| count.parse().ok()).unwrap_or(1_000_000).max(1_000);
    let directory = tempfile::tempdir().unwrap();
    measure("SQLite", &DatabaseUrl::Sqlite(directory.path().join("bench.db")), count);
    match std::env::var("AIGW_TEST_POSTGRES_URL") {
        Ok(url) => measure("PostgreSQL", &DatabaseUrl::Postgres(Arc::new(Secret::new(url))), count),
        Err(_) => println!("PostgreSQL: skipped, AIGW_TEST_POSTGRES_URL is not set"),
    }
}
