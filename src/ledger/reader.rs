//! Reads all journals and stores what they say: the ledger's work, one step at a time.
//!
//! No thread, no clock, no waiting in here: the actor decides when to step, a test steps as it likes.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::backlog::Backlog;
use super::instance::{Instance, Remains};
use super::journal::Journal;
use super::observer::Observer;
use super::sink::{Batch, EntrySink, MAX_BATCH, Positions, SinkError};
use super::trail::Trail;
use crate::journal::sync_policy::SyncPolicy;

/// The journals of a directory, their trails, and the batch in hand.
pub struct Reader {
    instance: Arc<Instance>,
    backlog: Arc<Backlog>,
    observer: Arc<dyn Observer>,
    sync: SyncPolicy,
    trails: Vec<Trail>,
    remains: Vec<Remains>,
    /// Whether the dead have been looked for.
    has_recovered: bool,
    /// Read and not yet stored. Kept as it is until the sink takes it.
    batch: Batch,
    /// How many entries of the batch came by memory.
    from_memory: usize,
    /// Segments that are deleted and whose positions the sink may forget.
    gone: Vec<String>,
}

/// What a step did.
#[derive(Debug)]
pub enum Step {
    /// Stored so many entries; there may be more.
    Stored(usize),
    /// There was nothing to store.
    Idle,
    /// What can be read is stored, but something cannot be read now.
    Unreadable(io::Error),
    /// The sink failed. The next step tries the same again.
    Failed(SinkError),
}

/// Where the journals ended at a moment.
#[derive(Clone, Debug)]
pub struct Mark {
    ends: Vec<Option<(u32, u64)>>,
    in_memory: u64,
}

impl Reader {
    /// A reader that knows no journal yet. What dead processes left in the directory it finds in its first step.
    pub fn new(instance: Arc<Instance>, backlog: Arc<Backlog>, observer: Arc<dyn Observer>, sync: SyncPolicy) -> Self {
        Self {
            instance,
            backlog,
            observer,
            sync,
            trails: Vec::new(),
            remains: Vec::new(),
            has_recovered: false,
            batch: Batch::default(),
            from_memory: 0,
            gone: Vec::new(),
        }
    }

    /// From now on reads this journal of the process too.
    pub fn join(&mut self, journal: Arc<Journal>) {
        // The living come first and in a fixed order, so that a mark stays true when the dead are done with.
        let at = self.trails.iter().position(Trail::is_dead).unwrap_or(self.trails.len());
        self.trails.insert(at, Trail::of_journal(&self.instance, journal));
    }

    /// Stores the next batch.
    pub fn step(&mut self, sink: &mut dyn EntrySink) -> Step {
        self.refresh();
        let recovered = self.recover(sink);
        let mut filled = Ok(());
        if self.batch.entries.is_empty() {
            filled = self.fill();
            self.backlog.storing(self.batch.entries.iter().map(|entry| entry.created_at).min());
        }
        let rows = self.batch.entries.len();
        let stored = if rows > 0 { guarded(|| sink.store(&self.batch)) } else { Ok(()) };
        if let Err(error) = stored {
            self.look_ahead();
            return Step::Failed(error);
        }
        self.commit(rows);
        self.reclaim(sink);
        match (recovered, filled) {
            _ if rows > 0 => Step::Stored(rows),
            (Err(error), _) => Step::Failed(error),
            (_, Err(error)) => Step::Unreadable(error),
            (Ok(()), Ok(())) => Step::Idle,
        }
    }

    /// Shows the observer what has been settled, without storing anything.
    pub fn observe(&mut self) {
        self.refresh();
        self.look_ahead();
    }

    /// Where the journals end now.
    pub fn mark(&mut self) -> Mark {
        self.refresh();
        let ends = self.trails.iter().filter(|trail| !trail.is_dead()).map(Trail::end).collect();
        Mark { ends, in_memory: self.backlog.kept() }
    }

    /// Entries stored since the start.
    pub fn rows(&self) -> u64 {
        self.backlog.rows()
    }

    /// Whether everything settled before that mark is stored, and what the dead left too.
    pub fn has_stored(&self, mark: &Mark) -> bool {
        let (dead, living): (Vec<_>, Vec<_>) = self.trails.iter().partition(|trail| trail.is_dead());
        living.iter().zip(&mark.ends).all(|(trail, end)| end.is_none_or(|end| trail.has_stored(end)))
            && self.backlog.kept_and_stored() >= mark.in_memory
            && self.has_recovered
            && dead.iter().all(|trail| trail.is_done())
    }

