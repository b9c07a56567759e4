//! Room on the disk, made sure of before anything is written.
//!
//! A write that fails half-way leaves a log that only a restart can vouch for, so a full disk must be noticed
//! before. Two things see to that: a change is not begun where less than [`MARGIN`] is free, and the log owns
//! blocks beyond its end, so that whoever else fills the disk meanwhile does not take them from a change that
//! has begun. A third, a file that is deleted while the database opens, lets it open on a full disk: sled writes a
//! snapshot of where its pages are.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FallocateFlags, fallocate, fstatvfs},
    io::Errno,
};
use tracing::{info, warn};

use crate::CommitError;

/// Least free space, in bytes, for a change to begin. Far more than the largest change and all that sled
/// holds back before it writes.
pub const MARGIN: u64 = 16 << 20;
/// Bytes beyond its end that the log owns. Kept up when half of it is used.
const RESERVE: u64 = 4 << 20;
/// The file that gives room to open, and its size in bytes.
pub(crate) const SPARE: &str = "spare";
const SPARE_SIZE: u64 = 4 << 20;

#[derive(Debug, Default)]
pub(crate) struct Room {
    spare: PathBuf,
    is_spare_there: bool,
    /// Where the log was seen to end, and how far beyond it owns blocks.
    end: u64,
    owned_to: u64,
    /// A file system that cannot give blocks ahead is left without.
    is_refused: bool,
    /// Whether the last change was refused.
    is_full: bool,
}

impl Room {
    /// Room for the database in `folder`, which was opened just now.
    pub(crate) fn new(folder: &Path, log: &File) -> Self {
        let spare = folder.join(SPARE);
        let mut room = Self { spare, ..Self::default() };
        // What sled has yet to write of its opening comes before the next opening. Neither can be done on a full
        // disk, and both are tried again with the first change.
        if room.reserve(log).is_ok() {
            room.keep_spare();
        }
        room
    }

    /// Sees to it that a change can be written.
    ///
    /// # Errors
    /// The disk is full; nothing was written.
    pub(crate) fn make(&mut self, log: &File) -> Result<(), CommitError> {
        let made = self.check_free(log).and_then(|()| self.reserve(log));
        match (&made, self.is_full) {
            (Err(error), false) => warn!(%error, "no changes are taken until there is room"),
            (Ok(()), true) => info!("there is room again, and changes are taken"),
            (Err(_), true) | (Ok(()), false) => {}
        }
        self.is_full = made.is_err();
        if made.is_ok() && !self.is_spare_there {
            self.keep_spare();
        }
        made
    }

    fn keep_spare(&mut self) {
        let kept =
            File::create(&self.spare).map(|file| fallocate(file, FallocateFlags::empty(), 0, SPARE_SIZE));
        // Where it cannot be kept now, it cannot be kept for the next changes either, unless the disk is full.
        self.is_spare_there = !matches!(kept, Ok(Err(Errno::NOSPC | Errno::DQUOT)));
        if !matches!(kept, Ok(Ok(()))) {
            let _ = fs::remove_file(&self.spare);
        }
    }

    fn check_free(&self, log: &File) -> Result<(), CommitError> {
        // A file system that does not say is one that is not checked.
        let Ok(found) = fstatvfs(log) else { return Ok(()) };
        let free = found.f_bavail.saturating_mul(found.f_frsize);
        match free < MARGIN {
            true => Err(CommitError::Full { free }),
            false => Ok(()),
        }
    }

    fn reserve(&mut self, log: &File) -> Result<(), CommitError> {
        if self.is_refused {
            return Ok(());
        }
        let Ok(end) = log.metadata().map(|found| found.len()) else { return Ok(()) };
        // A log that was cut gave back what it owned.
        if end >= self.end && end + RESERVE / 2 <= self.owned_to {
            self.end = end;
            return Ok(());
        }
        match fallocate(log, FallocateFlags::KEEP_SIZE, end, RESERVE) {
            Ok(()) => (self.end, self.owned_to) = (end, end + RESERVE),
            Err(Errno::NOSPC | Errno::DQUOT) => return Err(CommitError::Full { free: 0 }),
            Err(error) => {
                info!(error = %io::Error::from(error), "the disk gives no blocks ahead; the margin has to do");
                self.is_refused = true;
            }
        }
        Ok(())
    }
}
