//! Options, start and handle of the ledger: the part of it that the rest of the process uses.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, Arbiter};

use super::actor::{AddJournal, FlushError, FlushLedger, Flushed, JournalWritten, Ledger, StopLedger};
use super::backlog::{Backlog, Lag};
use super::journal::Journal;
use super::observer::Observer;
use super::reader::EntryReader;
use super::sink::EntrySink;
use crate::journal::instance::Instance;
use crate::journal::sync_policy::SyncPolicy;
use crate::journal::writer::WriterOptions;

/// Settings of the ledger's journals.
#[derive(Clone, Debug)]
pub struct LedgerOptions {
    /// Journal directory. Created if it is missing; several processes may share it.
    pub dir: PathBuf,
    /// Policy for syncing journals to the disk.
    pub sync: SyncPolicy,
    /// Largest number of bytes of journal that may wait to be stored. Beyond it entries are kept in
    /// memory; half of it raises the alarm.
    pub max_bytes: u64,
}

impl LedgerOptions {
    /// Returns the defaults: entries survive a killed process, and 4 GiB of them may wait.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), sync: SyncPolicy::Never, max_bytes: 4 << 30 }
    }
}

/// Starts the ledger on its own thread. It begins with what earlier processes left in the
/// directory.
///
/// # Errors
/// The journal directory cannot be used; the text names the remedy.
pub fn start(options: LedgerOptions, sink: Box<dyn EntrySink>, observer: Arc<dyn Observer>) -> io::Result<LedgerHandle> {
    let instance = Arc::new(Instance::open(&options.dir)?);
    let backlog = Arc::new(Backlog::new(options.max_bytes));
    let reader = EntryReader::new(Arc::clone(&instance), Arc::clone(&backlog), observer, options.sync);
    let addr = Ledger::start_in_arbiter(&Arbiter::new().handle(), move |ctx| {
        // Messages come from other threads, which a bounded mailbox would only delay.
        ctx.set_mailbox_capacity(0);
        Ledger::new(reader, sink)
    });
    let woken = addr.downgrade();
    backlog.journal().on_poll_requested(move || {
        if let Some(ledger) = woken.upgrade() {
            ledger.do_send(JournalWritten);
        }
    });
    Ok(LedgerHandle { addr, instance, backlog, sync: options.sync, records: true })
}

/// Handle of the running ledger.
#[derive(Clone)]
pub struct LedgerHandle {
    addr: Addr<Ledger>,
    instance: Arc<Instance>,
    backlog: Arc<Backlog>,
    sync: SyncPolicy,
    records: bool,
}

impl LedgerHandle {
    /// Returns the same ledger, whose new journals drop what they are given
    /// ([`Journal::forgetful`]); for measurements only.
    #[doc(hidden)]
    #[must_use]
    pub fn forgetful(self) -> Self {
        Self { records: false, ..self }
    }

    /// Starts a worker's journal.
    ///
    /// # Errors
    /// Its first segment cannot be created.
    pub fn journal(&self, worker: usize) -> io::Result<Arc<Journal>> {
        if !self.records {
            return Journal::forgetful(&self.instance, &self.backlog, worker);
        }
        // Drafts have to be synced too, so each write wakes the ledger's thread.
        let options = WriterOptions { always_wakes: self.sync == SyncPolicy::EachPoll, ..WriterOptions::default() };
        let journal = Journal::create(&self.instance, &self.backlog, worker, options)?;
        self.addr.do_send(AddJournal(Arc::clone(journal.writer())));
        Ok(journal)
    }

    /// Waits until everything settled before the call is stored, at most `within` (plus the time
    /// the sink takes for one batch).
    ///
    /// # Errors
    /// The reason why it is not stored. It is in the journals and will be stored later.
    pub async fn flush(&self, within: Duration) -> Result<Flushed, FlushError> {
        self.addr.send(FlushLedger { within }).await.unwrap_or(Err(FlushError::Stopped))
    }

    /// Returns what waits to be stored. Answers at once, even while the ledger's thread waits for a
    /// database.
    pub fn lag(&self) -> Lag {
        self.backlog.lag()
    }

    /// Returns the number of requests that are opened and not yet settled.
    pub fn open_settlements(&self) -> usize {
        self.backlog.open()
    }

    /// Stores what is settled, at most `within`, and ends the ledger. Must be called when no
    /// settlement is open; what is settled later is in the journal and is stored by the next
    /// process.
    ///
    /// # Errors
    /// As [`flush`](Self::flush). The ledger has ended nevertheless.
    pub async fn stop(&self, within: Duration) -> Result<Flushed, FlushError> {
        self.addr.send(StopLedger { within }).await.unwrap_or(Err(FlushError::Stopped))
    }
}
