//! One worker's append-only journal, in segment files.
//!
//! Records are gathered in memory. The worker writes them with one `write(2)` for all requests that
//! have something to record at that moment, without fsync: what is written survives a killed
//! process, not a power loss. Reading, syncing and deleting are the reader's. No failure here fails
//! a request: records that cannot be written go to the [`Overflow`].

use std::fs::File;
use std::future::poll_fn;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use super::frame::{self, Record, RecordKind};
use super::instance::Instance;
use super::status::JournalStatus;

/// Size in bytes at which a segment is followed by a new one.
pub const SEGMENT_BYTES: u64 = 16 << 20;

/// Least time between two log lines about failed writes.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Number of gathered bytes at which they are written; a larger buffer is shrunk to this size
/// afterwards.
const BUFFER: usize = 64 << 10;

/// Receives the records that could not be written.
pub trait Overflow: Send + Sync + 'static {
    /// Called with each record of a failed write, while the writer is locked.
    fn keep(&self, record: Record<'_>);
}

/// Settings for creating segments and waking the reader.
#[derive(Clone, Copy, Debug)]
pub struct WriterOptions {
    /// Size in bytes at which a segment is followed by a new one.
    pub segment_bytes: u64,
    /// Whether every write wakes the reader, and not only one with an urgent record.
    pub always_wakes: bool,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self { segment_bytes: SEGMENT_BYTES, always_wakes: false }
    }
}

/// Writer of one worker's journal.
pub struct JournalWriter {
    instance: Arc<Instance>,
    status: Arc<JournalStatus>,
    overflow: Arc<dyn Overflow>,
    worker: usize,
    options: WriterOptions,
    state: Mutex<WriterState>,
}

struct WriterState {
    head: WriteHead,
    /// Segments that were completed since the last poll, in order.
    sealed: Vec<WriteHead>,
    /// Nothing may be appended to the current segment: it may end in half a record, or is closed.
    is_torn: bool,
    /// Records to be written, without gaps.
    buffer: Vec<u8>,
    /// Whether the buffer holds a record that should be stored soon.
    has_urgent: bool,
    logged_at: Option<Instant>,
}

/// Writes what has been gathered even if the future that waits for it is dropped.
struct WritesOnDrop<'a>(&'a JournalWriter);

impl Drop for WritesOnDrop<'_> {
    fn drop(&mut self) {
        self.0.write();
    }
}

/// A segment and how far it has been written.
#[derive(Clone)]
pub struct WriteHead {
    /// Number of the segment among those of the worker.
    pub sequence: u32,
    /// Open for reading and appending.
    pub file: Arc<File>,
    /// Length in bytes of the complete records in it.
    pub length: u64,
}

impl JournalWriter {
    /// Starts a worker's journal with an empty segment.
    ///
    /// # Errors
    /// The segment file cannot be created.
    pub fn create(
        instance: &Arc<Instance>,
        status: &Arc<JournalStatus>,
        overflow: Arc<dyn Overflow>,
        worker: usize,
        options: WriterOptions,
    ) -> io::Result<Arc<Self>> {
        let head = new_segment(instance, worker, 1)?;
        let state = WriterState { head, sealed: Vec::new(), is_torn: false, buffer: Vec::new(), has_urgent: false, logged_at: None };
        let (instance, status) = (Arc::clone(instance), Arc::clone(status));
        Ok(Arc::new(Self { instance, status, overflow, worker, options, state: Mutex::new(state) }))
    }

    /// Returns the number of the worker that writes it.
    pub fn worker(&self) -> usize {
        self.worker
    }

    /// Gathers a record. It survives a killed process once it is [`written`](Self::written). An
    /// urgent record wakes the reader when it is written. `write_payload` appends the payload.
    ///
    /// # Errors
    /// The record cannot be encoded or is too long; counted and logged.
    pub fn gather(
        &self,
        kind: RecordKind,
        id: &[u8],
        is_urgent: bool,
        write_payload: impl FnOnce(&mut Vec<u8>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut state = self.state();
        if let Err(error) = frame::encode(kind, id, &mut state.buffer, write_payload) {
            self.log_rate_limited(&mut state, &error);
            return Err(error);
        }
        state.has_urgent |= is_urgent;
        if state.buffer.len() > BUFFER {
            drop(state);
            self.write();
        }
        Ok(())
    }

    /// Waits until what has been gathered is written. With `others` under way, the other ready
    /// tasks of this worker run first, so that the records of many requests share one write. If the
    /// future is dropped, they are written all the same.
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
        let wakes = self.write_gathered(&mut self.state());
        if wakes {
            self.status.request_poll();
        }
    }

