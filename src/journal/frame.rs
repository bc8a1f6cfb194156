//! Layout of one record in a segment: a header with kind, lengths and checksum, then the record's
//! id, then its payload.
//!
//! Pure: bytes in, bytes out. The payload belongs to the code that defines the record kind; the
//! journal never decodes it.
//!
//! ```text
//! 0xFF | tag | version | id length | length of id + payload, u32 LE | CRC-32, u32 LE | id | payload
//! ```
//! The checksum covers everything but itself and the leading 0xFF. After damage, a reader searches
//! for the next 0xFF. That byte never occurs in UTF-8, and where a binary number contains it, no
//! valid header and checksum follow. So no text that a client or an upstream sends can be mistaken
//! for a record.

use std::io;

/// Length of the header in bytes; the id follows.
pub const HEADER: usize = 12;

const START: u8 = 0xFF;
/// Largest length of id and payload in bytes. A greater one in a header is damage.
const MAX_LENGTH: usize = 64 << 20;

/// Kind of a record: its tag and the version of its payload's format. Defined by the code that
/// writes the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecordKind {
    /// Distinguishes the kinds of records; printable ASCII by convention.
    pub tag: u8,
    /// Version of the payload's format.
    pub version: u8,
}

/// One complete record.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Decides who reads it.
    pub kind: RecordKind,
    /// Identifies the subject of the record; at most 255 bytes.
    pub id: &'a [u8],
    /// Content, in the format of its kind.
    pub payload: &'a [u8],
}

/// Positions of a frame's parts, relative to its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Kind of the record.
    pub kind: RecordKind,
    /// End of the id and start of the payload.
    pub payload: usize,
    /// End of the frame.
    pub end: usize,
}

/// Result of looking for a frame at the start of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameScan {
    /// A whole frame with a correct checksum.
    Complete(Frame),
    /// Possibly the beginning of a frame; the number of bytes needed to decide.
    Incomplete(usize),
    /// Not a frame.
    Damaged,
}

impl Frame {
    /// Returns the record in `bytes`, which begin with this frame.
    pub fn record<'a>(&self, bytes: &'a [u8]) -> Record<'a> {
        Record { kind: self.kind, id: &bytes[HEADER..self.payload], payload: &bytes[self.payload..self.end] }
    }
}

/// Appends a record to `out`. An id longer than 255 bytes is truncated. `write_payload` appends the
/// payload.
///
/// # Errors
/// As `write_payload`, or the record is longer than 64 MiB. `out` is then unchanged.
pub fn encode(
    kind: RecordKind,
    id: &[u8],
    out: &mut Vec<u8>,
    write_payload: impl FnOnce(&mut Vec<u8>) -> io::Result<()>,
) -> io::Result<()> {
    let id = &id[..id.len().min(usize::from(u8::MAX))];
    let from = out.len();
    out.extend_from_slice(&[START, kind.tag, kind.version, id.len() as u8]);
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(id);
    let written = write_payload(out);
    let length = out.len() - from - HEADER;
    let too_long = || io::Error::other(format!("the record has {length} bytes; the limit is {MAX_LENGTH}"));
    if let Err(error) = written.and_then(|()| if length > MAX_LENGTH { Err(too_long()) } else { Ok(()) }) {
        out.truncate(from);
        return Err(error);
    }
    let frame = &mut out[from..];
    frame[4..8].copy_from_slice(&(length as u32).to_le_bytes());
    let checksum = checksum(frame);
    frame[8..HEADER].copy_from_slice(&checksum.to_le_bytes());
    Ok(())
}

/// Looks for a frame that begins with the first of `bytes`.
pub fn scan(bytes: &[u8]) -> FrameScan {
    let Some(header) = bytes.first_chunk::<HEADER>() else {
        let may_begin = bytes.first().is_none_or(|first| *first == START);
        return if may_begin { FrameScan::Incomplete(HEADER) } else { FrameScan::Damaged };
    };
    let [start, tag, version, id, l0, l1, l2, l3, c0, c1, c2, c3] = *header;
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    let payload = HEADER + usize::from(id);
    let end = HEADER + length;
    if start != START || length > MAX_LENGTH || payload > end {
        return FrameScan::Damaged;
    }
    if bytes.len() < end {
        return FrameScan::Incomplete(end);
    }
    if checksum(&bytes[..end]) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return FrameScan::Damaged;
    }
    FrameScan::Complete(Frame { kind: RecordKind { tag, version }, payload, end })
}

/// Returns the records of `bytes`, which follow each other without gaps.
pub fn records_in(mut bytes: &[u8]) -> impl Iterator<Item = Record<'_>> {
    std::iter::from_fn(move || {
        let FrameScan::Complete(frame) = scan(bytes) else { return None };
        let (whole, rest) = bytes.split_at(frame.end);
        bytes = rest;
        Some(frame.record(whole))
    })
}

/// Returns the position, after the first of `bytes`, at which a frame may begin.
pub fn next_start(bytes: &[u8]) -> Option<usize> {
    memchr::memchr(START, bytes.get(1..)?).map(|at| at + 1)
}

fn checksum(frame: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&frame[1..8]);
    hasher.update(&frame[HEADER..]);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KIND: RecordKind = RecordKind { tag: b't', version: 7 };

    fn frame(id: &str, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(KIND, id.as_bytes(), &mut out, |out| {
            out.extend_from_slice(payload);
            Ok(())
        })
        .unwrap();
        out
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let bytes = frame("one", b"payload");
        let FrameScan::Complete(frame) = scan(&bytes) else { panic!("incomplete") };
        let record = frame.record(&bytes);
        assert_eq!((record.kind, frame.end, record.id, record.payload), (KIND, bytes.len(), &b"one"[..], &b"payload"[..]));
    }

    #[test]
    fn a_record_that_cannot_be_encoded_leaves_the_buffer_unchanged() {
        let mut out = frame("one", b"payload");
        let before = out.clone();
        let failed = encode(KIND, b"two", &mut out, |out| {
            out.push(1);
            Err(io::Error::other("cannot be encoded"))
        });
        assert!(failed.is_err());
        assert_eq!(out, before);
    }

    #[test]
    fn a_truncated_record_is_incomplete_wherever_it_is_cut() {
        let bytes = frame("one", b"payload");
        for cut in 0..bytes.len() {
            assert!(matches!(scan(&bytes[..cut]), FrameScan::Incomplete(needed) if needed > cut), "cut at {cut}");
        }
    }

    #[test]
    fn one_changed_bit_is_detected_wherever_it_is() {
        let bytes = frame("one", b"payload");
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(scan(&changed), FrameScan::Complete(_)), "bit {bit}");
        }
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
