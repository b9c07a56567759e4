//! Seals the kept certificate and key, so that a copy of the folder alone is of no use.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Salt},
    rand::{SecureRandom, SystemRandom},
};
use serde::{Deserialize, Serialize};
use signet_policies::time::Timestamp;
use thiserror::Error;
use zeroize::Zeroizing;

const SALT: usize = 16;
/// Shortest and longest content of a key file, in bytes. It is taken to be random: nothing slows a guess down.
const LENGTHS: (usize, u64) = (32, 4096);
/// Rights of everybody but the owner.
const OTHERS: u32 = 0o077;

/// What seals the kept certificate. It is wiped when dropped, neither cloned nor shown.
pub struct CacheKey {
    secret: Zeroizing<Vec<u8>>,
    salt: [u8; SALT],
    sealing: LessSafeKey,
    /// How long what is sealed may be opened again; without it, for as long as the certificate lives.
    max_age: Option<Duration>,
}

/// Why a file is no key.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InvalidCacheKey {
    /// It cannot be read.
    #[error("cannot read the cache key in {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Others could have read or written it.
    #[error(
        "the cache key file {path} has mode {mode:04o} or another owner, so others can read it; run: chmod 600 {path}"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Too short to keep a secret, or longer than any key.
    #[error(
        "the cache key file {0} must hold 32 to 4096 random bytes; make one with: head -c 32 /dev/urandom | base64"
    )]
    Length(PathBuf),
    /// The system gave no random numbers.
    #[error("the system gave no random numbers")]
    Random,
}

/// Why something sealed cannot be opened; a token helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CannotOpen {
    /// It is sealed, and no key was given.
    #[error("it is sealed, and no --cache-key-file was given")]
    NoKey,
    /// Sealed with another key, for another user, or altered.
    #[error("it was sealed with another key or by another user, or was altered")]
    Key,
    /// Kept for too long.
    #[error("it was kept for longer than it may be")]
    TooOld,
}

/// Something sealed, as the file has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Sealed {
    /// Of HKDF-SHA256 (RFC 5869), base64.
    salt: String,
    /// Base64.
    nonce: String,
    /// Until when it may be opened, in seconds since the epoch.
    until: i64,
    /// The user who may open it.
    uid: u32,
    /// AES-256-GCM over the file that would be there unsealed, base64.
    sealed: String,
}

impl CacheKey {
    /// Reads a key file, which must be for its owner alone; white space at its end is not part of the key.
    ///
    /// # Errors
    /// [`InvalidCacheKey`].
    pub fn read(path: &Path, max_age: Option<Duration>) -> Result<Self, InvalidCacheKey> {
        let failed = |source| InvalidCacheKey::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let meta = file.metadata().map_err(failed)?;
        let mode = meta.mode() & 0o7777;
        // Root may have put it there for whoever runs the agent.
        let is_ours = [0, rustix::process::geteuid().as_raw()].contains(&meta.uid());
        if mode & OTHERS != 0 || !is_ours {
            return Err(InvalidCacheKey::Exposed { path: path.to_owned(), mode });
        }
        let (shortest, longest) = LENGTHS;
        // Room for the longest at once: growing would leave copies behind that nobody wipes.
        let mut secret = Zeroizing::new(Vec::with_capacity(usize::try_from(longest).unwrap_or(0) + 2));
        file.take(longest + 1).read_to_end(&mut secret).map_err(failed)?;
        let length = secret.trim_ascii_end().len();
        if length < shortest || u64::try_from(secret.len()).unwrap_or(u64::MAX) > longest {
            return Err(InvalidCacheKey::Length(path.to_owned()));
        }
        secret.truncate(length);
        let mut salt = [0; SALT];
        SystemRandom::new().fill(&mut salt).map_err(|_| InvalidCacheKey::Random)?;
        let sealing = derive(&secret, &salt).ok_or(InvalidCacheKey::Random)?;
        Ok(Self { secret, salt, sealing, max_age })
    }

