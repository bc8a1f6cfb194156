//! The actor and its handle, on a real thread.

use std::time::{Duration, Instant};

use super::*;
use crate::ledger::actor::FlushError;
use crate::ledger::handle::{LedgerHandle, LedgerOptions, start};

const LONG: Duration = Duration::from_secs(20);

fn begin(dir: &Path, sink: &Memory) -> LedgerHandle {
    start(LedgerOptions::new(dir), Box::new(sink.clone()), Arc::new(Seen::default())).unwrap()
}

#[actix_web::test]
async fn a_flush_returns_when_everything_before_it_is_stored() {
    let (dir, sink) = (tempfile::tempdir().unwrap(), Memory::default());
    let ledger = begin(dir.path(), &sink);
    let journal = ledger.journal(0).unwrap();
    let settlement = Settlement::open(&journal, draft("a"), Instant::now());
    assert_eq!(ledger.open_settlements(), 1);
    drop(settlement);
    assert_eq!(ledger.open_settlements(), 0);
    assert_eq!(ledger.flush(LONG).await.unwrap().rows, 1);
    assert_eq!(sink.ids(), ["a"]);
    assert_eq!(ledger.lag().entries, 0);
}

#[actix_web::test]
async fn entries_are_stored_without_a_flush() {
    let (dir, sink) = (tempfile::tempdir().unwrap(), Memory::default());
    let ledger = begin(dir.path(), &sink);
    let journal = ledger.journal(0).unwrap();
    for round in 0..3 {
        drop(Settlement::open(&journal, draft(&format!("{round}")), Instant::now()));
        while sink.ids().len() <= round {
            actix_web::rt::task::yield_now().await;
        }
    }
    assert_eq!(ledger.lag().entries, 0);
}

#[actix_web::test]
async fn a_flush_retries_a_failing_sink_and_fails_when_it_does_not_recover() {
    let (dir, sink) = (tempfile::tempdir().unwrap(), Memory::default());
    let ledger = begin(dir.path(), &sink);
    let journal = ledger.journal(0).unwrap();
    sink.fail(2);
    drop(Settlement::open(&journal, draft("a"), Instant::now()));
    ledger.flush(LONG).await.unwrap();
    sink.fail(usize::MAX);
    drop(Settlement::open(&journal, draft("b"), Instant::now()));
    assert!(matches!(ledger.flush(Duration::ZERO).await, Err(FlushError::Sink(_))));
    assert_eq!(ledger.lag().entries, 1);
    sink.fail(0);
    ledger.flush(LONG).await.unwrap();
    assert_eq!(sink.ids(), ["a", "b"]);
}

#[actix_web::test]
async fn a_stopped_ledger_has_stored_everything_and_leaves_no_file() {
    let (dir, sink) = (tempfile::tempdir().unwrap(), Memory::default());
    let ledger = begin(dir.path(), &sink);
    let journal = ledger.journal(3).unwrap();
    drop(Settlement::open(&journal, draft("a"), Instant::now()));
    ledger.stop(LONG).await.unwrap();
    assert_eq!(sink.ids(), ["a"]);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    assert!(matches!(ledger.flush(LONG).await, Err(FlushError::Stopped)));
}

#[actix_web::test]
async fn synced_entries_are_stored_too() {
    let (dir, sink) = (tempfile::tempdir().unwrap(), Memory::default());
    let options = LedgerOptions { sync: SyncPolicy::EachPoll, ..LedgerOptions::new(dir.path()) };
    let ledger = start(options, Box::new(sink.clone()), Arc::new(Seen::default())).unwrap();
    let journal = ledger.journal(0).unwrap();
    drop(Settlement::open(&journal, draft("a"), Instant::now()));
    ledger.flush(LONG).await.unwrap();
    assert_eq!((sink.ids(), ledger.lag().write_errors), (vec!["a".to_owned()], 0));
}

#[actix_web::test]
async fn a_flush_after_a_kill_returns_when_recovered_entries_are_stored_too() {
    let (dir, sink) = (tempfile::tempdir().unwrap(), Memory::default());
    let process = Process::start(dir.path());
    let open: Vec<_> = (0..4_200).map(|n| process.open(0, &format!("{n}"))).collect();
    let dir = killed(dir.path());
    drop(open);
    let ledger = begin(dir.path(), &sink);
    ledger.flush(LONG).await.unwrap();
    assert_eq!(sink.ids().len(), 4_200);
}

#[test]
fn an_unusable_directory_fails_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let error = start(LedgerOptions::new(&file), Box::new(Memory::default()), Arc::new(Seen::default())).err().unwrap();
    assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
}
