//! C04, C05 and C06: one key in several hands.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    certificate::Certificate,
    check::Check,
    evidence::{Ca, Evidence, Leaf},
    finding::{Fault, Severity},
    inventory::Need,
};

pub(crate) const ACROSS_IDENTITIES: Check = Check {
    id: "C04",
    name: "key-across-identities",
    title: "No key is in certificates of two identities",
    severity: Severity::Critical,
    needs: &[Need::Records],
    why: "Whoever holds one identity's key holds the other's as well.",
    how: "The records are joined by the hash of the public key.",
    fix: "Revoke all of them; each agent makes a key of its own when it joins.",
    run: across_identities,
};

fn by_key<'e, 'a>(evidence: &'e Evidence<'a>) -> BTreeMap<&'a str, Vec<&'e Leaf<'a>>> {
    let mut by_key: BTreeMap<&str, Vec<&Leaf<'_>>> = BTreeMap::new();
    for leaf in &evidence.leaves {
        by_key.entry(leaf.record.key_hash.as_str()).or_default().push(leaf);
    }
    by_key
}

fn across_identities(evidence: &Evidence<'_>) -> Vec<Fault> {
    let fault = |leaves: &Vec<&Leaf<'_>>| {
        let identities: BTreeSet<&str> = leaves.iter().map(|leaf| leaf.record.spiffe_id.as_str()).collect();
        let first = leaves.first().filter(|_| identities.len() > 1)?;
        let fault = Fault::new(first.subject(), format!("{} identities share its key", identities.len()));
        Some(identities.iter().take(10).fold(fault, |fault, identity| fault.seen(*identity)))
    };
    by_key(evidence).values().filter_map(fault).collect()
}

pub(crate) const ACROSS_RENEWALS: Check = Check {
    id: "C05",
    name: "key-across-renewals",
    title: "A renewal brings a new key",
    severity: Severity::Warning,
    needs: &[Need::Records],
    why: "A key that stays the same through renewals lives as long as the workload, and so does a copy of it.",
    how: "The certificates of one identity with one key are counted; more than the thresholds allow are a finding. Those that \
          one join token brought count as one: an agent that did not hear the answer asks again with the same key.",
    fix: "Renew with `signet agent`, which makes a fresh key for each certificate.",
    run: across_renewals,
};

fn across_renewals(evidence: &Evidence<'_>) -> Vec<Fault> {
    let allowed = evidence.thresholds.certificates_per_key;
    let mut faults = Vec::new();
    for leaves in by_key(evidence).values() {
        let mut counts: BTreeMap<&str, (u64, &Leaf<'_>)> = BTreeMap::new();
        let mut tokens = BTreeSet::new();
        for leaf in leaves {
            let (count, newest) = counts.entry(&leaf.record.spiffe_id).or_insert((0, leaf));
            let is_repeated = leaf.record.join_token.as_deref().is_some_and(|token| !tokens.insert(token));
            *count += u64::from(!is_repeated);
            if newest.record.issued_at < leaf.record.issued_at {
                *newest = leaf;
            }
        }
        for (count, newest) in counts.into_values().filter(|(count, _)| *count > allowed) {
            let message = format!("{count} certificates of its identity have this key; {allowed} may");
            faults
                .push(Fault::new(newest.subject(), message).seen(format!("key {}", newest.record.key_hash)));
        }
    }
    faults
}

pub(crate) const AUTHORITY_KEY: Check = Check {
    id: "C06",
    name: "authority-key-shared",
    title: "An authority's key is in no leaf and in no other authority",
    severity: Severity::Critical,
    needs: &[Need::Records, Need::Authorities],
    why: "A key that signs certificates and stands in a proxy's memory can be read where proxies run.",
    how: "The hashes of all public keys are joined with those of the authorities.",
    fix: "Replace the authority: signet ca rotate start --issuer MESH, or --root.",
    run: authority_keys,
};

fn authority_keys(evidence: &Evidence<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut owners: BTreeMap<String, (&Ca<'_>, &Certificate)> = BTreeMap::new();
    for (ca, certificate) in
        evidence.authorities.iter().filter_map(|ca| Some((ca, ca.certificate.as_ref().ok()?)))
    {
        let (owner, first) = *owners.entry(hex::encode(certificate.key.hash)).or_insert((ca, certificate));
        // One authority may have several certificates for its key.
        if first.subject != certificate.subject {
            let message = format!("it has the key of {}", owner.authority.name);
            faults.push(Fault::new(ca.subject(), message).keyed("authority"));
        }
    }
    for leaf in &evidence.leaves {
        if let Some((owner, _)) = owners.get(&leaf.record.key_hash) {
            let message = format!("it has the key of {}", owner.authority.name);
            faults.push(Fault::new(leaf.subject(), message).keyed("leaf"));
        }
    }
    faults
}
