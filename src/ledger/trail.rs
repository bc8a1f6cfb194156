//! The segments one journal leaves behind, as the ledger's thread sees them: how far each is read and stored, which requests
//! are still open in it, and when it can go.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::entry::Entry;
use super::frame::{self, Kind};
use super::instance::{Instance, SegmentName, explain};
use super::journal::Journal;
use super::observer::Observer;
use super::records::{Record, Records};
use super::segment::Segment;
use super::sink::{Batch, MAX_BATCH, Positions};

/// What one journal has written and nobody needs to forget yet.
pub struct Trail {
    instance: Arc<Instance>,
    /// Who writes it: its instance and worker.
    owner: SegmentName,
    /// The writer; `None` if its process is dead.
    journal: Option<Arc<Journal>>,
    /// The newest segment ever seen.
    newest: u32,
    /// In the order they were written.
    segments: VecDeque<Segment>,
    /// Where the latest draft of each entry stands that is opened and, as far as has been read, not settled.
    open: HashMap<Box<[u8]>, Place>,
    buffer: Vec<u8>,
}

/// Where a draft stands.
#[derive(Clone, Copy)]
struct Place {
    sequence: u32,
    at: u64,
    end: u64,
}

impl Trail {
    /// The trail of a journal of this process.
    pub fn of_journal(instance: &Arc<Instance>, journal: Arc<Journal>) -> Self {
        let owner = instance.segment(journal.worker(), 0);
        Self::new(instance, owner, Some(journal))
    }

    /// The trail of a dead process's worker: its segments in order, with their lengths, and what of them is stored.
    pub fn of_dead(instance: &Arc<Instance>, segments: Vec<(SegmentName, u64)>, positions: &Positions) -> Option<Self> {
        let owner = segments.first()?.0.clone();
        let mut trail = Self::new(instance, owner, None);
        for (name, length) in segments {
            let stored_before = positions.get(&name.to_string()).copied().unwrap_or(0);
            trail.segments.push_back(Segment::of_dead(name, length, stored_before));
        }
        Some(trail)
    }

    fn new(instance: &Arc<Instance>, owner: SegmentName, journal: Option<Arc<Journal>>) -> Self {
        let instance = Arc::clone(instance);
        Self { instance, owner, journal, newest: 0, segments: VecDeque::new(), open: HashMap::new(), buffer: Vec::new() }
    }

    /// The instance that wrote it.
    pub fn instance(&self) -> &str {
        &self.owner.instance
    }

    /// Bytes that have to be read.
    pub fn unread(&self) -> u64 {
        self.segments.iter().map(|segment| segment.length - segment.read).sum()
    }

    /// Learns how far the journal has been written.
    pub fn refresh(&mut self) {
        let Some(journal) = &self.journal else { return };
        let (left, current) = journal.look();
        for (tip, is_left) in left.into_iter().map(|tip| (tip, true)).chain([(current, false)]) {
            if self.newest < tip.sequence {
                self.newest = tip.sequence;
                self.segments.push_back(Segment::new(SegmentName { sequence: tip.sequence, ..self.owner.clone() }));
            }
            // One that is gone already was closed and is of no interest any more.
            let Some(segment) = self.segments.back_mut().filter(|last| last.name.sequence == tip.sequence) else { continue };
            segment.length = tip.length;
            segment.is_left |= is_left;
            if segment.read < segment.length || !segment.is_left {
                segment.file.get_or_insert(tip.file);
            }
        }
    }

    /// Has the operating system write to the disk what it has only taken so far.
    ///
    /// # Errors
    /// As it says; nothing is lost as long as the machine runs.
    pub fn sync(&mut self) -> io::Result<()> {
        let dir = self.instance.dir();
        self.segments.iter_mut().try_for_each(|segment| segment.sync(dir))
    }

