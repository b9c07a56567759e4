//! What rcgen writes and an authority signs, under exactly the name that the authority's own certificate has.
//!
//! rcgen writes names anew, and loses what it has no place for: two of a kind, as in DC=example, DC=org. So it writes a
//! name that stands nowhere else, and the authority's is put in its place before anything is signed.

use rcgen::{
    CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType, Issuer, KeyIdMethod,
    KeyUsagePurpose, PublicKeyData,
};
use x509_parser::{prelude::FromDer, revocation_list::CertificateRevocationList};

use super::der::{SEQUENCE, bits, nested};
use crate::{Error, key::SigningKey};

/// Whoever signs an issuer's certificate, or a list of what is revoked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Above<'a> {
    /// Its subject, DER, as its own certificate has it.
    pub(crate) subject: &'a [u8],
    /// Its subject key identifier.
    pub(crate) key_id: &'a [u8],
    pub(crate) key: &'a SigningKey,
}

/// A list of what is revoked (RFC 5280, section 5), signed by the authority whose it is.
pub(crate) fn revocation_list(
    params: &CertificateRevocationListParams,
    above: Above<'_>,
) -> Result<Vec<u8>, Error> {
    let unreadable = |_| Error::Build("the draft of a list of what is revoked cannot be read".to_owned());
    let draft = params.signed_by(&above.stand_in("issuer of the list"))?;
    let (_, parsed) = CertificateRevocationList::from_der(draft.der()).map_err(unreadable)?;
    above.sign(draft.der(), parsed.tbs_cert_list.as_ref(), parsed.issuer().as_raw())
}

impl<'a> Above<'a> {
    /// One for rcgen to write drafts for. `name` must stand nowhere else in them.
    pub(super) fn stand_in(&self, name: &str) -> Issuer<'static, Unsigned<'a>> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_identifier_method = KeyIdMethod::PreSpecified(self.key_id.to_vec());
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Issuer::new(params, Unsigned(self.key))
    }

    /// Signs a draft: `tbs` is the part of it that is signed, and `name` the stand-in's, both as they are in it.
    pub(super) fn sign(self, draft: &[u8], tbs: &[u8], name: &[u8]) -> Result<Vec<u8>, Error> {
        let (named, algorithm) = self
            .named(draft, tbs, name)
            .ok_or_else(|| Error::Build("a draft has another shape".to_owned()))?;
        let signature = self.key.sign_der(&named)?;
        let mut signed = Vec::with_capacity(named.len() + 600);
        nested(&mut signed, SEQUENCE, |out| {
            out.extend_from_slice(&named);
            out.extend_from_slice(algorithm);
            bits(out, &signature);
        });
        Ok(signed)
    }

    /// What is to be signed, with the right name, and with which algorithm.
    fn named<'b>(&self, draft: &'b [u8], tbs: &[u8], name: &[u8]) -> Option<(Vec<u8>, &'b [u8])> {
        let place = tbs.windows(name.len()).position(|window| window == name)?;
        let (before, after) = (tbs.get(header(tbs)?..place)?, tbs.get(place + name.len()..)?);
        let mut named = Vec::with_capacity(tbs.len() + self.subject.len());
        nested(&mut named, SEQUENCE, |out| out.extend([before, self.subject, after].concat()));
        let algorithm = draft.get(header(draft)? + tbs.len()..)?.strip_suffix(NO_SIGNATURE)?;
        Some((named, algorithm))
    }
}

/// How long tag and length of an element are.
fn header(element: &[u8]) -> Option<usize> {
    let length = *element.get(1)?;
    Some(if length < 0x80 { 2 } else { 2 + usize::from(length & 0x7f) })
}

/// A key that writes a draft and leaves the signature to be put in.
pub(super) struct Unsigned<'a>(&'a SigningKey);

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
