//! B06 and B07: which authority is meant, and which one signs leaves.

use std::collections::BTreeMap;

use crate::{
    certificate::Certificate,
    check::Check,
    evidence::{Ca, Evidence},
    finding::{Fault, Severity},
    inventory::{Need, Place},
};

pub(crate) const KEY_IDS: Check = Check {
    id: "B06",
    name: "key-ids",
    title: "Key identifiers lead from every certificate to one issuer",
    severity: Severity::Warning,
    needs: &[Need::Records, Need::Der, Need::Authorities],
    why: "Where two authorities have one name and nothing tells them apart, some peers build the wrong chain and refuse it.",
    how: "The authority key identifier of every certificate must be its issuer's subject key identifier, and no two \
          authorities with different keys may share a name. An authority must have an identifier (RFC 5280, section 4.2.1.2).",
    fix: "Renew the certificates; name authorities so that the key is in the name, as Signet does.",
    run: ambiguous,
};

fn ambiguous(evidence: &Evidence<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut compare = |subject, own: &Certificate, issuer: Option<usize>| {
        let issuer = issuer.and_then(|at| evidence.authorities[at].certificate.as_ref().ok());
        let Some(named) = issuer.and_then(|issuer| issuer.extensions.subject_key_id.as_ref()) else {
            return;
        };
        match &own.extensions.authority_key_id {
            Some(id) if id == named => {}
            // A root may leave it out (RFC 5280, section 4.2.1.1).
            None if own.is_self_issued() => {}
            Some(id) => {
                let message = format!(
                    "it names the key {} as its issuer's, which is {}",
                    hex::encode(id),
                    hex::encode(named)
                );
                faults.push(Fault::new(subject, message).keyed("differs"));
            }
            None => faults.push(Fault::new(subject, "it names no key of its issuer").keyed("missing")),
        }
    };
    for (leaf, certificate) in evidence.readable() {
        compare(leaf.subject(), certificate, leaf.issuer);
    }
    for (ca, certificate) in evidence.current() {
        compare(ca.subject(), certificate, ca.issuer);
    }
    let without = evidence.current().filter(|(_, own)| own.extensions.subject_key_id.is_none());
    faults.extend(without.map(|(ca, _)| {
        let message = "it has no key identifier, by which what it signs could name it";
        Fault::new(ca.subject(), message).keyed("own")
    }));
    faults.extend(namesakes(evidence));
    faults
}

fn namesakes(evidence: &Evidence<'_>) -> Vec<Fault> {
    let mut by_name: BTreeMap<&[u8], Vec<(&Ca<'_>, &Certificate)>> = BTreeMap::new();
    for (ca, certificate) in evidence.current() {
        by_name.entry(&certificate.subject).or_default().push((ca, certificate));
    }
    let other_key = |all: &Vec<(&Ca<'_>, &Certificate)>| {
        let ((_, first), rest) = all.split_first()?;
        let (ca, other) = rest.iter().find(|(_, other)| other.key.hash != first.key.hash)?;
        let message = format!("another authority with another key has its name, {}", other.subject_text);
        Some(Fault::new(ca.subject(), message).keyed("namesake"))
    };
    by_name.values().filter_map(other_key).collect()
}

pub(crate) const ROOT_LEAVES: Check = Check {
    id: "B07",
    name: "root-issued-leaf",
    title: "The root signs issuers and no leaves",
    severity: Severity::Warning,
    needs: &[Need::Records, Need::Der, Need::Authorities],
    why: "A root that signs leaves must be online, and cannot be replaced without touching every peer.",
    how: "The signer of every leaf is looked up among the roots.",
    fix: "Revoke the serial, and find out what used the root's key.",
    run: by_root,
};

fn by_root(evidence: &Evidence<'_>) -> Vec<Fault> {
    let is_root = |at: usize| evidence.authorities[at].authority.place == Place::Root;
    let signed = evidence.leaves.iter().filter(|leaf| leaf.is_signed && leaf.issuer.is_some_and(is_root));
    signed.map(|leaf| Fault::new(leaf.subject(), "the root itself signed this leaf")).collect()
}
