//! A journal directory that an earlier build left.

use super::*;

/// A segment written by the first build with this version of the format.
const SEGMENT: &[u8] = include_bytes!("../../../tests/corpus/journal/version-2.journal");

#[test]
fn a_journal_of_an_earlier_build_is_recovered() {
    let (dir, mut sink) = (tempfile::tempdir().unwrap(), Memory::default());
    let name = "0199c0de00007000800000000000abcd-000-000001.journal";
    std::fs::write(dir.path().join(name), SEGMENT).unwrap();
    let mut process = Process::recovering(dir.path());
    process.drain(&mut sink);
    assert_eq!(sink.ids(), ["failed", "moved", "open", "settled"]);
    let stored = sink.now().entries;
    assert_eq!(stored["settled"], entry("settled"));
    assert_eq!(stored["failed"].attempts.len(), 2);
    assert_eq!(stored["open"], draft("open").into_interrupted());
    assert_eq!(&*stored["moved"].provider, "2-backup");
    assert_eq!(process.backlog.lag().damaged, 0);
    assert!(files(dir.path()).is_empty());
}
