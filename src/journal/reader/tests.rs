//! Two consumers with record kinds of their own in the same journals.

use std::path::Path;
use std::sync::Mutex;

use tempfile::TempDir;

use super::*;
use crate::journal::delivery::Visit;
use crate::journal::frame::{Record, RecordKind};
use crate::journal::writer::{Overflow, WriterOptions};

const NOTE: RecordKind = RecordKind { tag: b'n', version: 1 };
const SIGNAL: RecordKind = RecordKind { tag: b'g', version: 1 };
const LATER: RecordKind = RecordKind { tag: b'n', version: 2 };

/// Records that could not be written.
#[derive(Default)]
struct Kept(Mutex<Vec<String>>);

impl Overflow for Kept {
    fn keep(&self, record: Record<'_>) {
        self.0.lock().unwrap().push(text(record.payload));
    }
}

/// Content of one consumer's store: payloads, and positions that moved with them.
#[derive(Clone, Default)]
struct Stored {
    payloads: Vec<String>,
    positions: Positions,
}

struct Process {
    reader: JournalReader,
    writer: Arc<JournalWriter>,
    kept: Arc<Kept>,
    status: Arc<JournalStatus>,
    notes: Consumer,
    signals: Consumer,
}

impl Process {
    fn start(dir: &Path) -> Self {
        let instance = Arc::new(Instance::open(dir).unwrap());
        let (status, kept) = (Arc::new(JournalStatus::new(u64::MAX)), Arc::new(Kept::default()));
        let mut consumers = Consumers::default();
        let (notes, signals) = (consumers.add(&[NOTE]), consumers.add(&[SIGNAL]));
        let mut reader = JournalReader::new(Arc::clone(&instance), Arc::clone(&status), consumers, SyncPolicy::Never);
        let options = WriterOptions { segment_bytes: 200, always_wakes: false };
        let writer = JournalWriter::create(&instance, &status, Arc::clone(&kept) as Arc<dyn Overflow>, 0, options).unwrap();
        reader.add(Arc::clone(&writer));
        Self { reader, writer, kept, status, notes, signals }
    }

    fn write(&self, kind: RecordKind, payload: &str) {
        let append = |out: &mut Vec<u8>| {
            out.extend_from_slice(payload.as_bytes());
            Ok(())
        };
        self.writer.gather(kind, b"id", true, append).unwrap();
        self.writer.write();
    }

    /// Reads everything of a consumer, without acknowledging it.
    fn read(&mut self, consumer: Consumer, stored: &Stored) -> Stored {
        self.reader.poll();
        self.reader.recover(consumer, || Ok::<_, ()>(stored.positions.clone())).unwrap();
        let Stored { mut payloads, mut positions } = stored.clone();
        for set in self.reader.sets_mut(consumer) {
            set.read(consumer, &mut positions, |delivery, _| {
                if !delivery.was_stored {
                    payloads.push(text(delivery.record.payload));
                }
                Visit::Continue
            })
            .unwrap();
        }
        Stored { payloads, positions }
    }

    /// Reads, stores and acknowledges everything of a consumer.
    fn store(&mut self, consumer: Consumer, stored: &mut Stored) {
        *stored = self.read(consumer, stored);
        self.reader.commit(consumer);
        self.reader.reclaim();
        for segment in std::mem::take(self.reader.deleted_mut(consumer)) {
            stored.positions.remove(&segment);
        }
    }
}

fn text(payload: &[u8]) -> String {
    String::from_utf8(payload.to_vec()).unwrap()
}

fn segments(dir: &Path) -> Vec<String> {
    let mut files: Vec<String> = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    files.retain(|name| !name.ends_with(".lock"));
    files.sort();
    files
}

/// Copies what `kill -9` leaves of the processes in a directory: their files, without locks.
fn killed(dir: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in segments(dir) {
        std::fs::copy(dir.join(&name), copy.path().join(&name)).unwrap();
    }
    copy
}

#[test]
fn each_consumer_reads_its_own_kinds_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::start(dir.path());
    for nth in 0..20 {
        process.write(NOTE, &format!("note {nth}"));
        process.write(SIGNAL, &format!("signal {nth}"));
    }
    let (mut notes, mut signals) = (Stored::default(), Stored::default());
    process.store(process.notes, &mut notes);
    process.store(process.signals, &mut signals);
    assert_eq!(notes.payloads, (0..20).map(|nth| format!("note {nth}")).collect::<Vec<_>>());
    assert_eq!(signals.payloads, (0..20).map(|nth| format!("signal {nth}")).collect::<Vec<_>>());
}

