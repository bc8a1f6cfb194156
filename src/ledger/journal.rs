//! One worker's append-only record of what it opened and settled, in segment files.
//!
//! Records are gathered in memory and written by the worker with one `write(2)` for all that its requests had to say at that
//! moment, without fsync: what is written outlives the process, not the machine. Reading, syncing and deleting are the ledger
//! thread's. Nothing here fails a request: what the disk does not take is kept in memory.

use std::fs::File;
use std::future::poll_fn;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use super::backlog::Backlog;
use super::entry::Entry;
use super::frame::{self, Kind};
use super::instance::Instance;

/// A segment that has grown to this is followed by a new one.
pub const SEGMENT_BYTES: u64 = 16 << 20;

/// The least time between two complaints about the disk.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// As much is gathered before it is written; a buffer that was made larger is given back.
const BUFFER: usize = 64 << 10;

/// One worker's journal.
pub struct Journal {
    instance: Arc<Instance>,
    backlog: Arc<Backlog>,
    worker: usize,
    segment_bytes: u64,
    wake_on_open: bool,
    /// Whether it keeps what it is told.
    keeps: bool,
    head: Mutex<Head>,
}

/// What the journal writes to.
struct Head {
    current: Tip,
    /// Segments that were left since the reader last asked, in order.
    left: Vec<Tip>,
    /// Nothing may follow in the current segment: it may end in half a record, or is closed.
    torn: bool,
    /// Records that are to be written, one after the other.
    buffer: Vec<u8>,
    gathered: Gathered,
    complained: Option<Instant>,
}

/// How many records wait to be written.
#[derive(Clone, Copy, Default)]
struct Gathered {
    opened: u64,
    settled: u64,
}

/// What has been gathered is written whatever becomes of who waits for it.
struct WritesOnDrop<'a>(&'a Journal);

impl Drop for WritesOnDrop<'_> {
    fn drop(&mut self) {
        self.0.write();
    }
}

/// A segment and how far it has been written.
#[derive(Clone)]
pub struct Tip {
    /// Which of the worker's segments.
    pub sequence: u32,
    /// Open for reading and appending.
    pub file: Arc<File>,
    /// Bytes of whole records in it.
    pub length: u64,
}

impl Journal {
    /// Begins a worker's journal with a first, empty segment. With `wake_on_open` the ledger's thread is told of opened
    /// records too, and not only of settled ones.
    ///
    /// # Errors
    /// The segment file cannot be made.
    pub fn create(instance: &Arc<Instance>, backlog: &Arc<Backlog>, worker: usize, wake_on_open: bool) -> io::Result<Arc<Self>> {
        Self::with_segments_of(SEGMENT_BYTES, instance, backlog, worker, wake_on_open)
    }

    /// As [`create`](Self::create), with another size of segments.
    ///
    /// # Errors
    /// The segment file cannot be made.
    pub fn with_segments_of(
        segment_bytes: u64,
        instance: &Arc<Instance>,
        backlog: &Arc<Backlog>,
        worker: usize,
        wake_on_open: bool,
    ) -> io::Result<Arc<Self>> {
        let current = new_segment(instance, worker, 1)?;
        let head = Head { current, left: Vec::new(), torn: false, buffer: Vec::new(), gathered: Gathered::default(), complained: None };
        let (instance, backlog) = (Arc::clone(instance), Arc::clone(backlog));
        Ok(Arc::new(Self { instance, backlog, worker, segment_bytes, wake_on_open, keeps: true, head: Mutex::new(head) }))
    }

    /// A journal that forgets what it is told, whose worker's requests leave no entry: to measure what they cost without a
    /// ledger (`benches/calls.rs`), and for nothing else.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    #[doc(hidden)]
    pub fn forgetful(instance: &Arc<Instance>, backlog: &Arc<Backlog>, worker: usize) -> io::Result<Arc<Self>> {
        let journal = Self::create(instance, backlog, worker, false)?;
        Ok(Arc::new(Self { keeps: false, ..Arc::into_inner(journal).ok_or(io::ErrorKind::Other)? }))
    }

    /// Which worker writes it.
    pub fn worker(&self) -> usize {
        self.worker
    }

    /// The counts it feeds.
    pub fn backlog(&self) -> &Arc<Backlog> {
        &self.backlog
    }

    /// Gathers that an entry is about to reach an upstream, or is so with a changed draft. It outlives the process once it
    /// is [`written`](Self::written). Where the disk takes nothing the request goes on, and this entry alone would not outlive a
    /// kill.
    pub fn open(&self, draft: &Entry) {
        self.gather(Kind::Opened, draft);
    }

    /// Gathers a final entry. Where the disk takes nothing, [`write`](Self::write) keeps it in memory for the ledger's thread.
    pub fn settle(&self, entry: &Entry) {
        self.gather(Kind::Settled, entry);
    }

