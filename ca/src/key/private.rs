//! Private keys in PKCS#8: the P-256 ones that we make, and those that operators bring.

use rcgen::PublicKeyData as _;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair},
};
use thiserror::Error;
use zeroize::Zeroizing;

use super::{Passphrase, Pkcs11Error, PublicKey, SigningKey};
use crate::pem;

/// The PEM label of PKCS#8 (RFC 7468, section 10).
const LABEL: &str = "PRIVATE KEY";
/// The PEM label of PKCS#8 that is sealed (RFC 7468, section 11).
const SEALED_LABEL: &str = "ENCRYPTED PRIVATE KEY";
/// Bytes of an uncompressed P-256 point, with which the PKCS#8 form that ring writes and reads ends.
const POINT: usize = 65;

/// A private key, PKCS#8 DER, wiped from memory when dropped. It is neither cloned nor shown.
///
/// The ones that we make are of P-256; what an operator brings may be of another kind that a [`PublicKey`] may have.
/// (ring hands a new key out in a buffer on the stack, and holds the scalar of a signing key, without wiping
/// either; what this crate allocates, it wipes.)
pub struct PrivateKey {
    pkcs8: Zeroizing<Vec<u8>>,
    public: PublicKey,
}

/// A key that cannot be made or read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The system gave no randomness.
    #[error("the system gives no randomness, so no key can be made and nothing signed")]
    NoRandomness,
    /// Not one PEM block of PKCS#8.
    #[error("not one PEM block \"-----BEGIN {LABEL}-----\"")]
    NotPem,
    /// It is sealed, and no passphrase was given.
    #[error("it is sealed with a passphrase; give it with --ca-passphrase-file or in SIGNET_CA_PASSPHRASE")]
    Sealed,
    /// It is not sealed, and a passphrase was given.
    #[error(
        "it is not sealed, although a passphrase was given; seal it with `signet ca seal`, or leave the passphrase out"
    )]
    NotSealed,
    /// The passphrase does not open it.
    #[error("the passphrase does not open it: it is another one's, or the file was altered")]
    WrongPassphrase,
    /// It is sealed in a way that is not known here, or could not be sealed.
    #[error("it cannot be sealed or opened: {0}")]
    Seal(String),
    /// PKCS#8 of another kind of key, or damaged, where the ledger's key should be.
    #[error("not an Ed25519 key in PKCS#8 with its public half: {0}")]
    NotEd25519(String),
    /// PKCS#8 of a kind of key that is not used here, or damaged.
    #[error("not a key of P-256, P-384, Ed25519 or RSA in PKCS#8 with its public half: {0}")]
    Kind(String),
    /// What was made does not sign as its public half says.
    #[error("the key that was made and its public half do not fit; the token may be broken")]
    Halves,
    /// What it signed does not verify with its public half. It was withheld.
    #[error(
        "a signature was made that is not the key's, and was withheld: the token, or this machine, computes wrongly"
    )]
    Signature,
    /// It is on a token, and none was given.
    #[error("it is on a PKCS #11 token, {0}; say with --ca-key how to reach the token")]
    NoToken(String),
    /// A key on a token, or the token, cannot be used.
    #[error(transparent)]
    Pkcs11(#[from] Pkcs11Error),
}

