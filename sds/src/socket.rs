//! The Unix socket on which secrets are served.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::{
        fs::{DirBuilderExt, FileTypeExt, PermissionsExt},
        net::UnixStream as BlockingStream,
    },
    path::{Path, PathBuf},
};

use thiserror::Error;
use tokio::net::UnixListener;

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
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at")(error)),
        Ok(found) if !found.file_type().is_socket() => return Err(BindError::NotASocket(path.to_owned())),
        Ok(_) => {}
    }
    match BlockingStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed("remove the stale socket"))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        // A full backlog or missing rights: whoever it is, it is not ours to remove.
        Ok(_) | Err(_) => Err(BindError::InUse(path.to_owned())),
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

    #[tokio::test]
    async fn a_path_that_is_too_long_for_a_socket_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = bind(&folder.path().join("x".repeat(200))).unwrap_err();
        assert!(error.to_string().contains("xxx"), "{error}");
    }
}
