//! Entries and records of another kind in the same journal, each stored by a sink of its own.

use super::*;
use crate::journal::consumers::{Consumer, Consumers};
use crate::journal::delivery::Visit;
use crate::journal::frame::{Record, RecordKind};
use crate::journal::reader::JournalReader;
use crate::journal::writer::{JournalWriter, Overflow};
use crate::ledger::codec;

const NOTE: RecordKind = RecordKind { tag: b'n', version: 1 };

/// A process whose worker writes entries and notes.
struct Mixed {
    reader: EntryReader,
    writer: Arc<JournalWriter>,
    journal: Arc<Journal>,
    notes: Consumer,
}

impl Mixed {
    fn start(dir: &Path) -> Self {
        let instance = Arc::new(Instance::open(dir).unwrap());
        let backlog = Arc::new(Backlog::new(u64::MAX));
        let mut consumers = Consumers::default();
        let (entries, notes) = (consumers.add(codec::KINDS), consumers.add(&[NOTE]));
        let status = Arc::clone(backlog.journal());
        let mut journals = JournalReader::new(Arc::clone(&instance), Arc::clone(&status), consumers, SyncPolicy::Never);
        let overflow = Arc::clone(&backlog) as Arc<dyn Overflow>;
        let options = WriterOptions { segment_bytes: 1024, always_wakes: false };
        let writer = JournalWriter::create(&instance, &status, overflow, 0, options).unwrap();
        journals.add(Arc::clone(&writer));
        let journal = Journal::over(Arc::clone(&writer), &backlog);
        let reader = EntryReader::over(journals, entries, backlog, Arc::new(Seen::default()));
        Self { reader, writer, journal, notes }
    }

    fn note(&self, payload: &str) {
        let append = |out: &mut Vec<u8>| {
            out.extend_from_slice(payload.as_bytes());
            Ok(())
        };
        self.writer.gather(NOTE, b"note", true, append).unwrap();
        self.writer.write();
    }

    fn store_entries(&mut self, sink: &mut Memory) {
        while !matches!(self.reader.step(sink), StepResult::Idle) {}
    }

    /// Reads the notes, stores them and acknowledges them.
    fn store_notes(&mut self, stored: &mut Vec<String>, positions: &mut Positions) {
        let notes = self.notes;
        let journals = self.reader.journals_mut();
        journals.poll();
        journals.recover(notes, || Ok::<_, SinkError>(positions.clone())).unwrap();
        for set in journals.sets_mut(notes) {
            set.read(notes, positions, |delivery, _| {
                let Record { payload, .. } = delivery.record;
                if !delivery.was_stored {
                    stored.push(String::from_utf8(payload.to_vec()).unwrap());
                }
                Visit::Continue
            })
            .unwrap();
        }
        journals.commit(notes);
        journals.reclaim();
    }
}

#[test]
fn entries_and_notes_share_a_journal_that_is_deleted_when_both_are_stored() {
    let (dir, mut sink) = (tempfile::tempdir().unwrap(), Memory::default());
    let mut process = Mixed::start(dir.path());
    for nth in 0..20 {
        process.note(&format!("{nth}"));
        let settlement = Settlement::open(&process.journal, draft(&format!("{nth:02}")), Instant::now());
        settlement.with(|settled| *settled = entry(&settled.id.clone()));
    }
    process.store_entries(&mut sink);
    assert_eq!(sink.ids().len(), 20);
    assert!(files(dir.path()).len() > 2, "the notes are not stored");
    let (mut notes, mut positions) = (Vec::new(), Positions::new());
    process.store_notes(&mut notes, &mut positions);
    assert_eq!(notes, (0..20).map(|nth| format!("{nth}")).collect::<Vec<_>>());
    assert_eq!(files(dir.path()).len(), 1);
}

#[test]
fn after_a_kill_entries_and_notes_are_stored_once_and_nothing_is_quarantined() {
    let (dir, mut sink) = (tempfile::tempdir().unwrap(), Memory::default());
    let (mut notes, mut positions) = (Vec::new(), Positions::new());
    let mut process = Mixed::start(dir.path());
    let open = Settlement::open(&process.journal, draft("open"), Instant::now());
    process.note("first");
    drop(Settlement::open(&process.journal, draft("settled"), Instant::now()));
    process.store_entries(&mut sink);
    process.store_notes(&mut notes, &mut positions);
    process.note("second");
    let left = killed(dir.path());
    drop(open);

    let mut next = Mixed::start(left.path());
    next.store_entries(&mut sink);
    assert_eq!(sink.ids(), ["open", "settled"]);
    assert_eq!(sink.now().skipped, 0);
    assert_eq!(sink.now().entries["open"].error_code.as_deref(), Some("process_killed"));
    next.store_notes(&mut notes, &mut positions);
    assert_eq!(notes, ["first", "second"]);
    assert_eq!(files(left.path()).len(), 1, "only the current segment of the next process");
}
