//! Who signs the checkpoints of a ledger on the disk, keeps the newest, and anchors it outside of the data folder.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use signet_policies::identity::TrustDomain;
use thiserror::Error;

use super::{
    Checkpoint, Head, InvalidCheckpoint, Ledger, LedgerError, LogVerifier, SledLedger, checkpoint::origin,
};
use crate::{KeyFileError, Passphrase, key::LogKey};

/// An anchor that is longer is none; in bytes.
const MAX_ANCHOR: u64 = 16 * 1024;

/// Signs how the ledger stands.
#[derive(Debug)]
pub struct Notary {
    ledger: SledLedger,
    key: LogKey,
    verifier: LogVerifier,
    anchor: Option<PathBuf>,
    stated: Mutex<Stated>,
}

/// What was stated last.
#[derive(Debug, Default)]
struct Stated {
    latest: Option<Checkpoint>,
    /// Entries that the anchor covers.
    anchored: u64,
}

/// Why a ledger is not gone on with, or how it stands not stated.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NotaryError {
    /// The key's file cannot be used.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The ledger cannot be read or written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A file or folder cannot be read or written.
    #[error("cannot read or write {path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There are checkpoints, but not the key that signed them. No other is made in its place.
    #[error(
        "{path} is missing, although it has signed checkpoints of this ledger: restore it from a backup; with another \
         key nobody could tell this ledger from a forged one"
    )]
    KeyMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The statement is none of this ledger.
    #[error(
        "{what} does not belong to this ledger: {reason}. Either the data folder is not the one that it was made for, \
         or one of the two was altered. If the data folder is meant to start a new ledger, move the anchor away"
    )]
    Foreign {
        /// The anchor's file, or the checkpoint within the data folder.
        what: String,
        /// What is wrong.
        reason: InvalidCheckpoint,
    },
    /// The ledger holds less than was stated.
    #[error(
        "the ledger has {has} entries, and {what} says that it had {stated}: the data folder is older than its last \
         checkpoint, so certificates and revocations are missing in it. Restore a newer one. If going on without them is \
         meant, move the anchor away, and revoke again what should be"
    )]
    Older {
        /// The anchor's file, or the checkpoint within the data folder.
        what: String,
        /// Entries that there are.
        has: u64,
        /// Entries that there were.
        stated: u64,
    },
    /// Of what was stated something was altered.
    #[error(
        "the first {stated} entries of the ledger are not those that {what} was made over: it was altered, or went \
         another way after a restore. `signet ca verify --data-dir` finds an entry that was altered; restore a backup from \
         before that"
    )]
    Altered {
        /// The anchor's file, or the checkpoint within the data folder.
        what: String,
        /// Entries that there were.
        stated: u64,
    },
}

impl Notary {
    /// Opens the key in the authority's `folder` (made where the ledger never had a checkpoint), and compares the ledger
    /// with its last checkpoint and with the anchor, where there is one.
    ///
    /// # Errors
    /// The ledger is older than one of the two, or is not the one that they are about; the key is missing, cannot be
    /// opened, or is open to others.
    pub fn open(
        folder: &Path,
        passphrase: Option<&Passphrase>,
        trust_domain: &TrustDomain,
        ledger: SledLedger,
        anchor: Option<&Path>,
    ) -> Result<Self, NotaryError> {
        let kept = ledger.kept_checkpoint()?;
        let path = LogKey::file_in(folder);
        let is_there = path.try_exists().map_err(at(&path))?;
        let key = match (is_there, &kept) {
            (true, _) => LogKey::read(&path, passphrase)?,
            (false, Some(_)) => return Err(NotaryError::KeyMissing { path }),
            (false, None) => make_key(&path, passphrase)?,
        };
        let verifier = LogVerifier::new(origin(trust_domain), key.public());
        let latest = kept.map(|note| compare(&ledger, &note, &verifier, "the checkpoint in the data folder"));
        let latest = latest.transpose()?;
        let anchored = anchor.map(read_anchor).transpose()?.flatten();
        let what = anchor.unwrap_or(folder).display().to_string();
        let anchored = anchored.map(|note| compare(&ledger, &note, &verifier, &what)).transpose()?;
        let anchored = anchored.map_or(0, |anchored| anchored.head().size);
        let stated = Mutex::new(Stated { latest, anchored });
        Ok(Self { ledger, key, verifier, anchor: anchor.map(Path::to_owned), stated })
    }

