//! One file of a journal, as the ledger's thread sees it: how far it is read, shown and stored, and when it can go.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::instance::{SegmentName, explain};

/// A segment of a journal of this process or of a dead one. Offsets are bytes from its start and only grow.
pub struct Segment {
    /// Its file's name.
    pub name: SegmentName,
    /// Open while it is written or being read.
    pub file: Option<Arc<File>>,
    /// How far it has been written.
    pub length: u64,
    /// Nothing will be written to it any more.
    pub is_left: bool,
    /// Everything before is in a batch or of no interest.
    pub read: u64,
    /// Everything before is stored or of no interest: where `read` was when the last batch was stored.
    pub stored: u64,
    /// Everything before has been shown to the observer.
    pub observed: u64,
    /// What an earlier process has stored of it.
    pub stored_before: u64,
    /// Entries whose latest draft is in here and whose settlement is not stored.
    pub open: u32,
    /// Those of them whose settlement is in the batch.
    pub closing: u32,
    /// Something in it could not be understood: it is kept aside for a human instead of deleted.
    pub is_damaged: bool,
    /// Everything before is on the disk, if anyone asked for it.
    synced: u64,
    damage_is_told: bool,
    stuck_is_told: bool,
}

impl Segment {
    /// One that is just begun.
    pub fn new(name: SegmentName) -> Self {
        Self {
            name,
            file: None,
            length: 0,
            is_left: false,
            read: 0,
            stored: 0,
            observed: 0,
            stored_before: 0,
            open: 0,
            closing: 0,
            is_damaged: false,
            synced: 0,
            damage_is_told: false,
            stuck_is_told: false,
        }
    }

    /// One that a dead process left. That process has shown to the observer what it settled.
    pub fn of_dead(name: SegmentName, length: u64, stored_before: u64) -> Self {
        Self { length, is_left: true, stored_before, observed: length, ..Self::new(name) }
    }

    /// Its file in `dir`. `None`, for good: it is gone, and what was in it with it.
    ///
    /// # Errors
    /// It cannot be opened now, but perhaps later.
    pub fn open_file(&mut self, dir: &Path) -> io::Result<Option<Arc<File>>> {
        if let Some(file) = &self.file {
            return Ok(Some(Arc::clone(file)));
        }
        let path = self.path(dir);
        match File::open(&path) {
            Ok(file) => Ok(Some(Arc::clone(self.file.insert(Arc::new(file))))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                log::error!("{}; the entries in it are lost", explain("read the journal segment", &path, &error));
                (self.read, self.observed, self.closing) = (self.length, self.length, self.open);
                self.is_damaged = true;
                Ok(None)
            }
            Err(error) => Err(explain("read the journal segment", &path, &error)),
        }
    }

    /// Has the operating system write to the disk what it has only taken so far.
    ///
    /// # Errors
    /// As it says.
    pub fn sync(&mut self, dir: &Path) -> io::Result<()> {
        let Some(file) = self.file.as_ref().filter(|_| self.synced < self.length) else { return Ok(()) };
        file.sync_data()?;
        if self.synced == 0 {
            File::open(dir)?.sync_all()?;
        }
        self.synced = self.length;
        Ok(())
    }

    /// What was read is stored. Says how many bytes that were.
    pub fn commit(&mut self) -> u64 {
        self.open -= std::mem::take(&mut self.closing);
        let bytes = self.read - self.stored;
        self.stored = self.read;
        bytes
    }

    /// Whether everything in it is stored and settled.
    pub fn is_done(&self) -> bool {
        self.stored == self.length && self.open == 0
    }

    /// Deletes it from `dir`, or sets it aside if it is damaged. Whether it is gone.
    pub fn take_away(&mut self, dir: &Path) -> bool {
        let path = self.path(dir);
        let result = if self.is_damaged { fs::rename(&path, kept_aside(&path)) } else { fs::remove_file(&path) };
        match result {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                if !std::mem::replace(&mut self.stuck_is_told, true) {
                    log::warn!("{}", explain("take away the stored journal segment", &path, &error));
                }
                false
            }
            _ => true,
        }
    }

    /// Whether damage was found in it since the last call.
    pub fn take_damage(&mut self) -> bool {
        self.is_damaged && !std::mem::replace(&mut self.damage_is_told, true)
    }

    /// Where it is in `dir`.
    pub fn path(&self, dir: &Path) -> PathBuf {
        dir.join(self.name.to_string())
    }
}

fn kept_aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".unreadable");
    name.into()
}
