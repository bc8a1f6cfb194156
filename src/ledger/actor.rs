//! The `Ledger` actor on its own thread: when to read the journals, and how long to wait for an
//! unavailable database.
//!
//! The work of one step is in [`reader`](super::reader). Nothing else runs on the thread, so it may
//! block. It learns *that* there is something to read and never what: any number of requests causes
//! one message per poll.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, ActorContext, Arbiter, AsyncContext, Context, Handler, Message, MessageResult};

use super::reader::{EntryReader, StepResult};
use super::sink::{EntrySink, MAX_BATCH, SinkError};
use crate::journal::writer::JournalWriter;

/// Time for which entries are gathered before they are stored.
const GATHER: Duration = Duration::from_millis(50);
/// First pause after the sink has failed; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause after the sink has failed, and the interval at which an unreadable journal is
/// retried.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Least time between two log lines about a failing sink.
const LOG_INTERVAL: Duration = Duration::from_secs(60);
/// Longest time between two calls of the observer while the sink fails.
const OBSERVE_EVERY: Duration = Duration::from_secs(1);
/// Number of batches in a row after which other messages are handled.
const BATCHES_PER_POLL: usize = 20;

/// There is something to read in a journal.
#[derive(Message)]
#[rtype(result = "()")]
pub struct JournalWritten;

/// There is another journal to read.
#[derive(Message)]
#[rtype(result = "()")]
pub struct AddJournal(pub Arc<JournalWriter>);

/// Store everything settled before this message.
#[derive(Message)]
#[rtype(result = "Result<Flushed, FlushError>")]
pub struct FlushLedger {
    /// Time for which a failing sink is retried.
    pub within: Duration,
}

/// Store everything and end.
#[derive(Message)]
#[rtype(result = "Result<Flushed, FlushError>")]
pub struct StopLedger {
    /// Time for which a failing sink is retried.
    pub within: Duration,
}

/// Everything settled before the [`FlushLedger`] message is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flushed {
    /// Entries stored since the process started.
    pub rows: u64,
}

/// Reason why not everything is stored yet.
#[derive(Debug, thiserror::Error)]
pub enum FlushError {
    /// The sink fails.
    #[error("entries wait in the journal because they cannot be stored: {0}")]
    Sink(#[from] SinkError),
    /// The ledger's thread has ended.
    #[error("the ledger has stopped")]
    Stopped,
}

/// The only reader of the journals and the only writer of entries.
pub struct Ledger {
    reader: EntryReader,
    sink: Box<dyn EntrySink>,
    /// Whether a poll is scheduled.
    is_scheduled: bool,
    /// Set while the sink fails.
    failure: Option<SinkFailure>,
    /// Time of the last log line about an unreadable journal.
    unreadable_logged_at: Option<Instant>,
    /// Time at which an unreadable journal is retried.
    unreadable_retry_at: Option<Instant>,
}

#[derive(Clone, Copy)]
struct SinkFailure {
    pause: Duration,
    retry_at: Instant,
    logged_at: Instant,
}

/// A scheduled poll of the journals is due.
#[derive(Message)]
#[rtype(result = "()")]
struct Poll;

impl Ledger {
    /// Creates the actor; [`start`](super::handle::start) runs it on its own thread.
    pub fn new(reader: EntryReader, sink: Box<dyn EntrySink>) -> Self {
        Self { reader, sink, is_scheduled: false, failure: None, unreadable_logged_at: None, unreadable_retry_at: None }
    }

    fn poll_in(&mut self, ctx: &mut Context<Self>, pause: Duration) {
        self.is_scheduled = true;
        ctx.notify_later(Poll, pause);
    }

    /// Schedules a retry of an unreadable journal, besides the polls for new records.
    fn retry_unreadable(&mut self, ctx: &mut Context<Self>) {
        let now = Instant::now();
        if self.unreadable_retry_at.is_none_or(|at| at <= now) {
            self.unreadable_retry_at = Some(now + LONGEST_PAUSE);
            ctx.notify_later(Poll, LONGEST_PAUSE);
        }
    }

