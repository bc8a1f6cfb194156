//! Records of many requests are written together, and none is left out.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Instant;

use actix_web::rt;
use futures_util::FutureExt;
use futures_util::future::join_all;

use super::*;

/// Returns the number of bytes in the journals of a directory.
fn written(dir: &Path) -> u64 {
    files(dir).iter().map(|name| std::fs::metadata(dir.join(name)).unwrap().len()).sum()
}

/// Spawns a request that waits until it is journaled or closed; returns the number of bytes written
/// then.
fn waits(settlement: Settlement, dir: &Path, closes: bool) -> rt::task::JoinHandle<u64> {
    let dir = dir.to_owned();
    rt::spawn(async move {
        if closes {
            settlement.close().await
        } else {
            settlement.journaled().await
        }
        written(&dir)
    })
}

#[actix_web::test]
async fn settlements_opened_or_closed_at_the_same_time_are_written_together() {
    let (dir, mut sink) = (tempfile::tempdir().unwrap(), Memory::default());
    let mut process = Process::with(dir.path(), u64::MAX, 1 << 20);
    let open: Vec<_> = (0..20).map(|nth| Settlement::open(&process.journals[0], draft(&format!("{nth:02}")), Instant::now())).collect();
    let after =
        |waiting: Vec<rt::task::JoinHandle<u64>>| join_all(waiting).map(|seen| seen.into_iter().map(Result::unwrap).collect::<Vec<_>>());
    let when_journaled = after(open.iter().map(|settlement| waits(settlement.clone(), dir.path(), false)).collect()).await;
    assert!(when_journaled[0] > 0 && when_journaled.iter().all(|seen| *seen == when_journaled[0]), "{when_journaled:?}");
    let when_closed = after(open.into_iter().map(|settlement| waits(settlement, dir.path(), true)).collect()).await;
    assert!(when_closed[0] > when_journaled[0] && when_closed.iter().all(|seen| *seen == when_closed[0]), "{when_closed:?}");
    process.drain(&mut sink);
    assert_eq!(sink.ids().len(), 20);
    assert_eq!(process.backlog.open(), 0);
}

#[test]
fn records_are_written_when_the_waiting_future_is_dropped() {
    let (dir, mut sink) = (tempfile::tempdir().unwrap(), Memory::default());
    let process = Process::start(dir.path());
    let mut context = Context::from_waker(Waker::noop());
    let _another = process.open(1, "b");
    let settlement = Settlement::open(&process.journals[0], draft("a"), Instant::now());
    let before = written(dir.path());
    {
        let mut journaled = pin!(settlement.journaled());
        assert!(journaled.as_mut().poll(&mut context).is_pending());
        assert_eq!(written(dir.path()), before);
    }
    let opened = written(dir.path());
    assert!(opened > before);
    settlement.with(|draft| *draft = entry("a"));
    {
        let mut closed = pin!(settlement.close());
        assert!(closed.as_mut().poll(&mut context).is_pending());
    }
    assert!(written(dir.path()) > opened);
    let dir = killed(dir.path());
    Process::recovering(dir.path()).drain(&mut sink);
    assert_eq!(sink.now().entries["a"].outcome, Outcome::Ok);
}

#[test]
fn a_single_request_does_not_yield() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path());
    let mut context = Context::from_waker(Waker::noop());
    let settlement = Settlement::open(&process.journals[0], draft("a"), Instant::now());
    assert!(pin!(settlement.journaled()).poll(&mut context).is_ready());
    let opened = written(dir.path());
    assert!(opened > 0);
    assert!(pin!(settlement.close()).poll(&mut context).is_ready());
    assert!(written(dir.path()) > opened);
}

#[test]
fn all_settled_entries_of_a_failed_write_are_kept_in_memory() {
    let (dir, mut sink) = (tempfile::tempdir().unwrap(), Memory::default());
    let mut process = Process::start(dir.path());
    let journal = &process.journals[0];
    journal.writer().break_disk();
    for id in ["a", "b", "c"] {
        journal.open(&draft(id));
        journal.settle(&entry(id));
    }
    journal.open(&draft("only opened"));
    journal.write();
    let lag = process.backlog.lag();
    assert_eq!((lag.in_memory, lag.entries, lag.write_errors), (3, 3, 1));
    process.drain(&mut sink);
    assert_eq!(sink.ids(), ["a", "b", "c"]);
    assert_eq!(process.backlog.lag().entries, 0);
}

#[test]
fn the_reader_writes_what_is_gathered() {
    let (dir, mut sink) = (tempfile::tempdir().unwrap(), Memory::default());
    let mut process = Process::start(dir.path());
    process.journals[0].open(&draft("a"));
    process.journals[0].settle(&entry("a"));
    assert_eq!(written(dir.path()), 0);
    process.drain(&mut sink);
    assert_eq!(sink.ids(), ["a"]);
}

#[test]
fn gathered_bytes_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::with(dir.path(), u64::MAX, 1 << 20);
    process.journals[0].open(&draft("0000"));
    process.journals[0].write();
    let record = written(dir.path());
    for nth in 1..2_000 {
        process.journals[0].open(&draft(&format!("{nth:04}")));
    }
    let waiting = 2_000 * record - written(dir.path());
    assert!((1..=64 << 10).contains(&waiting), "{waiting} bytes are gathered");
}
