//! One segment as the reader sees it: its file, how far each consumer has come, and when it can be
//! deleted.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::consumers::Consumer;
use super::error::describe;
use super::segment_name::SegmentName;

/// A segment of a journal of this process or of a dead one.
pub struct Segment {
    /// Name of its file.
    pub name: SegmentName,
    /// Open while it is written or read.
    pub file: Option<Arc<File>>,
    /// Length in bytes of what has been written.
    pub length: u64,
    /// Nothing more will be written to it.
    pub is_sealed: bool,
    /// Something in it cannot be decoded: it is renamed for inspection instead of deleted.
    pub is_damaged: bool,
    /// Progress of each consumer.
    cursors: Box<[Cursor]>,
    /// Everything before this offset has been synced, if syncing was requested.
    synced: u64,
    damage_is_counted: bool,
    removal_failure_is_logged: bool,
}

/// Progress of one consumer in a segment. Offsets are in bytes from its start and only grow.
#[derive(Clone, Default)]
pub struct Cursor {
    /// Everything before is in a batch, or is of no interest.
    pub read: u64,
    /// Everything before is stored: `read` at the last commit.
    pub stored: u64,
    /// Everything before has been observed.
    pub observed: u64,
    /// Everything before was stored by an earlier process.
    pub stored_before: u64,
    /// Number of reasons to keep the segment although it is stored.
    holds: u32,
    /// Number of those that end with the next commit.
    releasing: u32,
}

impl Cursor {
    /// Keeps the segment until the hold is released.
    pub fn hold(&mut self) {
        self.holds += 1;
    }

    /// Ends a hold now.
    pub fn release(&mut self) {
        self.holds = self.holds.saturating_sub(1);
    }

    /// Ends a hold with the next commit.
    pub fn release_at_commit(&mut self) {
        self.releasing = (self.releasing + 1).min(self.holds);
    }

    /// Notes that everything read is stored.
    fn commit(&mut self) {
        self.holds -= std::mem::take(&mut self.releasing);
        self.stored = self.read;
    }

    /// Notes that the file is gone, with everything that was not read.
    fn skip(&mut self, length: u64) {
        (self.read, self.observed, self.releasing) = (length, length, self.holds);
    }
}

impl Segment {
    /// Creates the state of a new, empty segment of this process.
    pub fn new(name: SegmentName, consumers: usize) -> Self {
        Self {
            name,
            file: None,
            length: 0,
            is_sealed: false,
            is_damaged: false,
            cursors: vec![Cursor::default(); consumers].into(),
            synced: 0,
            damage_is_counted: false,
            removal_failure_is_logged: false,
        }
    }

    /// Creates the state of a dead process's segment. That process has observed everything in it.
    pub fn orphaned(name: SegmentName, consumers: usize, length: u64) -> Self {
        let mut segment = Self { length, is_sealed: true, ..Self::new(name, consumers) };
        segment.cursors.iter_mut().for_each(|cursor| cursor.observed = length);
        segment
    }

    /// Returns the progress of a consumer.
    pub fn cursor(&self, Consumer(index): Consumer) -> &Cursor {
        &self.cursors[index]
    }

    /// Returns the progress of a consumer, to change it.
    pub fn cursor_mut(&mut self, Consumer(index): Consumer) -> &mut Cursor {
        &mut self.cursors[index]
    }

    /// Opens the file in `dir`, unless it is open. Returns `None` if the file is gone; what was not
    /// read is then lost.
    ///
    /// # Errors
    /// The file cannot be opened now, but perhaps later.
    pub fn open_file(&mut self, dir: &Path) -> io::Result<Option<Arc<File>>> {
        if let Some(file) = &self.file {
            return Ok(Some(Arc::clone(file)));
        }
        let path = self.path(dir);
        match File::open(&path) {
            Ok(file) => Ok(Some(Arc::clone(self.file.insert(Arc::new(file))))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let error = describe("read the journal segment", &path, &error);
                log::error!("{error}; it was deleted while in use, and its unstored records are lost");
                let length = self.length;
                self.cursors.iter_mut().for_each(|cursor| cursor.skip(length));
                self.is_damaged = true;
                Ok(None)
            }
            Err(error) => Err(describe("read the journal segment", &path, &error)),
        }
    }

    /// Closes the file if everything in it has been read.
    pub fn close_if_read(&mut self) {
        if self.is_sealed && !self.has_unread() {
            self.file = None;
        }
    }

    /// Returns whether a consumer has something to read in it.
    pub fn has_unread(&self) -> bool {
        self.cursors.iter().any(|cursor| cursor.read < self.length)
    }

    /// Syncs what has been written since the last call.
    ///
    /// # Errors
    /// The file or its directory cannot be synced.
    pub fn sync(&mut self, dir: &Path) -> io::Result<()> {
        let Some(file) = self.file.as_ref().filter(|_| self.synced < self.length) else { return Ok(()) };
        file.sync_data()?;
        if self.synced == 0 {
            File::open(dir)?.sync_all()?;
        }
        self.synced = self.length;
        Ok(())
    }

    /// Notes that everything the consumer has read is stored. Returns the number of bytes that are
    /// now stored for all.
    pub fn commit(&mut self, consumer: Consumer) -> u64 {
        let before = self.stored_by_all();
        self.cursor_mut(consumer).commit();
        self.stored_by_all() - before
    }

    fn stored_by_all(&self) -> u64 {
        self.cursors.iter().map(|cursor| cursor.stored).min().unwrap_or(0)
    }

    /// Returns whether the consumer has stored everything in it and holds it no longer.
    pub fn is_done_for(&self, consumer: Consumer) -> bool {
        self.is_stored(self.cursor(consumer))
    }

    /// Returns whether every consumer has stored everything in it and holds it no longer.
    pub fn is_done(&self) -> bool {
        self.cursors.iter().all(|cursor| self.is_stored(cursor))
    }

    fn is_stored(&self, cursor: &Cursor) -> bool {
        cursor.stored == self.length && cursor.holds == 0
    }

    /// Deletes the file, or renames it if the segment is damaged. Returns whether it is gone.
    pub fn remove_or_quarantine(&mut self, dir: &Path) -> bool {
        let path = self.path(dir);
        let result = if self.is_damaged { fs::rename(&path, quarantined(&path)) } else { fs::remove_file(&path) };
        match result {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                if !std::mem::replace(&mut self.removal_failure_is_logged, true) {
                    log::warn!("{}", describe("remove the stored journal segment", &path, &error));
                }
                false
            }
            _ => true,
        }
    }

    /// Returns whether damage was found in it since the last call.
    pub fn take_damage(&mut self) -> bool {
        self.is_damaged && !std::mem::replace(&mut self.damage_is_counted, true)
    }

    /// Returns the path of its file in `dir`.
    pub fn path(&self, dir: &Path) -> PathBuf {
        dir.join(self.name.to_string())
    }
}

/// Returns the path under which a damaged segment is kept.
fn quarantined(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".unreadable");
    name.into()
}
