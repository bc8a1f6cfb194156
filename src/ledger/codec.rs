//! Record kinds of the ledger, and the format of their payload: the entry in postcard's format.
//!
//! Postcard takes a fifth of JSON's time, and every request writes two records. It does not
//! describe its fields, so a change to [`Entry`] needs a new version here. Records of other
//! versions are quarantined by the journal.

use std::io;

use super::entry::Entry;
use crate::journal::frame::RecordKind;

const VERSION: u8 = 2;

/// The request is about to reach an upstream. The entry is what will be stored if nothing more is
/// known; the latest counts.
pub const OPENED: RecordKind = RecordKind { tag: b'o', version: VERSION };

/// The entry is final.
pub const SETTLED: RecordKind = RecordKind { tag: b's', version: VERSION };

/// The kinds that the ledger reads.
pub const KINDS: &[RecordKind] = &[OPENED, SETTLED];

/// Appends the payload of an entry's record.
///
/// # Errors
/// The entry cannot be serialized.
pub fn encode(entry: &Entry, out: &mut Vec<u8>) -> io::Result<()> {
    postcard::to_extend(entry, Appending(out)).map(drop).map_err(io::Error::other)
}

/// Returns the entry of a payload.
///
/// # Errors
/// The bytes are not an entry of this version.
pub fn decode(payload: &[u8]) -> postcard::Result<Entry> {
    postcard::from_bytes(payload)
}

/// Appends to a borrowed buffer; postcard only appends to one that it owns.
struct Appending<'a>(&'a mut Vec<u8>);

impl Extend<u8> for Appending<'_> {
    fn extend<T: IntoIterator<Item = u8>>(&mut self, bytes: T) {
        self.0.extend(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::frame::{self, HEADER, records_in};
    use crate::ledger::entry::{AttemptRecord, Outcome, UsageSource};
    use crate::ledger::tests::{draft, entry};
    use crate::terms::{Billing, NanoUsd, Operation, Usage};

    /// A segment written by the first build with this version of the format.
    const SEGMENT: &[u8] = include_bytes!("../../tests/corpus/journal/version-2.journal");

    fn failed() -> Entry {
        let attempt = |provider: &str, status, error: &str, ms, request_id: Option<&str>| AttemptRecord {
            provider: provider.into(),
            status,
            error: Some(error.into()),
            ms,
            request_id: request_id.map(str::to_owned),
        };
        Entry {
            outcome: Outcome::UpstreamError,
            status: 502,
            error_code: Some("all_providers_failed".into()),
            team: Some("search".into()),
            user: None,
            operation: Operation::Embeddings,
            billing: Billing::Byo,
            stream: false,
            cost: NanoUsd(0),
            list_cost: NanoUsd(-3),
            latency_ms: 1234,
            ttfb_ms: Some(41),
            usage_source: UsageSource::None,
            usage: Usage {
                prompt_tokens: 1,
                cached_tokens: 300,
                cache_write_tokens: 70_000,
                cache_write_1h_tokens: 5,
                completion_tokens: 5,
                reasoning_tokens: u64::MAX,
            },
            attempts: vec![attempt("1-openai", Some(500), "server_error", 12, Some("up-1")), attempt("2-backup", None, "connect", 9, None)],
            ..draft("failed")
        }
    }

    #[test]
    fn a_segment_of_an_earlier_build_is_read_and_is_written_the_same_byte_for_byte() {
        let moved = Entry { provider: "2-backup".into(), ..draft("moved") };
        let expected = [
            (OPENED, draft("settled")),
            (SETTLED, entry("settled")),
            (OPENED, draft("failed")),
            (SETTLED, failed()),
            (OPENED, draft("open")),
            (OPENED, draft("moved")),
            (OPENED, moved),
        ];
        let mut written = Vec::new();
        for (kind, entry) in &expected {
            frame::encode(*kind, entry.id.as_bytes(), &mut written, |out| encode(entry, out)).unwrap();
        }
        let read: Vec<_> = records_in(SEGMENT).map(|record| (record.kind, decode(record.payload).unwrap())).collect();
        assert_eq!(read, expected);
        assert!(written == SEGMENT);
    }

    #[test]
    fn a_client_cannot_put_a_record_into_its_own_entry() {
        let record = |entry: &Entry| {
            let mut out = Vec::new();
            frame::encode(SETTLED, entry.id.as_bytes(), &mut out, |out| encode(entry, out)).unwrap();
            out
        };
        let mut forged = entry("one");
        forged.user = Some(record(&entry("two")).iter().map(|byte| char::from(*byte)).collect());
        assert!(!record(&forged)[HEADER..].contains(&0xFF));
    }
}