    /// The process is about to end: lets go of journals that have nothing open, so that nothing is left to recover.
    pub fn close(&mut self, sink: &mut dyn EntrySink) {
        if self.backlog.open() > 0 {
            return;
        }
        self.trails.iter_mut().for_each(Trail::close);
        while let Step::Stored(_) = self.step(sink) {}
        if self.trails.iter().all(|trail| trail.is_dead() || trail.is_empty()) {
            self.instance.leave();
        }
    }

    fn refresh(&mut self) {
        self.backlog.looking();
        for trail in &mut self.trails {
            trail.refresh();
            if self.sync == SyncPolicy::EachPoll
                && let Err(error) = trail.sync()
            {
                self.backlog.write_failed();
                log::error!("the ledger's journal in {} is not written to disk: {error}", self.instance.dir().display());
            }
        }
    }

    /// Finds what dead processes left. Once; until the sink has told its positions, nothing of it is touched.
    fn recover(&mut self, sink: &mut dyn EntrySink) -> Result<(), SinkError> {
        if self.has_recovered {
            return Ok(());
        }
        let dead = match self.instance.dead() {
            Ok(dead) => dead,
            Err(error) => {
                log::error!("{error}: entries of earlier processes wait for the next start");
                self.has_recovered = true;
                return Ok(());
            }
        };
        let positions: Positions = if dead.is_empty() { Positions::new() } else { guarded(|| sink.positions())? };
        for remains in dead {
            log::info!("recovering the journal of instance {}, {} segments", remains.id, remains.segments.len());
            for worker in remains.segments.chunk_by(|(a, _), (b, _)| a.worker == b.worker) {
                if let Some(trail) = Trail::of_dead(&self.instance, worker.to_vec(), &positions) {
                    self.backlog.grew(trail.unread());
                    self.trails.push(trail);
                }
            }
            self.remains.push(remains);
        }
        self.has_recovered = true;
        Ok(())
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut result = Ok(());
        for trail in &mut self.trails {
            let before = self.batch.entries.len();
            let read = trail.read(&mut self.batch, &*self.observer);
            if trail.is_dead() {
                self.backlog.settled((self.batch.entries.len() - before) as u64);
            }
            result = result.and(read);
            if self.batch.entries.len() >= MAX_BATCH {
                return result;
            }
        }
        // Journals first: what was opened for an entry in memory has been read then.
        let (observed, taken) = self.backlog.take(MAX_BATCH - self.batch.entries.len());
        self.from_memory = taken.len();
        for (index, entry) in taken.into_iter().enumerate() {
            if index >= observed {
                self.observer.settled(&entry);
            }
            for trail in &mut self.trails {
                trail.settled_elsewhere(&entry.id);
            }
            self.batch.entries.push(entry);
        }
        result
    }

    fn look_ahead(&mut self) {
        for trail in &mut self.trails {
            if let Err(error) = trail.look_ahead(&*self.observer) {
                log::debug!("not observed yet: {error}");
            }
        }
        self.backlog.observe(|entry| self.observer.settled(entry));
    }

    fn commit(&mut self, rows: usize) {
        for trail in &mut self.trails {
            self.backlog.shrank(trail.commit());
        }
        self.backlog.stored_from_memory(std::mem::take(&mut self.from_memory));
        self.backlog.stored(rows as u64);
        self.batch.entries.clear();
        self.batch.positions.clear();
    }

    fn reclaim(&mut self, sink: &mut dyn EntrySink) {
        for trail in &mut self.trails {
            self.backlog.found_damage(trail.take_damage());
            self.gone.extend(trail.reclaim());
        }
        self.trails.retain(|trail| !trail.is_dead() || !trail.is_empty());
        self.remains.retain(|remains| {
            let is_left = self.trails.iter().any(|trail| trail.is_dead() && trail.instance() == remains.id);
            if !is_left {
                self.instance.bury(remains);
            }
            is_left
        });
        // Deleted first, forgotten after: a position that outlives its segment is a row too many, one that is missing would
        // have the segment read again.
        if !self.gone.is_empty() {
            match guarded(|| sink.forget(&self.gone)) {
                Ok(()) => self.gone.clear(),
                Err(error) => log::debug!("positions of deleted journal segments not forgotten yet: {error}"),
            }
        }
    }
}

/// A sink that panics has failed; it does not take the ledger with it.
fn guarded<T>(call: impl FnOnce() -> Result<T, SinkError>) -> Result<T, SinkError> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| Err(SinkError("the store panicked".to_owned())))
}
