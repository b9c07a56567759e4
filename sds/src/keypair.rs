//! A certificate's private key: made here, shown to nobody but the proxy that uses it.

use std::fmt;

use rcgen::{CertificateParams, DistinguishedName, PublicKeyData, SanType, SignatureAlgorithm, SigningKey};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use signet_policies::identity::SpiffeId;
use thiserror::Error;
use zeroize::Zeroizing;

/// A P-256 key pair, made for one certificate and used for no other.
///
/// The encoded private key is wiped when it is dropped. `Debug` does not show it, and it is neither `Clone`
/// nor serialisable.
pub struct KeyPair {
    pkcs8: Zeroizing<Vec<u8>>,
    signer: EcdsaKeyPair,
}

/// Why there is no key, or no request for its certificate.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The system gave no random numbers.
    #[error("the system gave no random numbers for a key")]
    Random,
    /// The bytes hold no P-256 private key in PKCS #8.
    #[error("not a P-256 private key in PKCS #8: {0}")]
    Malformed(String),
    /// The request could not be encoded or signed.
    #[error("cannot make a certificate request: {0}")]
    Request(String),
}

impl KeyPair {
    /// Makes a fresh key.
    ///
    /// # Errors
    /// [`KeyError::Random`].
    pub fn generate() -> Result<Self, KeyError> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())
            .map_err(|_| KeyError::Random)?;
        Self::from_pkcs8(Zeroizing::new(document.as_ref().to_vec()))
    }

    /// Reads a key that was kept.
    ///
    /// # Errors
    /// [`KeyError::Malformed`].
    pub fn from_pkcs8(pkcs8: Zeroizing<Vec<u8>>) -> Result<Self, KeyError> {
        let signer = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &pkcs8, &SystemRandom::new())
            .map_err(|rejected| KeyError::Malformed(rejected.to_string()))?;
        Ok(Self { pkcs8, signer })
    }

    /// The private key: PKCS #8, DER. Whoever copies it must wipe the copy.
    #[must_use]
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The public key: `SubjectPublicKeyInfo`, DER (RFC 5280, section 4.1.2.7).
    #[must_use]
    pub fn public_key(&self) -> Vec<u8> {
        self.subject_public_key_info()
    }

    /// A PKCS #10 request, DER, whose subject is empty and whose one name is `identity`.
    ///
    /// # Errors
    /// [`KeyError::Request`].
    pub fn request(&self, identity: &SpiffeId) -> Result<Vec<u8>, KeyError> {
        let refused = |error: rcgen::Error| KeyError::Request(error.to_string());
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(identity.to_string().try_into().map_err(refused)?)];
        Ok(params.serialize_request(self).map_err(refused)?.der().to_vec())
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPair(P-256, elided)")
    }
}

impl PublicKeyData for KeyPair {
    fn der_bytes(&self) -> &[u8] {
        self.signer.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for KeyPair {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature =
            self.signer.sign(&SystemRandom::new(), message).map_err(|_| rcgen::Error::RingUnspecified)?;
        Ok(signature.as_ref().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use x509_parser::{
        certification_request::X509CertificationRequest,
        prelude::{FromDer, GeneralName, ParsedExtension},
    };

    use super::*;

    fn identity() -> SpiffeId {
        "spiffe://signet.internal/mesh/m/virtual-node/a".parse().unwrap()
    }

    #[test]
    fn a_request_proves_the_key_and_names_the_identity_and_nothing_else() {
        let key = KeyPair::generate().unwrap();
        let der = key.request(&identity()).unwrap();
        let (rest, request) = X509CertificationRequest::from_der(&der).unwrap();
        assert!(rest.is_empty());
        request.verify_signature().unwrap();
        let info = &request.certification_request_info;
        assert_eq!(info.subject_pki.raw, key.public_key());
        assert_eq!(info.subject.iter().count(), 0);
        let extensions: Vec<_> = request.requested_extensions().unwrap().collect();
        let [ParsedExtension::SubjectAlternativeName(names)] = extensions.as_slice() else {
            panic!("{extensions:?}")
        };
        let id = identity().to_string();
        assert_eq!(names.general_names, [GeneralName::URI(&id)]);
    }

    #[test]
    fn two_keys_differ_and_a_kept_key_comes_back_as_itself() {
        let [one, two] = [(), ()].map(|()| KeyPair::generate().unwrap());
        assert_ne!(one.public_key(), two.public_key());
        let kept = KeyPair::from_pkcs8(Zeroizing::new(one.pkcs8().to_vec())).unwrap();
        assert_eq!(kept.public_key(), one.public_key());
    }

    #[test]
    fn what_is_no_key_is_refused_and_debug_shows_no_key() {
        for junk in [&b""[..], b"junk", &[0; 4096]] {
            assert!(KeyPair::from_pkcs8(Zeroizing::new(junk.to_vec())).is_err());
        }
        let key = KeyPair::generate().unwrap();
        assert_eq!(format!("{key:?}"), "KeyPair(P-256, elided)");
    }
}
