//! Certificates of authorities, checked for what their place in the hierarchy asks for.

use std::sync::Arc;

use signet_policies::{
    identity::TrustDomain,
    time::{Timestamp, Validity},
};
use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
    prelude::FromDer,
    x509::X509Version,
};

use super::limits::NameLimits;
use crate::Unfit;

/// Longest key identifier that is read, in bytes; people use 20, some 32.
const MAX_KEY_ID: usize = 64;

/// A certificate that may sign certificates.
#[derive(Clone, Debug)]
pub(super) struct CaCertificate {
    pub(super) der: Arc<[u8]>,
    /// Lower-case hexadecimal, without leading zeros.
    pub(super) serial: String,
    /// The subject, DER.
    pub(super) subject: Vec<u8>,
    /// The subject as people write it.
    pub(super) subject_text: String,
    pub(super) key_id: Vec<u8>,
    /// The SubjectPublicKeyInfo, DER.
    pub(super) spki: Vec<u8>,
    pub(super) validity: Validity,
    pub(super) limits: NameLimits,
    /// Whether it may sign lists of what is revoked (cRLSign).
    pub(super) signs_lists: bool,
}

/// Where a certificate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// How many authorities stand between it and a leaf, at least.
    pub(super) below: u8,
    /// Whether it must name the trust domain; others must only not name another.
    pub(super) is_ours: bool,
}

impl CaCertificate {
    /// Reads a certificate and checks whether it may stand there.
    pub(super) fn read(der: &[u8], place: Place, trust_domain: &TrustDomain) -> Result<Self, Unfit> {
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|_| Unfit::Unreadable)?;
        if !rest.is_empty() || parsed.version() != X509Version::V3 {
            return Err(Unfit::Unreadable);
        }
        check_authority(&parsed, place.below)?;
        check_trust_domain(&parsed, place.is_ours, trust_domain)?;
        let limits = NameLimits::of(&parsed)?;
        if parsed.subject().iter_rdn().next().is_none() {
            return Err(Unfit::NoSubject);
        }
        let identifier = parsed.iter_extensions().find_map(|extension| {
            if let ParsedExtension::SubjectKeyIdentifier(id) = extension.parsed_extension() {
                Some(id.0)
            } else {
                None
            }
        });
        let key_id = identifier.filter(|id| (1..=MAX_KEY_ID).contains(&id.len())).ok_or(Unfit::KeyId)?;
        let life = parsed.validity();
        let [not_before, not_after] =
            [life.not_before, life.not_after].map(|moment| Timestamp::from_unix(moment.timestamp()));
        Ok(Self {
            der: der.into(),
            serial: format!("{:x}", parsed.serial),
            subject: parsed.subject().as_raw().to_vec(),
            subject_text: parsed.subject().to_string(),
            key_id: key_id.to_vec(),
            spki: parsed.public_key().raw.to_vec(),
            validity: Validity::new(not_before, not_after).map_err(|_| Unfit::Ended(not_after))?,
            limits,
            signs_lists: parsed
                .key_usage()
                .is_ok_and(|usage| usage.is_some_and(|usage| usage.value.crl_sign())),
        })
    }

    /// Whether `signer` signed it and is named by it.
    pub(super) fn check_signed_by(&self, signer: &Self) -> Result<(), Unfit> {
        let parse =
            |der| X509Certificate::from_der(der).map(|(_, parsed)| parsed).map_err(|_| Unfit::Unreadable);
        let (own, above) = (parse(&self.der)?, parse(&signer.der)?);
        let named = own.iter_extensions().find_map(|extension| {
            if let ParsedExtension::AuthorityKeyIdentifier(id) = extension.parsed_extension() {
                id.key_identifier.as_ref().map(|id| id.0)
            } else {
                None
            }
        });
        let is_named = own.issuer().as_raw() == signer.subject && named.is_none_or(|id| id == signer.key_id);
        match is_named && own.verify_signature(Some(above.public_key())).is_ok() {
            true => Ok(()),
            false => Err(Unfit::Signature),
        }
    }

    /// Whether it is valid at a moment.
    pub(super) fn check_time(&self, now: Timestamp) -> Result<(), Unfit> {
        match self.validity {
            life if now < life.not_before() => Err(Unfit::NotYetValid(life.not_before())),
            life if now > life.not_after() => Err(Unfit::Ended(life.not_after())),
            _ => Ok(()),
        }
    }
}

/// From the latest start to the earliest end of some certificates; the error is that end.
pub(super) fn common_life<'a>(
    certificates: impl Iterator<Item = &'a CaCertificate> + Clone,
) -> Result<Validity, Timestamp> {
    let start = certificates.clone().map(|certificate| certificate.validity.not_before()).max();
    let end = certificates.map(|certificate| certificate.validity.not_after()).min();
    let (start, end) = (start.unwrap_or(Timestamp::from_unix(0)), end.unwrap_or(Timestamp::from_unix(0)));
    Validity::new(start, end).map_err(|_| end)
}

/// CA:TRUE, keyCertSign, room for what stands below, and no purpose that leaves TLS out.
fn check_authority(certificate: &X509Certificate<'_>, below: u8) -> Result<(), Unfit> {
    // An extension that is there twice, or not readable, is none.
    let constraints = certificate.basic_constraints().ok().flatten().ok_or(Unfit::NotAnAuthority)?;
    let usage = certificate.key_usage().ok().flatten().ok_or(Unfit::NotAnAuthority)?;
    if !constraints.value.ca || !usage.value.key_cert_sign() {
        return Err(Unfit::NotAnAuthority);
    }
    if let Some(length) = constraints.value.path_len_constraint.filter(|length| *length < below.into()) {
        return Err(Unfit::PathLength(length, below));
    }
    match certificate.extended_key_usage() {
        Ok(None) => Ok(()),
        Ok(Some(usage)) if usage.value.any || (usage.value.server_auth && usage.value.client_auth) => Ok(()),
        Ok(Some(_)) | Err(_) => Err(Unfit::Purpose),
    }
}

/// Our own name the trust domain; what an operator brings names it or none.
fn check_trust_domain(
    certificate: &X509Certificate<'_>,
    is_ours: bool,
    trust_domain: &TrustDomain,
) -> Result<(), Unfit> {
    let other = || Unfit::TrustDomain(trust_domain.clone());
    let names = certificate.subject_alternative_name().map_err(|_| other())?;
    let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
    let is_it = |name: &GeneralName<'_>| matches!(name, GeneralName::URI(uri) if *uri == trust_domain.id());
    let is_uri = |name: &&GeneralName<'_>| matches!(name, GeneralName::URI(_));
    let is_fit = match is_ours {
        true => matches!(names, [name] if is_it(name)),
        false => names.iter().filter(is_uri).all(is_it),
    };
    if is_fit { Ok(()) } else { Err(other()) }
}
