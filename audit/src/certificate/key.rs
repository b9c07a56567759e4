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

#[cfg(test)]
mod tests {
    use x509_parser::prelude::FromDer as _;

    use super::*;

    /// The public part of a key of 2048 bits, made once with OpenSSL.
    const SPKI: &str = "30820122300d06092a864886f70d01010105000382010f003082010a02820101\
        00b8e951cfb3693b2b1ec304d28c58cae73f7f458d7bb0967a59ff4d0efed05a\
        1689ae517fd261887f20254ec02c3d194e0f26754599f9099b241d322b62e16d\
        bf9d477b471840d5bb1b3f2e42015bf8c3c79dfb9b39ed4b19da455eda9a96db\
        96617ebe423d4567baaf5d0272e29347ffe04c3cd0e106aad742e20fd249073f\
        507392ff4fdddbaea5d34ea2798352a08748d20bbe3a258597635c73b7fbb5bf\
        f3c9f5f8aac30a1e92309a3c254bf7f65bd442d6f7623509e5b004189fdd74ca\
        d94385ba27c2c22244a16c17c41ad95c4bf2b0d51e2cc9c349555d17e33126da\
        b71c6d8880b8edc94b0bc2976ace22a3f416ebe8e92b079564ded38dd1693ed6\
        ff0203010001";

    #[test]
    fn the_numbers_of_an_rsa_key_are_read_without_the_octet_that_only_holds_the_sign() {
        let der = hex::decode(SPKI).unwrap();
        let (_, info) = SubjectPublicKeyInfo::from_der(&der).unwrap();
        let kind = Key::of(&info).kind;
        assert_eq!(kind.name(), "RSA-2048");
        let KeyKind::Rsa { modulus, exponent } = kind else { panic!("{kind:?}") };
        assert_eq!((modulus.len(), modulus[0], exponent), (256, 0xb8, vec![1, 0, 1]));
    }

    #[test]
    fn a_number_has_as_many_bits_as_it_needs() {
        for (magnitude, count) in [(&[][..], 0), (&[1], 1), (&[0x7f, 0xff], 15), (&[0x80, 0], 16)] {
            assert_eq!(bits(magnitude), count, "{magnitude:?}");
        }
    }
}
