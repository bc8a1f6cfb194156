//! One running process in a journal directory, and the segments that dead processes left there.
//!
//! Several processes may share a directory. Each holds an advisory lock on `<instance>.lock`, which
//! the operating system releases however the process ends. So if the lock can be taken, its
//! instance is dead.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::error::describe;
use super::segment_name::SegmentName;

/// This process in a journal directory. Other processes take it for dead as soon as it is dropped.
pub struct Instance {
    dir: PathBuf,
    id: String,
    _lock: File,
}

/// The files of a dead instance, locked so that no other process recovers them at the same time.
pub struct OrphanedInstance {
    /// Id of the dead instance.
    pub id: String,
    /// Its segments in order, with their lengths in bytes.
    pub segments: Vec<(SegmentName, u64)>,
    lock_path: PathBuf,
    _lock: File,
}

impl Instance {
    /// Opens a journal directory under a new instance id. Creates the directory if it is missing.
    ///
    /// # Errors
    /// The directory cannot be created or written.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let describe = |error| describe("use the journal directory", dir, &error);
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(describe)?;
        loop {
            let id = uuid::Uuid::now_v7().simple().to_string();
            // Another process may take a lock file for orphaned between its creation and its lock:
            // then try the next id.
            if let Some(lock) = lock(&lock_path(dir, &id)).map_err(describe)? {
                return Ok(Self { dir: dir.to_owned(), id, _lock: lock });
            }
        }
    }

    /// Returns the directory of the segments.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the name of a segment of this instance.
    pub fn segment(&self, worker: usize, sequence: u32) -> SegmentName {
        SegmentName { instance: self.id.clone(), worker, sequence }
    }

    /// Creates a segment file that only its owner can read.
    ///
    /// # Errors
    /// The file cannot be created; `AlreadyExists` if there is one of this name.
    pub fn create_segment(&self, name: &SegmentName) -> io::Result<File> {
        let path = self.dir.join(name.to_string());
        let mut options = OpenOptions::new();
        options.read(true).append(true).create_new(true).mode(0o600);
        options.open(&path).map_err(|error| describe("create the journal segment", &path, &error))
    }

    /// Finds and locks the instances in this directory whose processes are dead.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn lock_orphans(&self) -> io::Result<Vec<OrphanedInstance>> {
        let mut found: BTreeMap<String, Vec<(SegmentName, u64)>> = BTreeMap::new();
        for file in fs::read_dir(&self.dir).map_err(|error| describe("read the journal directory", &self.dir, &error))? {
            let Ok(file) = file else { continue };
            let name = file.file_name();
            let Some(name) = name.to_str() else { continue };
            if let Some(instance) = name.strip_suffix(".lock") {
                found.entry(instance.to_owned()).or_default();
            } else if let Some(segment) = SegmentName::parse(name) {
                let length = file.metadata().map_or(0, |metadata| metadata.len());
                found.entry(segment.instance.clone()).or_default().push((segment, length));
            }
        }
        found.remove(&self.id);
        let mut orphans = Vec::new();
        for (id, mut segments) in found {
            let lock_path = lock_path(&self.dir, &id);
            match lock(&lock_path) {
                Ok(Some(lock)) => {
                    // Another process may have recovered some between the listing and the lock.
                    segments.retain(|(name, _)| self.dir.join(name.to_string()).exists());
                    segments.sort();
                    orphans.push(OrphanedInstance { id, segments, lock_path, _lock: lock });
                }
                Ok(None) => {}
                Err(error) => {
                    let error = describe("lock", &lock_path, &error);
                    log::error!("the journal of instance {id} is not recovered before the next start: {error}");
                }
            }
        }
        Ok(orphans)
    }

    /// Removes the lock file of this instance. Must be called only when it has no segments.
    pub fn release(&self) {
        remove(&lock_path(&self.dir, &self.id));
    }
}

impl OrphanedInstance {
    /// Removes the lock file. Must be called only when the instance has no segments.
    pub fn remove_lock(&self) {
        remove(&self.lock_path);
    }
}

fn remove(lock: &Path) {
    if let Err(error) = fs::remove_file(lock) {
        log::debug!("{}", describe("remove the lock file", lock, &error));
    }
}

fn lock_path(dir: &Path, id: &str) -> PathBuf {
    dir.join(format!("{id}.lock"))
}

/// Takes the lock on this file, which is created if it is missing. Returns `None` if another
/// process holds the lock or has just removed the file.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // Only the holder of the lock removes the file. A lock on a removed file excludes nobody.
    let still_there = fs::metadata(path).is_ok_and(|found| file.metadata().is_ok_and(|held| held.ino() == found.ino()));
    Ok(still_there.then_some(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_live_instance_is_never_orphaned_and_a_dead_one_is_locked_once() {
        let dir = tempfile::tempdir().unwrap();
        let one = Instance::open(dir.path()).unwrap();
        one.create_segment(&one.segment(0, 1)).unwrap();
        let two = Instance::open(dir.path()).unwrap();
        assert!(two.lock_orphans().unwrap().is_empty());
        drop(one);
        let locked = two.lock_orphans().unwrap();
        assert_eq!(locked.len(), 1);
        assert_eq!(locked[0].segments.len(), 1);
        let three = Instance::open(dir.path()).unwrap();
        assert!(three.lock_orphans().unwrap().is_empty(), "another process is recovering it");
        drop(locked);
        assert_eq!(three.lock_orphans().unwrap().len(), 1);
    }

    #[test]
    fn segments_whose_lock_file_is_missing_are_recovered() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("gone-000-000001.journal"), b"").unwrap();
        let instance = Instance::open(dir.path()).unwrap();
        let orphans = instance.lock_orphans().unwrap();
        assert_eq!((orphans.len(), orphans[0].segments.len()), (1, 1));
    }

    #[test]
    fn only_the_owner_can_read_the_directory_and_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("a/journal");
        let instance = Instance::open(&dir).unwrap();
        instance.create_segment(&instance.segment(0, 1)).unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
        for file in fs::read_dir(&dir).unwrap() {
            assert_eq!(file.unwrap().metadata().unwrap().mode() & 0o777, 0o600);
        }
    }
}
