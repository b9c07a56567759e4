//! B04 and B05: what an authority may sign (RFC 5280, sections 4.2.1.3, 4.2.1.9 and 4.2.1.10).

use signet_policies::identity::SpiffeId;

use crate::{
    certificate::{CRL_SIGN, Certificate, Extension, KEY_CERT_SIGN},
    check::Check,
    evidence::{Ca, Evidence},
    finding::{Fault, Severity},
    inventory::{Need, Place},
};

pub(crate) const CONSTRAINTS: Check = Check {
    id: "B04",
    name: "ca-constraints",
    title: "Authorities may sign what they sign and no more, and leaves nothing",
    severity: Severity::Critical,
    needs: &[Need::Records, Need::Der, Need::Authorities],
    why: "A leaf that is an authority can make any identity; an authority that is none is refused by every peer.",
    how: "Authorities must say CA:TRUE, critical, keyCertSign and cRLSign, and a path length that fits their place; they must not \
          carry a workload's identity, purposes without those of TLS, or a critical extension that peers do not know. Leaves must not \
          say CA:TRUE.",
    fix: "Replace the certificate; revoke a leaf at once.",
    run: misconstrained,
};

/// What is said of an authority that is none.
pub(crate) const NO_AUTHORITY: &str = "it does not say CA:TRUE";
const BASIC_CONSTRAINTS: &str = "2.5.29.19";
const ANY_PURPOSE: &str = "2.5.29.37.0";
/// serverAuth and clientAuth.
const PURPOSES: [&str; 2] = ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"];
/// What peers process in an authority's certificate: both key identifiers, usage and purposes, names and their constraints,
/// basic constraints, policies and their constraints, where lists are (RFC 5280, section 4.2).
const KNOWN: [&str; 12] = [
    "2.5.29.14",
    "2.5.29.35",
    "2.5.29.15",
    "2.5.29.37",
    "2.5.29.17",
    "2.5.29.30",
    BASIC_CONSTRAINTS,
    "2.5.29.32",
    "2.5.29.33",
    "2.5.29.36",
    "2.5.29.54",
    "2.5.29.31",
];

fn misconstrained(evidence: &Evidence<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for ca in &evidence.authorities {
        match &ca.certificate {
            Ok(certificate) => faults.extend(of_authority(ca, certificate)),
            Err(error) => faults.push(Fault::new(ca.subject(), format!("it cannot be read: {error}"))),
        }
    }
    let leaves = evidence.readable().filter(|(_, leaf)| leaf.extensions.is_ca == Some(true));
    faults.extend(leaves.map(|(leaf, _)| Fault::new(leaf.subject(), "a leaf says that it is an authority")));
    faults
}

fn of_authority(ca: &Ca<'_>, certificate: &Certificate) -> Vec<Fault> {
    let extensions = &certificate.extensions;
    let mut faults = Vec::new();
    let mut fault = |severity, key: &str, message: &str| {
        faults.push(Fault::new(ca.subject(), message).at(severity).keyed(key));
    };
    if extensions.is_ca != Some(true) {
        fault(Severity::Critical, "ca", NO_AUTHORITY);
    }
    if extensions.key_usage.is_some_and(|usage| usage & KEY_CERT_SIGN == 0) || extensions.key_usage.is_none()
    {
        fault(Severity::Critical, "usage", "its key usage lacks keyCertSign");
    }
    if extensions.key_usage.is_some_and(|usage| usage & CRL_SIGN == 0) {
        fault(
            Severity::Warning,
            "lists",
            "its key usage lacks cRLSign, so nothing that it signed can be revoked",
        );
    }
    if extensions.all.iter().any(|found| found.oid == BASIC_CONSTRAINTS && !found.is_critical) {
        fault(
            Severity::Warning,
            "critical",
            "its basic constraints are not critical, so a peer may pass over them",
        );
    }
    if let Some(purposes) = &extensions.extended_key_usage
        && !purposes.iter().any(|purpose| purpose == ANY_PURPOSE)
        && !PURPOSES.iter().all(|purpose| purposes.iter().any(|has| has == purpose))
    {
        let message =
            "its extended key usage leaves out serverAuth or clientAuth, so peers refuse what it signs";
        fault(Severity::Critical, "purpose", message);
    }
    if let Some(id) = extensions.names.uris.iter().find(|uri| uri.parse::<SpiffeId>().is_ok()) {
        fault(Severity::Critical, "identity", &format!("it carries a workload's identity, {id}"));
    }
    let is_known = |found: &&Extension| KNOWN.contains(&found.oid.as_str());
    if let Some(strange) = extensions.all.iter().find(|found| found.is_critical && !is_known(found)) {
        let message = format!("the unknown extension {} is critical, so peers refuse it", strange.oid);
        fault(Severity::Critical, "extension", &message);
    }
    match (ca.authority.place, extensions.path_length) {
        (Place::Root | Place::Intermediate, Some(0)) => {
            fault(Severity::Critical, "path", "its path length is 0, so no issuer below it is valid");
        }
        (Place::Issuer, None) => {
            fault(Severity::Warning, "path", "it has no path length, so it may make further authorities");
        }
        (Place::Issuer, Some(1..)) => {
            fault(Severity::Warning, "path", "its path length lets it make further authorities");
        }
        (Place::Root | Place::Intermediate, _) | (Place::Issuer, Some(0)) => {}
    }
    faults
}

