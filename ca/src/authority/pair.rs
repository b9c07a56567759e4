//! A key and its certificate, checked for what their place in the hierarchy asks for.

use signet_policies::{
    identity::TrustDomain,
    time::{Timestamp, Validity},
};
use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
    prelude::FromDer,
};

use super::{Place, store::Stored};
use crate::{Error, Unfit, key::SigningKey};

/// An authority's key and certificate that belong together.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) key: SigningKey,
    pub(super) der: Vec<u8>,
    /// The subject, DER.
    pub(super) subject: Vec<u8>,
    pub(super) key_id: [u8; 20],
    pub(super) validity: Validity,
}

impl Pair {
    /// Checks the root, which must be valid `now`.
    pub(super) fn root(stored: Stored, trust_domain: &TrustDomain, now: Timestamp) -> Result<Self, Error> {
        let path = stored.path.clone();
        let unfit = |unfit| Error::Unfit { path: path.clone(), unfit };
        let root = Self::new(stored, Place::Root, trust_domain, None)?;
        match root.validity {
            life if now < life.not_before() => Err(unfit(Unfit::NotYetValid(life.not_before()))),
            life if now > life.not_after() => Err(unfit(Unfit::Ended(life.not_after()))),
            _ => Ok(root),
        }
    }

    /// Checks an issuer, which may have ended.
    pub(super) fn issuer(stored: Stored, trust_domain: &TrustDomain, root: &Self) -> Result<Self, Error> {
        Self::new(stored, Place::Issuer, trust_domain, Some(root))
    }

    fn new(
        stored: Stored,
        place: Place,
        trust_domain: &TrustDomain,
        root: Option<&Self>,
    ) -> Result<Self, Error> {
        let Stored { key, certificate: der, path } = stored;
        let unfit = |unfit| Error::Unfit { path: path.clone(), unfit };
        let (rest, parsed) = X509Certificate::from_der(&der).map_err(|_| unfit(Unfit::Unreadable))?;
        if !rest.is_empty() {
            return Err(unfit(Unfit::Unreadable));
        }
        let public = key.public();
        if parsed.public_key().raw != public.spki() {
            return Err(unfit(Unfit::OtherKey));
        }
        check(&parsed, place, trust_domain, &public.id()).map_err(unfit)?;
        check_signature(&parsed, root).map_err(unfit)?;
        let life = parsed.validity();
        let [not_before, not_after] =
            [life.not_before, life.not_after].map(|moment| Timestamp::from_unix(moment.timestamp()));
        let validity = Validity::new(not_before, not_after).map_err(|_| unfit(Unfit::Ended(not_after)))?;
        let subject = parsed.subject().as_raw().to_vec();
        Ok(Self { key: SigningKey::new(&key)?, subject, key_id: public.id(), validity, der })
    }
}

fn check(
    certificate: &X509Certificate<'_>,
    place: Place,
    trust_domain: &TrustDomain,
    key_id: &[u8],
) -> Result<(), Unfit> {
    // An extension that is there twice, or not readable, is none.
    let constraints = certificate.basic_constraints().ok().flatten().ok_or(Unfit::NotAnAuthority)?;
    let usage = certificate.key_usage().ok().flatten().ok_or(Unfit::NotAnAuthority)?;
    if !constraints.value.ca || !usage.value.key_cert_sign() {
        return Err(Unfit::NotAnAuthority);
    }
    let needed = place.path_length();
    if let Some(length) = constraints.value.path_len_constraint.filter(|length| *length < needed.into()) {
        return Err(Unfit::PathLength(length, needed));
    }
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
    if !matches!(names, [GeneralName::URI(uri)] if *uri == trust_domain.id()) {
        return Err(Unfit::TrustDomain(trust_domain.clone()));
    }
    let identifier = certificate.iter_extensions().find_map(|extension| {
        let ParsedExtension::SubjectKeyIdentifier(id) = extension.parsed_extension() else {
            return None;
        };
        Some(id.0)
    });
    match identifier == Some(key_id) {
        true => Ok(()),
        false => Err(Unfit::KeyId),
    }
}

/// A root signs itself, an issuer is signed by the root and names it.
fn check_signature(certificate: &X509Certificate<'_>, root: Option<&Pair>) -> Result<(), Unfit> {
    let root_der = root.map(|root| X509Certificate::from_der(&root.der));
    let signer = match &root_der {
        None => certificate,
        Some(Ok((_, root))) => root,
        Some(Err(_)) => return Err(Unfit::Signature),
    };
    let is_named = certificate.issuer().as_raw() == signer.subject().as_raw();
    match is_named && certificate.verify_signature(Some(signer.public_key())).is_ok() {
        true => Ok(()),
        false => Err(Unfit::Signature),
    }
}
