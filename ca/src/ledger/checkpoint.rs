//! Signed statements of how the ledger stands: C2SP tlog-checkpoint in a C2SP signed-note, with Ed25519.
//!
//! ```text
//!  signet.internal/signet/ledger          origin, and the key's name
//!  1234                                   entries
//!  q83v…=                                 the tree over them (RFC 6962)
//!
//!  — signet.internal/signet/ledger Az3g…  key id and signature over the lines above
//! ```

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::signature::{ED25519, UnparsedPublicKey};
use signet_policies::identity::TrustDomain;
use thiserror::Error;

use super::{Digest, Head};
use crate::{certificate::sha256, key::LogKey};

/// Ed25519 in a key's id (C2SP signed-note, section Signatures).
const ALGORITHM: u8 = 1;
/// Starts a signature's line.
const SIGNATURE: &str = "\u{2014} ";
/// A note that is longer is none of ours; in bytes.
const MAX_NOTE: usize = 16 * 1024;

/// How the ledger stands, signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    head: Head,
    note: String,
}

/// What anybody needs to check a ledger's checkpoints: its name and its public key.
///
/// As text it is a verifier key of C2SP signed-note: `<name>+<key id>+<key>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogVerifier {
    name: String,
    key: [u8; 32],
}

/// A text that is no checkpoint of that ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidCheckpoint {
    /// Not a note with a checkpoint in it.
    #[error("it is no signed checkpoint (origin, size, hash, an empty line, signatures)")]
    Form,
    /// Another ledger's.
    #[error("it is the checkpoint of another ledger")]
    Origin,
    /// Without the key's signature, or with one that does not fit.
    #[error("it does not bear the signature of this ledger's key: it is another one's, or was altered")]
    Signature,
    /// Not a verifier key.
    #[error("it is no verifier key for Ed25519 (<name>+<key id>+<key>)")]
    Key,
}

/// The name of a trust domain's ledger.
pub(crate) fn origin(trust_domain: &TrustDomain) -> String {
    format!("{trust_domain}/signet/ledger")
}

impl Checkpoint {
    /// Signs a head.
    pub(crate) fn sign(origin: &str, head: Head, key: &LogKey) -> Self {
        let text = format!("{origin}\n{}\n{}\n", head.size, STANDARD.encode(head.root));
        let verifier = LogVerifier { name: origin.to_owned(), key: key.public() };
        let signature = [&verifier.id()[..], &key.sign(text.as_bytes())].concat();
        let note = format!("{text}\n{SIGNATURE}{origin} {}\n", STANDARD.encode(signature));
        Self { head, note }
    }

    /// Reads a note, and checks its signature. Signatures of others, such as witnesses, may stand beside it.
    ///
    /// # Errors
    /// It is no checkpoint of the verifier's ledger, or was altered.
    pub fn open(note: &str, verifier: &LogVerifier) -> Result<Self, InvalidCheckpoint> {
        if note.len() > MAX_NOTE {
            return Err(InvalidCheckpoint::Form);
        }
        let (text, signatures) = note.split_once("\n\n").ok_or(InvalidCheckpoint::Form)?;
        let signed = format!("{text}\n");
        let head = read(&signed, &verifier.name)?;
        let fits = |line: &str| verifier.has_signed(line, signed.as_bytes());
        match signatures.lines().any(fits) {
            true => Ok(Self { head, note: note.to_owned() }),
            false => Err(InvalidCheckpoint::Signature),
        }
    }

    /// How the ledger stood.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// The signed note.
    #[must_use]
    pub fn note(&self) -> &str {
        &self.note
    }
}

/// The head in a checkpoint's text.
fn read(text: &str, origin: &str) -> Result<Head, InvalidCheckpoint> {
    let checkpoint = tlog_tiles::Checkpoint::from_bytes(text.as_bytes());
    let checkpoint = checkpoint.map_err(|_| InvalidCheckpoint::Form)?;
    match checkpoint.origin() == origin {
        true => Ok(Head { size: checkpoint.size(), root: checkpoint.hash().0 }),
        false => Err(InvalidCheckpoint::Origin),
    }
}

impl LogVerifier {
    pub(crate) fn new(name: String, key: [u8; 32]) -> Self {
        Self { name, key }
    }

    /// The ledger's name, which is the first line of its checkpoints.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first four bytes of SHA-256 over name, line break, algorithm and key.
    fn id(&self) -> [u8; 4] {
        let hash: Digest = sha256(&[self.name.as_bytes(), b"\n", &[ALGORITHM], &self.key].concat());
        [hash[0], hash[1], hash[2], hash[3]]
    }

    /// Whether a signature's line is of this key, over `text`.
    fn has_signed(&self, line: &str, text: &[u8]) -> bool {
        let parts = line.strip_prefix(SIGNATURE).and_then(|rest| rest.split_once(' '));
        let Some(signature) = parts.filter(|(name, _)| *name == self.name) else {
            return false;
        };
        let Ok(bytes) = STANDARD.decode(signature.1) else {
            return false;
        };
        let signed = bytes.strip_prefix(&self.id()[..]);
        signed.is_some_and(|signature| {
            UnparsedPublicKey::new(&ED25519, self.key).verify(text, signature).is_ok()
        })
    }
}

impl fmt::Display for LogVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[ALGORITHM], &self.key[..]].concat();
        write!(f, "{}+{}+{}", self.name, hex::encode(self.id()), STANDARD.encode(key))
    }
}

impl FromStr for LogVerifier {
    type Err = InvalidCheckpoint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.trim().splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(InvalidCheckpoint::Key);
        };
        let key = STANDARD.decode(key).map_err(|_| InvalidCheckpoint::Key)?;
        let key = key.strip_prefix(&[ALGORITHM]).and_then(|key| key.try_into().ok());
        let verifier = Self { name: name.to_owned(), key: key.ok_or(InvalidCheckpoint::Key)? };
        match !name.is_empty() && hex::encode(verifier.id()) == id {
            true => Ok(verifier),
            false => Err(InvalidCheckpoint::Key),
        }
    }
}

#[cfg(test)]
mod tests;
