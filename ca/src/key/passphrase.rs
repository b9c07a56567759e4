//! The passphrase that seals keys on the disk.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use pkcs8::{
    EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef,
    pkcs5::{pbes2::Parameters, scrypt},
};
use ring::rand::{SecureRandom, SystemRandom};
use thiserror::Error;
use zeroize::Zeroizing;

use super::{KeyError, file::OTHERS};

/// Cost of scrypt (RFC 7914), as log₂ N, r and p: 16 MiB and some 50 ms a guess. OpenSSL opens no file that asks
/// for more than 32 MiB.
const COST: (u8, u32, u32) = (14, 8, 1);
/// Longest passphrase, in bytes.
const MAX: u64 = 1024;

/// A passphrase, wiped from memory when dropped. It is neither cloned nor shown.
pub struct Passphrase(Zeroizing<String>);

/// Why a text or file is no passphrase.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InvalidPassphrase {
    /// Empty, or longer than anybody's.
    #[error("a passphrase has 1 to {MAX} bytes")]
    Length,
    /// Its end is not where people see it.
    #[error("a passphrase is one line, without control characters")]
    Line,
    /// The file cannot be read.
    #[error("cannot read the passphrase file {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Others than its owner may read or write it.
    #[error("the passphrase file {path} has mode {mode:04o}, so others can read it; run: chmod 600 {path}")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

impl Passphrase {
    /// One line of 1 to 1024 bytes. A line break at the end, which editors add, is not part of it.
    ///
    /// # Errors
    /// [`InvalidPassphrase::Length`], [`InvalidPassphrase::Line`].
    pub fn new(mut text: Zeroizing<String>) -> Result<Self, InvalidPassphrase> {
        let length = text.trim_end_matches(['\r', '\n']).len();
        text.truncate(length);
        match u64::try_from(length) {
            Ok(1..=MAX) if text.chars().any(char::is_control) => Err(InvalidPassphrase::Line),
            Ok(1..=MAX) => Ok(Self(text)),
            Ok(_) | Err(_) => Err(InvalidPassphrase::Length),
        }
    }

    /// Reads a passphrase file, which must be for its owner alone. `/dev/stdin` and pipes are files too.
    ///
    /// # Errors
    /// Not there, open to others, or not one line.
    pub fn read(path: &Path) -> Result<Self, InvalidPassphrase> {
        let failed = |source| InvalidPassphrase::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let mode = metadata.permissions().mode() & 0o7777;
        if metadata.is_file() && mode & OTHERS != 0 {
            return Err(InvalidPassphrase::Exposed { path: path.to_owned(), mode });
        }
        // Room for the longest at once: growing would leave copies behind that nobody wipes.
        let most = MAX + 2;
        let mut text = Zeroizing::new(String::with_capacity(usize::try_from(most).unwrap_or_default() + 1));
        file.take(most).read_to_string(&mut text).map_err(failed)?;
        Self::new(text)
    }

    /// The secret text, for a token that wants it as its PIN.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }

    /// Seals a key: EncryptedPrivateKeyInfo (RFC 5958, section 3) by PBES2 with scrypt and AES-256-CBC, which
    /// `openssl pkey` opens.
    pub(super) fn seal(&self, pkcs8: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let random = SystemRandom::new();
        let (mut salt, mut iv) = ([0; 16], [0; 16]);
        random.fill(&mut salt).and_then(|()| random.fill(&mut iv)).map_err(|_| KeyError::NoRandomness)?;
        let (log_n, r, p) = COST;
        let broken = |error: &dyn std::fmt::Display| KeyError::Seal(error.to_string());
        let cost = scrypt::Params::new(log_n, r, p).map_err(|error| broken(&error))?;
        let parameters =
            Parameters::generate_scrypt_aes256cbc(cost, &salt, iv).map_err(|error| broken(&error))?;
        let key = PrivateKeyInfoRef::try_from(pkcs8).map_err(|error| broken(&error))?;
        let sealed =
            key.encrypt_with_params(parameters, self.0.as_bytes()).map_err(|error| broken(&error))?;
        Ok(sealed.to_bytes())
    }

    /// Opens what [`Passphrase::seal`] or another tool sealed. A wrong passphrase is told by what comes out being no
    /// key, which a key that was altered is too.
    pub(super) fn open(&self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let sealed = EncryptedPrivateKeyInfoRef::try_from(sealed)
            .map_err(|error| KeyError::Seal(error.to_string()))?;
        let key = sealed.decrypt(self.0.as_bytes()).map_err(|_| KeyError::WrongPassphrase)?;
        Ok(key.to_bytes())
    }
}

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase(elided)")
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    fn new(text: &str) -> Result<Passphrase, InvalidPassphrase> {
        Passphrase::new(Zeroizing::new(text.to_owned()))
    }

    #[test]
    fn a_passphrase_is_one_line_without_its_line_break() {
        for text in ["correct horse", "correct horse\n", "correct horse\r\n"] {
            assert_eq!(new(text).unwrap().0.as_str(), "correct horse");
        }
        assert!(matches!(new(""), Err(InvalidPassphrase::Length)));
        assert!(matches!(new("\n"), Err(InvalidPassphrase::Length)));
        assert!(new(&"x".repeat(1024)).is_ok());
        assert!(matches!(new(&"x".repeat(1025)), Err(InvalidPassphrase::Length)));
        assert!(matches!(new("one\ntwo\n"), Err(InvalidPassphrase::Line)));
        assert_eq!(format!("{:?}", new("secret").unwrap()), "Passphrase(elided)");
    }

    #[test]
    fn a_passphrase_file_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passphrase");
        fs::write(&path, "correct horse\n").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let refused = Passphrase::read(&path).unwrap_err().to_string();
        assert!(refused.contains(&format!("chmod 600 {}", path.display())), "{refused}");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(Passphrase::read(&path).unwrap().0.as_str(), "correct horse");
        fs::write(&path, "x".repeat(100_000)).unwrap();
        assert!(matches!(Passphrase::read(&path), Err(InvalidPassphrase::Length)));
        let absent = Passphrase::read(&folder.path().join("absent")).unwrap_err().to_string();
        assert!(absent.contains("absent"), "{absent}");
    }
}
