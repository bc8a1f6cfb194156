//! Positions in the journals: how far segments are stored, and locations of records.

use std::collections::BTreeMap;

/// Offset in bytes, by segment name, up to which the records of one consumer are stored.
pub type Positions = BTreeMap<String, u64>;

/// Location of a record's payload in the segments of one writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordLocation {
    /// Sequence number of the segment.
    pub sequence: u32,
    /// Offset of the payload's first byte.
    pub start: u64,
    /// Offset of the end of the record.
    pub end: u64,
}

/// Ends of all live journals at one moment. Records written before it are covered, later ones are
/// not.
#[derive(Clone, Debug)]
pub struct JournalMark {
    /// Sequence number and length of each journal's last segment.
    pub(super) ends: Vec<Option<(u32, u64)>>,
}
