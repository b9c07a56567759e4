//! E02: what was sent against what is in use.

use crate::{
    check::Check,
    evidence::{Evidence, node_subject},
    finding::{Fault, Severity, Subject},
    inventory::{Need, Node},
};

pub(crate) const NOT_ADOPTED: Check = Check {
    id: "E02",
    name: "not-adopted",
    title: "Every Envoy uses the newest certificate and bundle that it was sent",
    severity: Severity::Warning,
    needs: &[Need::Records, Need::Presented, Need::Loaded],
    why: "A renewed certificate that is not picked up works until the old one ends, and then everything fails at once.",
    how: "Per secret, the version that was sent against the one that was taken; per proxy, what it presents and has loaded \
          against the newest certificate in its line of renewals.",
    fix: "Read why the Envoy refused it, in the evidence or in its log; restart the Envoy if it refuses a good secret.",
    run,
};

fn run(evidence: &Evidence<'_>) -> Vec<Fault> {
    evidence
        .reporting()
        .flat_map(|node| secrets(evidence, node).into_iter().chain(behind(evidence, node)))
        .collect()
}

fn secrets(evidence: &Evidence<'_>, node: &Node) -> Vec<Fault> {
    let late = |at: i64| evidence.now - at > evidence.thresholds.adopt_within_seconds;
    let pending = node
        .secrets
        .iter()
        .filter(|secret| secret.sent_version != secret.accepted_version && late(secret.at));
    let fault = |secret: &crate::inventory::Secret| {
        let is_refused = secret.rejected_version == secret.sent_version;
        let message = match is_refused {
            true => format!("its Envoy refuses the secret {}", secret.name),
            false => format!(
                "its Envoy has not taken the secret {} for {} s",
                secret.name,
                evidence.now - secret.at
            ),
        };
        let fault = Fault::new(node_subject(node), message).keyed(&secret.name);
        let fault = fault.seen(format!("sent {}, taken {}", secret.sent_version, secret.accepted_version));
        if is_refused { fault.seen(secret.reason.as_str()) } else { fault }
    };
    pending.map(fault).collect()
}

/// A certificate that is in use although its successor was issued a while ago.
fn behind(evidence: &Evidence<'_>, node: &Node) -> Option<Fault> {
    let served = evidence.served.iter().filter(|served| std::ptr::eq(served.node, node));
    let served = served.filter_map(|served| Some(served.certificate.as_ref().ok()?.serial_text()));
    let held: Vec<String> = served.chain(node.loaded.iter().map(|loaded| loaded.serial.clone())).collect();
    let leaves: Vec<_> = held.iter().filter_map(|serial| evidence.leaf(serial)).collect();
    leaves.iter().find_map(|leaf| {
        let newer = evidence.successor(&leaf.record.serial)?;
        let is_late = evidence.now - newer.record.issued_at > evidence.thresholds.adopt_within_seconds;
        let is_held = leaves.iter().any(|held| held.record.serial == newer.record.serial);
        let message = format!(
            "{} followed it {} s ago, and it is still in use",
            newer.record.serial,
            evidence.now - newer.record.issued_at
        );
        let subject = Subject { identity: Some(leaf.record.spiffe_id.clone()), ..node_subject(node) };
        (is_late && !is_held).then(|| {
            Fault::new(subject, message).seen(format!("in use: {}", leaf.record.serial)).keyed("behind")
        })
    })
}
