//! The segments of one journal: reading them for each consumer, and deleting them when all
//! consumers have stored them.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::consumers::{Consumer, Consumers};
use super::delivery::{Delivery, Holds, Visit, find};
use super::error::describe;
use super::frame::{HEADER, Record};
use super::instance::Instance;
use super::position::{Positions, RecordLocation};
use super::segment::Segment;
use super::segment_name::SegmentName;
use super::segment_reader::SegmentReader;
use super::writer::JournalWriter;

/// The segments of one worker's journal that are not deleted yet.
pub struct SegmentSet {
    id: u64,
    instance: Arc<Instance>,
    consumers: Arc<Consumers>,
    /// Instance and worker that write them.
    owner: SegmentName,
    /// The writer; `None` if its process is dead.
    writer: Option<Arc<JournalWriter>>,
    /// Sequence number of the newest segment ever seen.
    newest: u32,
    /// In the order they were written.
    segments: VecDeque<Segment>,
    buffer: Vec<u8>,
}

impl SegmentSet {
    /// Creates the set of a journal of this process.
    pub(super) fn live(id: u64, instance: &Arc<Instance>, consumers: &Arc<Consumers>, writer: Arc<JournalWriter>) -> Self {
        let owner = instance.segment(writer.worker(), 0);
        Self::new(id, instance, consumers, owner, Some(writer))
    }

    /// Creates the set of a dead process's worker from its segments, in order, with their lengths.
    /// Returns `None` if there are none.
    pub(super) fn orphaned(id: u64, instance: &Arc<Instance>, consumers: &Arc<Consumers>, segments: &[(SegmentName, u64)]) -> Option<Self> {
        let owner = segments.first()?.0.clone();
        let mut set = Self::new(id, instance, consumers, owner, None);
        let segments = segments.iter();
        set.segments = segments.map(|(name, length)| Segment::orphaned(name.clone(), consumers.count(), *length)).collect();
        Some(set)
    }

    fn new(id: u64, instance: &Arc<Instance>, consumers: &Arc<Consumers>, owner: SegmentName, writer: Option<Arc<JournalWriter>>) -> Self {
        let (instance, consumers) = (Arc::clone(instance), Arc::clone(consumers));
        Self { id, instance, consumers, owner, writer, newest: 0, segments: VecDeque::new(), buffer: Vec::new() }
    }

    /// Returns a number that no other set of this process has.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Returns the id of the instance that wrote it.
    pub(super) fn instance(&self) -> &str {
        &self.owner.instance
    }

    /// Returns whether its writer's process is dead.
    pub fn is_orphaned(&self) -> bool {
        self.writer.is_none()
    }

    /// Returns whether none of its segments is left.
    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Returns the length of all segments in bytes.
    pub(super) fn length(&self) -> u64 {
        self.segments.iter().map(|segment| segment.length).sum()
    }

    /// Sets the positions that an earlier process has stored for a consumer.
    pub(super) fn set_stored_before(&mut self, consumer: Consumer, positions: &Positions) {
        for segment in &mut self.segments {
            let position = positions.get(&segment.name.to_string()).copied().unwrap_or(0);
            segment.cursor_mut(consumer).stored_before = position;
        }
    }

    /// Polls the writer for how far it has written.
    pub(super) fn refresh(&mut self) {
        let Some(writer) = &self.writer else { return };
        let (sealed, current) = writer.poll();
        for (head, is_sealed) in sealed.into_iter().map(|head| (head, true)).chain([(current, false)]) {
            if self.newest < head.sequence {
                self.newest = head.sequence;
                let name = SegmentName { sequence: head.sequence, ..self.owner.clone() };
                self.segments.push_back(Segment::new(name, self.consumers.count()));
            }
            // A segment that is already deleted was closed and has nothing new.
            let Some(segment) = self.segments.back_mut().filter(|last| last.name.sequence == head.sequence) else { continue };
            segment.length = head.length;
            segment.is_sealed |= is_sealed;
            if segment.has_unread() || !segment.is_sealed {
                segment.file.get_or_insert(head.file);
            }
        }
    }

