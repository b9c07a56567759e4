//! The administrator's key pair, made at the first start.

use std::{
    fs::File,
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use anyhow::{Context, Result, ensure};
use rand::RngCore;

use crate::client::KeyPair;

/// Upper-case letters and digits that are not mistaken for each other, as AWS's own key ids.
const ID_ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// A secret has 40 characters of this, 240 bits, as AWS's own.
const SECRET_ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Reads the key pair in `path`, or makes one, in the AWS shared-credentials format, mode 0600.
///
/// # Errors
/// The file cannot be read or made, or holds no profile `default`.
pub(super) fn open(path: &Path, rng: &mut dyn RngCore) -> Result<KeyPair> {
    if let Ok(metadata) = path.metadata() {
        let mode = metadata.permissions().mode() & 0o777;
        ensure!(mode & 0o077 == 0, "{} can be read by others (mode {mode:o}); chmod 600 it", path.display());
        return KeyPair::from_file(path, "default");
    }
    let keys = KeyPair {
        access_key_id: format!("AKIA{}", random_text(ID_ALPHABET, 16, rng)),
        secret_access_key: random_text(SECRET_ALPHABET, 40, rng),
    };
    write_new(path, &keys).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(keys)
}

/// A crash leaves the whole file or none: it is made beside, synced and renamed.
fn write_new(path: &Path, keys: &KeyPair) -> Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    writeln!(
        file,
        "[default]\naws_access_key_id = {}\naws_secret_access_key = {}",
        keys.access_key_id, keys.secret_access_key
    )?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Each character is one random byte's low bits; both alphabets are powers of two, so none is likelier.
fn random_text<const N: usize>(alphabet: &[u8; N], length: usize, rng: &mut dyn RngCore) -> String {
    let mut bytes = vec![0; length];
    rng.fill_bytes(&mut bytes);
    bytes.into_iter().map(|byte| char::from(alphabet[usize::from(byte) % N])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_pair_is_made_once_and_only_its_owner_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials");
        let made = open(&path, &mut rand::rng()).unwrap();
        let read = open(&path, &mut rand::rng()).unwrap();
        assert_eq!(made.access_key_id, read.access_key_id);
        assert_eq!(made.secret_access_key, read.secret_access_key);
        assert_eq!((made.access_key_id.len(), made.secret_access_key.len()), (20, 40));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(open(&path, &mut rand::rng()).unwrap_err().to_string().contains("chmod 600"));
    }
}
