//! What must reach the disk before anybody is answered.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use crate::{CommitError, committer::Medium, room::Room, staged::Staged};

/// sled's name for its log.
pub(crate) const LOG: &str = "db";
/// sled's folder for values that are too large for its log (over about 128 KiB), a file each, never rewritten.
const BLOBS: &str = "blobs";

/// An open database's files.
#[derive(Debug)]
pub(crate) struct Disk {
    db: sled::Db,
    staged: Staged,
    log: File,
    room: Room,
    blobs: PathBuf,
    /// Blobs that are on disk already.
    synced: BTreeSet<OsString>,
}

impl Disk {
    /// The files of the database in `folder`, which themselves are made durable.
    ///
    /// # Errors
    /// They cannot be opened or synced.
    pub(crate) fn open(db: sled::Db, folder: &Path, staged: Staged) -> io::Result<Self> {
        let log = OpenOptions::new().read(true).write(true).open(folder.join(LOG))?;
        File::open(folder)?.sync_all()?;
        if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            File::open(parent)?.sync_all()?;
        }
        let room = Room::new(folder, &log);
        Ok(Self { db, staged, log, room, blobs: folder.join(BLOBS), synced: BTreeSet::new() })
    }

    fn sync_blobs(&mut self) -> io::Result<()> {
        let mut there = BTreeSet::new();
        for entry in fs::read_dir(&self.blobs)? {
            there.insert(entry?.file_name());
        }
        let fresh: Vec<_> = there.difference(&self.synced).collect();
        for name in &fresh {
            match File::open(self.blobs.join(name)) {
                Ok(blob) => blob.sync_all()?,
                // sled removes a blob that nothing refers to any more.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        if !fresh.is_empty() {
            File::open(&self.blobs)?.sync_all()?;
        }
        self.synced = there;
        Ok(())
    }
}

impl Medium for Disk {
    fn make_room(&mut self) -> Result<(), CommitError> {
        self.room.make(&self.log)
    }

    /// sled's own flush is only `sync_file_range`, and it does not sync blobs at all.
    fn sync(&mut self) -> Result<(), CommitError> {
        let written = self.staged.apply().and_then(|()| self.db.flush());
        written.map_err(|error| CommitError::Write(error.to_string()))?;
        // The log refers to blobs, so they come first.
        let synced = self.sync_blobs().and_then(|()| self.log.sync_data());
        synced.map_err(|error| CommitError::Write(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_beside_the_log_is_synced_with_it_once() {
        let folder = tempfile::tempdir().unwrap();
        let db = sled::Config::new().path(folder.path()).flush_every_ms(None).open().unwrap();
        let mut disk = Disk::open(db.clone(), folder.path(), Staged::default()).unwrap();
        disk.sync().unwrap();
        assert_eq!(disk.synced.len(), 0);
        db.insert("large", vec![7; 300 * 1024]).unwrap();
        disk.sync().unwrap();
        let blobs = fs::read_dir(folder.path().join(BLOBS)).unwrap().count();
        assert!(blobs > 0, "sled keeps large values elsewhere now: look what must be synced");
        assert_eq!(disk.synced.len(), blobs);
    }
}
