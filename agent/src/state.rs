//! What an agent must know after a restart: its certificate with the key, and the Envoy that it left running.

mod identity_file;
mod seal;

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirBuilderExt, MetadataExt as _},
    },
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;
use thiserror::Error;
use tracing::warn;

pub use identity_file::{IdentityFileError, Unusable};
pub use seal::{CacheKey, CannotOpen, InvalidCacheKey};

const IDENTITY: &str = "identity.json";
const BOOTSTRAP: &str = "bootstrap.json";
const ENVOY: &str = "envoy.json";
const LOCK: &str = "lock";
/// How long a held lock may take to be let go. Whatever an agent was about to start when it ended has the lock too, until it
/// runs as what it is.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
const LOCK_PULSE: Duration = Duration::from_millis(10);
/// What a file is called before it is whole, with a few letters behind it.
const UNFINISHED: &str = ".unfinished-";
/// Mode of the folder: its files hold keys.
const FOLDER_MODE: u32 = 0o700;

/// An agent's folder, held against every other agent for as long as this lives.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    cache_key: Option<CacheKey>,
    /// While it is open, no other folder gets its number, also if this one is removed.
    _folder: File,
    _lock: File,
}

/// Why the folder cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StateError {
    /// Another agent holds it.
    #[error("{0} is in use by another agent; each agent needs a --state-dir of its own")]
    InUse(PathBuf),
    /// The system refused.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// The Envoy that an agent started, as its file has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "version", rename_all = "camelCase")]
pub(crate) enum EnvoyRecord {
    /// The first form.
    #[serde(rename = "1", rename_all = "camelCase")]
    V1 {
        /// Its process.
        pid: i32,
        /// When it started, in clock ticks since boot: with the pid this names one process only.
        start_time: u64,
        /// Its admin port.
        admin_port: u16,
        /// Its egress port.
        egress_port: u16,
    },
}

impl StateDir {
    /// Opens the folder, making it if it is missing, and takes it for this process. This blocks for up to a second where
    /// another has it. What an agent had not finished writing when it was killed is removed: it may hold a key, also where
    /// keys are sealed by now.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let failed = |action| move |source| StateError::Io { action, path: path.to_owned(), source };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(FOLDER_MODE)
            .create(path)
            .map_err(failed("make the folder"))?;
        // Envoy is told the path of its bootstrap, and is found again by it.
        let path = fs::canonicalize(path).map_err(failed("resolve"))?;
        let lock = File::create(path.join(LOCK)).map_err(|source| StateError::Io {
            action: "make the lock in",
            path: path.clone(),
            source,
        })?;
        let folder = File::open(&path).map_err(failed("open"))?;
        match patiently(|| flock(&lock, FlockOperation::NonBlockingLockExclusive), sleep) {
            Ok(()) => {
                clear_unfinished(&path).map_err(|source| StateError::Io {
                    action: "clear",
                    path: path.clone(),
                    source,
                })?;
                Ok(Self { path, cache_key: None, _folder: folder, _lock: lock })
            }
            Err(Errno::WOULDBLOCK) => Err(StateError::InUse(path)),
            Err(error) => Err(StateError::Io { action: "lock", path, source: error.into() }),
        }
    }

    /// Seals what is kept from now on, and opens what was sealed.
    #[must_use]
    pub fn sealed_with(self, cache_key: Option<CacheKey>) -> Self {
        Self { cache_key, ..self }
    }

    /// The folder itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where Envoy's bootstrap is written.
    #[must_use]
    pub fn bootstrap_path(&self) -> PathBuf {
        self.path.join(BOOTSTRAP)
    }

    /// Where the certificate and its key are kept.
    #[must_use]
    pub fn identity_path(&self) -> PathBuf {
        self.path.join(IDENTITY)
    }

    /// Tells the proxies of one workload apart: the host's name, which is a pod's or a container's own, and the
    /// number of this folder there. The same for as long as the folder is.
    pub(crate) fn instance(&self) -> String {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let folder = fs::metadata(&self.path).map_or(0, |folder| folder.ino());
        format!("{}-{folder}", host.trim().chars().take(40).collect::<String>())
    }

    pub(crate) fn read_bootstrap(&self) -> Option<Vec<u8>> {
        fs::read(self.bootstrap_path()).ok()
    }

    pub(crate) fn write_bootstrap(&self, bootstrap: &[u8]) -> Result<(), StateError> {
        self.replace(BOOTSTRAP, bootstrap)
    }

    /// The Envoy of an earlier life. A file that cannot be understood names none.
    pub(crate) fn read_envoy(&self) -> Option<EnvoyRecord> {
        let text = fs::read(self.path.join(ENVOY)).ok()?;
        let parsed = serde_json::from_slice(&text);
        parsed.inspect_err(|error| warn!(%error, file = ENVOY, "the record of Envoy is not understood")).ok()
    }

    pub(crate) fn write_envoy(&self, record: &EnvoyRecord) -> Result<(), StateError> {
        let io = |source: serde_json::Error| StateError::Io {
            action: "encode",
            path: self.path.join(ENVOY),
            source: source.into(),
        };
        self.replace(ENVOY, &serde_json::to_vec(record).map_err(io)?)
    }

    pub(crate) fn forget_envoy(&self) {
        let path = self.path.join(ENVOY);
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            warn!(%error, path = %path.display(), "cannot remove the record of an Envoy that has ended");
        }
    }

    /// Puts `content` under `name` so that a reader, also after a crash, finds all of the old or all of the new.
    /// The file's mode is 0600.
    fn replace(&self, name: &str, content: &[u8]) -> Result<(), StateError> {
        let write = || -> io::Result<()> {
            let mut file = unfinished(&self.path)?;
            file.write_all(content)?;
            file.as_file().sync_all()?;
            file.persist(self.path.join(name)).map_err(|error| error.error)?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(|source| StateError::Io { action: "write", path: self.path.join(name), source })
    }
}