    /// Syncs what has been written.
    ///
    /// # Errors
    /// A file cannot be synced; its records survive unless the power fails.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        let dir = self.instance.dir();
        self.segments.iter_mut().try_for_each(|segment| segment.sync(dir))
    }

    /// Delivers the consumer's records to `visit`, from where the last call ended, and adds the
    /// positions that are reached to `positions`. Returns whether `visit` stopped it.
    ///
    /// # Errors
    /// A file cannot be read now, but perhaps later. What was delivered before stands.
    pub fn read(
        &mut self,
        consumer: Consumer,
        positions: &mut Positions,
        mut visit: impl FnMut(&Delivery<'_>, &mut Holds<'_>) -> Visit,
    ) -> io::Result<bool> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut result = Ok(false);
        for index in 0..self.segments.len() {
            if self.segments[index].cursor(consumer).read < self.segments[index].length {
                result = self.read_segment(index, consumer, &mut buffer, positions, &mut visit);
            }
            if !matches!(result, Ok(false)) {
                break;
            }
        }
        self.buffer = buffer;
        result
    }

    fn read_segment(
        &mut self,
        index: usize,
        consumer: Consumer,
        buffer: &mut Vec<u8>,
        positions: &mut Positions,
        visit: &mut impl FnMut(&Delivery<'_>, &mut Holds<'_>) -> Visit,
    ) -> io::Result<bool> {
        let Some(file) = self.file(index)? else { return Ok(false) };
        let (length, sequence) = (self.segments[index].length, self.segments[index].name.sequence);
        let cursor = self.segments[index].cursor(consumer);
        let (from, stored_before, observed) = (cursor.read, cursor.stored_before, cursor.observed);
        let mut records = SegmentReader::new(&file, from, length, buffer);
        let (mut unknown, mut undecodable) = (0_u64, 0_u64);
        let result = loop {
            let (record, at) = match records.read() {
                Ok(Some(found)) => found,
                Ok(None) => {
                    // The rest is a torn tail: half a record that will never be completed.
                    self.segments[index].cursor_mut(consumer).read = length;
                    break Ok(false);
                }
                Err(error) => break Err(self.unreadable(index, &error)),
            };
            let mut visited = Visit::Continue;
            if self.consumers.reads(consumer, record.kind) {
                let start = at + (HEADER + record.id.len()) as u64;
                let location = RecordLocation { sequence, start, end: start + record.payload.len() as u64 };
                let delivery = Delivery { record, location, was_stored: at < stored_before, was_observed: at < observed };
                visited = visit(&delivery, &mut Holds::new(&mut self.segments, consumer));
            } else if !self.consumers.is_known(record.kind) {
                unknown += 1;
            }
            self.segments[index].cursor_mut(consumer).read = records.offset();
            match visited {
                Visit::Continue => {}
                Visit::Stop => break Ok(true),
                Visit::Undecodable(reason) => {
                    undecodable += 1;
                    let name = &self.segments[index].name;
                    log::error!("cannot decode a record in journal segment {name} at byte {at}: {reason}");
                }
            }
        };
        let holes = records.holes();
        let segment = &mut self.segments[index];
        let cursor = segment.cursor_mut(consumer);
        cursor.observed = cursor.observed.max(cursor.read);
        if cursor.read > from {
            let position = cursor.read.max(cursor.stored_before);
            positions.insert(segment.name.to_string(), position);
        }
        if unknown + undecodable + u64::from(holes) > 0 && !std::mem::replace(&mut segment.is_damaged, true) {
            log::error!(
                "journal segment {0} has {holes} damaged parts, {undecodable} records that cannot be decoded and {unknown} of \
                 unknown kinds; once the rest is stored it is kept as {0}.unreadable. If a later version of aigw wrote it, start \
                 that version and rename the file back",
                segment.name
            );
        }
        segment.close_if_read();
        result
    }

    /// Shows the consumer's records that have not been observed to `observe`, however far storing
    /// has come.
    ///
    /// # Errors
    /// A file cannot be read now, but perhaps later.
    pub fn observe(&mut self, consumer: Consumer, mut observe: impl FnMut(Record<'_>)) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        for index in 0..self.segments.len() {
            let cursor = self.segments[index].cursor(consumer);
            let (from, length) = (cursor.observed.max(cursor.read), self.segments[index].length);
            if from >= length {
                continue;
            }
            let Some(file) = self.file(index)? else { continue };
            let mut records = SegmentReader::new(&file, from, length, &mut buffer);
            while let Some((record, _)) = records.read()? {
                if self.consumers.reads(consumer, record.kind) {
                    observe(record);
                }
                self.segments[index].cursor_mut(consumer).observed = records.offset();
            }
            self.segments[index].cursor_mut(consumer).observed = length;
            if self.segments[index].is_sealed {
                self.segments[index].file = None;
            }
        }
        self.buffer = buffer;
        Ok(())
    }

    /// Reads a payload again. It is empty if the file has been truncated. Returns `None` if the
    /// file is gone.
    ///
    /// # Errors
    /// The file cannot be read now, but perhaps later.
    pub fn read_payload(&mut self, location: RecordLocation) -> io::Result<Option<Vec<u8>>> {
        let Some(index) = self.segments.iter().position(|segment| segment.name.sequence == location.sequence) else {
            return Ok(None);
        };
        let Some(file) = self.file(index)? else { return Ok(None) };
        let mut payload = vec![0; (location.end - location.start) as usize];
        match file.read_exact_at(&mut payload, location.start) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => payload.clear(),
            Err(error) => return Err(self.unreadable(index, &error)),
        }
        Ok(Some(payload))
    }

    /// Notes that the payload at this location cannot be decoded. The segment will be quarantined.
    pub fn mark_undecodable(&mut self, location: RecordLocation, reason: &dyn std::fmt::Display) {
        if let Some(segment) = find(&mut self.segments, location.sequence) {
            log::error!("cannot decode a record in journal segment {} at byte {}: {reason}", segment.name, location.start);
            segment.is_damaged = true;
        }
    }

    /// Returns the consumer's holds, to change them.
    pub fn holds(&mut self, consumer: Consumer) -> Holds<'_> {
        Holds::new(&mut self.segments, consumer)
    }

    /// Notes that everything the consumer has read is stored. Returns the number of bytes that are
    /// now stored for all.
    pub(super) fn commit(&mut self, consumer: Consumer) -> u64 {
        self.segments.iter_mut().map(|segment| segment.commit(consumer)).sum()
    }

    /// Deletes the segments that are sealed and that every consumer is done with. Returns their
    /// names.
    pub(super) fn reclaim(&mut self) -> Vec<String> {
        let (dir, mut deleted) = (self.instance.dir(), Vec::new());
        self.segments.retain_mut(|segment| {
            let goes = segment.is_sealed && segment.is_done() && segment.remove_or_quarantine(dir);
            if goes {
                deleted.push(segment.name.to_string());
            }
            !goes
        });
        deleted
    }

    /// Returns the number of segments in which damage was found since the last call.
    pub(super) fn take_damage(&mut self) -> u64 {
        self.segments.iter_mut().filter_map(|segment| segment.take_damage().then_some(())).count() as u64
    }

    /// Returns whether the consumer is done with everything in it.
    pub(super) fn is_done_for(&self, consumer: Consumer) -> bool {
        self.segments.iter().all(|segment| segment.is_done_for(consumer))
    }

    /// Returns the sequence number and length of the last segment.
    pub(super) fn end(&self) -> Option<(u32, u64)> {
        self.segments.back().map(|segment| (segment.name.sequence, segment.length))
    }

    /// Returns whether the consumer has stored everything up to that sequence number and offset.
    pub(super) fn has_stored(&self, consumer: Consumer, (sequence, offset): (u32, u64)) -> bool {
        self.segments.iter().all(|segment| match segment.name.sequence.cmp(&sequence) {
            std::cmp::Ordering::Less => segment.cursor(consumer).stored == segment.length,
            std::cmp::Ordering::Equal => segment.cursor(consumer).stored >= offset,
            std::cmp::Ordering::Greater => true,
        })
    }

    /// Completes the current segment, because the process is about to end.
    pub(super) fn close(&mut self) {
        let Some(writer) = &self.writer else { return };
        writer.close();
        self.refresh();
        if let Some(last) = self.segments.back_mut() {
            last.is_sealed = true;
        }
    }

    fn file(&mut self, index: usize) -> io::Result<Option<Arc<File>>> {
        self.segments[index].open_file(self.instance.dir())
    }

    fn unreadable(&self, index: usize, error: &io::Error) -> io::Error {
        describe("read the journal segment", &self.segments[index].path(self.instance.dir()), error)
    }
}
