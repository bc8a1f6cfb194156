//! The `Ledger` actor on a thread of its own: when to look at the journals, how long to wait for a database that is away.
//!
//! What a look does is in [`reader`](super::reader). The thread has no other tenant and so may block. It is told *that* there
//! is something to read and never what: a flood of requests is one message a look.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, ActorContext, Addr, Arbiter, AsyncContext, Context, Handler, Message, MessageResult};

use super::backlog::{Backlog, Lag};
use super::instance::Instance;
use super::journal::Journal;
use super::reader::{Durability, Reader, Step};
use super::trail::BATCH;
use super::{EntrySink, Observer, SinkError};

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

/// How the ledger keeps its journals.
#[derive(Clone, Debug)]
pub struct Options {
    /// The journal directory. Made if it is missing; several processes may share it.
    pub dir: PathBuf,
    /// What settled entries outlive.
    pub durability: Durability,
    /// Bytes of journal that may wait to be stored. Past it entries wait in memory, and half of it raises the alarm.
    pub max_bytes: u64,
}

impl Options {
    /// The usual ones: entries outlive the process, and 4 GiB of them may wait.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), durability: Durability::Process, max_bytes: 4 << 30 }
    }
}

/// Starts the ledger on its own thread. It begins with what earlier processes left in the directory.
///
/// # Errors
/// The journal directory cannot be used; the text says what would help.
pub fn start(options: Options, sink: Box<dyn EntrySink>, observer: Arc<dyn Observer>) -> io::Result<LedgerHandle> {
    let instance = Arc::new(Instance::enter(&options.dir)?);
    let backlog = Arc::new(Backlog::new(options.max_bytes));
    let reader = Reader::new(Arc::clone(&instance), Arc::clone(&backlog), observer, options.durability);
    let addr = Ledger::start_in_arbiter(&Arbiter::new().handle(), move |ctx| {
        // Told from other threads: a bound on the mailbox would only make them wait.
        ctx.set_mailbox_capacity(0);
        Ledger { reader, sink, waking: false, failure: None, complained_unreadable: None, look_again_at: None }
    });
    let told = addr.downgrade();
    backlog.on_dirty(move || {
        if let Some(ledger) = told.upgrade() {
            ledger.do_send(Journaled);
        }
    });
    Ok(LedgerHandle { addr, instance, backlog, durability: options.durability, keeps: true })
}

/// What the rest of the process holds of the ledger.
#[derive(Clone)]
pub struct LedgerHandle {
    addr: Addr<Ledger>,
    instance: Arc<Instance>,
    backlog: Arc<Backlog>,
    durability: Durability,
    keeps: bool,
}

impl LedgerHandle {
    /// The same ledger, whose journals from now on forget what they are told ([`Journal::forgetful`]): for measurements only.
    #[doc(hidden)]
    #[must_use]
    pub fn forgetful(self) -> Self {
        Self { keeps: false, ..self }
    }

    /// Begins a worker's journal.
    ///
    /// # Errors
    /// Its first segment cannot be made.
    pub fn journal(&self, worker: usize) -> io::Result<Arc<Journal>> {
        if !self.keeps {
            return Journal::forgetful(&self.instance, &self.backlog, worker);
        }
        let journal = Journal::create(&self.instance, &self.backlog, worker, self.durability == Durability::Power)?;
        self.addr.do_send(Joined(Arc::clone(&journal)));
        Ok(journal)
    }

    /// Waits until everything settled before the call is stored, at most `within` (and the time the sink takes for one batch).
    ///
    /// # Errors
    /// Why it is not. It is in the journals all the same and will be stored.
    pub async fn flush(&self, within: Duration) -> Result<Flushed, FlushError> {
        self.addr.send(Flush { within }).await.unwrap_or(Err(FlushError::Gone))
    }

    /// What waits to be stored. Read from counts, so it answers at once even while the ledger's thread waits for a database.
    pub fn lag(&self) -> Lag {
        self.backlog.lag()
    }

    /// Requests that are opened and not yet settled.
    pub fn open_settlements(&self) -> usize {
        self.backlog.open()
    }

    /// Stores what is settled, at most `within`, and ends the ledger. To be called when no settlement is open any more;
    /// what is settled later is in the journal and stored by the next process.
    ///
    /// # Errors
    /// As [`flush`](Self::flush). The ledger has ended all the same.
    pub async fn stop(&self, within: Duration) -> Result<Flushed, FlushError> {
        self.addr.send(Stop { within }).await.unwrap_or(Err(FlushError::Gone))
    }
}

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
                Step::Stored(BATCH..) => {}
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
