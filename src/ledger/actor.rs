//! The `Ledger` actor on a thread of its own: when to look at the journals, how long to wait for a database that is away.
//!
//! What a look does is in [`reader`](super::reader). The thread has no other tenant and so may block. It is told *that* there
//! is something to read and never what: a flood of requests is one message a look.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, ActorContext, Arbiter, AsyncContext, Context, Handler, Message, MessageResult};

use super::journal::Journal;
use super::reader::{Reader, Step};
use super::sink::{EntrySink, MAX_BATCH, SinkError};

/// How long entries are gathered before they are stored.
const GATHER: Duration = Duration::from_millis(50);
/// The first pause after the sink has failed; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause after the sink has failed.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The least time between two lines in the log about a sink that fails.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);
/// After so many batches in a row other messages get their turn.
const BATCHES_A_TURN: usize = 20;

/// There is something to read in a journal.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Journaled;

/// There is another journal to read.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Joined(pub Arc<Journal>);

/// Store everything settled before this.
#[derive(Message)]
#[rtype(result = "Result<Flushed, FlushError>")]
pub struct Flush {
    /// How long a failing sink is tried again.
    pub within: Duration,
}

/// Store everything and end.
#[derive(Message)]
#[rtype(result = "Result<Flushed, FlushError>")]
pub struct Stop {
    /// How long a failing sink is tried again.
    pub within: Duration,
}

/// Everything settled before the [`Flush`] is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flushed {
    /// Entries stored since the process started.
    pub rows: u64,
}

/// Why not everything is stored yet.
#[derive(Debug, thiserror::Error)]
pub enum FlushError {
    /// The sink fails.
    #[error("entries wait in the journal because they cannot be stored: {0}")]
    Sink(#[from] SinkError),
    /// The ledger's thread has ended.
    #[error("the ledger has stopped")]
    Gone,
}

/// The only reader of the journals and the only writer of entries.
pub struct Ledger {
    reader: Reader,
    sink: Box<dyn EntrySink>,
    /// Whether a look is due already.
    waking: bool,
    /// Set while the sink fails.
    failure: Option<Failure>,
    /// When it was last said that something in a journal cannot be read.
    complained_unreadable: Option<Instant>,
    /// When that is tried again.
    look_again_at: Option<Instant>,
}

#[derive(Clone, Copy)]
struct Failure {
    pause: Duration,
    retry_at: Instant,
    complained: Instant,
}

/// Time for a look.
#[derive(Message)]
#[rtype(result = "()")]
struct Look;

impl Ledger {
    /// Creates the actor; [`start`](super::handle::start) runs it on its own thread.
    pub fn new(reader: Reader, sink: Box<dyn EntrySink>) -> Self {
        Self { reader, sink, waking: false, failure: None, complained_unreadable: None, look_again_at: None }
    }

    fn look_in(&mut self, ctx: &mut Context<Self>, pause: Duration) {
        self.waking = true;
        ctx.notify_later(Look, pause);
    }

    /// Makes sure that there is a look in a while, besides those for what is new.
    fn look_again(&mut self, ctx: &mut Context<Self>) {
        let now = Instant::now();
        if self.look_again_at.is_none_or(|at| at <= now) {
            self.look_again_at = Some(now + LONGEST_PAUSE);
            ctx.notify_later(Look, LONGEST_PAUSE);
        }
    }

    fn step(&mut self) -> Step {
        let step = self.reader.step(&mut *self.sink);
        match &step {
            Step::Failed(error) => self.note_failure(error),
            Step::Stored(_) | Step::Idle | Step::Unreadable(_) => {
                if self.failure.take().is_some() {
                    log::info!("ledger entries are stored again");
                }
            }
        }
        if let Step::Unreadable(error) = &step
            && self.complained_unreadable.is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY)
        {
            self.complained_unreadable = Some(Instant::now());
            log::error!("some ledger entries wait in the journal: {error}");
        }
        step
    }

    fn note_failure(&mut self, error: &SinkError) {
        let now = Instant::now();
        let (pause, complained) = match self.failure {
            Some(last) => ((last.pause * 2).min(LONGEST_PAUSE), last.complained),
            None => (FIRST_PAUSE, now),
        };
        let is_first = self.failure.is_none();
        let is_due = is_first || now.duration_since(complained) >= COMPLAIN_EVERY;
        if is_due {
            log::error!("ledger entries wait in the journal because they cannot be stored (requests go on): {error}");
        }
        self.failure = Some(Failure { pause, retry_at: now + pause, complained: if is_due { now } else { complained } });
    }

    /// Steps until what is settled now is stored. Blocks: that is what the thread is for.
    fn flush(&mut self, within: Duration) -> Result<Flushed, FlushError> {
        let deadline = Instant::now() + within;
        let mark = self.reader.mark();
        loop {
            match self.step() {
                Step::Failed(error) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(error.into());
                    }
                    std::thread::sleep(self.failure.map_or(FIRST_PAUSE, |failure| failure.pause).min(left));
                }
                Step::Idle | Step::Unreadable(_) => return Ok(self.flushed()),
                Step::Stored(_) if self.reader.has_stored(&mark) => return Ok(self.flushed()),
                Step::Stored(_) => {}
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
        self.look_in(ctx, Duration::ZERO);
    }
}

impl Handler<Journaled> for Ledger {
    type Result = ();

    fn handle(&mut self, _: Journaled, ctx: &mut Context<Self>) {
        if !self.waking {
            self.look_in(ctx, GATHER);
        }
    }
}

impl Handler<Joined> for Ledger {
    type Result = ();

    fn handle(&mut self, Joined(journal): Joined, _: &mut Context<Self>) {
        self.reader.join(journal);
    }
}

impl Handler<Look> for Ledger {
    type Result = ();

    fn handle(&mut self, _: Look, ctx: &mut Context<Self>) {
        self.waking = false;
        if let Some(failure) = self.failure {
            let left = failure.retry_at.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                // The database is away; the metrics go on.
                self.reader.observe();
                return self.look_in(ctx, left.min(GATHER * 20));
            }
        }
        for _ in 0..BATCHES_A_TURN {
            match self.step() {
                Step::Stored(MAX_BATCH..) => {}
                // It took all there was: what has come since is gathered, or each transaction would be as short as the last.
                Step::Stored(_) => return self.look_in(ctx, GATHER),
                Step::Idle => return,
                Step::Unreadable(_) => return self.look_again(ctx),
                Step::Failed(_) => return self.look_in(ctx, FIRST_PAUSE),
            }
        }
        self.look_in(ctx, Duration::ZERO);
    }
}

impl Handler<Flush> for Ledger {
    type Result = MessageResult<Flush>;

    fn handle(&mut self, Flush { within }: Flush, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.flush(within))
    }
}

impl Handler<Stop> for Ledger {
    type Result = MessageResult<Stop>;

    fn handle(&mut self, Stop { within }: Stop, ctx: &mut Context<Self>) -> Self::Result {
        let flushed = self.flush(within);
        if flushed.is_ok() {
            self.reader.close(&mut *self.sink);
        }
        ctx.stop();
        Arbiter::current().stop();
        MessageResult(flushed)
    }
}
