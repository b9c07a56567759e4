//! Key pairs as the server draws them, and the files that they start from.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use rand::RngCore;
use signet_controlplane::{
    access::Policy,
    credentials::{Keyring, KeyringError, NONCE_LENGTH, NewKey, Seal},
};
use signet_durable::Database;
use signet_policies::time::Timestamp;
use zeroize::Zeroizing;

use super::private_file;
use crate::client::KeyPair;

/// Upper-case letters and digits that are not mistaken for each other, as AWS's own key ids.
const ID_ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// A secret has 40 characters of this, 240 bits, as AWS's own.
const SECRET_ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// Length of one key, in bytes.
const KEY: usize = 32;

/// The keys that the database does not hold.
pub(super) struct ServerKeys {
    /// Seals the secrets of key pairs.
    pub(super) seal: Zeroizing<[u8; KEY]>,
    /// Signs the tokens of pages.
    pub(super) pages: Zeroizing<[u8; KEY]>,
}

impl ServerKeys {
    /// Reads the keys in `path`, or draws them: 128 hexadecimal digits, mode 0600.
    ///
    /// # Errors
    /// The file cannot be read or made, others may read it, or it holds something else.
    pub(super) fn open(path: &Path, rng: &mut dyn RngCore) -> Result<Self> {
        let text = match private_file::read(path)? {
            Some(text) => text,
            None => {
                let mut bytes = Zeroizing::new([0; 2 * KEY]);
                rng.fill_bytes(&mut *bytes);
                let text = Zeroizing::new(hex::encode(*bytes));
                private_file::write_new(path, &text)?;
                text
            }
        };
        let mut keys = Self { seal: Zeroizing::new([0; KEY]), pages: Zeroizing::new([0; KEY]) };
        let (seal, pages) = text.trim().split_at_checked(2 * KEY).unwrap_or_default();
        hex::decode_to_slice(seal, &mut *keys.seal)
            .and_then(|()| hex::decode_to_slice(pages, &mut *keys.pages))
            .map_err(|_| anyhow!("{} does not hold 128 hexadecimal digits", path.display()))?;
        Ok(keys)
    }
}

/// The key pairs of the database, with the administrator's of `path` among them. The file is made at the
/// first start, and again where it is gone: whoever may write to the data folder is an administrator.
///
/// # Errors
/// The file or the database cannot be read or written.
pub(super) async fn open(
    path: &Path,
    database: Database,
    keys: &ServerKeys,
    any_arn: &str,
    now: Timestamp,
) -> Result<Keyring> {
    let keyring = Keyring::open(database, Seal::new(&keys.seal), any_arn)?;
    let pair = administrator(path, &mut rand::rng())?;
    let (id, policy) = (pair.access_key_id.clone(), Policy::parse(Policy::administrator())?);
    let again = || NewKey {
        access_key_id: id.clone(),
        secret: Zeroizing::new(pair.secret_access_key.clone()),
        ..draw("administrator", policy.clone(), now, &mut rand::rng())
    };
    let made = match keyring.create(again()).await {
        // What is known may have been disabled since. What was sealed with a key that is lost is here again.
        Err(KeyringError::Exists(_)) if is_enabled_and_unusable(&keyring, &id) => {
            keyring.delete(&id).await?;
            keyring.create(again()).await
        }
        made => made,
    };
    match made {
        Ok(_) | Err(KeyringError::Exists(_)) => Ok(keyring),
        Err(error) => Err(error).with_context(|| format!("cannot take the key pair in {}", path.display())),
    }
}

fn is_enabled_and_unusable(keyring: &Keyring, id: &str) -> bool {
    keyring.list().iter().any(|key| key.access_key_id == id && key.enabled && key.unusable.is_some())
}

/// A key pair that nobody has yet.
pub(super) fn draw(name: &str, policy: Policy, now: Timestamp, rng: &mut dyn RngCore) -> NewKey {
    let mut nonce = [0; NONCE_LENGTH];
    rng.fill_bytes(&mut nonce);
    NewKey {
        access_key_id: format!("AKIA{}", random_text(ID_ALPHABET, 16, rng)),
        secret: Zeroizing::new(random_text(SECRET_ALPHABET, 40, rng)),
        nonce,
        name: name.to_owned(),
        policy,
        created_at: now.unix(),
    }
}

