//! Keys that are ready to sign certificates, wherever they are.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use rcgen::{PublicKeyData as _, SigningKey as _};
use ring::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair},
};

use super::{KeyError, KeyKind, PrivateKey, PublicKey, pkcs11::TokenKey};
use crate::KeyPlace;
#[cfg(test)]
use crate::profile::faults;

/// Of the signatures under leaves that a key in memory makes, the first is verified, and then one in so many.
///
/// Verifying costs three times what signing does, and ring shares this process's memory: what could be wrong is the key
/// or the machine, and then more than one signature is. A leaf with a wrong signature helps nobody either: whoever is
/// shown it refuses it, its own agent first.
const LOOKS: u64 = 256;

/// What is signed to see whether a key on a token is the one that a certificate names. It is no certificate, CSR or CRL.
const PROBE: &[u8] = b"signet: whose key is this?";

/// A private key that is ready to sign certificates.
pub(crate) struct SigningKey {
    place: Place,
    public: PublicKey,
    /// Signatures under leaves so far.
    leaves: AtomicU64,
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
            return Ok(Self::of(Place::Memory(Box::new(pair), random), public));
        }
        let pair = rcgen::KeyPair::try_from(pkcs8).map_err(|error| refused(&error))?;
        let public =
            PublicKey::from_spki(&pair.subject_public_key_info()).map_err(|error| refused(&error))?;
        Ok(Self::of(Place::Imported(Box::new(pair)), public))
    }

    /// A key on a token. `None` where it is another one than `public`, which a signature shows.
    pub(crate) fn on_token(key: TokenKey, public: &PublicKey) -> Result<Option<Self>, KeyError> {
        if public.kind() != KeyKind::P256 {
            return Err(KeyError::Kind("a key on a token is one of P-256".to_owned()));
        }
        let key = Self::of(Place::Token(key), public.clone());
        let signature = key.unverified(PROBE)?;
        Ok(public.verifies(PROBE, &signature).then_some(key))
    }

    fn of(place: Place, public: PublicKey) -> Self {
        Self { place, public, leaves: AtomicU64::new(0) }
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

    /// Signs, and verifies the signature; with ECDSA it is DER (RFC 3279, section 2.2.3).
    ///
    /// # Errors
    /// [`KeyError::Signature`] where it is not this key's; the key does not sign.
    pub(crate) fn sign_der(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let signature = self.unverified(message)?;
        match self.public.verifies(message, &signature) {
            true => Ok(signature),
            false => Err(KeyError::Signature),
        }
    }

    /// As [`SigningKey::sign_der`], for the many signatures under leaves: those of a token, which is another machine, are
    /// verified always, and of a key in memory the first and then one in [`LOOKS`].
    ///
    /// # Errors
    /// As [`SigningKey::sign_der`].
    pub(crate) fn sign_leaf(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let number = self.leaves.fetch_add(1, Ordering::Relaxed);
        match self.place {
            Place::Memory(..) if !number.is_multiple_of(LOOKS) => self.unverified(message),
            Place::Memory(..) | Place::Imported(_) | Place::Token(_) => self.sign_der(message),
        }
    }

    fn unverified(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let signature = match &self.place {
            Place::Memory(pair, random) => {
                let signature = pair.sign(random, message).map_err(|_| KeyError::NoRandomness)?;
                signature.as_ref().to_vec()
            }
            Place::Imported(pair) => pair.sign(message).map_err(|error| KeyError::Kind(error.to_string()))?,
            Place::Token(key) => to_der(&key.sign_digest(digest(&SHA256, message).as_ref())?),
        };
        #[cfg(test)]
        let signature = faults::planted(faults::Moment::Signed, signature);
        Ok(signature)
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

    /// A signature is a SEQUENCE, and a SET is none.
    const WRONG: faults::Fault = (faults::Moment::Signed, b"\x30", b"\x31");

    #[test]
    fn a_signature_that_is_not_the_keys_is_refused_at_once_and_under_leaves_at_the_first_or_after_a_few() {
        let key = SigningKey::new(&PrivateKey::generate().unwrap()).unwrap();
        faults::plant(Some(WRONG));
        assert_eq!(key.sign_der(b"message"), Err(KeyError::Signature));
        assert_eq!(key.sign_leaf(b"message"), Err(KeyError::Signature), "the first one");
        faults::plant(None);
        key.sign_leaf(b"message").unwrap();
        faults::plant(Some(WRONG));
        let unseen = (0..LOOKS).take_while(|_| key.sign_leaf(b"message").is_ok()).count();
        faults::plant(None);
        assert_eq!(unseen as u64, LOOKS - 2);
    }

    #[test]
    fn keys_of_every_kind_verify_what_they_sign() {
        let others = [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519]
            .map(|algorithm| rcgen::KeyPair::generate_for(algorithm).unwrap().serialize_pem());
        let (made, rsa) = crate::fixtures::openssl(&["genrsa", "2048"]);
        assert!(made, "{rsa}");
        for pem in others.iter().map(String::as_str).chain([&rsa[rsa.find("-----BEGIN").unwrap()..]]) {
            let key = SigningKey::new(&PrivateKey::from_pem(pem, None).unwrap()).unwrap();
            let signature = key.sign_der(b"message").unwrap();
            assert!(!key.public.verifies(b"another", &signature), "{:?}", key.public);
        }
    }
}
