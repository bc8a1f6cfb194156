//! Options, start and handle of the ledger: the part of it that the rest of the process holds.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, Arbiter};

use super::actor::{Flush, FlushError, Flushed, Joined, Journaled, Ledger, Stop};
use super::backlog::{Backlog, Lag};
use super::instance::Instance;
use super::journal::Journal;
use super::observer::Observer;
use super::reader::Reader;
use super::sink::EntrySink;
use crate::journal::sync_policy::SyncPolicy;

/// How the ledger keeps its journals.
#[derive(Clone, Debug)]
pub struct LedgerOptions {
    /// The journal directory. Made if it is missing; several processes may share it.
    pub dir: PathBuf,
    /// When journals are synced to the disk.
    pub sync: SyncPolicy,
    /// Bytes of journal that may wait to be stored. Past it entries wait in memory, and half of it raises the alarm.
    pub max_bytes: u64,
}

impl LedgerOptions {
    /// The usual ones: entries outlive the process, and 4 GiB of them may wait.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), sync: SyncPolicy::Never, max_bytes: 4 << 30 }
    }
}

/// Starts the ledger on its own thread. It begins with what earlier processes left in the directory.
///
/// # Errors
/// The journal directory cannot be used; the text says what would help.
pub fn start(options: LedgerOptions, sink: Box<dyn EntrySink>, observer: Arc<dyn Observer>) -> io::Result<LedgerHandle> {
    let instance = Arc::new(Instance::enter(&options.dir)?);
    let backlog = Arc::new(Backlog::new(options.max_bytes));
    let reader = Reader::new(Arc::clone(&instance), Arc::clone(&backlog), observer, options.sync);
    let addr = Ledger::start_in_arbiter(&Arbiter::new().handle(), move |ctx| {
        // Told from other threads: a bound on the mailbox would only make them wait.
        ctx.set_mailbox_capacity(0);
        Ledger::new(reader, sink)
    });
    let told = addr.downgrade();
    backlog.on_dirty(move || {
        if let Some(ledger) = told.upgrade() {
            ledger.do_send(Journaled);
        }
    });
    Ok(LedgerHandle { addr, instance, backlog, sync: options.sync, keeps: true })
}

/// What the rest of the process holds of the ledger.
#[derive(Clone)]
pub struct LedgerHandle {
    addr: Addr<Ledger>,
    instance: Arc<Instance>,
    backlog: Arc<Backlog>,
    sync: SyncPolicy,
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
        let journal = Journal::create(&self.instance, &self.backlog, worker, self.sync == SyncPolicy::EachPoll)?;
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
