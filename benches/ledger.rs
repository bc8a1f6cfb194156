//! The ledger in the store: how fast entries go in, against the same rows without the ledger around them, and how long sums over a
//! million of them take.
//!
//! `cargo bench --bench ledger` on SQLite; on PostgreSQL too where `AIGW_TEST_POSTGRES_URL` names an empty database of one's own.
//! `AIGW_BENCH_ENTRIES` says how many entries it shall be.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

use std::sync::Arc;
use std::time::Instant;

use aigw::config::DatabaseUrl;
use aigw::control::store::batches::insert_entries;
use aigw::control::store::entries::{EntryRow, LedgerFilter, TagRow};
use aigw::control::store::usage::{BucketWidth, Dimension, UsageQuery, usage};
use aigw::control::store::{Store, StoreError};
use aigw::ledger::entry::{AttemptRecord, Billing, Entry, Outcome, UsageSource};
use aigw::ledger::{Batch, EntrySink};
use aigw::secret::Secret;
use aigw::terms::{NanoUsd, Operation, Usage};

const DAY: i64 = 86_400_000;
/// What the ledger stores at a time.
const BATCH: u64 = 500;

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
        finish_reason: Some("stop".to_owned()),
        usage: Usage { prompt_tokens: prompt, cached_tokens: prompt / 3, completion_tokens: completion, ..Usage::default() },
        usage_source: UsageSource::Upstream,
        cost,
        list_cost: cost,
        attempts: vec![AttemptRecord { provider: provider.as_str().into(), status: Some(200), error: None, ms: 812, request_id: None }],
        latency_ms: 3_200,
        ttfb_ms: Some(812),
    }
}

/// Entries a second, batch after batch.
fn rate(from: u64, to: u64, count: u64, mut store: impl FnMut(Vec<Entry>, u64)) -> f64 {
    let mut spent = 0.0;
    for begin in (from..to).step_by(usize::try_from(BATCH).unwrap()) {
        let end = (begin + BATCH).min(to);
        let entries = (begin..end).map(|nth| entry(nth, count)).collect();
        let start = Instant::now();
        store(entries, end);
        spent += start.elapsed().as_secs_f64();
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let entries = (to - from) as f64;
    entries / spent
}

fn measure(name: &str, url: &DatabaseUrl, count: u64) {
    let store = Store::open(url).unwrap();
    let (tenth, mut sink) = (count / 10, store.sink());
    let raw = rate(0, tenth, count, |entries, _| {
        let rows: Vec<EntryRow<'_>> = entries.iter().map(EntryRow::of).collect();
        let tags: Vec<TagRow<'_>> = entries.iter().flat_map(TagRow::all_of).collect();
        let stored: Result<(), StoreError> = store.write(|connection| Ok(insert_entries(connection, &rows, &tags)?));
        stored.unwrap();
    });
    let ledger = rate(tenth, count, count, |entries, end| {
        let positions = [("bench-0".to_owned(), end)].into();
        let batch = Batch { entries, positions };
        while let Err(error) = sink.store(&batch) {
            println!("{name}: {error}; again, as the ledger would");
        }
    });
    println!("{name}: {raw:.0} entries/s as plain batches, {ledger:.0} by the ledger's sink ({:.2})", ledger / raw);
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