#[test]
fn a_segment_is_deleted_only_when_every_consumer_has_acknowledged_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::start(dir.path());
    (0..20).for_each(|nth| process.write(if nth % 2 == 0 { NOTE } else { SIGNAL }, "a record of some length"));
    let before = segments(dir.path());
    assert!(before.len() > 3, "{before:?}");
    let (notes, signals) = (process.read(process.notes, &Stored::default()), Stored::default());
    assert_eq!(notes.payloads.len(), 10);
    process.reader.commit(process.notes);
    process.reader.reclaim();
    assert_eq!(segments(dir.path()), before, "the signals are not stored");
    assert!(process.status.unstored_bytes() > 0);
    process.read(process.signals, &signals);
    process.reader.reclaim();
    assert_eq!(segments(dir.path()), before, "the signals are read but not acknowledged");
    process.reader.commit(process.signals);
    process.reader.reclaim();
    assert_eq!(segments(dir.path()).len(), 1, "only the current segment is left");
    assert_eq!(process.status.unstored_bytes(), 0);
    for consumer in [process.notes, process.signals] {
        assert_eq!(process.reader.deleted_mut(consumer).len(), before.len() - 1, "a consumer has not all deleted segments");
    }
}

#[test]
fn a_held_segment_stays_until_the_hold_is_released_and_committed() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::start(dir.path());
    (0..10).for_each(|_| process.write(NOTE, "a record of some length"));
    process.reader.poll();
    process.reader.recover(process.notes, || Ok::<_, ()>(Positions::new())).unwrap();
    let (notes, mut first) = (process.notes, None);
    for set in process.reader.sets_mut(notes) {
        set.read(notes, &mut Positions::new(), |delivery, holds| {
            if first.is_none() {
                first = Some(delivery.location);
                holds.hold(delivery.location.sequence);
            }
            Visit::Continue
        })
        .unwrap();
    }
    let first = first.unwrap();
    process.reader.commit(notes);
    process.store(process.signals, &mut Stored::default());
    assert_eq!(segments(dir.path()).len(), 2, "the held segment and the current one");
    let set = process.reader.sets_mut(notes).next().unwrap();
    assert_eq!(set.read_payload(first).unwrap().as_deref(), Some(&b"a record of some length"[..]));
    set.holds(notes).release_at_commit(first.sequence);
    process.reader.reclaim();
    assert_eq!(segments(dir.path()).len(), 2);
    process.reader.commit(notes);
    process.reader.reclaim();
    assert_eq!(segments(dir.path()).len(), 1);
}

#[test]
fn after_a_kill_each_consumer_gets_what_it_has_not_stored() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::start(dir.path());
    let (mut notes, mut signals) = (Stored::default(), Stored::default());
    process.write(NOTE, "note 1");
    process.write(SIGNAL, "signal 1");
    process.store(process.notes, &mut notes);
    process.write(NOTE, "note 2");
    process.write(SIGNAL, "signal 2");
    let dir = killed(dir.path());

    let mut next = Process::start(dir.path());
    next.store(next.notes, &mut notes);
    assert_eq!(notes.payloads, ["note 1", "note 2"]);
    let dir = killed(dir.path());
    let mut third = Process::start(dir.path());
    third.store(third.signals, &mut signals);
    assert_eq!(signals.payloads, ["signal 1", "signal 2"]);
    assert_eq!(third.read(third.notes, &notes).payloads, ["note 1", "note 2"]);
    third.reader.commit(third.notes);
    third.reader.reclaim();
    assert_eq!(segments(dir.path()).len(), 1, "only the current segment of the third process");
    assert_eq!(third.status.damaged_segments(), 0);
}

#[test]
fn orphaned_journals_wait_for_the_positions_of_a_consumer() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path());
    process.write(NOTE, "note");
    let dir = killed(dir.path());
    let mut next = Process::start(dir.path());
    next.reader.poll();
    assert_eq!(next.reader.recover(next.notes, || Err("unavailable")), Err("unavailable"));
    assert_eq!(next.reader.sets_mut(next.notes).count(), 1, "only its own journal");
    assert_eq!(next.read(next.notes, &Stored::default()).payloads, ["note"]);
}

#[test]
fn records_of_an_unknown_kind_are_quarantined() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path());
    process.write(NOTE, "note");
    process.write(LATER, "of a later version");
    let dir = killed(dir.path());
    let mut next = Process::start(dir.path());
    let (mut notes, mut signals) = (Stored::default(), Stored::default());
    next.store(next.notes, &mut notes);
    next.store(next.signals, &mut signals);
    assert_eq!((notes.payloads, signals.payloads), (vec!["note".to_owned()], Vec::new()));
    assert_eq!(next.status.damaged_segments(), 1);
    let quarantined = segments(dir.path()).into_iter().find(|name| name.ends_with(".journal.unreadable")).unwrap();
    let bytes = std::fs::read(dir.path().join(quarantined)).unwrap();
    assert!(bytes.ends_with(b"of a later version"));
}

#[test]
fn records_that_cannot_be_written_go_to_the_overflow() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path());
    process.writer.break_disk();
    process.write(NOTE, "note");
    assert_eq!(*process.kept.0.lock().unwrap(), ["note"]);
    assert_eq!(process.status.write_errors(), 1);
}
