//! E01, E03 and E04: what listeners present.

use std::collections::BTreeSet;

use crate::{
    certificate::Certificate,
    check::Check,
    evidence::{Evidence, Served, node_subject},
    finding::{Fault, Severity, Subject},
    inventory::{Need, Standing},
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
    title: "Nothing that was revoked is served",
    severity: Severity::Critical,
    needs: &[Need::Records, Need::Revocations, Need::Presented, Need::Loaded],
    why: "A revocation that does not reach the wire protects nobody.",
    how: "The serials that live proxies present and have loaded are looked up among what was revoked, and their issuers among \
          the authorities that were revoked or retired.",
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
    faults
}

pub(crate) const REMAINING: Check = Check {
    id: "E04",
    name: "remaining-life",
    title: "What is served has a good part of its life left",
    severity: Severity::Critical,
    needs: &[Need::Presented],
    why: "A renewal that does not reach the wire is seen there first; the end of the certificate is an outage.",
    how: "The end of every presented certificate, in per cent of its life. A renewal is due with 30 to 50 per cent left.",
    fix: "Look at the agent's log; if it has a newer certificate, look for what its Envoy refused (`signet proxies`).",
    run: remaining,
};

fn remaining(evidence: &Evidence<'_>) -> Vec<Fault> {
    let fault = |(served, certificate): (&Served<'_>, &Certificate)| {
        let life = certificate.not_after.saturating_sub(certificate.not_before).max(1);
        let left = certificate.not_after.saturating_sub(evidence.now);
        let is_below = |percent: i64| left.saturating_mul(100) < life.saturating_mul(percent);
        let severity = if is_below(evidence.thresholds.remaining_critical_percent) {
            Severity::Critical
        } else if is_below(evidence.thresholds.remaining_warning_percent) {
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
