//! How one record lies in a journal segment: a header with length and checksum, the entry's id, the entry in postcard's format.
//!
//! Pure: bytes in, bytes out. Postcard takes a fifth of JSON's time, and every request writes two records. It does not say
//! what a field means, so a change to [`Entry`] needs another version here; versions that are not known are left alone.
//!
//! ```text
//! 0xFF  kind  version  id length | length of id + entry, u32 | CRC-32 of all but this and 0xFF, u32 | id | entry
//! ```
//! A reader that meets damage finds the next record by looking for the first byte. It never occurs in UTF-8, and where a number
//! holds it, what follows is no header: so nothing a client or an upstream sends can pass for a record.

use crate::ledger::entry::Entry;

/// Bytes before the id.
pub const HEADER: usize = 12;

const START: u8 = 0xFF;
const VERSION: u8 = 2;
/// No record is longer: a length beyond it is damage.
const LONGEST: usize = 64 << 20;

/// What a record says about its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is about to reach an upstream; the entry is what it will be if nothing more is learnt. The latest counts.
    Opened,
    /// It is final.
    Settled,
    /// Something a later version wrote. It is left alone.
    Foreign,
}

/// Where a record's parts lie, relative to its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// What it says.
    pub kind: Kind,
    /// Where the id ends and the entry begins.
    pub body: usize,
    /// Where the record ends.
    pub end: usize,
}

/// What stands at the start of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// A whole record with the right checksum.
    Whole(Layout),
    /// Perhaps the beginning of one: so many bytes are needed to tell.
    Short(usize),
    /// No record.
    Damaged,
}

/// Writes a record to the end of `out`.
///
/// # Errors
/// The entry is larger than any record may be, or cannot be told at all. `out` is as it was.
pub fn encode(kind: Kind, entry: &Entry, out: &mut Vec<u8>) -> std::io::Result<()> {
    let id = &entry.id.as_bytes()[..entry.id.len().min(usize::from(u8::MAX))];
    let kind = match kind {
        Kind::Opened => b'o',
        Kind::Settled => b's',
        Kind::Foreign => b'?',
    };
    let from = out.len();
    out.extend_from_slice(&[START, kind, VERSION, id.len() as u8]);
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(id);
    let written = postcard::to_extend(entry, Onto(out)).map(drop).map_err(std::io::Error::other);
    let length = out.len() - from - HEADER;
    let too_long = || std::io::Error::other(format!("the entry takes {length} bytes, a journal record at most {LONGEST}"));
    if let Err(error) = written.and_then(|()| if length > LONGEST { Err(too_long()) } else { Ok(()) }) {
        out.truncate(from);
        return Err(error);
    }
    let record = &mut out[from..];
    record[4..8].copy_from_slice(&(length as u32).to_le_bytes());
    let checksum = checksum(record);
    record[8..HEADER].copy_from_slice(&checksum.to_le_bytes());
    Ok(())
}

/// What is written goes to the end of a buffer, which is lent.
struct Onto<'a>(&'a mut Vec<u8>);

impl Extend<u8> for Onto<'_> {
    fn extend<T: IntoIterator<Item = u8>>(&mut self, bytes: T) {
        self.0.extend(bytes);
    }
}

/// The settled entries among the records of `bytes`, which begin one after the other.
pub fn settled_in(mut bytes: &[u8]) -> impl Iterator<Item = Entry> {
    std::iter::from_fn(move || {
        let Scan::Whole(layout) = scan(bytes) else { return None };
        let (record, rest) = bytes.split_at(layout.end);
        bytes = rest;
        Some((layout.kind == Kind::Settled).then(|| decode(&record[layout.body..]).ok()).flatten())
    })
    .flatten()
}

/// The entry of a whole record's `body`.
///
/// # Errors
/// The bytes are none: another version wrote them.
pub fn decode(body: &[u8]) -> postcard::Result<Entry> {
    postcard::from_bytes(body)
}

/// Looks at the record that begins with the first of `bytes`.
pub fn scan(bytes: &[u8]) -> Scan {
    let Some(header) = bytes.first_chunk::<HEADER>() else {
        return if bytes.first().is_none_or(|first| *first == START) { Scan::Short(HEADER) } else { Scan::Damaged };
    };
    let [start, kind, version, id, l0, l1, l2, l3, c0, c1, c2, c3] = *header;
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    let body = HEADER + usize::from(id);
    let end = HEADER + length;
    if start != START || length > LONGEST || body > end {
        return Scan::Damaged;
    }
    if bytes.len() < end {
        return Scan::Short(end);
    }
    if checksum(&bytes[..end]) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Scan::Damaged;
    }
    let kind = match (version, kind) {
        (VERSION, b'o') => Kind::Opened,
        (VERSION, b's') => Kind::Settled,
        _ => Kind::Foreign,
    };
    Scan::Whole(Layout { kind, body, end })
}

/// Where a record may begin after the first of `bytes`.
pub fn next_start(bytes: &[u8]) -> Option<usize> {
    memchr::memchr(START, bytes.get(1..)?).map(|at| at + 1)
}

fn checksum(record: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&record[1..8]);
    hasher.update(&record[HEADER..]);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::tests::entry;
    use proptest::prelude::*;

    fn record(id: &str) -> Vec<u8> {
        let mut out = Vec::new();
        encode(Kind::Settled, &entry(id), &mut out).unwrap();
        out
    }

    #[test]
    fn a_record_says_what_was_written() {
        let bytes = record("one");
        let Scan::Whole(layout) = scan(&bytes) else { panic!("not whole") };
        assert_eq!((layout.kind, layout.end), (Kind::Settled, bytes.len()));
        assert_eq!(&bytes[HEADER..layout.body], b"one");
        assert_eq!(decode(&bytes[layout.body..]).unwrap(), entry("one"));
    }

    #[test]
    fn a_record_cut_anywhere_asks_for_more_and_never_passes() {
        let bytes = record("one");
        for cut in 0..bytes.len() {
            assert!(matches!(scan(&bytes[..cut]), Scan::Short(needed) if needed > cut), "cut at {cut}");
        }
    }

    #[test]
    fn one_changed_bit_is_noticed_wherever_it_is() {
        let bytes = record("one");
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(scan(&changed), Scan::Whole(_)), "bit {bit}");
        }
    }

    #[test]
    fn a_client_cannot_write_a_record_into_its_own_entry() {
        let mut forged = entry("one");
        forged.user = Some(record("two").iter().map(|byte| char::from(*byte)).collect());
        let mut bytes = Vec::new();
        encode(Kind::Settled, &forged, &mut bytes).unwrap();
        assert!(!bytes[HEADER..].contains(&START));
    }

    proptest! {
        #[test]
        fn any_bytes_are_scanned_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            scan(&bytes);
            let mut bytes = bytes;
            bytes.insert(0, START);
            scan(&bytes);
            next_start(&bytes);
        }
    }
}