    /// What it states something of.
    #[must_use]
    pub fn ledger(&self) -> &SledLedger {
        &self.ledger
    }

    /// Whom to give to those who check checkpoints.
    #[must_use]
    pub fn verifier(&self) -> &LogVerifier {
        &self.verifier
    }

    /// A checkpoint over all that is in the ledger now. It is kept, and then anchored; where nothing was added since the
    /// last one, it is that one.
    ///
    /// # Errors
    /// The ledger or the anchor cannot be read or written.
    pub async fn checkpoint(&self) -> Result<Checkpoint, NotaryError> {
        let size = self.ledger.size();
        let last = self.stated().latest.clone().filter(|last| last.head().size == size);
        let checkpoint = match last {
            Some(last) => last,
            None => {
                let head = self.ledger.head().await?;
                let checkpoint = Checkpoint::sign(self.verifier.name(), head, &self.key);
                self.ledger.keep_checkpoint(checkpoint.note()).await?;
                checkpoint
            }
        };
        // One at a time from here on, so that an older one never takes a newer one's place.
        let mut stated = self.stated();
        let size = checkpoint.head().size;
        if let Some(anchor) = self.anchor.as_ref().filter(|_| stated.anchored < size) {
            write_anchor(anchor, checkpoint.note()).map_err(at(anchor))?;
            stated.anchored = size;
        }
        if stated.latest.as_ref().is_none_or(|latest| latest.head().size < size) {
            stated.latest = Some(checkpoint.clone());
        }
        Ok(checkpoint)
    }

    fn stated(&self) -> MutexGuard<'_, Stated> {
        self.stated.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a ledger still begins with what a signed note states.
///
/// # Errors
/// It is older, was altered, or is another one.
pub fn compare(
    ledger: &SledLedger,
    note: &str,
    verifier: &LogVerifier,
    what: &str,
) -> Result<Checkpoint, NotaryError> {
    let checkpoint = Checkpoint::open(note, verifier)
        .map_err(|reason| NotaryError::Foreign { what: what.to_owned(), reason })?;
    let (stated, has) = (checkpoint.head(), ledger.size());
    if stated.size > has {
        return Err(NotaryError::Older { what: what.to_owned(), has, stated: stated.size });
    }
    match head_of(ledger, stated.size)? == stated {
        true => Ok(checkpoint),
        false => Err(NotaryError::Altered { what: what.to_owned(), stated: stated.size }),
    }
}

fn head_of(ledger: &SledLedger, size: u64) -> Result<Head, LedgerError> {
    let ledger: &dyn Ledger = ledger;
    ledger.head_of(size)
}

fn make_key(path: &Path, passphrase: Option<&Passphrase>) -> Result<LogKey, NotaryError> {
    let folder = path.parent().unwrap_or(path);
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(at(folder))?;
    let key = LogKey::make(path, passphrase)?;
    let sync = |folder: &Path| File::open(folder).and_then(|folder| folder.sync_all()).map_err(at(folder));
    sync(folder)?;
    folder.parent().map_or(Ok(()), sync)?;
    Ok(key)
}

/// What is anchored; `None` where the file is not there yet.
fn read_anchor(path: &Path) -> Result<Option<String>, NotaryError> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at(path)(error)),
        Ok(found) if found.len() > MAX_ANCHOR => {
            let reason = InvalidCheckpoint::Form;
            return Err(NotaryError::Foreign { what: path.display().to_string(), reason });
        }
        Ok(_) => {}
    }
    let bytes = fs::read(path).map_err(at(path))?;
    let text = String::from_utf8(bytes).map_err(|_| NotaryError::Foreign {
        what: path.display().to_string(),
        reason: InvalidCheckpoint::Form,
    });
    text.map(Some)
}

/// After a crash the anchor is the old one or the new one, whole.
fn write_anchor(path: &Path, note: &str) -> io::Result<()> {
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?.to_owned();
    name.push(".unfinished");
    let beside = path.with_file_name(name);
    let mut file = File::create(&beside)?;
    file.write_all(note.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> NotaryError + use<> {
    let path = path.to_owned();
    |source| NotaryError::Io { path, source }
}

#[cfg(test)]
mod tests;
