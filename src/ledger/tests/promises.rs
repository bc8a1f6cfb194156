//! Entries, order, failing sinks, full disks and segments.

use super::*;
use std::time::{Duration, Instant};

#[test]
fn a_settled_entry_is_stored_once_and_seen_once() {
    let (dir, mut sink) = (tempfile::tempdir().unwrap(), Memory::default());
    let mut process = Process::start(dir.path());
    process.serve(0, "a");
    process.serve(1, "b");
    process.drain(&mut sink);
    process.drain(&mut sink);
    assert_eq!(sink.ids(), ["a", "b"]);
    assert_eq!((sink.now().skipped, sink.now().batches), (0, 1));
    assert_eq!(process.seen(), ["a", "b"]);
    assert_eq!(sink.now().entries["a"].outcome, Outcome::Ok);
    assert_eq!((process.backlog.lag().entries, process.backlog.lag().bytes), (0, 0));
}

#[test]
fn an_open_settlement_is_not_stored_before_its_last_holder_is_dropped() {
    let (dir, mut sink) = (tempfile::tempdir().unwrap(), Memory::default());
    let mut process = Process::start(dir.path());
    let router = process.open(0, "a");
    let pump = router.clone();
    assert_eq!(process.backlog.open(), 1);
    drop(router);
    process.drain(&mut sink);
    assert!(sink.ids().is_empty());
    pump.with(|entry| entry.status = 200);
    drop(pump);
    process.drain(&mut sink);
    assert_eq!(process.backlog.open(), 0);
    assert_eq!(sink.now().entries["a"].status, 200);
}

#[test]
fn a_panic_of_its_holder_settles_with_what_is_known() {
    let (dir, mut sink) = (tempfile::tempdir().unwrap(), Memory::default());
    let mut process = Process::start(dir.path());
    let settlement = process.open(0, "a");
    std::thread::spawn(move || {
        settlement.with(|entry| entry.usage.completion_tokens = 3);
        settlement.with(|_| panic!("a bug"));
    })
    .join()
    .unwrap_err();
    process.drain(&mut sink);
    let stored = sink.now().entries["a"].clone();
    assert_eq!((stored.usage.completion_tokens, stored.outcome), (3, Outcome::Interrupted));
}

#[test]
fn latency_is_the_time_since_the_request_was_received_unless_it_is_set() {
    let (dir, mut sink) = (tempfile::tempdir().unwrap(), Memory::default());
    let mut process = Process::start(dir.path());
    let received = Instant::now() - Duration::from_secs(1);
    drop(Settlement::open(&process.journals[0], draft("a"), received));
    Settlement::open(&process.journals[0], draft("b"), received).with(|entry| entry.latency_ms = 7);
    process.drain(&mut sink);
    assert!((1_000..60_000).contains(&sink.now().entries["a"].latency_ms));
    assert_eq!(sink.now().entries["b"].latency_ms, 7);
}

#[test]
fn entries_wait_while_the_sink_fails_and_arrive_in_order() {
    let (dir, mut sink) = (tempfile::tempdir().unwrap(), Memory::default());
    let mut process = Process::start(dir.path());
    sink.fail(5);
    let mut served = Vec::new();
    for round in 0..5 {
        for n in 0..10 {
            served.push(format!("{round}-{n}"));
            process.serve(0, &format!("{round}-{n}"));
        }
        assert!(matches!(process.reader.step(&mut sink), StepResult::Failed(_)));
        assert_eq!(process.seen(), served, "metrics waited for the database");
    }
    assert_eq!(process.backlog.lag().entries, 50);
    process.drain(&mut sink);
    assert_eq!(sink.now().order, served);
    assert_eq!(process.seen(), served, "an entry was observed twice");
    assert_eq!((sink.now().skipped, process.backlog.lag().entries), (0, 0));
}

#[test]
fn a_panic_of_the_sink_is_a_failure() {
    let (dir, mut sink) = (tempfile::tempdir().unwrap(), Memory::default());
    let mut process = Process::start(dir.path());
    process.serve(0, "a");
    sink.lock().panicking = true;
    assert!(matches!(process.reader.step(&mut sink), StepResult::Failed(_)));
    sink.lock().panicking = false;
    process.drain(&mut sink);
    assert_eq!(sink.ids(), ["a"]);
}

#[test]
fn a_batch_holds_at_most_2000_entries() {
    let (dir, mut sink) = (tempfile::tempdir().unwrap(), Memory::default());
    let mut process = Process::with(dir.path(), u64::MAX, 1 << 20);
    for n in 0..4_203 {
        process.serve(n % 2, &format!("{n}"));
    }
    process.drain(&mut sink);
    assert_eq!((sink.now().batches, sink.now().entries.len()), (3, 4_203));
}

#[test]
fn full_segments_are_deleted_once_stored_and_their_positions_forgotten() {
    let (dir, mut sink) = (tempfile::tempdir().unwrap(), Memory::default());
    let mut process = Process::start(dir.path());
    for n in 0..200 {
        process.serve(0, &format!("{n:03}"));
    }
    assert!(files(dir.path()).len() > 10);
    process.drain(&mut sink);
    assert_eq!(files(dir.path()).len(), 2, "the current ones of the two workers");
    assert!(sink.now().positions.len() <= 1);
    assert_eq!(sink.ids().len(), 200);
}

