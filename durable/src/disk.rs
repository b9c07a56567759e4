//! What must reach the disk before anybody is answered.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use tracing::info;

use crate::{
    CommitError,
    committer::{Medium, Way},
    journal::{self, Journal, NoRoom},
    room::Room,
    writes::{self, Entries, Group},
};

/// sled's name for its log.
pub(crate) const LOG: &str = "db";
/// sled's folder for values that are too large for its log (over about 128 KiB), a file each, never rewritten.
const BLOBS: &str = "blobs";
/// The tree, and the key in it, of the journal's epoch that sled is on the disk for.
pub(crate) const MARK: &str = "signet-journal";
const EPOCH: &str = "epoch";

/// An open database's files.
#[derive(Debug)]
pub(crate) struct Disk {
    db: sled::Db,
    folder: PathBuf,
    log: File,
    room: Room,
    /// Made for the first change that wants it.
    journal: Option<Journal>,
    blobs: PathBuf,
    /// Blobs that are on disk already.
    synced: BTreeSet<OsString>,
}

impl Disk {
    /// The files of the database in `folder`, which themselves are made durable. sled gets what it lacks of the
    /// journal.
    ///
    /// # Errors
    /// They cannot be opened or synced, or the journal cannot be read.
    pub(crate) fn open(db: sled::Db, folder: &Path) -> Result<Self, journal::OpenError> {
        let log = OpenOptions::new().read(true).write(true).open(folder.join(LOG))?;
        File::open(folder)?.sync_all()?;
        if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            File::open(parent)?.sync_all()?;
        }
        let found = Journal::open(folder)?;
        let blobs = folder.join(BLOBS);
        let (folder, synced) = (folder.to_owned(), BTreeSet::new());
        let mut disk = Self { db, room: Room::default(), folder, log, journal: None, blobs, synced };
        if let Some((journal, groups)) = found {
            disk.check_mark(&journal)?;
            disk.journal = Some(journal);
            disk.recover(groups)?;
        }
        // Only now: until here the room that is kept for an opening was needed.
        disk.room = Room::new(&disk.folder, &disk.log);
        Ok(disk)
    }

    /// Whether sled has all that it had when the journal began anew the last time.
    fn check_mark(&self, journal: &Journal) -> Result<(), journal::OpenError> {
        let Some(asked) = journal.mark() else { return Ok(()) };
        let found = self.db.open_tree(MARK).and_then(|tree| tree.get(EPOCH)).map_err(io::Error::other)?;
        let found = found.and_then(|found| Some(u64::from_le_bytes((*found).try_into().ok()?)));
        match found.is_some_and(|found| found >= asked) {
            true => Ok(()),
            false => Err(journal::Unreadable::Behind.into()),
        }
    }

    /// Gives sled what it may lack. What it has already is given once more, in the same order.
    fn recover(&mut self, groups: Vec<journal::Found>) -> io::Result<()> {
        let count = groups.len();
        let mut trees: BTreeMap<Vec<u8>, Entries> = BTreeMap::new();
        for (name, entries) in groups.into_iter().flat_map(|group| group.trees) {
            trees.entry(name).or_default().extend(entries);
        }
        for (name, entries) in trees {
            writes::apply(&self.db.open_tree(name).map_err(io::Error::other)?, entries)
                .map_err(io::Error::other)?;
        }
        if count > 0 {
            info!(groups = count, "the last process did not end in order; its journal is read");
        }
        self.checkpoint()
    }

    /// Has sled write out everything, so that the journal can begin anew.
    fn checkpoint(&mut self) -> io::Result<()> {
        let Some(journal) = self.journal.as_ref().filter(|journal| !journal.is_empty()) else {
            return Ok(());
        };
        let mark = journal.next_mark();
        self.flush_with(mark)?;
        self.journal.as_mut().map_or(Ok(()), Journal::restart)
    }

    /// Has sled write out everything, and the mark of the epoch that may begin then.
    fn flush_with(&mut self, mark: u64) -> io::Result<()> {
        let insert = |tree: sled::Tree| tree.insert(EPOCH, &mark.to_le_bytes());
        self.db.open_tree(MARK).and_then(insert).map_err(io::Error::other)?;
        self.flush()
    }

    /// sled's own flush is only `sync_file_range`, and it does not sync blobs at all.
    fn flush(&mut self) -> io::Result<()> {
        self.db.flush().map_err(io::Error::other)?;
        // The log refers to blobs, so they come first.
        self.sync_blobs()?;
        self.log.sync_data()
    }

    /// Makes a group durable, in the journal if it can hold it.
    fn write(&mut self, group: &Group) -> io::Result<()> {
        let append = |journal: &mut Option<Journal>| {
            journal.as_mut().map_or(Ok(Err(NoRoom::Ever)), |journal| journal.append(group))
        };
        let mut appended = append(&mut self.journal)?;
        if appended == Err(NoRoom::Yet) {
            self.checkpoint()?;
            appended = append(&mut self.journal)?;
        }
        if appended.is_err() {
            // What the journal holds is older, and must not be read after this.
            self.checkpoint()?;
            group.apply_whole().map_err(io::Error::other)?;
            self.flush()?;
        }
        Ok(())
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
    fn make_room(&mut self, way: Way) -> Result<(), CommitError> {
        self.room.make(&self.log)?;
        if way == Way::Journal && self.journal.is_none() {
            let marked = self.flush_with(Journal::FIRST_MARK);
            let made = marked.and_then(|()| Journal::create(&self.folder)).map_err(|error| {
                let is_full =
                    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
                if is_full { CommitError::Full { free: 0 } } else { failed(error) }
            });
            self.journal = Some(made?);
        }
        Ok(())
    }

    fn sync(&mut self, group: &Group, is_flushed: bool) -> Result<(), CommitError> {
        let written = if group.is_empty() { Ok(()) } else { self.write(group) };
        let flushed = written.and_then(|()| if is_flushed { self.flush() } else { Ok(()) });
        flushed.map_err(failed)
    }

    fn settle(&mut self, group: Group) -> Result<(), CommitError> {
        group.apply().map_err(|error| CommitError::Write(error.to_string()))
    }

    fn close(&mut self) -> Result<(), CommitError> {
        self.checkpoint().map_err(failed)
    }
}

fn failed(error: io::Error) -> CommitError {
    CommitError::Write(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_beside_the_log_is_synced_with_it_once() {
        let folder = tempfile::tempdir().unwrap();
        let db = sled::Config::new().path(folder.path()).flush_every_ms(None).open().unwrap();
        let mut disk = Disk::open(db.clone(), folder.path()).unwrap();
        disk.sync(&Group::default(), true).unwrap();
        assert_eq!(disk.synced.len(), 0);
        db.insert("large", vec![7; 300 * 1024]).unwrap();
        disk.sync(&Group::default(), true).unwrap();
        let blobs = fs::read_dir(folder.path().join(BLOBS)).unwrap().count();
        assert!(blobs > 0, "sled keeps large values elsewhere now: look what must be synced");
        assert_eq!(disk.synced.len(), blobs);
    }
}
