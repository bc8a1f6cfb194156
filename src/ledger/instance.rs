//! One running process in a journal directory: its lock, the names of its segments, and what dead ones left behind.
//!
//! Several processes may share a directory. Each holds an advisory lock on `<instance>.lock`, which the operating system
//! releases however the process ends; so a lock that can be had means that its instance is dead.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// This process in a journal directory. Dead as soon as it is dropped.
pub struct Instance {
    dir: PathBuf,
    id: String,
    _lock: File,
}

/// What a dead instance left, locked so that no other process recovers it at the same time.
pub struct Remains {
    /// Which instance it was.
    pub id: String,
    /// Its segments in order, with their lengths.
    pub segments: Vec<(SegmentName, u64)>,
    _lock: File,
}

/// A segment's file name: `<instance>-<worker>-<sequence>.journal`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SegmentName {
    /// Who wrote it.
    pub instance: String,
    /// Which of its workers.
    pub worker: usize,
    /// Which of that worker's segments.
    pub sequence: u32,
}

impl Instance {
    /// Enters a journal directory, which is made if it is missing.
    ///
    /// # Errors
    /// The directory cannot be made or written; the text says which it is.
    pub fn enter(dir: &Path) -> io::Result<Self> {
        let told = |error| explain("use the journal directory", dir, &error);
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(told)?;
        loop {
            let id = uuid::Uuid::now_v7().simple().to_string();
            // Someone may take a new lock for a dead one in the moment before it is held: then the next id.
            if let Some(lock) = lock(&lock_path(dir, &id)).map_err(told)? {
                return Ok(Self { dir: dir.to_owned(), id, _lock: lock });
            }
        }
    }

    /// Where the segments are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The name of a segment of this instance.
    pub fn segment(&self, worker: usize, sequence: u32) -> SegmentName {
        SegmentName { instance: self.id.clone(), worker, sequence }
    }

    /// Makes a new segment file that only its owner can read.
    ///
    /// # Errors
    /// As the operating system says, naming the file.
    pub fn create(&self, name: &SegmentName) -> io::Result<File> {
        let path = self.dir.join(name.to_string());
        let mut options = OpenOptions::new();
        options.read(true).append(true).create_new(true).mode(0o600);
        options.open(&path).map_err(|error| explain("make the journal segment", &path, &error))
    }

    /// What dead instances left behind.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn dead(&self) -> io::Result<Vec<Remains>> {
        let mut found: BTreeMap<String, Vec<(SegmentName, u64)>> = BTreeMap::new();
        for file in fs::read_dir(&self.dir).map_err(|error| explain("read the journal directory", &self.dir, &error))? {
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
        let mut dead = Vec::new();
        for (id, mut segments) in found {
            match lock(&lock_path(&self.dir, &id)) {
                Ok(Some(lock)) => {
                    // Another process may have recovered some between the listing and the lock.
                    segments.retain(|(name, _)| self.dir.join(name.to_string()).exists());
                    segments.sort();
                    dead.push(Remains { id, segments, _lock: lock });
                }
                Ok(None) => {}
                Err(error) => log::error!("cannot lock journal instance {id}, it is left for the next start: {error}"),
            }
        }
        Ok(dead)
    }

    /// Takes the lock file of an instance away that has no segments any more. To be called with its lock held.
    pub fn bury(&self, remains: &Remains) {
        self.remove_lock(&remains.id);
    }

    /// Takes its own lock file away; it has no segments any more.
    pub fn leave(&self) {
        self.remove_lock(&self.id);
    }

    fn remove_lock(&self, id: &str) {
        if let Err(error) = fs::remove_file(lock_path(&self.dir, id)) {
            log::debug!("lock file of journal instance {id} not removed: {error}");
        }
    }
}

impl SegmentName {
    /// Reads a file name; `None` for anything that is no segment's.
    pub fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_suffix(".journal")?.rsplitn(3, '-');
        let sequence = parts.next()?.parse().ok()?;
        let worker = parts.next()?.parse().ok()?;
        let instance = parts.next().filter(|instance| !instance.is_empty())?.to_owned();
        Some(Self { instance, worker, sequence })
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:03}-{:06}.journal", self.instance, self.worker, self.sequence)
    }
}

/// Says what could not be done, to which file, why, and what would help.
pub fn explain(what: &str, path: &Path, error: &io::Error) -> io::Error {
    let remedy = match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ": let aigw's user write there",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ": make room on its disk",
        _ => "",
    };
    io::Error::new(error.kind(), format!("cannot {what} {}: {error}{remedy}", path.display()))
}

fn lock_path(dir: &Path, id: &str) -> PathBuf {
    dir.join(format!("{id}.lock"))
}

/// Takes the lock of that path, making the file if need be. `None`: someone else has it, or has just taken the file away.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // Only a holder of the lock removes the file. A lock on a file that is not there any more excludes nobody.
    let still_there = fs::metadata(path).is_ok_and(|found| file.metadata().is_ok_and(|held| held.ino() == found.ino()));
    Ok(still_there.then_some(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segment_names_are_read_as_they_are_written() {
        let name = SegmentName { instance: "0190aa".into(), worker: 7, sequence: 1_000_000 };
        assert_eq!(SegmentName::parse(&name.to_string()), Some(name));
        for other in ["x.lock", "a-1.journal", "-1-1.journal", "a-b-c.journal", "a-001-000001.journal.unreadable", ""] {
            assert_eq!(SegmentName::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_living_instance_is_never_taken_for_dead_and_a_dead_one_is_taken_once() {
        let dir = tempfile::tempdir().unwrap();
        let one = Instance::enter(dir.path()).unwrap();
        one.create(&one.segment(0, 1)).unwrap();
        let two = Instance::enter(dir.path()).unwrap();
        assert!(two.dead().unwrap().is_empty());
        drop(one);
        let held = two.dead().unwrap();
        assert_eq!(held.len(), 1);
        assert_eq!(held[0].segments.len(), 1);
        let three = Instance::enter(dir.path()).unwrap();
        assert!(three.dead().unwrap().is_empty(), "another process is recovering it");
        drop(held);
        assert_eq!(three.dead().unwrap().len(), 1);
    }

    #[test]
    fn segments_whose_lock_file_was_lost_are_recovered_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("gone-000-000001.journal"), b"").unwrap();
        let instance = Instance::enter(dir.path()).unwrap();
        let dead = instance.dead().unwrap();
        assert_eq!((dead.len(), dead[0].segments.len()), (1, 1));
    }

    #[test]
    fn the_directory_and_its_files_are_their_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("a/journal");
        let instance = Instance::enter(&dir).unwrap();
        instance.create(&instance.segment(0, 1)).unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
        for file in fs::read_dir(&dir).unwrap() {
            assert_eq!(file.unwrap().metadata().unwrap().mode() & 0o777, 0o600);
        }
    }
}