/// Reads the key pair in `path`, or makes one, in the AWS shared-credentials format, mode 0600.
fn administrator(path: &Path, rng: &mut dyn RngCore) -> Result<KeyPair> {
    if let Some(text) = private_file::read(path)? {
        let pair = KeyPair::from_text(&text, "default");
        return pair.with_context(|| format!("{} has no profile [default] with both keys", path.display()));
    }
    let keys = KeyPair {
        access_key_id: format!("AKIA{}", random_text(ID_ALPHABET, 16, rng)),
        secret_access_key: random_text(SECRET_ALPHABET, 40, rng),
    };
    private_file::write_new(path, &keys.profile("default"))?;
    Ok(keys)
}

/// Each character is one random byte's low bits; both alphabets are powers of two, so none is likelier.
fn random_text<const N: usize>(alphabet: &[u8; N], length: usize, rng: &mut dyn RngCore) -> String {
    let mut bytes = vec![0; length];
    rng.fill_bytes(&mut bytes);
    bytes.into_iter().map(|byte| char::from(alphabet[usize::from(byte) % N])).collect()
}

#[cfg(test)]
mod tests {
    use signet_controlplane::api::sigv4::Credentials as _;

    use super::*;

    const ANY: &str = "arn:aws:signet:us-east-1:000000000000:credentials/any";

    async fn start(folder: &Path) -> Result<(Keyring, KeyPair)> {
        let keys = ServerKeys::open(&folder.join("server.key"), &mut rand::rng())?;
        let (path, database) = (folder.join("credentials"), Database::open(&folder.join("store"))?);
        let keyring = open(&path, database, &keys, ANY, Timestamp::from_unix(7)).await?;
        Ok((keyring, KeyPair::from_file(&path, "default")?))
    }

    #[tokio::test]
    async fn the_administrators_key_pair_is_made_once_and_made_anew_when_its_file_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let (keyring, first) = start(folder.path()).await.unwrap();
        assert_eq!((first.access_key_id.len(), first.secret_access_key.len()), (20, 40));
        assert!(keyring.signer(&first.access_key_id).is_some());
        drop(keyring);
        let (keyring, again) = start(folder.path()).await.unwrap();
        assert_eq!((again.access_key_id, keyring.list().len()), (first.access_key_id.clone(), 1));
        drop(keyring);
        std::fs::remove_file(folder.path().join("credentials")).unwrap();
        let (keyring, second) = start(folder.path()).await.unwrap();
        assert_ne!(second.access_key_id, first.access_key_id);
        assert!(keyring.list().iter().all(|key| key.administrator) && keyring.list().len() == 2);
    }

    #[tokio::test]
    async fn a_disabled_key_pair_does_not_come_back_by_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let (keyring, first) = start(folder.path()).await.unwrap();
        let policy = Policy::parse(Policy::administrator()).unwrap();
        keyring.create(draw("other", policy, Timestamp::from_unix(7), &mut rand::rng())).await.unwrap();
        keyring.set_enabled(&first.access_key_id, false).await.unwrap();
        drop(keyring);
        let (keyring, _) = start(folder.path()).await.unwrap();
        assert!(keyring.signer(&first.access_key_id).is_none());
    }

    #[tokio::test]
    async fn without_the_key_that_sealed_them_key_pairs_sign_nothing_and_the_administrators_file_still_does()
    {
        let folder = tempfile::tempdir().unwrap();
        drop(start(folder.path()).await.unwrap());
        std::fs::remove_file(folder.path().join("server.key")).unwrap();
        let (keyring, pair) = start(folder.path()).await.unwrap();
        assert!(keyring.signer(&pair.access_key_id).is_some());
        drop(keyring);
        for file in ["server.key", "credentials"] {
            std::fs::remove_file(folder.path().join(file)).unwrap();
        }
        let (keyring, pair) = start(folder.path()).await.unwrap();
        assert!(keyring.signer(&pair.access_key_id).is_some());
        assert_eq!(keyring.list().iter().filter(|key| key.unusable.is_some()).count(), 1);
    }

    #[test]
    fn keys_of_another_form_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.key");
        for text in [String::new(), "0".repeat(127), "0".repeat(130), "x".repeat(128), "é".repeat(64)] {
            let _ = std::fs::remove_file(&path);
            private_file::write_new(&path, &text).unwrap();
            assert!(ServerKeys::open(&path, &mut rand::rng()).is_err(), "{text}");
        }
    }
}