    /// Writes the buffer; returns whether the reader should be woken.
    fn write_gathered(&self, state: &mut WriterState) -> bool {
        if state.buffer.is_empty() {
            return false;
        }
        let wakes = std::mem::take(&mut state.has_urgent) || self.options.always_wakes;
        if let Err(error) = self.append(state) {
            self.log_rate_limited(state, &error);
            frame::records_in(&state.buffer).for_each(|record| self.overflow.keep(record));
        }
        state.buffer.clear();
        state.buffer.shrink_to(BUFFER);
        wakes
    }

    fn log_rate_limited(&self, state: &mut WriterState, error: &io::Error) {
        self.status.count_write_error();
        if state.logged_at.is_none_or(|at| at.elapsed() >= LOG_INTERVAL) {
            state.logged_at = Some(Instant::now());
            let dir = self.instance.dir().display();
            log::error!("cannot write to the journal in {dir}; records are kept in memory and are lost if the process is killed: {error}");
        }
    }

    fn append(&self, state: &mut WriterState) -> io::Result<()> {
        let length = state.buffer.len() as u64;
        if !self.status.has_capacity(length) {
            let max = self.status.max_bytes();
            let reason = format!("{max} bytes of it are not stored yet, the configured maximum; make the database reachable");
            return Err(io::Error::new(io::ErrorKind::StorageFull, reason));
        }
        let is_full = state.head.length > 0 && state.head.length + length > self.options.segment_bytes;
        if state.is_torn || is_full {
            match self.rotate(state) {
                Err(error) if state.is_torn => return Err(error),
                // A segment that is too long is better than a record that is not written.
                Err(_) | Ok(()) => {}
            }
        }
        if let Err(error) = (&*state.head.file).write_all(&state.buffer) {
            // The segment may now end in half a record. If that cannot be truncated, a new segment
            // is needed.
            state.is_torn = state.head.file.set_len(state.head.length).is_err();
            return Err(error);
        }
        state.head.length += length;
        self.status.add_unstored(length);
        Ok(())
    }

    fn rotate(&self, state: &mut WriterState) -> io::Result<()> {
        let next = new_segment(&self.instance, self.worker, state.head.sequence + 1)?;
        state.sealed.push(std::mem::replace(&mut state.head, next));
        state.is_torn = false;
        Ok(())
    }

    /// Writes what has been gathered. Returns the segments that were completed since the last call,
    /// and the current one.
    pub(super) fn poll(&self) -> (Vec<WriteHead>, WriteHead) {
        let mut state = self.state();
        self.write_gathered(&mut state);
        (std::mem::take(&mut state.sealed), state.head.clone())
    }

    /// Completes the current segment. Later records go to a new one.
    pub(super) fn close(&self) {
        let mut state = self.state();
        self.write_gathered(&mut state);
        state.is_torn = true;
    }

    fn state(&self) -> MutexGuard<'_, WriterState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes every later write to the current segment fail.
    #[cfg(test)]
    pub(crate) fn break_disk(&self) {
        let mut state = self.state();
        let name = self.instance.segment(self.worker, state.head.sequence).to_string();
        state.head.file = Arc::new(File::open(self.instance.dir().join(name)).unwrap());
    }
}

/// Creates the segment of that sequence number, or of the first free one after it: a worker that
/// was replaced has left segments behind.
fn new_segment(instance: &Instance, worker: usize, mut sequence: u32) -> io::Result<WriteHead> {
    loop {
        match instance.create_segment(&instance.segment(worker, sequence)) {
            Ok(file) => return Ok(WriteHead { sequence, file: Arc::new(file), length: 0 }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => sequence += 1,
            Err(error) => return Err(error),
        }
    }
}
