//! Public keys, and which of them are certified.

use ring::{
    digest::{SHA256, digest},
    signature::{
        self, ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
        VerificationAlgorithm,
    },
};
use thiserror::Error;
use x509_parser::{prelude::FromDer, public_key::PublicKey as Parsed, x509::SubjectPublicKeyInfo};

/// DER of a SubjectPublicKeyInfo up to the key itself, where that is of one length (RFC 5480, RFC 8410).
const P256: &[u8] =
    b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\
\x03\x42\x00";
const P384: &[u8] =
    b"\x30\x76\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22\x03\x62\x00";
const ED25519: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
/// The algorithm of an RSA key, with its NULL (RFC 3279, section 2.3.1).
const RSA: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";

/// RSA moduli that are certified, in bits. Larger ones cost the verifier more than they give.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;
/// The one RSA exponent that is certified; huge ones are a way to burn a verifier's time.
const RSA_EXPONENT: u64 = 65537;

/// What kind of key a [`PublicKey`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyKind {
    /// ECDSA on NIST P-256, the point uncompressed.
    P256,
    /// ECDSA on NIST P-384, the point uncompressed.
    P384,
    /// Ed25519.
    Ed25519,
    /// RSA of 2048 to 4096 bits with the exponent 65537.
    Rsa,
}

/// A public key of a kind and size that is certified, in the one encoding that it has.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    kind: KeyKind,
    spki: Vec<u8>,
    /// Where the key itself starts in `spki`.
    key_at: usize,
    id: [u8; 20],
}

/// Why a public key is not certified.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyRefused {
    /// Another algorithm or curve, a compressed point, or no key at all.
    #[error("the key is none of ECDSA P-256, ECDSA P-384, Ed25519 and RSA")]
    Kind,
    /// Too small to be safe, or so large that it costs verifiers dear.
    #[error(
        "the RSA key has {0} bits; {min} to {max} are allowed",
        min = RSA_BITS.start(),
        max = RSA_BITS.end()
    )]
    RsaSize(usize),
    /// An exponent that nobody has use for.
    #[error("the RSA key's public exponent is not {RSA_EXPONENT}")]
    RsaExponent,
}

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo (RFC 5280, section 4.1.2.7).
    ///
    /// # Errors
    /// A kind, size or encoding that is not certified.
    pub fn from_spki(spki: &[u8]) -> Result<Self, KeyRefused> {
        let fixed = [(KeyKind::P256, P256, 65), (KeyKind::P384, P384, 97), (KeyKind::Ed25519, ED25519, 32)];
        for (kind, prefix, length) in fixed {
            if spki.strip_prefix(prefix).is_some_and(|key| key.len() == length) {
                return Ok(Self::new(kind, spki.to_owned(), prefix.len()));
            }
        }
        Self::from_rsa_spki(spki)
    }

    fn from_rsa_spki(spki: &[u8]) -> Result<Self, KeyRefused> {
        let (rest, parsed) = SubjectPublicKeyInfo::from_der(spki).map_err(|_| KeyRefused::Kind)?;
        let Ok(Parsed::RSA(rsa)) = parsed.parsed() else {
            return Err(KeyRefused::Kind);
        };
        if !RSA_BITS.contains(&rsa.key_size()) {
            return Err(KeyRefused::RsaSize(rsa.key_size()));
        }
        if rsa.try_exponent() != Ok(RSA_EXPONENT) {
            return Err(KeyRefused::RsaExponent);
        }
        let key: &[u8] = &parsed.subject_public_key.data;
        // SEQUENCE and BIT STRING have two length bytes each at these sizes; the BIT STRING's first byte
        // counts its unused bits.
        let frame = [&spki[..4], RSA, &spki[4 + RSA.len()..][..4], &[0]].concat();
        if !rest.is_empty() || spki.strip_prefix(frame.as_slice()) != Some(key) {
            return Err(KeyRefused::Kind);
        }
        Ok(Self::new(KeyKind::Rsa, spki.to_owned(), spki.len() - key.len()))
    }

    /// The key whose uncompressed point this is.
    pub(crate) fn p256(point: &[u8; 65]) -> Self {
        Self::new(KeyKind::P256, [P256, point].concat(), P256.len())
    }

    fn new(kind: KeyKind, spki: Vec<u8>, key_at: usize) -> Self {
        let mut id = [0; 20];
        id.copy_from_slice(&digest(&SHA256, &spki[key_at..]).as_ref()[..20]);
        Self { kind, spki, key_at, id }
    }

    /// SubjectPublicKeyInfo, DER.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// What stands in the BIT STRING of the SubjectPublicKeyInfo.
    pub(crate) fn key(&self) -> &[u8] {
        &self.spki[self.key_at..]
    }

    pub(crate) fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The key identifier: the leftmost 160 bits of SHA-256 of the key (RFC 7093, section 2, method 1).
    pub(crate) fn id(&self) -> [u8; 20] {
        self.id
    }

    /// Whether a signature over a message is this key's, as its kind signs certificates here: ECDSA with the hash of
    /// the curve's size, Ed25519, RSA (PKCS #1) with SHA-256.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &dyn VerificationAlgorithm = match self.kind {
            KeyKind::P256 => &ECDSA_P256_SHA256_ASN1,
            KeyKind::P384 => &ECDSA_P384_SHA384_ASN1,
            KeyKind::Ed25519 => &signature::ED25519,
            KeyKind::Rsa => &RSA_PKCS1_2048_8192_SHA256,
        };
        UnparsedPublicKey::new(algorithm, self.key()).verify(message, signature).is_ok()
    }
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PublicKey({:?} {})", self.kind, hex::encode(self.id()))
    }
}