impl PrivateKey {
    /// Makes a key.
    ///
    /// # Errors
    /// [`KeyError::NoRandomness`].
    pub fn generate() -> Result<Self, KeyError> {
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())
            .map_err(|_| KeyError::NoRandomness)?;
        Self::from_trusted_pkcs8(Zeroizing::new(made.as_ref().to_vec()))
    }

    /// Reads one PEM block of PKCS#8, which is sealed if there is a passphrase, and only then.
    ///
    /// # Errors
    /// Not such a block, sealed when it should not be or the other way round, another passphrase, or another kind of
    /// key.
    pub fn from_pem(text: &str, passphrase: Option<&Passphrase>) -> Result<Self, KeyError> {
        let pkcs8 = from_pem(text, passphrase)?;
        // Loading it shows whether its halves fit.
        let public = SigningKey::load(&pkcs8)?.subject_public_key_info();
        let public = PublicKey::from_spki(&public).map_err(|refused| KeyError::Kind(refused.to_string()))?;
        Ok(Self { pkcs8, public })
    }

    /// Takes what ring made: loading it to see its point would cost as much as making it.
    fn from_trusted_pkcs8(pkcs8: Zeroizing<Vec<u8>>) -> Result<Self, KeyError> {
        match pkcs8.last_chunk::<POINT>() {
            Some(point) => Ok(Self { public: PublicKey::p256(point), pkcs8 }),
            None => Err(KeyError::Kind("too short".to_owned())),
        }
    }

    /// PKCS#8, DER. Whoever copies it wipes the copy.
    #[must_use]
    pub fn pkcs8_der(&self) -> &[u8] {
        &self.pkcs8
    }

    /// PKCS#8, PEM, sealed if there is a passphrase.
    ///
    /// # Errors
    /// [`KeyError::NoRandomness`], [`KeyError::Seal`].
    pub fn to_pem(&self, passphrase: Option<&Passphrase>) -> Result<Zeroizing<String>, KeyError> {
        to_pem(&self.pkcs8, passphrase)
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.public.clone()
    }
}

/// The PKCS#8 of one PEM block, which is sealed if there is a passphrase, and only then.
pub(super) fn from_pem(text: &str, passphrase: Option<&Passphrase>) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    match (pem::decode(LABEL, text), pem::decode(SEALED_LABEL, text), passphrase) {
        (Some(pkcs8), _, None) => Ok(pkcs8),
        (_, Some(sealed), Some(passphrase)) => passphrase.open(&sealed),
        (Some(_), _, Some(_)) => Err(KeyError::NotSealed),
        (_, Some(_), None) => Err(KeyError::Sealed),
        (None, None, _) => Err(KeyError::NotPem),
    }
}

