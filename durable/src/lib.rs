//! A sled database whose acknowledged writes are on disk.
//!
//! ```text
//!  change ─┐                 ┌─ answer
//!  change ─┼─▶ one writer    ├─ answer      every queued change is applied in turn, then all share
//!  change ─┘   thread        └─ answer      one write and one fdatasync of the journal
//!                 │                                   │ afterwards, and once it is full
//!                 └─ those that write to sled ─▶ sled: flush, fdatasync
//! ```
//!
//! Invariants:
//! - A change that was answered survives a crash of the process and a loss of power: it is in the journal, or sled was
//!   flushed and, because its own flush is only `sync_file_range`, an `fdatasync` of its files came after.
//! - What the journal holds and sled may lack is given to sled when the folder is opened, before anybody reads.
//! - A folder that lost what was on its disk when the journal last began anew, or was closed, is refused: its files were
//!   cut or damaged, or copied one after another from a server that ran.
//! - A change is not begun on a disk without room for it, and the next one that has room is: a full disk needs no
//!   restart.
//! - After a sync that failed all the same nothing more is written or answered as durable until the process
//!   starts anew: Linux tells of a lost page once, so whatever comes after could not be vouched for.
//! - Changes run one after another on one thread: a change that reads, checks and writes is atomic
//!   against every other change. Writes of one change that belong together go into one `sled::Batch`, or through
//!   the journal ([`Database::journal`]).
//! - One process per folder; a second one is told so.

mod committer;
mod disk;
mod dump;
mod journal;
mod leftovers;
mod room;
mod writes;

use std::{
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt as _,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use thiserror::Error;

use committer::Committer;
use disk::Disk;

pub use dump::{Dump, Entry, RestoreError};
pub use room::MARGIN;
pub use writes::Writes;

/// How long a held lock may take to be let go.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const LOCK_PULSE: Duration = Duration::from_millis(20);

/// A handle on an open database; clones share it. The last one to go waits for the writer.
#[derive(Clone, Debug)]
pub struct Database {
    db: sled::Db,
    committer: Arc<Committer>,
}

/// Why a folder could not be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process holds the folder.
    #[error("{0} is in use by another signet process; stop it, or choose another folder with --data-dir")]
    InUse(PathBuf),
    /// The folder or its file cannot be opened or written.
    #[error("cannot open the store in {path}")]
    Io {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// What is there is no database, or is damaged.
    #[error("the store in {path} cannot be read: {reason}")]
    Damaged {
        /// The folder.
        path: PathBuf,
        /// What sled said.
        reason: String,
    },
}

/// Why a change was not made durable.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The disk is full. The change was not begun; the next one may be, once there is room.
    #[error(
        "the disk is full: {free} bytes are free, and a change needs {MARGIN}; it was not begun, and no restart is \
         needed once there is room"
    )]
    Full {
        /// Bytes that are free.
        free: u64,
    },
    /// The disk failed, or filled up within a change, which may or may not be found after a restart.
    #[error("the store cannot write: {0}")]
    Write(String),
    /// The database was closed.
    #[error("the store is closed")]
    Closed,
}

impl Database {
    /// Opens the database in `folder`, which is made where it is not there.
    ///
    /// # Errors
    /// The folder is held by another process, cannot be written, or holds something else.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        answered(folder, || Self::open_whole(folder))
    }

    fn open_whole(folder: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io { path: folder.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        let db = Self::open_sled(folder)?;
        let disk = Disk::open(db.clone(), folder).map_err(|error| match error {
            journal::OpenError::Io(source) => failed(source),
            journal::OpenError::Unreadable(why) => {
                OpenError::Damaged { path: folder.to_owned(), reason: why.to_string() }
            }
        })?;
        let committer = Arc::new(Committer::start(disk).map_err(failed)?);
        Ok(Self { db, committer })
    }

    /// sled's own threads may hold the lock for a moment after the last handle or the process is gone, so a
    /// held lock is looked at again for [`LOCK_PATIENCE`]. This blocks.
    fn open_sled(folder: &Path) -> Result<sled::Db, OpenError> {
        // Every acknowledged write is flushed by the committer; a timer of sled's own would only add noise.
        let config = sled::Config::new().path(folder).flush_every_ms(None);
        let mut waited = Duration::ZERO;
        leftovers::clear(folder);
        loop {
            match config.open().map_err(|error| Self::open_error(folder, error)) {
                Err(OpenError::InUse(_)) if waited < LOCK_PATIENCE => {
                    std::thread::sleep(LOCK_PULSE);
                    waited += LOCK_PULSE;
                }
                opened => return opened,
            }
        }
    }

    fn open_error(folder: &Path, error: sled::Error) -> OpenError {
        let path = folder.to_owned();
        match error {
            sled::Error::Io(source) if is_lock(&source) => OpenError::InUse(path),
            sled::Error::Io(source) => OpenError::Io { path, source },
            sled::Error::CollectionNotFound(_)
            | sled::Error::Unsupported(_)
            | sled::Error::ReportableBug(_)
            | sled::Error::Corruption { .. } => OpenError::Damaged { path, reason: error.to_string() },
        }
    }

    /// A named tree, for reading. Writes go through [`Database::commit`].
    ///
    /// # Errors
    /// The tree is new and cannot be written.
    pub fn tree(&self, name: &str) -> Result<sled::Tree, CommitError> {
        self.db.open_tree(name).map_err(|error| CommitError::Write(error.to_string()))
    }

    /// Whether changes can be made durable.
    ///
    /// # Errors
    /// A sync failed, or the writer is gone; only a new process helps.
    pub fn health(&self) -> Result<(), CommitError> {
        self.committer.health()
    }

    /// Runs `change` on the writer thread, makes what it wrote to trees durable, and returns its result.
    ///
    /// `change` sees all earlier changes of its tree and none that comes after it. It must be short and must not
    /// block. A change that wrote nothing is answered with the group it ran in.
    ///
    /// # Errors
    /// The disk refused the write; other changes of the same group are told so too.
    pub async fn commit<T, F>(&self, change: F) -> Result<T, CommitError>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, sled::Error> + Send + 'static,
    {
        self.committer.commit(change).await
    }

    /// As [`Database::commit`], at a third of the cost: all that `change` notes in its [`Writes`] goes through the
    /// journal, all of it or nothing, also where it is to several trees.
    ///
    /// It is for trees that are written in this way only, and whose changes do not read what they write: the trees
    /// show it once the answer is on its way. A change that notes nothing costs no sync.
    ///
    /// `publish` runs on the writer thread once the writes are durable and before the answer, in the order of the
    /// changes, and whether or not the caller still waits. It does not run where they are not durable.
    ///
    /// # Errors
    /// The change's own, with nothing written; or as for [`Database::commit`].
    pub async fn journal<T, F, P>(&self, change: F, publish: P) -> Result<T, CommitError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Writes) -> Result<T, CommitError> + Send + 'static,
        P: FnOnce(&T) + Send + 'static,
    {
        self.committer.journal(change, publish).await
    }
}

/// What opening a folder comes to, also where sled panics, as it does over some damage.
fn answered<T>(folder: &Path, open: impl FnOnce() -> Result<T, OpenError>) -> Result<T, OpenError> {
    catch_unwind(AssertUnwindSafe(open)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("nothing");
        let reason = format!("it is damaged, and sled gave up on it, saying {said:?}; restore a backup");
        Err(OpenError::Damaged { path: folder.to_owned(), reason })
    })
}

/// sled reports a held lock as an I/O error without a kind of its own.
fn is_lock(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.to_string().contains("could not acquire lock")
}

#[cfg(test)]
mod tests;
