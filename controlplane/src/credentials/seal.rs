//! Secrets at rest.

use std::fmt;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

/// Length of a nonce, in bytes.
pub const NONCE_LENGTH: usize = 12;

/// Seals secrets with ChaCha20-Poly1305: the database, and whoever copies it, has none in the clear. Whoever
/// also has the key has them all, so it is kept in a file of its own, outside of the database.
pub struct Seal(LessSafeKey);

impl Seal {
    /// A seal with a key of 32 random bytes.
    ///
    /// # Panics
    /// Never: the length is right.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        #[expect(clippy::expect_used, reason = "the length of the key is that of the algorithm")]
        Self(LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).expect("a key of 32 bytes")))
    }

    /// The nonce, the sealed text and its tag. A nonce is used once.
    pub(super) fn seal(&self, nonce: [u8; NONCE_LENGTH], owner: &str, secret: &str) -> Option<Vec<u8>> {
        let mut text = secret.as_bytes().to_vec();
        let aad = Aad::from(owner.as_bytes());
        self.0.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut text).ok()?;
        Some([nonce.as_slice(), &text].concat())
    }

    /// Nothing where it was sealed with another key or for another owner, or is damaged.
    pub(super) fn open(&self, owner: &str, sealed: &[u8]) -> Option<Zeroizing<String>> {
        let (nonce, text) = sealed.split_at_checked(NONCE_LENGTH)?;
        let mut text = Zeroizing::new(text.to_vec());
        let nonce = Nonce::assume_unique_for_key(nonce.try_into().ok()?);
        let opened = self.0.open_in_place(nonce, Aad::from(owner.as_bytes()), &mut text).ok()?;
        Some(Zeroizing::new(std::str::from_utf8(opened).ok()?.to_owned()))
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(..)")
    }
}
