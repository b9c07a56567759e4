//! E01, E03 and E04: what listeners present.

use std::collections::BTreeSet;

use super::renewal::latest_of;
use crate::{
    certificate::Certificate,
    check::Check,
    evidence::{Evidence, Leaf, Served, node_subject},
    finding::{Fault, Severity, Subject},
    inventory::{Need, Probe, Standing},
};

pub(crate) const UNKNOWN: Check = Check {
    id: "E01",
    name: "unknown-certificate",
    title: "Every certificate that is served was issued here",
    severity: Severity::Critical,
    needs: &[Need::Records, Need::Presented, Need::Loaded],
    why: "The ledger is the list of what may be out there. What is served and not on it was made by somebody else, or with \
          a stolen key, or stands in a file that nobody renews.",
    how: "Digest and serial of what listeners present, and the serials that Envoys have loaded, are looked up in the ledger.",
    fix: "Find out where the proxy has it from (`signet proxies`): a `file` certificate in the spec, or a stranger's agent.",
    run: unknown,
};

fn unknown(evidence: &Evidence<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut presented = BTreeSet::new();
    for served in &evidence.served {
        let message = match &served.certificate {
            Err(error) => format!("what it presents cannot be read: {error}"),
            Ok(certificate) => {
                presented.insert((served.node.name(), trimmed(&certificate.serial_text()).to_owned()));
                match evidence.leaf(&certificate.serial_text()) {
                    None => "the ledger does not know the certificate that it presents".to_owned(),
                    Some(leaf) if leaf.record.fingerprint != hex::encode(certificate.fingerprint) => {
                        "it presents another certificate than the ledger has under this serial".to_owned()
                    }
                    Some(_) => continue,
                }
            }
        };
        faults.push(
            Fault::new(served.subject(), message).seen(format!("presented on {}", served.presented.address)),
        );
    }
    let authorities: BTreeSet<String> = evidence
        .authorities
        .iter()
        .filter_map(|ca| Some(trimmed(&ca.certificate.as_ref().ok()?.serial_text()).to_owned()))
        .collect();
    for node in evidence.reporting() {
        for loaded in &node.loaded {
            let serial = trimmed(&loaded.serial).to_owned();
            let is_known = evidence.leaf(&serial).is_some() || authorities.contains(&serial);
            if !is_known && !presented.contains(&(node.name(), serial)) {
                let subject = Subject { serial: Some(loaded.serial.clone()), ..node_subject(node) };
                faults.push(Fault::new(
                    subject,
                    "the ledger does not know a certificate that its Envoy has loaded",
                ));
            }
        }
    }
    faults
}

/// Envoy leaves out leading zeros.
fn trimmed(serial: &str) -> &str {
    serial.trim_start_matches('0')
}

pub(crate) const REVOKED: Check = Check {
    id: "E03",
    name: "revoked-still-served",
    title: "Nothing that was revoked is served, or accepted",
    severity: Severity::Critical,
    needs: &[Need::Records, Need::Revocations, Need::Presented, Need::Loaded, Need::Probes],
    why: "A revocation that does not reach the wire protects nobody.",
    how: "The serials that live proxies present and have loaded are looked up among what was revoked, and their issuers among \
          the authorities that were revoked or retired. What each Envoy took to verify peers by (its own ACK) must list every \
          valid certificate that was revoked longer ago than adoptWithinSeconds. That it refuses one on the wire is only \
          known with --revoked, which calls each listener that can be reached with a certificate that was revoked for this.",
    fix: "Stop that instance, or let its agent join anew with a token; signet ca why SERIAL tells who has it.",
    run: revoked,
};

fn revoked(evidence: &Evidence<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for node in evidence.reporting() {
        let served = evidence.served.iter().filter(|served| std::ptr::eq(served.node, node));
        let served = served.filter_map(|served| Some(served.certificate.as_ref().ok()?.serial_text()));
        let held: BTreeSet<String> = served
            .chain(node.loaded.iter().map(|loaded| loaded.serial.clone()))
            .map(|serial| trimmed(&serial).to_owned())
            .collect();
        for leaf in held.iter().filter_map(|serial| evidence.leaf(serial)) {
            let issuer = leaf.issuer.map(|at| evidence.authorities[at].authority);
            let message = if let Some(revoked) = &leaf.record.revoked {
                let ago = evidence.now - revoked.at;
                format!("it was revoked {ago} s ago ({}), and is still served", revoked.reason)
            } else if let Some(issuer) = issuer.filter(|issuer| issuer.revoked.is_some()) {
                format!("its issuer {} was revoked, and it is still served", issuer.name)
            } else if let Some(issuer) = issuer.filter(|issuer| issuer.standing == Standing::Retired) {
                format!("its issuer {} is retired, and it is still served", issuer.name)
            } else {
                continue;
            };
            let subject = Subject {
                serial: Some(leaf.record.serial.clone()),
                identity: Some(leaf.record.spiffe_id.clone()),
                ..node_subject(node)
            };
            faults.push(Fault::new(subject, message));
        }
    }
    faults.extend(unlisted(evidence));
    let is_taken = |served: &&Served<'_>| served.presented.revoked_probe == Some(Probe::Accepted);
    faults.extend(evidence.served.iter().filter(is_taken).map(|served| {
        let subject = Subject { serial: None, ..served.subject() };
        let fault = Fault::new(subject, "it served a client whose certificate is revoked").keyed("accepted");
        fault.by("See which trust its listener verifies clients by: one from a file lists nothing that is revoked.")
    }));
    faults
}

