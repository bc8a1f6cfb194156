//! Delivery of records to a consumer: its answer, and the segments it holds.

use std::collections::VecDeque;

use super::consumers::Consumer;
use super::frame::Record;
use super::position::RecordLocation;
use super::segment::Segment;

/// A record for a consumer, and whether earlier passes have handled it.
pub struct Delivery<'a> {
    /// The record.
    pub record: Record<'a>,
    /// Location of its payload.
    pub location: RecordLocation,
    /// An earlier process has stored it.
    pub was_stored: bool,
    /// It has been observed.
    pub was_observed: bool,
}

/// Answer of a consumer to a record delivered to it.
pub enum Visit {
    /// Deliver the next record.
    Continue,
    /// The record is taken, and the consumer has no capacity for another.
    Stop,
    /// The payload cannot be decoded, for this reason. The segment will be quarantined.
    Undecodable(String),
}

/// The holds of one consumer on the segments of a journal. A segment is not deleted while it is
/// held.
pub struct Holds<'a> {
    segments: &'a mut VecDeque<Segment>,
    consumer: Consumer,
}

impl<'a> Holds<'a> {
    /// Gives access to the holds of a consumer.
    pub(super) fn new(segments: &'a mut VecDeque<Segment>, consumer: Consumer) -> Self {
        Self { segments, consumer }
    }

    /// Keeps the segment of that sequence number.
    pub fn hold(&mut self, sequence: u32) {
        if let Some(segment) = find(self.segments, sequence) {
            segment.cursor_mut(self.consumer).hold();
        }
    }

    /// Ends a hold now.
    pub fn release(&mut self, sequence: u32) {
        if let Some(segment) = find(self.segments, sequence) {
            segment.cursor_mut(self.consumer).release();
        }
    }

    /// Ends a hold once what the consumer has read is stored.
    pub fn release_at_commit(&mut self, sequence: u32) {
        if let Some(segment) = find(self.segments, sequence) {
            segment.cursor_mut(self.consumer).release_at_commit();
        }
    }
}

/// Returns the segment of that sequence number.
pub(super) fn find(segments: &mut VecDeque<Segment>, sequence: u32) -> Option<&mut Segment> {
    segments.iter_mut().find(|segment| segment.name.sequence == sequence)
}
