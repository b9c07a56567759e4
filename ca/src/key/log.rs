//! The key that signs the ledger's checkpoints: Ed25519 (RFC 8032) in PKCS#8, in a file like the authority's other keys.

use std::path::{Path, PathBuf};

use ring::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use zeroize::Zeroizing;

use super::{KeyError, KeyFileError, Passphrase, file, private};

/// Bytes of an Ed25519 signature and of its public key.
const SIGNATURE: usize = 64;
const PUBLIC: usize = 32;

/// An Ed25519 key that is ready to sign.
pub(crate) struct LogKey {
    pair: Ed25519KeyPair,
    public: [u8; PUBLIC],
}

impl LogKey {
    /// Where it is, in the authority's folder.
    pub(crate) fn file_in(folder: &Path) -> PathBuf {
        folder.join("ledger").join("key.pem")
    }

    /// Makes a key in a new file of mode 0600, sealed if there is a passphrase, and waits for the disk. The folder is
    /// the caller's to sync.
    ///
    /// # Errors
    /// The file exists already, or cannot be written.
    pub(crate) fn make(path: &Path, passphrase: Option<&Passphrase>) -> Result<Self, KeyFileError> {
        let content = |source| KeyFileError::Content { path: path.to_owned(), source };
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
        let pkcs8 = Zeroizing::new(made.map_err(|_| content(KeyError::NoRandomness))?.as_ref().to_vec());
        let text = private::to_pem(&pkcs8, passphrase).map_err(content)?;
        file::write_text(path, &text)?;
        Self::new(&pkcs8).map_err(content)
    }

    /// Reads a key file, which is sealed if there is a passphrase, and only then.
    ///
    /// # Errors
    /// Not there, open to others, sealed otherwise, or no Ed25519 key.
    pub(crate) fn read(path: &Path, passphrase: Option<&Passphrase>) -> Result<Self, KeyFileError> {
        let content = |source| KeyFileError::Content { path: path.to_owned(), source };
        let text = file::read_text(path)?;
        let pkcs8 = private::from_pem(&text, passphrase).map_err(content)?;
        Self::new(&pkcs8).map_err(content)
    }

    /// Writes the key in `path` anew, sealed with `to` instead of `from`. Says whether it was not so already.
    ///
    /// # Errors
    /// Neither opens it, or it cannot be written.
    pub(crate) fn reseal(
        path: &Path,
        from: Option<&Passphrase>,
        to: Option<&Passphrase>,
    ) -> Result<bool, KeyFileError> {
        let content = |source| KeyFileError::Content { path: path.to_owned(), source };
        let text = file::read_text(path)?;
        if private::from_pem(&text, to).is_ok() {
            return Ok(false);
        }
        let pkcs8 = private::from_pem(&text, from).map_err(content)?;
        Self::new(&pkcs8).map_err(content)?;
        file::replace_text(path, &private::to_pem(&pkcs8, to).map_err(content)?)?;
        Ok(true)
    }

    fn new(pkcs8: &[u8]) -> Result<Self, KeyError> {
        let pair =
            Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|error| KeyError::NotEd25519(error.to_string()))?;
        let mut public = [0; PUBLIC];
        public.copy_from_slice(pair.public_key().as_ref());
        Ok(Self { pair, public })
    }

    pub(crate) fn public(&self) -> [u8; PUBLIC] {
        self.public
    }

    /// Signs; the signature depends on key and message alone.
    pub(crate) fn sign(&self, message: &[u8]) -> [u8; SIGNATURE] {
        let mut signature = [0; SIGNATURE];
        signature.copy_from_slice(self.pair.sign(message).as_ref());
        signature
    }
}

impl std::fmt::Debug for LogKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LogKey(elided)")
    }
}
