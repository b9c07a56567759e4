//! Proof of possession: the request is signed with the key that it holds.

use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ED25519,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, UnparsedPublicKey,
    VerificationAlgorithm,
};

use super::InvalidCsr;
use crate::{
    key::{KeyKind, PublicKey},
    strict::{Element, tag},
};

/// AlgorithmIdentifiers in their only encoding (RFC 5758, RFC 8410, RFC 4055).
const ECDSA_SHA256: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";
const ECDSA_SHA384: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03";
const EDDSA: &[u8] = b"\x30\x05\x06\x03\x2b\x65\x70";
const RSA_SHA256: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00";
const RSA_SHA384: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c\x05\x00";
const RSA_SHA512: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d\x05\x00";

/// The algorithms that are accepted, by key. SHA-1 and MD5 are not among them.
const ACCEPTED: [(KeyKind, &[u8], &'static dyn VerificationAlgorithm); 8] = [
    (KeyKind::P256, ECDSA_SHA256, &ECDSA_P256_SHA256_ASN1),
    (KeyKind::P256, ECDSA_SHA384, &ECDSA_P256_SHA384_ASN1),
    (KeyKind::P384, ECDSA_SHA256, &ECDSA_P384_SHA256_ASN1),
    (KeyKind::P384, ECDSA_SHA384, &ECDSA_P384_SHA384_ASN1),
    (KeyKind::Ed25519, EDDSA, &ED25519),
    (KeyKind::Rsa, RSA_SHA256, &RSA_PKCS1_2048_8192_SHA256),
    (KeyKind::Rsa, RSA_SHA384, &RSA_PKCS1_2048_8192_SHA384),
    (KeyKind::Rsa, RSA_SHA512, &RSA_PKCS1_2048_8192_SHA512),
];

/// Checks the signature over `signed`, the request's first part as it was received.
pub(super) fn check(
    key: &PublicKey,
    signed: &[u8],
    algorithm: &[u8],
    signature: &Element<'_>,
) -> Result<(), InvalidCsr> {
    let accepted = ACCEPTED.iter().find(|(kind, name, _)| *kind == key.kind() && *name == algorithm);
    let (_, _, verification) = accepted.ok_or(InvalidCsr::SignatureAlgorithm)?;
    let [0, signature @ ..] = signature.expect(tag::BIT_STRING)?.content else {
        return Err(InvalidCsr::Malformed("its signature is not of whole bytes"));
    };
    UnparsedPublicKey::new(*verification, key.key())
        .verify(signed, signature)
        .map_err(|_| InvalidCsr::Signature)
}