/// Tries to lock until that is done, or for [`LOCK_PATIENCE`].
fn patiently(lock: impl Fn() -> Result<(), Errno>, pause: impl Fn(Duration)) -> Result<(), Errno> {
    let mut waited = Duration::ZERO;
    loop {
        match lock() {
            Err(Errno::WOULDBLOCK) if waited < LOCK_PATIENCE => {
                pause(LOCK_PULSE);
                waited += LOCK_PULSE;
            }
            locked => return locked,
        }
    }
}

/// A file of mode 0600 that goes by itself, unless it gets another name or the process is killed.
fn unfinished(folder: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(folder)
}

fn clear_unfinished(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().as_bytes().starts_with(UNFINISHED.as_bytes()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, collections::BTreeSet, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn a_folder_serves_one_agent_at_a_time_and_is_closed_to_others() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let first = StateDir::open(&path).unwrap();
        assert!(matches!(StateDir::open(&path), Err(StateError::InUse(_))));
        drop(first);
        StateDir::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, FOLDER_MODE);
    }

    /// What a file system does not free, it gives to nobody else.
    #[test]
    fn a_folder_is_held_open_so_that_no_other_gets_its_number_where_it_is_removed() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("state");
        let state = StateDir::open(&path).unwrap();
        let is_open = || {
            let files = fs::read_dir("/proc/self/fd").unwrap();
            let mut files = files.filter_map(|file| fs::metadata(file.unwrap().path()).ok());
            let number = fs::metadata(&path).unwrap().ino();
            files.any(|file| file.is_dir() && file.ino() == number)
        };
        assert!(is_open());
        drop(state);
        assert!(!is_open());
    }

    #[test]
    fn a_held_lock_is_waited_for_and_not_for_ever() {
        for (held, expected) in [(3, Ok(())), (u32::MAX, Err(Errno::WOULDBLOCK))] {
            let (tried, waited) = (Cell::new(0), Cell::new(Duration::ZERO));
            let lock = || {
                tried.set(tried.get() + 1);
                if tried.get() > held { Ok(()) } else { Err(Errno::WOULDBLOCK) }
            };
            assert_eq!(patiently(lock, |pulse| waited.set(waited.get() + pulse)), expected);
            assert_eq!(waited.get(), LOCK_PATIENCE.min(LOCK_PULSE.saturating_mul(held)));
        }
        assert_eq!(patiently(|| Err(Errno::NOLCK), |_| panic!("it is not held")), Err(Errno::NOLCK));
    }

    #[test]
    fn what_was_written_is_read_again_and_its_file_is_closed_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path()).unwrap();
        assert_eq!(state.read_envoy(), None);
        let record = EnvoyRecord::V1 { pid: 17, start_time: 12_345, admin_port: 9901, egress_port: 15_001 };
        state.write_envoy(&record).unwrap();
        state.write_bootstrap(b"{}").unwrap();
        assert_eq!(state.read_envoy(), Some(record));
        assert_eq!(state.read_bootstrap().as_deref(), Some(&b"{}"[..]));
        let mode = fs::metadata(folder.path().join(ENVOY)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        state.forget_envoy();
        state.forget_envoy();
        assert_eq!(state.read_envoy(), None);
        let left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "the lock and the bootstrap, no temporary files: {left:?}");
    }

    #[test]
    fn what_a_killed_agent_had_not_finished_writing_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let names = || -> BTreeSet<_> {
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect()
        };
        // As its replacement finds it when the process ends between the two.
        let file = unfinished(folder.path()).unwrap();
        let (_, left) = file.keep().unwrap();
        for name in [IDENTITY, BOOTSTRAP, ".hidden"] {
            fs::write(folder.path().join(name), "kept").unwrap();
        }
        assert_eq!(names().len(), 4);
        let state = StateDir::open(folder.path()).unwrap();
        assert_eq!(names(), [IDENTITY, BOOTSTRAP, ".hidden", LOCK].map(Into::into).into());
        // Nobody removes what the agent that has the folder is writing.
        fs::write(&left, "being written").unwrap();
        assert!(matches!(StateDir::open(folder.path()), Err(StateError::InUse(_))));
        assert!(left.exists());
        drop(state);
    }

    #[test]
    fn the_first_form_of_the_record_is_read_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path()).unwrap();
        let text = r#"{"version":"1","pid":17,"startTime":12345,"adminPort":9901,"egressPort":15001}"#;
        fs::write(folder.path().join(ENVOY), text).unwrap();
        let record = EnvoyRecord::V1 { pid: 17, start_time: 12_345, admin_port: 9901, egress_port: 15_001 };
        assert_eq!(state.read_envoy(), Some(record));
        for junk in ["", "{}", r#"{"version":"2"}"#, "\0\0"] {
            fs::write(folder.path().join(ENVOY), junk).unwrap();
            assert_eq!(state.read_envoy(), None, "{junk:?}");
        }
    }
}