/// PKCS#8 as PEM, sealed if there is a passphrase.
pub(super) fn to_pem(pkcs8: &[u8], passphrase: Option<&Passphrase>) -> Result<Zeroizing<String>, KeyError> {
    Ok(match passphrase {
        None => pem::encode(LABEL, pkcs8),
        Some(passphrase) => pem::encode(SEALED_LABEL, &passphrase.seal(pkcs8)?),
    })
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PrivateKey(elided)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KeyKind;

    #[test]
    fn a_key_reads_back_from_its_pem_with_the_same_public_half() {
        let key = PrivateKey::generate().unwrap();
        for passphrase in [None, Some(&passphrase("correct horse"))] {
            let read = PrivateKey::from_pem(&key.to_pem(passphrase).unwrap(), passphrase).unwrap();
            assert_eq!(read.pkcs8_der(), key.pkcs8_der());
            assert_eq!(read.public(), key.public());
        }
    }

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(Zeroizing::new(text.to_owned())).unwrap()
    }

    #[test]
    fn a_sealed_key_opens_with_its_passphrase_alone_and_a_plain_one_with_none() {
        let key = PrivateKey::generate().unwrap();
        let (right, wrong) = (passphrase("correct horse"), passphrase("Correct horse"));
        let sealed = key.to_pem(Some(&right)).unwrap();
        assert_ne!(sealed, key.to_pem(Some(&right)).unwrap(), "the same salt twice");
        let refused = |text: &str, passphrase| PrivateKey::from_pem(text, passphrase).unwrap_err();
        assert_eq!(refused(&sealed, None), KeyError::Sealed);
        assert_eq!(refused(&key.to_pem(None).unwrap(), Some(&right)), KeyError::NotSealed);
        for _ in 0..3 {
            let sealed = key.to_pem(Some(&right)).unwrap();
            assert_eq!(refused(&sealed, Some(&wrong)), KeyError::WrongPassphrase);
        }
        let altered = sealed.replacen("AAAA", "AAAB", 1);
        let middle = sealed.len() - 60;
        let flipped = if sealed.as_bytes()[middle] == b'A' { "B" } else { "A" };
        let altered = [&altered[..middle], flipped, &altered[middle + 1..]].concat();
        assert!(PrivateKey::from_pem(&altered, Some(&right)).is_err());
    }

    #[test]
    fn openssl_opens_a_sealed_key_and_we_open_one_that_openssl_sealed() {
        let folder = tempfile::tempdir().unwrap();
        let [ours, theirs] =
            ["ours.pem", "theirs.pem"].map(|name| folder.path().join(name).display().to_string());
        let key = PrivateKey::generate().unwrap();
        let secret = passphrase("correct horse");
        std::fs::write(&ours, key.to_pem(Some(&secret)).unwrap().as_bytes()).unwrap();
        let password = "pass:correct horse";
        let (opened, text) = crate::fixtures::openssl(&["pkey", "-in", &ours, "-passin", password]);
        assert!(opened, "{text}");
        assert_eq!(PrivateKey::from_pem(&text, None).unwrap().public(), key.public());
        std::fs::write(&theirs, text).unwrap();
        let arguments = ["pkcs8", "-topk8", "-scrypt", "-in", &theirs, "-passout", password];
        let (sealed, text) = crate::fixtures::openssl(&arguments);
        assert!(sealed, "{text}");
        assert_eq!(PrivateKey::from_pem(&text, Some(&secret)).unwrap().public(), key.public());
    }

    #[test]
    fn the_public_half_of_a_key_that_was_never_loaded_is_the_one_that_ring_derives() {
        let key = PrivateKey::generate().unwrap();
        let derived = SigningKey::new(&key).unwrap();
        assert_eq!(key.public().spki(), derived.subject_public_key_info());
    }

    #[test]
    fn a_key_is_never_shown() {
        let key = PrivateKey::generate().unwrap();
        assert_eq!(format!("{key:?}"), "PrivateKey(elided)");
        assert_eq!(format!("{:?}", SigningKey::new(&key).unwrap()), "SigningKey(elided)");
    }

    #[test]
    fn keys_that_operators_bring_are_read_with_their_public_half() {
        for (kind, algorithm) in [
            (KeyKind::P256, &rcgen::PKCS_ECDSA_P256_SHA256),
            (KeyKind::P384, &rcgen::PKCS_ECDSA_P384_SHA384),
            (KeyKind::Ed25519, &rcgen::PKCS_ED25519),
        ] {
            let theirs = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let read = PrivateKey::from_pem(&theirs.serialize_pem(), None).unwrap();
            assert_eq!(read.public().spki(), theirs.subject_public_key_info());
            assert_eq!(read.public().kind(), kind);
        }
        for (size, is_read) in [("2048", true), ("4096", true), ("1024", false), ("8192", false)] {
            let (made, text) = crate::fixtures::openssl(&["genrsa", size]);
            assert!(made, "{text}");
            let start = text.find("-----BEGIN").unwrap();
            let read = PrivateKey::from_pem(&text[start..], None);
            assert_eq!(read.is_ok(), is_read, "{size}: {read:?}");
        }
    }

    #[test]
    fn other_keys_and_damaged_ones_are_refused() {
        let (made, secp521r1) =
            crate::fixtures::openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"]);
        assert!(made, "{secp521r1}");
        assert!(matches!(PrivateKey::from_pem(&secp521r1, None), Err(KeyError::Kind(_))));
        let mut damaged = PrivateKey::generate().unwrap().pkcs8_der().to_vec();
        damaged[100] ^= 1;
        let damaged = pem::encode(LABEL, &damaged);
        assert!(matches!(PrivateKey::from_pem(&damaged, None), Err(KeyError::Kind(_))));
        assert_eq!(PrivateKey::from_pem("", None).unwrap_err(), KeyError::NotPem);
    }
}
