//! A file that holds what was acknowledged until sled has it on disk.
//!
//! ```text
//!  0     4 KiB    8 KiB
//!  ├ head ┼ head ──┼ group 1 ┼ group 2 ──────┼ group 3 ┼ … what an earlier round left ─┤ SIZE
//!   the epoch, in turn   each padded to whole blocks; one write and one fdatasync
//! ```
//!
//! sled writes its log out twice for a batch of several keys, wakes eight threads for each flush, and waits for the
//! disk both there and in the `fdatasync` that its flush is not. One write to blocks that the file owns already is a
//! third of that. So a group of changes goes here first, is answered, and is given to sled after that; when the file
//! is full, sled is flushed and the file begins anew, with the next epoch.
//!
//! Invariants:
//! - A group is whole or not there: its checksum covers all of it.
//! - Groups are read in order and without a gap. One that is damaged although a later one is there was acknowledged:
//!   such a file is refused, and not half of it obeyed.
//! - sled bears the number of the epoch, on the disk, before that begins: one that bears an earlier number has lost what was
//!   acknowledged, and is refused.
//! - No block of a group is written again before its epoch is over, and that is on disk before the next one begins.

mod layout;

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt as _,
    path::Path,
};

use crate::writes::Group;

use self::layout::{BLOCK, Head};
pub(crate) use self::layout::{Found, Unreadable};

/// The file's name.
pub(crate) const NAME: &str = "journal";
/// Its size in bytes: about two thousand resources, written one by one.
pub(crate) const SIZE: usize = 4 << 20;
/// Where the first group begins: after the two heads.
const START: usize = 2 * BLOCK;

/// Where the bytes are.
pub(crate) trait Medium {
    fn write(&mut self, bytes: &[u8], offset: usize) -> io::Result<()>;

    /// Puts on the disk what was written.
    fn sync(&mut self) -> io::Result<()>;
}

impl Medium for File {
    fn write(&mut self, bytes: &[u8], offset: usize) -> io::Result<()> {
        self.write_all_at(bytes, offset as u64)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// The open file.
#[derive(Debug)]
pub(crate) struct Journal<M = File> {
    file: M,
    head: Head,
    /// Of the last group, or 0.
    sequence: u64,
    /// Where the next group goes.
    end: usize,
    /// Kept for its memory.
    buffer: Vec<u8>,
}

/// Why a group was not taken. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// There will be, once the journal begins anew.
    Yet,
    /// It is larger than the file.
    Ever,
}

/// Why a journal that is there cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

impl Journal<File> {
    /// What sled must bear before the file is made.
    pub(crate) const FIRST_MARK: u64 = 1;

    /// Makes the file, with all of its blocks.
    ///
    /// # Errors
    /// There is no room for it, or it cannot be written. None is left.
    pub(crate) fn create(folder: &Path) -> io::Result<Self> {
        let path = folder.join(NAME);
        let made = Self::write_new(&path).and_then(|journal| {
            File::open(folder)?.sync_all()?;
            Ok(journal)
        });
        if made.is_err() {
            let _ = fs::remove_file(&path);
        }
        made
    }

    fn write_new(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        // Written, not only reserved: the first write to a block that was only reserved costs a file system one more.
        file.write_all_at(&vec![0; SIZE], 0)?;
        file.sync_all()?;
        Self::begin(file, SIZE)
    }

    /// Opens the file, if it is there, and reads what sled may lack, in the order in which it was written.
    ///
    /// # Errors
    /// It cannot be read; what it says is damaged; or it is a later version's.
    pub(crate) fn open(folder: &Path) -> Result<Option<(Self, Vec<Found>)>, OpenError> {
        let path = folder.join(NAME);
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let bytes = fs::read(&path)?;
        match layout::read(&bytes, START)? {
            Some((head, groups)) => {
                let (sequence, end) = groups.last().map_or((0, START), |last| (last.sequence, last.end));
                let journal = Self { file, head, sequence, end, buffer: Vec::new() };
                Ok(Some((journal, groups)))
            }
            // Nothing was ever acknowledged from one that was not made to the end.
            None => {
                fs::remove_file(&path)?;
                Ok(None)
            }
        }
    }
}

impl<M: Medium> Journal<M> {
    /// In a file of `size` zeros.
    fn begin(file: M, size: usize) -> io::Result<Self> {
        let head = Head::before_first(size);
        let mut journal = Self { file, head, sequence: 0, end: START, buffer: Vec::new() };
        journal.restart()?;
        Ok(journal)
    }

    /// What sled must bear as its mark, or a later number; nothing where none was given to it.
    pub(crate) fn mark(&self) -> Option<u64> {
        Some(self.head.epoch).filter(|_| self.head.is_marked)
    }

    /// What sled is to bear before the journal begins anew.
    pub(crate) fn next_mark(&self) -> u64 {
        self.head.next().epoch
    }

    /// Whether anything is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.sequence == 0
    }

    /// Makes a group durable.
    ///
    /// # Errors
    /// The disk failed, and the group may or may not be found.
    pub(crate) fn append(&mut self, group: &Group) -> io::Result<Result<(), NoRoom>> {
        layout::write(&mut self.buffer, &self.head, self.sequence + 1, group);
        match self.buffer.len() {
            length if length > self.head.size - START => return Ok(Err(NoRoom::Ever)),
            length if length > self.head.size - self.end => return Ok(Err(NoRoom::Yet)),
            _ => {}
        }
        self.file.write(&self.buffer, self.end)?;
        self.file.sync()?;
        self.sequence += 1;
        self.end += self.buffer.len();
        Ok(Ok(()))
    }

    /// Begins anew, once sled has everything on disk, and the next mark with it.
    ///
    /// # Errors
    /// The disk failed: what was in it may or may not be found.
    pub(crate) fn restart(&mut self) -> io::Result<()> {
        let head = self.head.next();
        self.file.write(&head.bytes(), head.offset())?;
        self.file.sync()?;
        (self.head, self.sequence, self.end) = (head, 0, START);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
