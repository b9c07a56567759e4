//! The Unix socket on which secrets are served.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::{
        fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt},
        net::UnixStream as BlockingStream,
    },
    path::{Path, PathBuf},
    time::SystemTime,
};

use rustix::process::geteuid;
use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};
use tracing::warn;

/// Mode of the socket: its owner and its group may connect; the kernel's credentials decide who is answered.
const SOCKET_MODE: u32 = 0o660;
/// Mode of a folder made for the socket.
const FOLDER_MODE: u32 = 0o750;

/// Why there is no socket to listen on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BindError {
    /// Somebody listens there.
    #[error("{0} is served by another process; stop it, or choose another --socket")]
    InUse(PathBuf),
    /// Another user made it, so that it cannot be asked whether somebody listens.
    #[error(
        "{path} is a socket of another user ({owner}), who may be serving it or have left it behind; remove it, or choose \
         another --socket"
    )]
    Anothers {
        /// The socket.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// Something else has that name.
    #[error("{0} exists and is no socket; it is left alone: remove it, or choose another --socket")]
    NotASocket(PathBuf),
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

/// Listens on `path`; its folder is made if it is missing, and a socket that nobody answers on is replaced.
///
/// # Errors
/// [`BindError`]. A file that is no socket, and a socket that somebody serves, are left as they are.
pub fn bind(path: &Path) -> Result<UnixListener, BindError> {
    let failed = |action| move |source| BindError::Io { action, path: path.to_owned(), source };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(FOLDER_MODE)
            .create(folder)
            .map_err(|source| BindError::Io { action: "make the folder", path: folder.to_owned(), source })?;
    }
    remove_stale(path)?;
    let listener = UnixListener::bind(path).map_err(failed("listen on"))?;
    let mode = fs::Permissions::from_mode(SOCKET_MODE);
    fs::set_permissions(path, mode).map_err(failed("set the mode of"))?;
    Ok(listener)
}

fn remove_stale(path: &Path) -> Result<(), BindError> {
    let failed = |action| move |source| BindError::Io { action, path: path.to_owned(), source };
    let owner = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at")(error)),
        Ok(found) if !found.file_type().is_socket() => return Err(BindError::NotASocket(path.to_owned())),
        Ok(found) => found.uid(),
    };
    let answer = BlockingStream::connect(path).map(drop);
    match refusal(path, owner, answer) {
        None => match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(failed("remove the stale socket")(error))
            }
            Err(_) | Ok(()) => Ok(()),
        },
        Some(error) => Err(error),
    }
}

/// Why a socket that answered so is not removed; `None` where nobody listens on it.
fn refusal(path: &Path, owner: u32, answer: io::Result<()>) -> Option<BindError> {
    match answer.map_err(|error| error.kind()) {
        Err(ErrorKind::ConnectionRefused | ErrorKind::NotFound) => None,
        Err(ErrorKind::PermissionDenied) if owner != geteuid().as_raw() => {
            Some(BindError::Anothers { path: path.to_owned(), owner })
        }
        // A full backlog, or rights that were taken away: whoever it is, it is not ours to remove.
        Ok(()) | Err(_) => Some(BindError::InUse(path.to_owned())),
    }
}

/// A listener that notices when its name is taken from it, and takes it back.
#[derive(Debug)]
pub(crate) struct Claim {
    listener: UnixListener,
    /// Where it is, and the file that it made there; `None` where it has no name.
    place: Option<(PathBuf, FileNumber)>,
    /// What was last said of a name that cannot be taken back.
    said: Option<String>,
}

/// A file, whatever its name (inode(7)). The number of one that is gone is soon another's, so its birth counts, where
/// the file system keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileNumber {
    device: u64,
    inode: u64,
    born: Option<SystemTime>,
}

impl FileNumber {
    fn of(found: &fs::Metadata) -> Self {
        Self { device: found.dev(), inode: found.ino(), born: found.created().ok() }
    }
}

impl Claim {
    pub(crate) fn new(listener: UnixListener) -> Self {
        let path = listener.local_addr().ok().and_then(|address| address.as_pathname().map(Path::to_owned));
        let place = path.and_then(|path| {
            let number = FileNumber::of(&fs::symlink_metadata(&path).ok()?);
            Some((path, number))
        });
        Self { listener, place, said: None }
    }

