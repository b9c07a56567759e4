//! D01, D02 and D03: names.

use signet_policies::identity::SpiffeId;

use crate::{
    check::Check,
    checks::log::decision::{is_changed_since, not_claimed},
    evidence::{Evidence, Leaf},
    finding::{Fault, Severity},
    inventory::{Need, Registered},
};

pub(crate) const ONE_IDENTITY: Check = Check {
    id: "D01",
    name: "one-identity",
    title: "Every leaf has exactly one URI, a SPIFFE ID of this trust domain",
    severity: Severity::Critical,
    needs: &[Need::Records, Need::Der],
    why: "Peers that match any of several names take the certificate for all of them (SPIFFE X509-SVID, section 2).",
    how: "The URIs of every certificate are counted and parsed.",
    fix: "Revoke the serial.",
    run: identities,
};

fn identities(evidence: &Evidence<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (leaf, certificate) in evidence.readable() {
        let message = match certificate.extensions.names.uris.as_slice() {
            [uri] => match uri.parse::<SpiffeId>() {
                Ok(id) if id.trust_domain().as_str() == evidence.inventory.trust_domain => continue,
                Ok(id) => format!(
                    "its trust domain is {}, not {}",
                    id.trust_domain(),
                    evidence.inventory.trust_domain
                ),
                Err(error) => format!("its URI is no SPIFFE ID: {error}"),
            },
            uris => format!("it has {} URIs", uris.len()),
        };
        let names = certificate.extensions.names.uris.iter().take(5);
        faults.push(names.fold(Fault::new(leaf.subject(), message), |fault, uri| fault.seen(uri.as_str())));
    }
    faults
}

pub(crate) const CLAIMED_NAMES: Check = Check {
    id: "D02",
    name: "claimed-names",
    title: "No leaf has a name that its workload could not claim",
    severity: Severity::Critical,
    needs: &[Need::Records, Need::Registry],
    why: "A name of somebody else in a certificate is what mutual TLS is there to prevent.",
    how: "The names of every valid certificate are looked up in its workload's spec: the canonical identity, the discovery \
          name, and what the spec names. A name that the spec lost since is for A07, unless another workload has it now.",
    fix: "Revoke the serial at once, and find out how it was issued: signet ca why SERIAL.",
    run: unclaimed,
};

fn unclaimed(evidence: &Evidence<'_>) -> Vec<Fault> {
    let fault = |leaf: &Leaf<'_>| {
        let (identity, dns_names) = names(leaf)?;
        let server = Registered {
            workload: String::new(),
            dns_names: dns_names.to_vec(),
            spiffe_ids: vec![format!("spiffe://{}/signet/server", evidence.inventory.trust_domain)],
            changed_at: 0,
            instances: None,
        };
        let registered = match leaf.record.workload.as_deref() {
            None => &server,
            Some(workload) => evidence.registered(workload)?,
        };
        let strange = not_claimed(identity, dns_names, registered);
        let is_lost = is_changed_since(registered, leaf) && !evidence.is_anothers(&strange, registered);
        (!strange.is_empty() && !is_lost)
            .then(|| Fault::new(leaf.subject(), format!("its workload may not hold {}", strange.join(", "))))
    };
    evidence.valid().filter_map(fault).collect()
}

/// Identity and DNS names, of the certificate where it can be read. How many URIs there are is for D01.
fn names<'a>(leaf: &'a Leaf<'_>) -> Option<(&'a str, &'a [String])> {
    match &leaf.certificate {
        Some(Ok(certificate)) => match certificate.extensions.names.uris.as_slice() {
            [uri] if uri.parse::<SpiffeId>().is_ok() => Some((uri, &certificate.extensions.names.dns)),
            _ => None,
        },
        Some(Err(_)) | None => Some((&leaf.record.spiffe_id, &leaf.record.dns_names)),
    }
}

pub(crate) const BROAD_NAMES: Check = Check {
    id: "D03",
    name: "broad-names",
    title: "No leaf has a wildcard, localhost, an address or a name of another kind",
    severity: Severity::Warning,
    needs: &[Need::Records, Need::Der],
    why: "Such names fit many servers, or whoever has the address next.",
    how: "The alternative names of every certificate are searched; the thresholds can allow wildcards, localhost and \
          addresses. The server's own may be called localhost and by its addresses, which its operator chose.",
    fix: "Give the node a discovery name of its own; revoke the serial.",
    run: broad,
};

fn broad(evidence: &Evidence<'_>) -> Vec<Fault> {
    let thresholds = evidence.thresholds;
    let mut faults = Vec::new();
    for (leaf, certificate) in evidence.readable() {
        let names = &certificate.extensions.names;
        let is_broad = |name: &&String| {
            (name.contains('*') && !thresholds.allow_wildcards)
                || (is_localhost(name) && !thresholds.allow_localhost)
        };
        let mut found: Vec<&String> = names.dns.iter().filter(is_broad).collect();
        // The server is called by its address; its names are its operator's.
        let is_server = leaf.record.workload.is_none();
        if is_server {
            found.retain(|name| name.contains('*'));
        } else if !thresholds.allow_addresses {
            found.extend(&names.addresses);
        }
        found.extend(&names.others);
        if !found.is_empty() {
            let list = found.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
            faults.push(Fault::new(leaf.subject(), format!("it has the names {list}")));
        }
    }
    faults
}

fn is_localhost(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost")
}