/// Envoys that verify peers by lists which lack something that is revoked.
fn unlisted(evidence: &Evidence<'_>) -> Vec<Fault> {
    let is_due = |at: i64| evidence.now - at > evidence.thresholds.adopt_within_seconds;
    let mut due = BTreeSet::new();
    // What a retired authority signed is refused without a list.
    let is_trusted = |leaf: &&Leaf<'_>| {
        leaf.issuer.is_some_and(|at| evidence.authorities[at].authority.standing != Standing::Retired)
    };
    let valid = evidence.leaves.iter().filter(|leaf| leaf.record.is_valid_at(evidence.now));
    for leaf in valid.filter(is_trusted) {
        if leaf.record.revoked.as_ref().is_some_and(|revoked| is_due(revoked.at)) {
            due.insert(leaf.record.serial.as_str());
        }
    }
    let lacking = |version: &str| {
        let bundle = evidence.inventory.bundles.iter().find(|bundle| bundle.version == version)?;
        let listed: BTreeSet<&str> = bundle.revoked.iter().map(String::as_str).collect();
        due.difference(&listed).next().copied()
    };
    let mut faults = Vec::new();
    for node in evidence.reporting() {
        for secret in &node.secrets {
            let Some(serial) = lacking(&secret.accepted_version) else { continue };
            let message = format!(
                "its Envoy verifies peers by the secret {}, which lacks what was revoked",
                secret.name
            );
            let fault = Fault::new(node_subject(node), message).keyed(&secret.name);
            faults.push(
                fault.seen(format!("such as {serial}")).seen(format!("trust {}", secret.accepted_version)),
            );
        }
    }
    faults
}

pub(crate) const REMAINING: Check = Check {
    id: "E04",
    name: "remaining-life",
    title: "What is served has a good part of its life left",
    severity: Severity::Critical,
    needs: &[Need::Presented],
    why: "A renewal that does not reach the wire is seen there first; the end of the certificate is an outage.",
    how: "The end of every presented certificate, in per cent of its life. A renewal is drawn between 50 and 30 per cent \
          left; while the drawn moment is to come, what is left until then is no warning.",
    fix: "Look at the agent's log; if it has a newer certificate, look for what its Envoy refused (`signet proxies`).",
    run: remaining,
};

/// Whether the agent's renewal lies ahead, at a moment at which a renewal may be.
fn is_to_be_renewed(now: i64, served: &Served<'_>, certificate: &Certificate) -> bool {
    let planned = served.node.renewal.as_ref().filter(|renewal| renewal.failures == 0);
    planned
        .zip(latest_of(certificate))
        .is_some_and(|(renewal, latest)| (now..=latest).contains(&renewal.next))
}

fn remaining(evidence: &Evidence<'_>) -> Vec<Fault> {
    let fault = |(served, certificate): (&Served<'_>, &Certificate)| {
        let life = certificate.not_after.saturating_sub(certificate.not_before).max(1);
        let left = certificate.not_after.saturating_sub(evidence.now);
        let is_below = |percent: i64| left.saturating_mul(100) < life.saturating_mul(percent);
        let severity = if is_below(evidence.thresholds.remaining_critical_percent) {
            Severity::Critical
        } else if is_below(evidence.thresholds.remaining_warning_percent)
            && !is_to_be_renewed(evidence.now, served, certificate)
        {
            Severity::Warning
        } else {
            return None;
        };
        let message = match left {
            ..0 => format!("it ended {} s ago", -left),
            _ => format!("{left} s of its life are left, of {life}"),
        };
        // The serial changes with each renewal, the fault does not.
        Some(Fault::new(Subject { serial: None, ..served.subject() }, message).at(severity).keyed("life"))
    };
    let read = evidence.served.iter().filter_map(|served| Some((served, served.certificate.as_ref().ok()?)));
    read.filter_map(fault).collect()
}
