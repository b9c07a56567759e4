//! Sealing the keys of an authority that is at rest, and opening them again.

use std::{path::Path, sync::Arc};

use super::{Authority, store::Store};
use crate::{Custody, Error, KeyError, KeyFileError, Passphrase, PrivateKey, key::LogKey};

impl Authority {
    /// Writes every key in `folder`, sealed with `from` (or not sealed), anew, sealed with `to` (or not sealed).
    /// Returns how many it wrote.
    ///
    /// Each key is written whole or not at all, and one that is as it should be is left alone, so whoever was
    /// interrupted does the same again. Nobody may have the authority open meanwhile: what it made then would be sealed as
    /// before.
    ///
    /// # Errors
    /// A key that neither opens, or that cannot be written; no authority in the folder.
    pub fn reseal(folder: &Path, from: Option<&Passphrase>, to: Option<&Passphrase>) -> Result<usize, Error> {
        if !folder.join("root").is_dir() {
            return Err(Error::NoAuthority { folder: folder.to_owned() });
        }
        let mut files = Store::open(folder, Arc::new(Custody::default()))?.key_files()?;
        // A change of root or issuer is under way.
        let next = folder.join("next");
        if next.is_dir() {
            files.extend(Store::open(&next, Arc::new(Custody::default()))?.key_files()?);
        }
        let mut keys = Vec::new();
        // All are read before the first is written: a passphrase that opens only some changes nothing.
        for path in files {
            match PrivateKey::read(&path, to) {
                Ok(_) => {}
                Err(refused) => match PrivateKey::read(&path, from) {
                    Ok(key) => keys.push((key, path)),
                    Err(error) if is_otherwise_sealed(&refused) => return Err(error.into()),
                    Err(_) => return Err(refused.into()),
                },
            }
        }
        let log_key = Some(LogKey::file_in(folder)).filter(|path| path.exists());
        if let Some(path) = &log_key {
            LogKey::read(path, to).or_else(|_| LogKey::read(path, from))?;
        }
        keys.iter().try_for_each(|(key, path)| key.replace(path, to))?;
        let is_log_key_written = log_key.map_or(Ok(false), |path| LogKey::reseal(&path, from, to))?;
        Ok(keys.len() + usize::from(is_log_key_written))
    }
}

fn is_otherwise_sealed(refused: &KeyFileError) -> bool {
    let KeyFileError::Content { source, .. } = refused else {
        return false;
    };
    matches!(source, KeyError::Sealed | KeyError::NotSealed | KeyError::WrongPassphrase)
}