#[test]
fn a_segment_stays_while_a_request_opened_in_it_is_open() {
    let (dir, mut sink) = (tempfile::tempdir().unwrap(), Memory::default());
    let mut process = Process::start(dir.path());
    let slow = process.open(0, "slow");
    for n in 0..50 {
        process.serve(0, &format!("{n:02}"));
    }
    process.drain(&mut sink);
    assert_eq!(files(dir.path()).len(), 3);
    drop(slow);
    process.drain(&mut sink);
    assert_eq!(files(dir.path()).len(), 2);
    assert_eq!(sink.ids().len(), 51);
}

#[test]
fn a_redraft_releases_the_segment_of_the_first_draft() {
    let (dir, mut sink) = (tempfile::tempdir().unwrap(), Memory::default());
    let mut process = Process::start(dir.path());
    let slow = process.open(0, "slow");
    for n in 0..10 {
        process.serve(0, &format!("{n:02}"));
    }
    slow.redraft(|entry| entry.provider = "2-backup".into());
    process.drain(&mut sink);
    let first = &files(dir.path())[0];
    assert!(!first.ends_with("-000001.journal") || first.contains("-001-"), "{first}");
    drop(slow);
    process.drain(&mut sink);
    assert_eq!(sink.ids().len(), 11);
}

#[test]
fn entries_that_cannot_be_written_are_kept_in_memory_and_stored() {
    let (dir, mut sink) = (tempfile::tempdir().unwrap(), Memory::default());
    let mut process = Process::start(dir.path());
    let before = process.open(0, "before");
    process.journals[0].writer().break_disk();
    drop(before);
    process.serve(0, "after");
    let lag = process.backlog.lag();
    assert_eq!((lag.in_memory, lag.entries, lag.write_errors, lag.lost), (1, 2, 1, 0), "later records go to a new segment");
    assert!(lag.is_alarming());
    sink.fail(2);
    process.drain(&mut sink);
    assert_eq!(sink.ids(), ["after", "before"]);
    assert_eq!(process.seen(), ["after", "before"]);
    assert_eq!(process.backlog.lag().entries, 0);
    assert!(!process.backlog.lag().is_alarming());
}

#[test]
fn a_full_journal_raises_the_alarm_and_loses_nothing() {
    let (dir, mut sink) = (tempfile::tempdir().unwrap(), Memory::default());
    let mut process = Process::with(dir.path(), 10_000, 2048);
    sink.fail(1);
    for n in 0..100 {
        process.serve(n % 2, &format!("{n:03}"));
    }
    assert!(matches!(process.reader.step(&mut sink), StepResult::Failed(_)));
    let lag = process.backlog.lag();
    assert!(lag.bytes <= 10_000 && lag.in_memory > 50 && lag.is_alarming(), "{lag:?}");
    assert_eq!(process.seen().len(), 100);
    process.drain(&mut sink);
    assert_eq!((sink.ids().len(), process.seen().len()), (100, 100));
    process.serve(0, "again");
    assert_eq!(process.backlog.lag().in_memory, 0, "the journal has capacity again");
    process.drain(&mut sink);
    assert_eq!(sink.ids().len(), 101);
}

#[test]
fn a_mark_is_reached_when_everything_before_it_is_stored() {
    let (dir, mut sink) = (tempfile::tempdir().unwrap(), Memory::default());
    let mut process = Process::with(dir.path(), u64::MAX, 1 << 20);
    (0..2_200).for_each(|n| process.serve(0, &format!("a{n}")));
    process.serve(1, "b");
    let mark = process.reader.mark();
    assert!(!process.reader.has_stored(&mark));
    assert!(matches!(process.reader.step(&mut sink), StepResult::Stored(2_000)));
    (0..2_200).for_each(|n| process.serve(0, &format!("later{n}")));
    assert!(!process.reader.has_stored(&mark));
    while !process.reader.has_stored(&mark) {
        assert!(matches!(process.reader.step(&mut sink), StepResult::Stored(_)));
    }
    assert!(sink.ids().contains(&"b".to_owned()) && sink.ids().contains(&"a2199".to_owned()));
}

#[test]
fn a_closed_process_leaves_no_file() {
    let (dir, mut sink) = (tempfile::tempdir().unwrap(), Memory::default());
    let mut process = Process::start(dir.path());
    process.serve(0, "a");
    process.reader.close(&mut sink);
    assert_eq!(sink.ids(), ["a"]);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    process.serve(0, "late");
    process.drain(&mut sink);
    assert_eq!(sink.ids(), ["a", "late"], "an entry settled after the close was lost");
}

#[test]
fn a_process_closed_with_open_requests_leaves_them_to_the_next() {
    let (dir, mut sink) = (tempfile::tempdir().unwrap(), Memory::default());
    let mut process = Process::start(dir.path());
    let _open = process.open(0, "open");
    process.reader.close(&mut sink);
    assert_eq!(files(dir.path()).len(), 2);
}
