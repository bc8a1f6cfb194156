//! The journals of a directory: those of this process and those that dead processes left, read by
//! any number of consumers.
//!
//! No thread, no clock, no waiting: the code that owns it decides when to poll, and stores what it
//! reads.

use std::sync::Arc;

use super::consumers::{Consumer, Consumers};
use super::instance::{Instance, OrphanedInstance};
use super::position::{JournalMark, Positions};
use super::segments::SegmentSet;
use super::status::JournalStatus;
use super::sync_policy::SyncPolicy;
use super::writer::JournalWriter;

/// Reader of all journals in a directory.
pub struct JournalReader {
    instance: Arc<Instance>,
    status: Arc<JournalStatus>,
    consumers: Arc<Consumers>,
    sync: SyncPolicy,
    /// Live journals first, in the order they were added, so that a mark stays valid when an
    /// orphaned one is finished.
    sets: Vec<SegmentSet>,
    next_id: u64,
    orphans: Vec<OrphanedInstance>,
    /// Whether the directory has been searched for orphans.
    has_searched: bool,
    /// For each consumer, whether its stored positions in the orphaned journals are known.
    has_positions: Vec<bool>,
    /// For each consumer, segments that are deleted and whose positions can be forgotten.
    deleted: Vec<Vec<String>>,
}

impl JournalReader {
    /// Creates a reader without journals. It finds those of dead processes when a consumer first
    /// recovers.
    pub fn new(instance: Arc<Instance>, status: Arc<JournalStatus>, consumers: Consumers, sync: SyncPolicy) -> Self {
        let count = consumers.count();
        Self {
            instance,
            status,
            consumers: Arc::new(consumers),
            sync,
            sets: Vec::new(),
            next_id: 0,
            orphans: Vec::new(),
            has_searched: false,
            has_positions: vec![false; count],
            deleted: vec![Vec::new(); count],
        }
    }

    /// Adds a journal of this process.
    pub fn add(&mut self, writer: Arc<JournalWriter>) {
        let at = self.sets.iter().position(SegmentSet::is_orphaned).unwrap_or(self.sets.len());
        let id = self.next_id();
        self.sets.insert(at, SegmentSet::live(id, &self.instance, &self.consumers, writer));
    }

    /// Polls the writers for what they have written, and syncs it if the policy says so.
    pub fn poll(&mut self) {
        self.status.poll_started();
        for set in &mut self.sets {
            set.refresh();
            if self.sync == SyncPolicy::EachPoll
                && let Err(error) = set.sync()
            {
                self.status.count_write_error();
                let dir = self.instance.dir().display();
                log::error!("cannot sync the journal in {dir}; its last records are lost if the power fails: {error}");
            }
        }
    }

    /// Makes the journals of dead processes readable for a consumer, once `positions` has returned
    /// how far it has stored them. Does nothing after the first success.
    ///
    /// # Errors
    /// As `positions`.
    pub fn recover<E>(&mut self, consumer: Consumer, positions: impl FnOnce() -> Result<Positions, E>) -> Result<(), E> {
        if self.has_recovered(consumer) {
            return Ok(());
        }
        self.search_orphans();
        if !self.orphans.is_empty() {
            let positions = positions()?;
            let orphaned = self.sets.iter_mut().filter(|set| set.is_orphaned());
            orphaned.for_each(|set| set.set_stored_before(consumer, &positions));
        }
        self.has_positions[consumer.0] = true;
        Ok(())
    }

    /// Returns whether [`recover`](Self::recover) has succeeded for this consumer.
    pub fn has_recovered(&self, consumer: Consumer) -> bool {
        self.has_positions[consumer.0]
    }

    fn search_orphans(&mut self) {
        if std::mem::replace(&mut self.has_searched, true) {
            return;
        }
        let orphans = match self.instance.lock_orphans() {
            Ok(orphans) => orphans,
            Err(error) => {
                log::error!("{error}; the journals of earlier processes are not recovered before the next start");
                return;
            }
        };
        for orphan in orphans {
            log::info!("recovering the journal of instance {}, {} segments", orphan.id, orphan.segments.len());
            for segments in orphan.segments.chunk_by(|(a, _), (b, _)| a.worker == b.worker) {
                let id = self.next_id();
                if let Some(set) = SegmentSet::orphaned(id, &self.instance, &self.consumers, segments) {
                    self.status.add_unstored(set.length());
                    self.sets.push(set);
                }
            }
            self.orphans.push(orphan);
        }
    }

    fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Returns the journals that a consumer may read now, those of this process first.
    pub fn sets_mut(&mut self, consumer: Consumer) -> impl Iterator<Item = &mut SegmentSet> {
        let has_recovered = self.has_recovered(consumer);
        self.sets.iter_mut().filter(move |set| has_recovered || !set.is_orphaned())
    }

    /// Returns the ids of all journals.
    pub fn set_ids(&self) -> impl Iterator<Item = u64> {
        self.sets.iter().map(SegmentSet::id)
    }

    /// Acknowledges that everything the consumer has read is stored.
    pub fn commit(&mut self, consumer: Consumer) {
        for set in &mut self.sets {
            self.status.subtract_stored(set.commit(consumer));
        }
    }

    /// Deletes the segments that every consumer is done with.
    pub fn reclaim(&mut self) {
        for set in &mut self.sets {
            self.status.count_damaged(set.take_damage());
            let deleted = set.reclaim();
            self.deleted.iter_mut().for_each(|names| names.extend_from_slice(&deleted));
        }
        self.sets.retain(|set| !set.is_orphaned() || !set.is_empty());
        self.orphans.retain(|orphan| {
            let is_left = self.sets.iter().any(|set| set.is_orphaned() && set.instance() == orphan.id);
            if !is_left {
                orphan.remove_lock();
            }
            is_left
        });
    }

    /// Returns the deleted segments whose positions the consumer can forget. The consumer clears it
    /// when it has.
    ///
    /// Segments are deleted first and forgotten later: a position without a segment is one row too
    /// many, but a segment without its position would be stored again.
    pub fn deleted_mut(&mut self, consumer: Consumer) -> &mut Vec<String> {
        &mut self.deleted[consumer.0]
    }

    /// Returns where the live journals end now.
    pub fn mark(&mut self) -> JournalMark {
        self.poll();
        JournalMark { ends: self.sets.iter().filter(|set| !set.is_orphaned()).map(SegmentSet::end).collect() }
    }

    /// Returns whether the consumer has stored everything before that mark, and everything of dead
    /// processes.
    pub fn has_stored(&self, consumer: Consumer, mark: &JournalMark) -> bool {
        let (orphaned, live): (Vec<_>, Vec<_>) = self.sets.iter().partition(|set| set.is_orphaned());
        live.iter().zip(&mark.ends).all(|(set, end)| end.is_none_or(|end| set.has_stored(consumer, end)))
            && self.has_recovered(consumer)
            && orphaned.iter().all(|set| set.is_done_for(consumer))
    }

    /// Completes the current segments, because the process is about to end.
    pub fn close(&mut self) {
        self.sets.iter_mut().for_each(SegmentSet::close);
    }

    /// Removes the lock file of this process if nothing in its journals is left to recover.
    pub fn release_if_empty(&self) {
        if self.sets.iter().all(|set| set.is_orphaned() || set.is_empty()) {
            self.instance.release();
        }
    }
}

#[cfg(test)]
mod tests;
