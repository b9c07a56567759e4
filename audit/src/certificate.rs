//! A certificate taken apart (RFC 5280), into what the checks compare.

mod extensions;
mod key;

use sha2::{Digest as _, Sha256};
use x509_parser::{
    certificate::X509Certificate, der_parser::asn1_rs::BitString, prelude::FromDer, x509::AlgorithmIdentifier,
};

pub(crate) use self::{
    extensions::{CRL_SIGN, Extension, Extensions, KEY_CERT_SIGN},
    key::{Key, KeyKind, bits},
};

/// What a certificate says.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    /// SHA-256 of the whole.
    pub(crate) fingerprint: [u8; 32],
    /// The serial number's octets as they are encoded, so that a sign is visible.
    pub(crate) serial: Vec<u8>,
    /// The issuer's name, DER.
    pub(crate) issuer: Vec<u8>,
    /// The subject's name, DER.
    pub(crate) subject: Vec<u8>,
    /// The subject for people, as RFC 4514 writes it; empty where it is.
    pub(crate) subject_text: String,
    /// The first valid second.
    pub(crate) not_before: i64,
    /// The last valid second.
    pub(crate) not_after: i64,
    pub(crate) key: Key,
    /// Whether the algorithm inside the signed part is the one beside the signature.
    pub(crate) is_algorithm_consistent: bool,
    /// The algorithm beside the signature, dotted.
    pub(crate) algorithm: String,
    pub(crate) extensions: Extensions,
}

impl Certificate {
    /// Reads one certificate, to its last byte.
    pub(crate) fn read(der: &[u8]) -> Result<Self, String> {
        let parsed = parse(der)?;
        Self::of(&parsed, der)
    }

    pub(crate) fn of(parsed: &X509Certificate<'_>, der: &[u8]) -> Result<Self, String> {
        let life = parsed.validity();
        let subject = parsed.subject();
        Ok(Self {
            fingerprint: Sha256::digest(der).into(),
            serial: parsed.raw_serial().to_vec(),
            issuer: parsed.issuer().as_raw().to_vec(),
            subject: subject.as_raw().to_vec(),
            subject_text: subject.to_string(),
            not_before: life.not_before.timestamp(),
            not_after: life.not_after.timestamp(),
            key: Key::of(parsed.public_key()),
            is_algorithm_consistent: same(&parsed.tbs_certificate.signature, &parsed.signature_algorithm),
            algorithm: parsed.signature_algorithm.algorithm.to_id_string(),
            extensions: Extensions::of(parsed)?,
        })
    }

    /// Its serial number in lower-case hexadecimal, without the octet that only holds the sign.
    pub(crate) fn serial_text(&self) -> String {
        match self.serial.as_slice() {
            [0, rest @ ..] if !rest.is_empty() => hex::encode(rest),
            octets => hex::encode(octets),
        }
    }

    /// Its subject, or where that is empty its first URI; for people.
    pub(crate) fn name(&self) -> String {
        match self.subject_text.as_str() {
            "" => self.extensions.names.uris.first().cloned().unwrap_or_default(),
            subject => subject.to_owned(),
        }
    }

    /// Whether its own name is its issuer's.
    pub(crate) fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }

    /// Whether `authority` is named as its issuer, and its key, where the certificate names one.
    pub(crate) fn names_issuer(&self, authority: &Self) -> bool {
        self.issuer == authority.subject
            && match (&self.extensions.authority_key_id, &authority.extensions.subject_key_id) {
                (Some(named), Some(own)) => named == own,
                _ => true,
            }
    }
}

/// A certificate as the parser shows it. The error says why it is none.
pub(crate) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, String> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok((rest, _)) => Err(format!("{} bytes follow it", rest.len())),
        Err(error) => Err(format!("it is no certificate: {error}")),
    }
}

/// Whether `issuer`'s key made the signature of `certificate`, both DER.
pub(crate) fn is_signed_by(certificate: &[u8], issuer: &[u8]) -> bool {
    let (Ok(certificate), Ok(issuer)) = (parse(certificate), parse(issuer)) else {
        return false;
    };
    certificate.verify_signature(Some(issuer.public_key())).is_ok()
}

fn same(inner: &AlgorithmIdentifier<'_>, outer: &AlgorithmIdentifier<'_>) -> bool {
    inner == outer
}

/// The bits of a key, whole octets.
fn octets<'a>(bits: &'a BitString<'a>) -> &'a [u8] {
    &bits.data
}
