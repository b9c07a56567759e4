//! Public keys: what kind, and what is in them.

use sha2::{Digest as _, Sha256};
use x509_parser::{public_key::PublicKey, x509::SubjectPublicKeyInfo};

use super::octets;

/// A public key.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub(crate) hash: [u8; 32],
    pub(crate) kind: KeyKind,
}

/// What kind of key it is, with what the checks look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyKind {
    /// On NIST P-256, the point uncompressed or as found.
    P256(Vec<u8>),
    /// On NIST P-384, likewise.
    P384(Vec<u8>),
    /// On edwards25519.
    Ed25519,
    /// RSA: modulus and exponent, big-endian, without leading zeros.
    Rsa {
        /// The modulus.
        modulus: Vec<u8>,
        /// The public exponent.
        exponent: Vec<u8>,
    },
    /// Another, by the dotted names of algorithm and parameters.
    Other(String),
}

impl Key {
    pub(super) fn of(info: &SubjectPublicKeyInfo<'_>) -> Self {
        Self { hash: Sha256::digest(info.raw).into(), kind: kind(info) }
    }
}

fn kind(info: &SubjectPublicKeyInfo<'_>) -> KeyKind {
    let algorithm = info.algorithm.algorithm.to_id_string();
    let parameters = info.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
    let curve = parameters.map(|oid| oid.to_id_string());
    match (algorithm.as_str(), curve.as_deref()) {
        ("1.2.840.10045.2.1", Some("1.2.840.10045.3.1.7")) => {
            KeyKind::P256(octets(&info.subject_public_key).to_vec())
        }
        ("1.2.840.10045.2.1", Some("1.3.132.0.34")) => {
            KeyKind::P384(octets(&info.subject_public_key).to_vec())
        }
        ("1.3.101.112", _) => KeyKind::Ed25519,
        _ => match info.parsed() {
            Ok(PublicKey::RSA(rsa)) => {
                KeyKind::Rsa { modulus: magnitude(rsa.modulus), exponent: magnitude(rsa.exponent) }
            }
            _ => KeyKind::Other(match curve {
                Some(curve) => format!("{algorithm} on {curve}"),
                None => algorithm,
            }),
        },
    }
}

fn magnitude(octets: &[u8]) -> Vec<u8> {
    octets.iter().copied().skip_while(|octet| *octet == 0).collect()
}

impl KeyKind {
    /// As thresholds and messages spell it: `P-256`, `RSA-2048`.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::P256(_) => "P-256".to_owned(),
            Self::P384(_) => "P-384".to_owned(),
            Self::Ed25519 => "Ed25519".to_owned(),
            Self::Rsa { modulus, .. } => format!("RSA-{}", bits(modulus)),
            Self::Other(name) => name.clone(),
        }
    }
}

/// How many bits a number has.
pub(crate) fn bits(magnitude: &[u8]) -> usize {
    magnitude
        .first()
        .map_or(0, |first| magnitude.len() * 8 - usize::try_from(first.leading_zeros()).unwrap_or(0))
}
