//! Keys that are ready to sign certificates, wherever they are.

use std::fmt;

use rcgen::{PublicKeyData as _, SigningKey as _};
use ring::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair},
};

use super::{KeyError, KeyKind, PrivateKey, PublicKey, pkcs11::TokenKey};
use crate::KeyPlace;

/// What is signed to see whether a key on a token is the one that a certificate names. It is no certificate, CSR or CRL.
const PROBE: &[u8] = b"signet: whose key is this?";

/// A private key that is ready to sign certificates.
pub(crate) struct SigningKey {
    place: Place,
    public: PublicKey,
}

enum Place {
    /// In memory, of P-256.
    Memory(Box<EcdsaKeyPair>, SystemRandom),
    /// In memory, of another kind: an operator's, which signs issuers and no leaves.
    Imported(Box<rcgen::KeyPair>),
    /// On a token, of P-256.
    Token(TokenKey),
}

impl SigningKey {
    /// A key that was read or made.
    pub(crate) fn new(key: &PrivateKey) -> Result<Self, KeyError> {
        Self::load(key.pkcs8_der())
    }

    /// Loads PKCS#8, which shows whether its halves fit.
    pub(super) fn load(pkcs8: &[u8]) -> Result<Self, KeyError> {
        let random = SystemRandom::new();
        let refused = |reason: &dyn fmt::Display| KeyError::Kind(reason.to_string());
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8, &random) {
            let point = ring::signature::KeyPair::public_key(&pair).as_ref();
            let public = PublicKey::p256(point.try_into().map_err(|error| refused(&error))?);
            return Ok(Self { place: Place::Memory(Box::new(pair), random), public });
        }
        let pair = rcgen::KeyPair::try_from(pkcs8).map_err(|error| refused(&error))?;
        let public =
            PublicKey::from_spki(&pair.subject_public_key_info()).map_err(|error| refused(&error))?;
        Ok(Self { place: Place::Imported(Box::new(pair)), public })
    }

    /// A key on a token. `None` where it is another one than `public`, which a signature shows.
    pub(crate) fn on_token(key: TokenKey, public: &PublicKey) -> Result<Option<Self>, KeyError> {
        if public.kind() != KeyKind::P256 {
            return Err(KeyError::Kind("a key on a token is one of P-256".to_owned()));
        }
        let key = Self { place: Place::Token(key), public: public.clone() };
        let signature = key.sign_der(PROBE)?;
        let public = ring::signature::UnparsedPublicKey::new(
            &ring::signature::ECDSA_P256_SHA256_ASN1,
            key.public.key(),
        );
        Ok(public.verify(PROBE, &signature).is_ok().then_some(key))
    }

    /// The public half.
    pub(crate) fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Where it is.
    pub(crate) fn place(&self) -> KeyPlace {
        match &self.place {
            Place::Memory(..) | Place::Imported(_) => KeyPlace::File,
            Place::Token(key) => KeyPlace::Token(key.place().to_string()),
        }
    }

    /// Signs; with ECDSA the signature is DER (RFC 3279, section 2.2.3).
    pub(crate) fn sign_der(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        match &self.place {
            Place::Memory(pair, random) => {
                let signature = pair.sign(random, message).map_err(|_| KeyError::NoRandomness)?;
                Ok(signature.as_ref().to_vec())
            }
            Place::Imported(pair) => pair.sign(message).map_err(|error| KeyError::Kind(error.to_string())),
            Place::Token(key) => Ok(to_der(&key.sign_digest(digest(&SHA256, message).as_ref())?)),
        }
    }
}

/// `r` and `s` as SEQUENCE of two INTEGERs (RFC 3279, section 2.2.3).
fn to_der(signature: &[u8; 64]) -> Vec<u8> {
    let (r, s) = signature.split_at(32);
    let integers: Vec<u8> = [r, s].into_iter().flat_map(integer).collect();
    // Two of at most 35 bytes: one byte holds the length.
    [&[0x30, u8::try_from(integers.len()).unwrap_or_default()], integers.as_slice()].concat()
}

/// A positive INTEGER in as few bytes as can be.
fn integer(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let significant = &number[zeros.min(number.len() - 1)..];
    // Without the zero, a set top bit would make it negative.
    let sign: &[u8] = if significant[0] >= 0x80 { &[0] } else { &[] };
    let length = u8::try_from(sign.len() + significant.len()).unwrap_or_default();
    [&[0x02, length], sign, significant].concat()
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Memory(..) | Place::Imported(_) => f.write_str("SigningKey(elided)"),
            Place::Token(key) => write!(f, "SigningKey({key:?})"),
        }
    }
}

impl rcgen::PublicKeyData for SigningKey {
    fn der_bytes(&self) -> &[u8] {
        self.public.key()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        match &self.place {
            Place::Memory(..) | Place::Token(_) => &rcgen::PKCS_ECDSA_P256_SHA256,
            Place::Imported(pair) => pair.algorithm(),
        }
    }
}

impl rcgen::SigningKey for SigningKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.sign_der(message).map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tokens_signature_is_written_as_every_verifier_reads_it() {
        let mut signature = [0; 64];
        signature[31] = 1;
        signature[32] = 0x80;
        let der = to_der(&signature);
        let s = [&[0x02, 33, 0, 0x80][..], &[0; 31]].concat();
        assert_eq!(der, [&[0x30, 38, 0x02, 1, 1][..], &s].concat());
        assert_eq!(integer(&[0; 32]), [0x02, 1, 0]);
        // Whatever r and s are, what ring wrote as DER comes out again.
        let key = SigningKey::new(&PrivateKey::generate().unwrap()).unwrap();
        for round in 0..200_u8 {
            let der = key.sign_der(&[round]).unwrap();
            let number = |der: &[u8]| -> [u8; 32] {
                let significant = &der[der.iter().take_while(|byte| **byte == 0).count()..];
                let mut number = [0; 32];
                number[32 - significant.len()..].copy_from_slice(significant);
                number
            };
            let r_end = 4 + usize::from(der[3]);
            let [r, s] = [&der[4..r_end], &der[r_end + 2..]].map(number);
            assert_eq!(to_der(&[r, s].concat().try_into().unwrap()), der);
        }
    }
}
