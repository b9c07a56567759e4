//! Leaf certificates.
//!
//! Written by hand and not with rcgen, which takes a quarter of the time of a signature for it; a test holds
//! the two against each other, byte for byte.

use signet_policies::{
    identity::{DnsName, SpiffeId},
    time::Validity,
};

use super::der::{OCTET_STRING, SEQUENCE, bits, element, integer, moment, nested};
use crate::{
    Error, Serial,
    key::{PublicKey, SigningKey},
    lint,
};

/// ecdsa-with-SHA256 (RFC 5758, section 3.2).
const ECDSA_SHA256: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";
/// version: `[0] EXPLICIT INTEGER 2`, which is version 3.
const VERSION_3: &[u8] = b"\xa0\x03\x02\x01\x02";
/// keyUsage, critical: digitalSignature.
const KEY_USAGE: &[u8] = b"\x30\x0e\x06\x03\x55\x1d\x0f\x01\x01\xff\x04\x04\x03\x02\x07\x80";
/// extKeyUsage: serverAuth, clientAuth.
const EXTENDED_KEY_USAGE: &[u8] =
    b"\x30\x1d\x06\x03\x55\x1d\x25\x04\x16\x30\x14\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x01\
\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x02";
/// subjectAltName, critical, since the subject is empty (RFC 5280, section 4.1.2.6); the value follows.
const ALTERNATIVE_NAME: &[u8] = b"\x06\x03\x55\x1d\x11\x01\x01\xff";
/// subjectKeyIdentifier up to the identifier of 20 bytes.
const SUBJECT_KEY_ID: &[u8] = b"\x30\x1d\x06\x03\x55\x1d\x0e\x04\x16\x04\x14";
/// authorityKeyIdentifier; the value follows.
const AUTHORITY_KEY_ID: &[u8] = b"\x06\x03\x55\x1d\x23";
/// AuthorityKeyIdentifier's `keyIdentifier [0]` (RFC 5280, section 4.2.1.1).
const KEY_IDENTIFIER: u8 = 0x80;
/// GeneralName `[2]` and `[6]` (RFC 5280, section 4.2.1.6).
const DNS: u8 = 0x82;
const URI: u8 = 0x86;
/// extensions: `[3] EXPLICIT`.
const EXTENSIONS: u8 = 0xa3;

/// What one leaf says, besides what its issuer says in all of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leaf<'a> {
    pub(crate) serial: Serial,
    pub(crate) life: Validity,
    pub(crate) key: &'a PublicKey,
    pub(crate) spiffe_id: &'a SpiffeId,
    pub(crate) dns_names: &'a [DnsName],
}

/// What all leaves of one issuer share.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    /// The issuer's subject, DER.
    pub(crate) issuer: Vec<u8>,
    /// The issuer's subject key identifier.
    pub(crate) issuer_key_id: Vec<u8>,
}

impl Template {
    /// Writes a leaf, looks at it, and signs it. `None` when its life reaches beyond what certificates can say.
    pub(crate) fn sign(&self, leaf: &Leaf<'_>, key: &SigningKey) -> Result<Option<Vec<u8>>, Error> {
        let Some(tbs) = self.to_be_signed(leaf) else {
            return Ok(None);
        };
        #[cfg(test)]
        let tbs = faults::planted(faults::Moment::Written, tbs);
        lint::leaf(&tbs).map_err(Error::Lint)?;
        #[cfg(test)]
        let tbs = faults::planted(faults::Moment::LookedAt, tbs);
        let signature = key.sign_leaf(&tbs)?;
        let mut certificate = Vec::with_capacity(tbs.len() + 100);
        nested(&mut certificate, SEQUENCE, |out| {
            out.extend_from_slice(&tbs);
            out.extend_from_slice(ECDSA_SHA256);
            bits(out, &signature);
        });
        Ok(Some(certificate))
    }

    fn to_be_signed(&self, leaf: &Leaf<'_>) -> Option<Vec<u8>> {
        let mut life = Vec::with_capacity(34);
        moment(&mut life, leaf.life.not_before())?;
        moment(&mut life, leaf.life.not_after())?;
        let mut tbs = Vec::with_capacity(640);
        nested(&mut tbs, SEQUENCE, |out| {
            out.extend_from_slice(VERSION_3);
            integer(out, &leaf.serial.to_bytes());
            out.extend_from_slice(ECDSA_SHA256);
            out.extend_from_slice(&self.issuer);
            element(out, SEQUENCE, &life);
            // The subject: names stand in the alternative name alone.
            element(out, SEQUENCE, &[]);
            out.extend_from_slice(leaf.key.spki());
            nested(out, EXTENSIONS, |out| nested(out, SEQUENCE, |out| self.extensions(out, leaf)));
        });
        Some(tbs)
    }

    fn extensions(&self, out: &mut Vec<u8>, leaf: &Leaf<'_>) {
        nested(out, SEQUENCE, |out| {
            out.extend_from_slice(AUTHORITY_KEY_ID);
            nested(out, OCTET_STRING, |out| {
                nested(out, SEQUENCE, |out| element(out, KEY_IDENTIFIER, &self.issuer_key_id));
            });
        });
        nested(out, SEQUENCE, |out| {
            out.extend_from_slice(ALTERNATIVE_NAME);
            nested(out, OCTET_STRING, |out| nested(out, SEQUENCE, |out| names(out, leaf)));
        });
        out.extend_from_slice(KEY_USAGE);
        out.extend_from_slice(EXTENDED_KEY_USAGE);
        out.extend_from_slice(SUBJECT_KEY_ID);
        out.extend_from_slice(&leaf.key.id());
    }
}

fn names(out: &mut Vec<u8>, leaf: &Leaf<'_>) {
    element(out, URI, leaf.spiffe_id.as_str().as_bytes());
    leaf.dns_names.iter().for_each(|name| element(out, DNS, name.as_str().as_bytes()));
}

#[cfg(test)]
pub(crate) mod faults;
#[cfg(test)]
mod tests;
