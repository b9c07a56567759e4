//! Certificates of authorities: the root, and the issuers below it.

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, IsCa, Issuer,
    KeyIdMethod, KeyUsagePurpose, PublicKeyData, SanType,
};
use signet_policies::{
    identity::TrustDomain,
    time::{Timestamp, Validity},
};
use time::OffsetDateTime;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::der::{SEQUENCE, bits, nested};
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

/// Whoever signs an issuer's certificate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Above<'a> {
    /// Its subject, DER, as its own certificate has it.
    pub(crate) subject: &'a [u8],
    /// Its subject key identifier.
    pub(crate) key_id: &'a [u8],
    pub(crate) key: &'a SigningKey,
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
    // rcgen writes names anew, and loses what it has no place for: two of a kind, as in DC=example, DC=org. So it
    // writes a name that stands nowhere else, and the one above is put in its place.
    let mut stand_in = CertificateParams::default();
    stand_in.distinguished_name = DistinguishedName::new();
    stand_in.distinguished_name.push(DnType::CommonName, format!("issuer of {serial}"));
    stand_in.key_identifier_method = KeyIdMethod::PreSpecified(above.key_id.to_vec());
    stand_in.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let stand_in = Issuer::new(stand_in, Unsigned(above.key));
    let draft = params.signed_by(&Subject(key), &stand_in)?;
    sign_as(draft.der(), above).ok_or(Error::Build("the draft of an issuer cannot be read".to_owned()))?
}

/// Puts the signer's name and signature into a certificate that [`Unsigned`] signed.
fn sign_as(draft: &[u8], above: Above<'_>) -> Option<Result<Vec<u8>, Error>> {
    let (_, parsed) = X509Certificate::from_der(draft).ok()?;
    let tbs: &[u8] = parsed.tbs_certificate.as_ref();
    let name = parsed.issuer().as_raw();
    let place = tbs.windows(name.len()).position(|window| window == name)?;
    let (before, after) = (tbs.get(header(tbs)?..place)?, tbs.get(place + name.len()..)?);
    let mut named = Vec::with_capacity(tbs.len() + above.subject.len());
    nested(&mut named, SEQUENCE, |out| out.extend([before, above.subject, after].concat()));
    let algorithm = draft.get(header(draft)? + tbs.len()..)?.strip_suffix(NO_SIGNATURE)?;
    Some(above.key.sign_der(&named).map_err(Error::from).map(|signature| {
        let mut certificate = Vec::with_capacity(named.len() + 600);
        nested(&mut certificate, SEQUENCE, |out| {
            out.extend_from_slice(&named);
            out.extend_from_slice(algorithm);
            bits(out, &signature);
        });
        certificate
    }))
}

/// How long tag and length of an element are.
fn header(element: &[u8]) -> Option<usize> {
    let length = *element.get(1)?;
    Some(if length < 0x80 { 2 } else { 2 + usize::from(length & 0x7f) })
}

/// A key that writes a certificate and leaves the signature to be put in.
struct Unsigned<'a>(&'a SigningKey);

/// The BIT STRING of what [`Unsigned`] signs.
const NO_SIGNATURE: &[u8] = &[0x03, 0x02, 0, 0];

impl PublicKeyData for Unsigned<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.0.algorithm()
    }
}

impl rcgen::SigningKey for Unsigned<'_> {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(vec![0])
    }
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
