//! The consumers of a journal's records and the kinds of records each one reads.

use super::frame::RecordKind;

/// One consumer of records, such as the ledger. Each has positions of its own: it reads, stores and
/// acknowledges at its own pace, and a segment is deleted only when all consumers have acknowledged
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consumer(pub(super) usize);

/// All consumers of the journals in a directory, with the record kinds of each.
#[derive(Debug, Default)]
pub struct Consumers(Vec<&'static [RecordKind]>);

impl Consumers {
    /// Adds a consumer that reads records of these kinds. Each kind has at most one consumer.
    pub fn add(&mut self, kinds: &'static [RecordKind]) -> Consumer {
        self.0.push(kinds);
        Consumer(self.0.len() - 1)
    }

    /// Returns the number of consumers.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns whether the consumer reads records of this kind.
    pub(super) fn reads(&self, Consumer(index): Consumer, kind: RecordKind) -> bool {
        self.0[index].contains(&kind)
    }

    /// Returns whether any consumer reads records of this kind.
    pub(super) fn is_known(&self, kind: RecordKind) -> bool {
        self.0.iter().any(|kinds| kinds.contains(&kind))
    }
}