    fn step(&mut self) -> StepResult {
        let step = self.reader.step(&mut *self.sink);
        match &step {
            StepResult::Failed(error) => self.note_failure(error),
            StepResult::Stored(_) | StepResult::Idle | StepResult::Unreadable(_) => {
                if self.failure.take().is_some() {
                    log::info!("ledger entries are stored again");
                }
            }
        }
        if let StepResult::Unreadable(error) = &step
            && self.unreadable_logged_at.is_none_or(|at| at.elapsed() >= LOG_INTERVAL)
        {
            self.unreadable_logged_at = Some(Instant::now());
            log::error!("some ledger entries wait in the journal: {error}");
        }
        step
    }

    fn note_failure(&mut self, error: &SinkError) {
        let now = Instant::now();
        let (pause, logged_at) = match self.failure {
            Some(last) => ((last.pause * 2).min(LONGEST_PAUSE), last.logged_at),
            None => (FIRST_PAUSE, now),
        };
        let is_first = self.failure.is_none();
        let is_due = is_first || now.duration_since(logged_at) >= LOG_INTERVAL;
        if is_due {
            log::error!("ledger entries wait in the journal because they cannot be stored (requests continue): {error}");
        }
        self.failure = Some(SinkFailure { pause, retry_at: now + pause, logged_at: if is_due { now } else { logged_at } });
    }

    /// Steps until what is settled now is stored. Blocks the thread, which has nothing else to do.
    fn flush(&mut self, within: Duration) -> Result<Flushed, FlushError> {
        let deadline = Instant::now() + within;
        let mark = self.reader.mark();
        loop {
            match self.step() {
                StepResult::Failed(error) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(error.into());
                    }
                    std::thread::sleep(self.failure.map_or(FIRST_PAUSE, |failure| failure.pause).min(left));
                }
                StepResult::Idle | StepResult::Unreadable(_) => return Ok(self.flushed()),
                StepResult::Stored(_) if self.reader.has_stored(&mark) => return Ok(self.flushed()),
                StepResult::Stored(_) => {}
            }
        }
    }

    fn flushed(&self) -> Flushed {
        Flushed { rows: self.reader.rows() }
    }
}

impl Actor for Ledger {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.poll_in(ctx, Duration::ZERO);
    }
}

impl Handler<JournalWritten> for Ledger {
    type Result = ();

    fn handle(&mut self, _: JournalWritten, ctx: &mut Context<Self>) {
        if !self.is_scheduled {
            self.poll_in(ctx, GATHER);
        }
    }
}

impl Handler<AddJournal> for Ledger {
    type Result = ();

    fn handle(&mut self, AddJournal(writer): AddJournal, _: &mut Context<Self>) {
        self.reader.add(writer);
    }
}

impl Handler<Poll> for Ledger {
    type Result = ();

    fn handle(&mut self, _: Poll, ctx: &mut Context<Self>) {
        self.is_scheduled = false;
        if let Some(failure) = self.failure {
            let left = failure.retry_at.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                // The database is unavailable; metrics continue.
                self.reader.observe();
                return self.poll_in(ctx, left.min(OBSERVE_EVERY));
            }
        }
        for _ in 0..BATCHES_PER_POLL {
            match self.step() {
                StepResult::Stored(MAX_BATCH..) => {}
                // All is stored. Records written since are gathered first; otherwise each
                // transaction would be as short as the last one.
                StepResult::Stored(_) => return self.poll_in(ctx, GATHER),
                StepResult::Idle => return,
                StepResult::Unreadable(_) => return self.retry_unreadable(ctx),
                StepResult::Failed(_) => return self.poll_in(ctx, FIRST_PAUSE),
            }
        }
        self.poll_in(ctx, Duration::ZERO);
    }
}

impl Handler<FlushLedger> for Ledger {
    type Result = MessageResult<FlushLedger>;

    fn handle(&mut self, FlushLedger { within }: FlushLedger, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.flush(within))
    }
}

impl Handler<StopLedger> for Ledger {
    type Result = MessageResult<StopLedger>;

    fn handle(&mut self, StopLedger { within }: StopLedger, ctx: &mut Context<Self>) -> Self::Result {
        let flushed = self.flush(within);
        if flushed.is_ok() {
            self.reader.close(&mut *self.sink);
        }
        ctx.stop();
        Arbiter::current().stop();
        MessageResult(flushed)
    }
}