    pub(crate) async fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }

    /// Looks whether whoever connects to the name still comes here, and binds it again if not. Connections that are
    /// open go on. Another user's socket is removed; what belongs to this user, and whatever is no socket, is not.
    pub(crate) fn look(&mut self) {
        let Some((path, own)) = &self.place else { return };
        let path = path.clone();
        let now = fs::symlink_metadata(&path);
        if now.as_ref().is_ok_and(|found| FileNumber::of(found) == *own) {
            return;
        }
        let owner = now.as_ref().ok().filter(|found| found.file_type().is_socket()).map(fs::Metadata::uid);
        let stranger = owner.filter(|owner| *owner != geteuid().as_raw());
        let bound = match stranger.map(|_| fs::remove_file(&path)) {
            Some(Err(source)) => {
                Err(BindError::Io { action: "remove another user's socket from", path: path.clone(), source })
            }
            Some(Ok(())) | None => bind(&path),
        };
        match (bound, stranger) {
            (Ok(listener), stranger) => {
                let socket = path.display();
                match stranger {
                    Some(uid) => warn!(
                        target: "audit", %socket, uid,
                        "another user's socket was in the place of the SDS socket, and was removed"
                    ),
                    None => warn!(target: "audit", %socket, "the SDS socket was removed and is bound again"),
                }
                *self = Self::new(listener);
            }
            (Err(error), _) => {
                let words = error.to_string();
                if self.said.as_ref() != Some(&words) {
                    warn!(target: "audit", error = %words, "the SDS socket was taken away; new proxies are not served");
                }
                self.said = Some(words);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stale_socket_is_replaced_a_served_one_and_other_files_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/agent.sock");
        let first = bind(&path).unwrap();
        assert!(matches!(bind(&path), Err(BindError::InUse(_))), "somebody listens");
        drop(first);
        assert!(path.exists(), "a killed process leaves its socket behind");
        let _second = bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, SOCKET_MODE);
        let parent = fs::metadata(path.parent().unwrap()).unwrap();
        assert_eq!(parent.permissions().mode() & 0o007, 0, "strangers cannot enter the folder");

        let file = folder.path().join("notes.txt");
        fs::write(&file, "keep me").unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for other in [&file, &link] {
            assert!(matches!(bind(other), Err(BindError::NotASocket(_))), "{other:?}");
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), "keep me");
    }

    #[test]
    fn a_socket_that_only_another_user_may_ask_is_said_to_be_theirs() {
        let path = Path::new("/run/signet/agent.sock");
        let own = geteuid().as_raw();
        let answered = |owner: u32, answer: io::Result<()>| refusal(path, owner, answer);
        let denied = || Err(ErrorKind::PermissionDenied.into());
        let anothers = answered(own + 1, denied()).unwrap();
        assert!(matches!(&anothers, BindError::Anothers { owner, .. } if *owner == own + 1), "{anothers}");
        assert!(matches!(answered(own, denied()), Some(BindError::InUse(_))), "it is ours, and closed");
        assert!(matches!(answered(own + 1, Ok(())), Some(BindError::InUse(_))), "somebody listens");
        assert!(answered(own + 1, Err(ErrorKind::ConnectionRefused.into())).is_none(), "nobody does");
    }

    #[tokio::test]
    async fn a_path_that_is_too_long_for_a_socket_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = bind(&folder.path().join("x".repeat(200))).unwrap_err();
        assert!(error.to_string().contains("xxx"), "{error}");
    }

    #[tokio::test]
    async fn a_socket_that_was_removed_is_bound_again_and_what_is_another_process_of_ours_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.sock");
        let mut claim = Claim::new(bind(&path).unwrap());
        let number = |path: &Path| FileNumber::of(&fs::symlink_metadata(path).unwrap());
        let first = number(&path);
        claim.look();
        assert_eq!(number(&path), first, "it is left alone while it is there");

        fs::remove_file(&path).unwrap();
        claim.look();
        let (client, accepted) = tokio::join!(UnixStream::connect(&path), claim.accept());
        client.unwrap();
        accepted.unwrap();

        fs::remove_file(&path).unwrap();
        fs::write(&path, "keep me").unwrap();
        claim.look();
        assert_eq!(fs::read_to_string(&path).unwrap(), "keep me");

        fs::remove_file(&path).unwrap();
        let other = bind(&path).unwrap();
        let theirs = number(&path);
        claim.look();
        assert_eq!(number(&path), theirs, "a process of this user serves there");
        drop(other);
        claim.look();
        assert_ne!(number(&path), theirs, "it has gone");
    }
}