    /// Reads on into the batch until it is full or everything is read. What a dead process opened and never settled comes
    /// last, settled as interrupted.
    ///
    /// # Errors
    /// Something cannot be read now but perhaps later. What was read before stands.
    pub fn read(&mut self, batch: &mut Batch, observer: &dyn Observer) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let result = self.read_with(&mut buffer, batch, observer);
        self.buffer = buffer;
        result
    }

    fn read_with(&mut self, buffer: &mut Vec<u8>, batch: &mut Batch, observer: &dyn Observer) -> io::Result<()> {
        for index in 0..self.segments.len() {
            if self.segments[index].read < self.segments[index].length {
                self.read_segment(index, buffer, batch, observer)?;
            }
            if batch.entries.len() >= MAX_BATCH {
                return Ok(());
            }
        }
        if self.journal.is_none() { self.read_interrupted(batch, observer) } else { Ok(()) }
    }

    fn read_segment(&mut self, index: usize, buffer: &mut Vec<u8>, batch: &mut Batch, observer: &dyn Observer) -> io::Result<()> {
        let Some(file) = self.file(index)? else { return Ok(()) };
        let (from, length) = (self.segments[index].read, self.segments[index].length);
        let mut records = Records::new(&file, from, length, buffer);
        let mut broken = 0;
        let result = loop {
            if batch.entries.len() >= MAX_BATCH {
                break Ok(());
            }
            let record = match records.read() {
                Ok(Some(record)) => record,
                Ok(None) => {
                    // What is left is a torn tail: no whole record, never to be completed.
                    self.segments[index].read = length;
                    break Ok(());
                }
                Err(error) => break Err(self.unreadable(index, &error)),
            };
            let (segments, open) = (&mut self.segments, &mut self.open);
            match record.kind {
                Kind::Opened => {
                    let sequence = segments[index].name.sequence;
                    let at = record.at + frame::HEADER as u64 + record.id.len() as u64;
                    let place = Place { sequence, at, end: at + record.body.len() as u64 };
                    if let Some(earlier) = open.insert(record.id.into(), place) {
                        settle_in(segments, earlier, |segment| segment.open -= 1);
                    }
                    segments[index].open += 1;
                }
                Kind::Settled => match settled(&record, &segments[index], observer) {
                    Ok(entry) => {
                        if let Some(place) = open.remove(record.id) {
                            settle_in(segments, place, |segment| segment.closing += 1);
                        }
                        batch.entries.extend(entry);
                    }
                    // Its draft stays open: better an estimate, at the next start, than nothing.
                    Err(error) => {
                        log::error!("ledger entry in {} at byte {} cannot be read: {error}", segments[index].name, record.at);
                        broken += 1;
                    }
                },
                Kind::Foreign => broken += 1,
            }
            self.segments[index].read = records.offset();
        };
        let segment = &mut self.segments[index];
        segment.observed = segment.observed.max(segment.read);
        segment.is_damaged |= broken + records.holes() > 0;
        if segment.read > from {
            batch.positions.insert(segment.name.to_string(), segment.read.max(segment.stored_before));
        }
        if segment.is_left && segment.read == segment.length {
            segment.file = None;
        }
        result
    }

    /// Drafts that nothing settles any more. The observer has never seen them.
    fn read_interrupted(&mut self, batch: &mut Batch, observer: &dyn Observer) -> io::Result<()> {
        let mut left: Vec<(Box<[u8]>, Place)> = self.open.iter().map(|(id, place)| (id.clone(), *place)).collect();
        left.sort_by_key(|(_, place)| (place.sequence, place.at));
        for (id, place) in left.into_iter().take(MAX_BATCH - batch.entries.len()) {
            let Some(index) = self.segments.iter().position(|segment| segment.name.sequence == place.sequence) else { continue };
            let Some(file) = self.file(index)? else { continue };
            let mut draft = vec![0; (place.end - place.at) as usize];
            match file.read_exact_at(&mut draft, place.at) {
                Ok(()) => {}
                // Someone has cut the file since: that is told below.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => draft.clear(),
                Err(error) => return Err(self.unreadable(index, &error)),
            }
            let segment = &mut self.segments[index];
            match frame::decode(&draft) {
                Ok(draft) => {
                    let entry = draft.into_interrupted();
                    observer.settled(&entry);
                    batch.entries.push(entry);
                }
                Err(error) => {
                    log::error!("draft of a ledger entry in {} at byte {} cannot be read: {error}", segment.name, place.at);
                    segment.is_damaged = true;
                }
            }
            segment.closing += 1;
            self.open.remove(&id);
        }
        Ok(())
    }

    /// Shows the observer what is settled, however far storing has come.
    ///
    /// # Errors
    /// Something cannot be read now but perhaps later.
    pub fn look_ahead(&mut self, observer: &dyn Observer) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        for index in 0..self.segments.len() {
            let from = self.segments[index].observed.max(self.segments[index].read);
            let length = self.segments[index].length;
            if from >= length {
                continue;
            }
            let Some(file) = self.file(index)? else { continue };
            let mut records = Records::new(&file, from, length, &mut buffer);
            while let Some(record) = records.read()? {
                if record.kind == Kind::Settled
                    && let Ok(entry) = frame::decode(record.body)
                {
                    observer.settled(&entry);
                }
                self.segments[index].observed = records.offset();
            }
            self.segments[index].observed = length;
            if self.segments[index].is_left {
                self.segments[index].file = None;
            }
        }
        self.buffer = buffer;
        Ok(())
    }

    /// An entry that came by memory has settled what may have been opened here.
    pub fn settled_elsewhere(&mut self, id: &str) -> bool {
        let Some(place) = self.open.remove(id.as_bytes()) else { return false };
        settle_in(&mut self.segments, place, |segment| segment.closing += 1);
        true
    }

    /// What was read is stored. Says how many bytes that were.
    pub fn commit(&mut self) -> u64 {
        self.segments.iter_mut().map(Segment::commit).sum()
    }

    /// Takes away the segments nobody needs: left, stored to the end, nothing open. Gives their names.
    pub fn reclaim(&mut self) -> Vec<String> {
        let (dir, mut gone) = (self.instance.dir(), Vec::new());
        self.segments.retain_mut(|segment| {
            let goes = segment.is_left && segment.is_done() && segment.take_away(dir);
            if goes {
                gone.push(segment.name.to_string());
            }
            !goes
        });
        gone
    }

    /// How many segments were found damaged since the last call.
    pub fn take_damage(&mut self) -> u64 {
        self.segments.iter_mut().filter_map(|segment| segment.take_damage().then_some(())).count() as u64
    }

    /// Whether its writer is dead.
    pub fn is_dead(&self) -> bool {
        self.journal.is_none()
    }

    /// Whether nothing of it is on disk any more.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Whether everything in it is stored and settled.
    pub fn is_done(&self) -> bool {
        self.segments.iter().all(Segment::is_done)
    }

    /// Where the journal ends now: segment and offset.
    pub fn end(&self) -> Option<(u32, u64)> {
        self.segments.back().map(|segment| (segment.name.sequence, segment.length))
    }

    /// Whether everything up to that segment and offset is stored.
    pub fn has_stored(&self, (sequence, offset): (u32, u64)) -> bool {
        self.segments.iter().all(|segment| match segment.name.sequence.cmp(&sequence) {
            std::cmp::Ordering::Less => segment.stored == segment.length,
            std::cmp::Ordering::Equal => segment.stored >= offset,
            std::cmp::Ordering::Greater => true,
        })
    }

    /// The journal is at its end: nothing more will be written to its current segment.
    pub fn close(&mut self) {
        let Some(journal) = &self.journal else { return };
        journal.close();
        self.refresh();
        if let Some(last) = self.segments.back_mut() {
            last.is_left = true;
        }
    }

    fn file(&mut self, index: usize) -> io::Result<Option<Arc<File>>> {
        let segment = &mut self.segments[index];
        let file = segment.open_file(self.instance.dir())?;
        if file.is_none() {
            let sequence = segment.name.sequence;
            self.open.retain(|_, place| place.sequence != sequence);
        }
        Ok(file)
    }

    fn unreadable(&self, index: usize, error: &io::Error) -> io::Error {
        explain("read the journal segment", &self.segments[index].path(self.instance.dir()), error)
    }
}

/// The entry of a settled record, shown to the observer unless it has seen it. `None` if it was stored before.
fn settled(record: &Record<'_>, segment: &Segment, observer: &dyn Observer) -> postcard::Result<Option<Entry>> {
    if record.at < segment.stored_before {
        return Ok(None);
    }
    let entry = frame::decode(record.body)?;
    if record.at >= segment.observed {
        observer.settled(&entry);
    }
    Ok(Some(entry))
}

fn settle_in(segments: &mut VecDeque<Segment>, place: Place, change: impl FnOnce(&mut Segment)) {
    if let Some(segment) = segments.iter_mut().find(|segment| segment.name.sequence == place.sequence) {
        change(segment);
    }
}