    /// Seals a text that ends, as far as it is known, at `end`.
    pub(super) fn seal(&self, text: &[u8], end: Timestamp, now: Timestamp) -> io::Result<Sealed> {
        let until = self.max_age.map_or(end, |most| end.min(now + most));
        let uid = rustix::process::geteuid().as_raw();
        let mut nonce = [0; NONCE_LEN];
        let no_luck = |_| io::Error::other("the system gave no random numbers");
        SystemRandom::new().fill(&mut nonce).map_err(no_luck)?;
        let mut sealed = text.to_vec();
        let bound = Aad::from(bound(until.unix(), uid));
        let done =
            self.sealing.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), bound, &mut sealed);
        done.map_err(|_| io::Error::other("the text is too long to be sealed"))?;
        let [salt, nonce, sealed] = [&self.salt[..], &nonce, &sealed].map(|bytes| STANDARD.encode(bytes));
        Ok(Sealed { salt, nonce, until: until.unix(), uid, sealed })
    }

    /// Opens what was sealed, by this key in an earlier life, for the user that this process runs as.
    pub(super) fn open(&self, sealed: &Sealed, now: Timestamp) -> Result<Zeroizing<Vec<u8>>, CannotOpen> {
        if now > Timestamp::from_unix(sealed.until) {
            return Err(CannotOpen::TooOld);
        }
        let decoded = |text: &String| STANDARD.decode(text).map_err(|_| CannotOpen::Key);
        let (salt, nonce) = (decoded(&sealed.salt)?, decoded(&sealed.nonce)?);
        let key = derive(&self.secret, &salt).ok_or(CannotOpen::Key)?;
        let nonce = Nonce::try_assume_unique_for_key(&nonce).map_err(|_| CannotOpen::Key)?;
        let mut text = Zeroizing::new(decoded(&sealed.sealed)?);
        let bound = Aad::from(bound(sealed.until, rustix::process::geteuid().as_raw()));
        let length = key.open_in_place(nonce, bound, &mut text).map_err(|_| CannotOpen::Key)?.len();
        text.truncate(length);
        Ok(text)
    }
}

/// What cannot be changed without breaking the seal.
fn bound(until: i64, uid: u32) -> Vec<u8> {
    [&b"signet agent identity"[..], &until.to_be_bytes(), &uid.to_be_bytes()].concat()
}

fn derive(secret: &[u8], salt: &[u8]) -> Option<LessSafeKey> {
    let extracted = Salt::new(HKDF_SHA256, salt).extract(secret);
    let key = extracted.expand(&[b"signet agent identity"], &AES_256_GCM).ok()?;
    Some(LessSafeKey::new(UnboundKey::from(key)))
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheKey").field("max_age", &self.max_age).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_unix(1_800_000_000)
    }

    fn key(content: &str, max_age: Option<Duration>) -> Result<CacheKey, InvalidCacheKey> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), content).unwrap();
        CacheKey::read(file.path(), max_age)
    }

    #[test]
    fn what_was_sealed_is_opened_in_another_life_by_the_same_key_alone() {
        let hour = Duration::from_secs(3600);
        let sealed = key("0123456789abcdef0123456789abcdef\n", None)
            .unwrap()
            .seal(b"text", now() + hour, now())
            .unwrap();
        assert!(!serde_json::to_string(&sealed).unwrap().contains("text"));
        let other_life = key("0123456789abcdef0123456789abcdef", None).unwrap();
        assert_eq!(&**other_life.open(&sealed, now() + hour).unwrap(), b"text");
        assert_eq!(other_life.open(&sealed, now() + hour + hour).unwrap_err(), CannotOpen::TooOld);
        let other_key = key("0123456789abcdef0123456789abcdeF", None).unwrap();
        assert_eq!(other_key.open(&sealed, now()).unwrap_err(), CannotOpen::Key);
    }

    #[test]
    fn what_was_altered_is_not_opened_and_neither_its_end_nor_its_user_can_be_moved() {
        let key = key("0123456789abcdef0123456789abcdef", Some(Duration::from_secs(60))).unwrap();
        let sealed = key.seal(b"text", now() + Duration::from_secs(3600), now()).unwrap();
        assert_eq!(sealed.until, now().unix() + 60, "bounded by the key's age");
        let alterations: [fn(&mut Sealed); 5] = [
            |it| it.until += 10_000,
            |it| it.sealed = STANDARD.encode(b"something else altogether"),
            |it| it.nonce = STANDARD.encode([0; NONCE_LEN]),
            |it| it.nonce.clear(),
            |it| it.salt.clear(),
        ];
        for alter in alterations {
            let mut altered = sealed.clone();
            alter(&mut altered);
            assert_eq!(key.open(&altered, now()).unwrap_err(), CannotOpen::Key);
        }
        let text = bound(sealed.until, rustix::process::geteuid().as_raw() + 1);
        assert_ne!(
            text,
            bound(sealed.until, rustix::process::geteuid().as_raw()),
            "the user is part of the seal"
        );
    }

    #[test]
    fn a_key_file_is_for_its_owner_alone_and_long_enough() {
        for (content, is_key) in [
            ("", false),
            ("short", false),
            ("0123456789abcdef0123456789abcde\n\n", false),
            ("0123456789abcdef0123456789abcdef", true),
        ] {
            assert_eq!(key(content, None).is_ok(), is_key, "{content:?}");
        }
        assert!(matches!(key(&"x".repeat(5000), None), Err(InvalidCacheKey::Length(_))));
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "0123456789abcdef0123456789abcdef").unwrap();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o640)).unwrap();
        let refused = CacheKey::read(file.path(), None).unwrap_err();
        assert!(refused.to_string().contains("chmod 600"), "{refused}");
        assert!(
            format!("{:?}", key("0123456789abcdef0123456789abcdef", None).unwrap())
                .starts_with("CacheKey { max_age")
        );
    }
}
