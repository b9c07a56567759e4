//! Certificates of authorities: the root, and the issuers below it.

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, IsCa, KeyIdMethod,
    KeyUsagePurpose, PublicKeyData, SanType,
};
use signet_policies::{
    identity::TrustDomain,
    time::{Timestamp, Validity},
};
use time::OffsetDateTime;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::named::Above;
use crate::{
    Error, Serial,
    key::{PublicKey, SigningKey},
};

/// Most characters of a common name (RFC 5280, appendix A.1, ub-common-name).
const MAX_COMMON_NAME: usize = 64;

/// How many authorities may stand between a root and a leaf, and between an issuer and a leaf.
const ROOT_PATH: u8 = 1;
const ISSUER_PATH: u8 = 0;
/// id-ce-subjectKeyIdentifier (RFC 5280, section 4.2.1.2).
const SUBJECT_KEY_ID: &[u64] = &[2, 5, 29, 14];

/// A root's certificate, signed with its own key.
pub(crate) fn root(
    trust_domain: &TrustDomain,
    key: &SigningKey,
    serial: Serial,
    life: Validity,
) -> Result<Vec<u8>, rcgen::Error> {
    let params = params(trust_domain, ROOT_PATH, "root", key.public(), serial, life)?;
    Ok(params.self_signed(key)?.der().to_vec())
}

/// An issuer's certificate, signed by the one above it.
///
/// `label` tells people what the issuer is for; machines go by the key.
pub(crate) fn issuer(
    trust_domain: &TrustDomain,
    label: &str,
    key: &PublicKey,
    serial: Serial,
    life: Validity,
    above: Above<'_>,
) -> Result<Vec<u8>, Error> {
    let mut params = params(trust_domain, ISSUER_PATH, label, key, serial, life)?;
    params.use_authority_key_identifier_extension = true;
    let draft = params.signed_by(&Subject(key), &above.stand_in(&format!("issuer of {serial}")))?;
    let (_, parsed) = X509Certificate::from_der(draft.der()).map_err(|_| unreadable())?;
    above.sign(draft.der(), parsed.tbs_certificate.as_ref(), parsed.issuer().as_raw())
}

fn unreadable() -> Error {
    Error::Build("the draft of an issuer cannot be read".to_owned())
}

/// A request for an issuer's certificate. Whoever signs it copies the extensions.
pub(crate) fn request(
    trust_domain: &TrustDomain,
    label: &str,
    key: &SigningKey,
) -> Result<Vec<u8>, rcgen::Error> {
    let mut params = extensions(trust_domain, ISSUER_PATH, label, key.public())?;
    // rcgen leaves the key identifier out of requests.
    let key_id = [&[0x04, 20], key.public().id().as_slice()].concat();
    params.custom_extensions = vec![CustomExtension::from_oid_content(SUBJECT_KEY_ID, key_id)];
    Ok(params.serialize_request(key)?.der().to_vec())
}

fn params(
    trust_domain: &TrustDomain,
    path_length: u8,
    label: &str,
    key: &PublicKey,
    serial: Serial,
    life: Validity,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = extensions(trust_domain, path_length, label, key)?;
    params.serial_number = Some(serial.to_bytes().to_vec().into());
    params.not_before = calendar(life.not_before())?;
    params.not_after = calendar(life.not_after())?;
    Ok(params)
}

/// What a certificate says of its holder, besides the key.
fn extensions(
    trust_domain: &TrustDomain,
    path_length: u8,
    label: &str,
    key: &PublicKey,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(label, key);
    params.subject_alt_names = vec![SanType::URI(trust_domain.id().try_into()?)];
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.key_identifier_method = KeyIdMethod::PreSpecified(key.id().to_vec());
    Ok(params)
}

/// Two authorities never share a subject: the key is in it. A label that is too long is cut.
fn subject(label: &str, key: &PublicKey) -> DistinguishedName {
    let key_id = hex::encode(&key.id()[..8]);
    let label: String = label.chars().take(MAX_COMMON_NAME - key_id.len() - 1).collect();
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, "Signet");
    subject.push(DnType::CommonName, format!("{label} {key_id}"));
    subject
}

fn calendar(moment: Timestamp) -> Result<OffsetDateTime, rcgen::Error> {
    OffsetDateTime::from_unix_timestamp(moment.unix()).map_err(|_| rcgen::Error::Time)
}

/// An issuer's key, which is always one that we made.
struct Subject<'a>(&'a PublicKey);

impl PublicKeyData for Subject<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.key()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}