pub(crate) const NAME_CONSTRAINTS: Check = Check {
    id: "B05",
    name: "name-constraints",
    title: "Each authority is bound to the trust domain, by name constraints or by its own URI",
    severity: Severity::Warning,
    needs: &[Need::Authorities],
    why: "A peer that trusts several roots in one bundle takes any identity from each of them.",
    how: "Where an authority has name constraints on URIs, they must permit the trust domain and nothing else. Where it has \
          none, it must carry the trust domain as its only URI (SPIFFE X509-SVID, section 3.1), as those do that Signet \
          makes: rustls and others refuse every URI below such constraints, so Signet sets none. Constraints on DNS names \
          must permit those of every valid leaf below.",
    fix: "Import an authority that is for this trust domain alone, or give peers the SPIFFE validator.",
    run: unbound,
};

fn unbound(evidence: &Evidence<'_>) -> Vec<Fault> {
    let domain = &evidence.inventory.trust_domain;
    let binding = |(ca, certificate): (&Ca<'_>, &Certificate)| {
        let message = loose(domain, certificate)?;
        Some(Fault::new(ca.subject(), message))
    };
    let mut faults: Vec<Fault> = evidence.current().filter_map(binding).collect();
    for (leaf, certificate) in evidence.readable().filter(|(leaf, _)| leaf.record.is_valid_at(evidence.now)) {
        let Some(issuer) = leaf.issuer else { continue };
        let refused = evidence.above(issuer).find_map(|ca| {
            let constraints = ca.certificate.as_ref().ok()?.extensions.name_constraints.as_ref()?;
            let name = certificate.extensions.names.dns.iter().find(|name| !constraints.permits_dns(name))?;
            Some(format!("the name constraints of {} refuse its name {name}", ca.authority.name))
        });
        faults.extend(refused.map(|message| Fault::new(leaf.subject(), message).keyed("name")));
    }
    faults
}

/// Why an authority may sign for others than the trust domain, or not for all of it.
fn loose(domain: &str, certificate: &Certificate) -> Option<String> {
    let extensions = &certificate.extensions;
    let constraints = extensions.name_constraints.as_ref().filter(|found| found.are_on_uris());
    let Some(found) = constraints else {
        let is_bound = extensions.names.uris == [format!("spiffe://{domain}")];
        return (!is_bound).then(|| format!("nothing binds it to the trust domain {domain}"));
    };
    if !found.permits_uri_host(domain) {
        return Some(format!("its name constraints do not permit the trust domain {domain}"));
    }
    let others: Vec<&str> =
        found.permitted_uris.iter().map(String::as_str).filter(|host| *host != domain).collect();
    let message = || format!("its name constraints permit {} beside the trust domain", others.join(", "));
    match found.permitted_uris.is_empty() {
        true => Some(format!("its name constraints do not confine it to the trust domain {domain}")),
        false => (!others.is_empty()).then(message),
    }
}
