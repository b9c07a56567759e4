//! Signing lists of what is revoked, with the key of every authority that is here, and reading those of others.
//!
//! An authority whose key is elsewhere has its list signed there; it is put into `<folder>/lists/`, as DER or PEM.

use std::{collections::BTreeMap, fs, sync::PoisonError};

use rcgen::CertificateRevocationListParams;
use signet_policies::time::Timestamp;
use tracing::warn;
use x509_parser::{prelude::FromDer, revocation_list::CertificateRevocationList, x509::SubjectPublicKeyInfo};

use super::{Authority, fit::CaCertificate, succession::Heir};
use crate::{
    IssuerName,
    crl::{LIST_RENEWAL, NoList, RevocationList},
    key::SigningKey,
    pem,
    profile::{self, Above},
};

/// Where lists are that were signed elsewhere.
const FOLDER: &str = "lists";
/// One that is longer is not read; in bytes.
const MAX_LIST: u64 = 16 << 20;
/// The label of PEM (RFC 7468, section 6).
const LABEL: &str = "X509 CRL";

impl Authority {
    /// Signs one list for every authority in the chains that are in use, their root among them. `params` is told which
    /// issuer it is, `None` for those that sign issuers, and its key identifier. Where a key is not here, the list is one
    /// that was signed elsewhere and is good for longer than until lists are made again.
    pub(crate) fn sign_lists(
        &self,
        now: Timestamp,
        params: impl Fn(Option<&IssuerName>, &[u8]) -> CertificateRevocationListParams,
    ) -> Vec<RevocationList> {
        let signed_elsewhere = self.lists_of_others();
        let mut lists = self.sign_own_lists(now, &signed_elsewhere, &params);
        // What is to take over is trusted, and signs, before it is alone.
        match self.heir() {
            Some(Heir::Root(heir)) => lists.extend(heir.sign_own_lists(now, &signed_elsewhere, &params)),
            Some(Heir::Issuer(name, issuer)) => {
                let own = issuer.chain.lowest();
                lists.push(listed(
                    name.to_string(),
                    own,
                    sign(own, &issuer.key, &params(Some(&name), &own.key_id)),
                ));
            }
            None => {}
        }
        lists
    }

    /// The authorities that are to take over and of which none of these lists is, by their subjects.
    pub(crate) fn unlisted(&self, lists: &[Vec<u8>]) -> Vec<String> {
        let all: Vec<CaCertificate> = match self.heir() {
            Some(Heir::Root(heir)) => {
                let issuers = heir.issuers.lock().unwrap_or_else(PoisonError::into_inner);
                let below = issuers.values().flat_map(|issuer| issuer.chain.all());
                below.chain([&heir.root]).cloned().collect()
            }
            Some(Heir::Issuer(_, issuer)) => vec![issuer.chain.lowest().clone()],
            None => Vec::new(),
        };
        let others = all.iter().filter(|own| !lists.iter().any(|list| its(list, own).is_some()));
        let mut names: Vec<String> = others.map(|own| own.subject_text.clone()).collect();
        names.sort();
        names.dedup();
        names
    }

    fn sign_own_lists(
        &self,
        now: Timestamp,
        signed_elsewhere: &[Vec<u8>],
        params: &impl Fn(Option<&IssuerName>, &[u8]) -> CertificateRevocationListParams,
    ) -> Vec<RevocationList> {
        let issuers = self.issuers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut lists = Vec::new();
        // Each once, however many issuers hang from it.
        let mut above = BTreeMap::from([(self.root.der.clone(), self.root.clone())]);
        for (name, issuer) in &issuers {
            let own = issuer.chain.lowest();
            let signed = sign(own, &issuer.key, &params(Some(name), &own.key_id));
            lists.push(listed(name.to_string(), own, signed));
            above.extend(issuer.chain.all().skip(1).map(|own| (own.der.clone(), own.clone())));
        }
        for own in above.values() {
            let label = if own.der == self.root.der { "root" } else { "intermediate" };
            let signer = self.signer.as_ref().filter(|signer| signer.chain.lowest().der == own.der);
            let der = match signer {
                Some(signer) => sign(own, &signer.key, &params(None, &own.key_id)),
                None if !own.signs_lists => Err(NoList::NotAllowed),
                None => {
                    let good = signed_elsewhere.iter().find(|list| is_good(list, own, now));
                    good.cloned().ok_or(NoList::KeyElsewhere)
                }
            };
            lists.push(listed(label.to_owned(), own, der));
        }
        lists
    }

    /// Every list that somebody put here, DER. One that cannot be read is named in the log, and counts as absent.
    fn lists_of_others(&self) -> Vec<Vec<u8>> {
        let folder = self.store.folder().join(FOLDER);
        let Ok(entries) = fs::read_dir(&folder) else {
            return Vec::new();
        };
        let read = |path: std::path::PathBuf| {
            let is_short = fs::metadata(&path).is_ok_and(|found| found.is_file() && found.len() <= MAX_LIST);
            let bytes = Some(path.clone()).filter(|_| is_short).and_then(|path| fs::read(path).ok());
            let der = bytes.map(|bytes| {
                let text = std::str::from_utf8(&bytes).ok().and_then(|text| pem::decode(LABEL, text));
                text.map_or(bytes, |der| der.to_vec())
            });
            if der.is_none() {
                warn!(path = %path.display(), "a list of what is revoked cannot be read");
            }
            der
        };
        entries.flatten().map(|entry| entry.path()).filter_map(read).collect()
    }
}

fn sign(
    own: &CaCertificate,
    key: &SigningKey,
    params: &CertificateRevocationListParams,
) -> Result<Vec<u8>, NoList> {
    if !own.signs_lists {
        return Err(NoList::NotAllowed);
    }
    let above = Above { subject: &own.subject, key_id: &own.key_id, key };
    profile::revocation_list(params, above).map_err(|error| NoList::NotSigned(error.to_string()))
}

fn listed(issuer: String, own: &CaCertificate, der: Result<Vec<u8>, NoList>) -> RevocationList {
    RevocationList { issuer, key_id: hex::encode(&own.key_id), der }
}

/// The list, if it is this authority's.
fn its<'a>(der: &'a [u8], own: &CaCertificate) -> Option<CertificateRevocationList<'a>> {
    let (rest, list) = CertificateRevocationList::from_der(der).ok()?;
    let (_, key) = SubjectPublicKeyInfo::from_der(&own.spki).ok()?;
    let is_its =
        rest.is_empty() && list.issuer().as_raw() == own.subject && list.verify_signature(&key).is_ok();
    is_its.then_some(list)
}

/// Whether a list is this authority's, and good until lists are made again: proxies refuse everybody by one that ended.
fn is_good(der: &[u8], own: &CaCertificate, now: Timestamp) -> bool {
    let Some(list) = its(der, own) else {
        return false;
    };
    let end = list.next_update().map(|end| Timestamp::from_unix(end.timestamp()));
    let is_lasting = end.is_some_and(|end| end > now + LIST_RENEWAL * 2);
    if !is_lasting {
        warn!(
            ?end,
            "the list of an authority whose key is elsewhere has ended or soon will; have another one signed"
        );
    }
    is_lasting && Timestamp::from_unix(list.last_update().timestamp()) <= now
}