    /// Waits until what has been gathered is written. If `others` are under way, whatever else is ready on this worker has its
    /// turn first, so that the records of many requests leave in one write; dropped under way, it writes all the same.
    pub async fn written(&self, others: bool) {
        let _writes = WritesOnDrop(self);
        let mut has_yielded = !others;
        poll_fn(|cx| {
            if std::mem::replace(&mut has_yielded, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// Writes what has been gathered.
    pub fn write(&self) {
        let gathered = self.write_gathered(&mut self.head());
        if gathered.settled > 0 || (gathered.opened > 0 && self.wake_on_open) {
            self.backlog.touch();
        }
    }

    fn gather(&self, kind: Kind, entry: &Entry) {
        if !self.keeps {
            return;
        }
        let mut head = self.head();
        if let Err(error) = frame::encode(kind, entry, &mut head.buffer) {
            self.complain(&mut head, &error);
            drop(head);
            if kind == Kind::Settled {
                self.keep(entry.clone());
                self.backlog.touch();
            }
            return;
        }
        match kind {
            Kind::Settled => head.gathered.settled += 1,
            Kind::Opened | Kind::Foreign => head.gathered.opened += 1,
        }
        if head.buffer.len() > BUFFER {
            drop(head);
            self.write();
        }
    }

    fn write_gathered(&self, head: &mut Head) -> Gathered {
        let gathered = std::mem::take(&mut head.gathered);
        if head.buffer.is_empty() {
            return gathered;
        }
        match self.append(head) {
            Ok(()) => self.backlog.settled(gathered.settled),
            Err(error) => {
                self.complain(head, &error);
                frame::settled_in(&head.buffer).for_each(|entry| self.keep(entry));
            }
        }
        head.buffer.clear();
        head.buffer.shrink_to(BUFFER);
        gathered
    }

    fn keep(&self, entry: Entry) {
        if self.backlog.keep(entry) {
            self.backlog.settled(1);
        } else {
            log::error!("a ledger entry was lost, there is no room for it on disk nor in memory: make room on the disk of the journal");
        }
    }

    fn complain(&self, head: &mut Head, error: &io::Error) {
        self.backlog.write_failed();
        if head.complained.is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY) {
            head.complained = Some(Instant::now());
            log::error!("the ledger's journal in {} is not written, entries wait in memory: {error}", self.instance.dir().display());
        }
    }

    fn append(&self, head: &mut Head) -> io::Result<()> {
        let length = head.buffer.len() as u64;
        if !self.backlog.has_room(length) {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "as much waits in it as may: see that the database can be reached"));
        }
        if head.torn || (head.current.length > 0 && head.current.length + length > self.segment_bytes) {
            match self.turn_over(head) {
                Err(error) if head.torn => return Err(error),
                // A segment that is too long is better than an entry that is not written.
                Err(_) | Ok(()) => {}
            }
        }
        if let Err(error) = (&*head.current.file).write_all(&head.buffer) {
            // Half a record may stand there now. If it cannot be cut off, what follows goes into a new segment.
            head.torn = head.current.file.set_len(head.current.length).is_err();
            return Err(error);
        }
        head.current.length += length;
        self.backlog.grew(length);
        Ok(())
    }

    fn turn_over(&self, head: &mut Head) -> io::Result<()> {
        let next = new_segment(&self.instance, self.worker, head.current.sequence + 1)?;
        head.left.push(std::mem::replace(&mut head.current, next));
        head.torn = false;
        Ok(())
    }

    /// The segments that were left since the last call, and the current one, with all that has been gathered.
    pub(super) fn look(&self) -> (Vec<Tip>, Tip) {
        let mut head = self.head();
        self.write_gathered(&mut head);
        (std::mem::take(&mut head.left), head.current.clone())
    }

    /// Writes nothing more to the current segment. What may come all the same goes into a new one.
    pub(super) fn close(&self) {
        let mut head = self.head();
        self.write_gathered(&mut head);
        head.torn = true;
    }

    fn head(&self) -> MutexGuard<'_, Head> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on nothing can be written to the current segment.
    #[cfg(test)]
    pub(super) fn break_disk(&self) {
        let mut head = self.head();
        let name = self.instance.segment(self.worker, head.current.sequence).to_string();
        head.current.file = Arc::new(File::open(self.instance.dir().join(name)).unwrap());
    }
}

/// Makes the segment of that sequence number, or of the first one after it that is free: a worker that was replaced has
/// left its own behind.
fn new_segment(instance: &Instance, worker: usize, mut sequence: u32) -> io::Result<Tip> {
    loop {
        match instance.create(&instance.segment(worker, sequence)) {
            Ok(file) => return Ok(Tip { sequence, file: Arc::new(file), length: 0 }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => sequence += 1,
            Err(error) => return Err(error),
        }
    }
}
