//! The protocol of opened and settled records: which requests of one journal are opened and not
//! settled.
//!
//! A draft holds its segment until its settlement is stored, so a killed process never loses a
//! request that was opened.

use std::collections::HashMap;
use std::io;

use super::codec::{self, SETTLED};
use super::entry::Entry;
use super::observer::Observer;
use super::sink::{Batch, MAX_BATCH};
use crate::journal::consumers::Consumer;
use crate::journal::delivery::{Delivery, Holds, Visit};
use crate::journal::position::RecordLocation;
use crate::journal::segments::SegmentSet;

/// Locations of the latest draft of each request that is opened and, as far as has been read, not
/// settled.
#[derive(Default)]
pub struct Drafts(HashMap<Box<[u8]>, RecordLocation>);

impl Drafts {
    /// Reads a journal into the batch until the batch is full or everything is read. Drafts of a
    /// dead process that were never settled come last, settled as interrupted.
    ///
    /// # Errors
    /// A file cannot be read now, but perhaps later. What was read before stands.
    pub fn read(&mut self, journal: &mut SegmentSet, consumer: Consumer, batch: &mut Batch, observer: &dyn Observer) -> io::Result<()> {
        let Batch { entries, positions } = batch;
        let is_full = journal.read(consumer, positions, |delivery, holds| {
            if delivery.record.kind == SETTLED {
                match settled(delivery, observer) {
                    Ok(entry) => {
                        self.settled(delivery.record.id, holds);
                        entries.extend(entry);
                    }
                    // Its draft stays open: an estimate at the next start is better than nothing.
                    Err(error) => return Visit::Undecodable(error.to_string()),
                }
            } else {
                self.opened(delivery, holds);
            }
            if entries.len() >= MAX_BATCH { Visit::Stop } else { Visit::Continue }
        })?;
        if is_full || !journal.is_orphaned() { Ok(()) } else { self.interrupt(journal, consumer, batch, observer) }
    }

    /// Settles a draft whose entry came from elsewhere than this journal.
    pub fn mark_settled(&mut self, id: &str, journal: &mut SegmentSet, consumer: Consumer) {
        if !self.0.is_empty() {
            self.settled(id.as_bytes(), &mut journal.holds(consumer));
        }
    }

    fn opened(&mut self, delivery: &Delivery<'_>, holds: &mut Holds<'_>) {
        holds.hold(delivery.location.sequence);
        if let Some(earlier) = self.0.insert(delivery.record.id.into(), delivery.location) {
            holds.release(earlier.sequence);
        }
    }

    fn settled(&mut self, id: &[u8], holds: &mut Holds<'_>) {
        if let Some(draft) = self.0.remove(id) {
            holds.release_at_commit(draft.sequence);
        }
    }

    /// Settles the drafts of a dead process as interrupted, oldest first. The observer has never
    /// seen them.
    fn interrupt(&mut self, journal: &mut SegmentSet, consumer: Consumer, batch: &mut Batch, observer: &dyn Observer) -> io::Result<()> {
        let mut open: Vec<(Box<[u8]>, RecordLocation)> = self.0.iter().map(|(id, draft)| (id.clone(), *draft)).collect();
        open.sort_by_key(|(_, draft)| *draft);
        for (id, draft) in open.into_iter().take(MAX_BATCH.saturating_sub(batch.entries.len())) {
            // Without the file nothing is known of the request.
            if let Some(payload) = journal.read_payload(draft)? {
                match codec::decode(&payload) {
                    Ok(entry) => {
                        let entry = entry.into_interrupted();
                        observer.settled(&entry);
                        batch.entries.push(entry);
                    }
                    Err(error) => journal.mark_undecodable(draft, &error),
                }
            }
            self.settled(&id, &mut journal.holds(consumer));
        }
        Ok(())
    }
}

/// Returns the entry of a settled record, after showing it to the observer unless it has been
/// shown. Returns `None` if it was stored before.
fn settled(delivery: &Delivery<'_>, observer: &dyn Observer) -> postcard::Result<Option<Entry>> {
    if delivery.was_stored {
        return Ok(None);
    }
    let entry = codec::decode(delivery.record.payload)?;
    if !delivery.was_observed {
        observer.settled(&entry);
    }
    Ok(Some(entry))
}
