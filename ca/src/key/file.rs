//! Key files: PEM, for their owner's eyes only.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use thiserror::Error;
use zeroize::Zeroizing;

use super::{KeyError, Passphrase, PrivateKey};

/// A key file that is longer holds something else. In bytes.
const MAX_FILE: u64 = 16 * 1024;
/// The permission bits of everybody but the owner.
pub(super) const OTHERS: u32 = 0o077;

/// Why a key file cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The file cannot be read or written.
    #[error("cannot open the key file {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Others than its owner may read or write it.
    #[error("the key file {path} has mode {mode:04o}, so others can reach the key; run: chmod 600 {path}")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file holds no key that can be used.
    #[error("the key file {path} cannot be used")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: KeyError,
    },
}

impl PrivateKey {
    /// Writes the key to a new file of mode 0600, sealed if there is a passphrase, and waits for the disk. The folder
    /// is the caller's to sync.
    ///
    /// # Errors
    /// The file exists already, or cannot be written.
    pub fn write_new(&self, path: &Path, passphrase: Option<&Passphrase>) -> Result<(), KeyFileError> {
        let content = |source| KeyFileError::Content { path: path.to_owned(), source };
        write_text(path, &self.to_pem(passphrase).map_err(content)?)
    }

    /// Writes the key in place of a key file. After a crash the file is the old one or the new one, whole.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn replace(&self, path: &Path, passphrase: Option<&Passphrase>) -> Result<(), KeyFileError> {
        let content = |source| KeyFileError::Content { path: path.to_owned(), source };
        replace_text(path, &self.to_pem(passphrase).map_err(content)?)
    }

    /// Reads a key file, which is sealed if there is a passphrase, and only then.
    ///
    /// # Errors
    /// Not there, open to others, sealed otherwise, or no key.
    pub fn read(path: &Path, passphrase: Option<&Passphrase>) -> Result<Self, KeyFileError> {
        let content = |source| KeyFileError::Content { path: path.to_owned(), source };
        let text = read_text(path)?;
        Self::from_pem(&text, passphrase).map_err(content)
    }
}

/// Writes a new file of mode 0600, and waits for the disk.
pub(super) fn write_text(path: &Path, text: &str) -> Result<(), KeyFileError> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|source| KeyFileError::Io { path: path.to_owned(), source })
}

/// Writes a file in place of another. After a crash it is the old one or the new one, whole.
pub(super) fn replace_text(path: &Path, text: &str) -> Result<(), KeyFileError> {
    let failed = |source| KeyFileError::Io { path: path.to_owned(), source };
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(failed(io::ErrorKind::InvalidFilename.into()));
    };
    let beside = folder.join(format!(".unfinished-{}", name.display()));
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        Err(_) | Ok(()) => {}
    }
    write_text(&beside, text)?;
    fs::rename(&beside, path).and_then(|()| File::open(folder)?.sync_all()).map_err(failed)
}

/// Reads a file that nobody but its owner can reach.
pub(super) fn read_text(path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    let failed = |source| KeyFileError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    // Of the open file, so that nobody swaps it between the check and the use.
    let metadata = file.metadata().map_err(failed)?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(KeyFileError::Exposed { path: path.to_owned(), mode });
    }
    let Some(length) = usize::try_from(metadata.len()).ok().filter(|_| metadata.len() <= MAX_FILE) else {
        return Err(KeyFileError::Content { path: path.to_owned(), source: KeyError::NotPem });
    };
    let mut text = Zeroizing::new(String::with_capacity(length + 1));
    file.take(MAX_FILE).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn written() -> (tempfile::TempDir, PathBuf, PrivateKey) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        let key = PrivateKey::generate().unwrap();
        key.write_new(&path, None).unwrap();
        (folder, path, key)
    }

    #[test]
    fn a_key_file_is_for_its_owner_only_and_reads_back() {
        let (_folder, path, key) = written();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(PrivateKey::read(&path, None).unwrap().pkcs8_der(), key.pkcs8_der());
    }

    #[test]
    fn a_key_file_is_never_overwritten() {
        let (_folder, path, key) = written();
        assert!(PrivateKey::generate().unwrap().write_new(&path, None).is_err());
        assert_eq!(PrivateKey::read(&path, None).unwrap().pkcs8_der(), key.pkcs8_der());
    }

    #[test]
    fn a_key_file_that_others_can_reach_is_refused_with_the_remedy() {
        let (_folder, path, _key) = written();
        for mode in [0o640, 0o604, 0o620, 0o601, 0o777] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let refused = PrivateKey::read(&path, None).unwrap_err().to_string();
            assert!(refused.contains(&format!("chmod 600 {}", path.display())), "{mode:o}: {refused}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        assert!(PrivateKey::read(&path, None).is_ok());
    }

    #[test]
    fn a_file_that_is_missing_or_holds_something_else_is_told_by_name() {
        let (folder, path, _key) = written();
        for content in [
            &b""[..],
            b"junk",
            &[0xff; 40_000],
            b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
        ] {
            fs::write(&path, content).unwrap();
            let refused = PrivateKey::read(&path, None).unwrap_err();
            assert!(matches!(refused, KeyFileError::Content { .. }), "{refused:?}");
        }
        let absent = folder.path().join("absent");
        let missing = PrivateKey::read(&absent, None).unwrap_err().to_string();
        assert!(missing.contains("absent"), "{missing}");
    }

    #[test]
    fn a_key_file_is_replaced_whole_and_stays_its_owners() {
        let (folder, path, key) = written();
        let secret = Passphrase::new(Zeroizing::new("correct horse".to_owned())).unwrap();
        key.replace(&path, Some(&secret)).unwrap();
        assert_eq!(PrivateKey::read(&path, Some(&secret)).unwrap().pkcs8_der(), key.pkcs8_der());
        let refused = PrivateKey::read(&path, None).unwrap_err();
        assert!(matches!(refused, KeyFileError::Content { source: KeyError::Sealed, .. }), "{refused:?}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
        // What a crash left is no obstacle.
        fs::write(folder.path().join(".unfinished-key.pem"), "half").unwrap();
        key.replace(&path, None).unwrap();
        assert!(PrivateKey::read(&path, None).is_ok());
    }
}
