//! A06 and A07: who decided, and whether they would decide so today.

use crate::{
    check::Check,
    evidence::{Evidence, Leaf},
    finding::{Fault, Severity},
    inventory::{Need, Registered},
};

pub(crate) const DECISION: Check = Check {
    id: "A06",
    name: "decision",
    title: "Every certificate has a requester, a proof of who that was, and a decision",
    severity: Severity::Critical,
    needs: &[Need::Records, Need::Decisions],
    why: "A certificate that nobody asked for, or that nothing decided about, came about beside the rules.",
    how: "The records must name who asked, how they proved it, and what was decided.",
    fix: "Revoke the serial, and find out what wrote the record.",
    run: undecided,
};

fn undecided(evidence: &Evidence<'_>) -> Vec<Fault> {
    let fault = |leaf: &Leaf<'_>| {
        let record = leaf.record;
        let missing = [
            ("who asked", record.requester.is_none()),
            ("how they proved who they are", record.attestation.is_none()),
            ("what decided", record.decision.is_none()),
        ];
        let missing: Vec<&str> =
            missing.into_iter().filter(|(_, is_missing)| *is_missing).map(|(what, _)| what).collect();
        let message = format!("the record does not say {}", missing.join(", "));
        (!missing.is_empty()).then(|| Fault::new(leaf.subject(), message))
    };
    evidence.leaves.iter().filter_map(fault).collect()
}

pub(crate) const REPLAY: Check = Check {
    id: "A07",
    name: "policy-replay",
    title: "Today's rules would issue every certificate that is still valid",
    severity: Severity::Warning,
    needs: &[Need::Records, Need::Registry],
    why: "Rules that were tightened do not reach what was issued before; it keeps names that its holder lost.",
    how: "The names of every valid certificate are compared with what its workload's spec allows now. Where the spec changed \
          since, the certificate is grandfathered; where it did not, D02 reports it.",
    fix: "Revoke the certificate, so that its agent gets one by the spec as it is now; or wait for its renewal.",
    run: grandfathered,
};

fn grandfathered(evidence: &Evidence<'_>) -> Vec<Fault> {
    let fault = |leaf: &Leaf<'_>| {
        let registered = evidence.registered(leaf.record.workload.as_deref()?)?;
        let lost = not_claimed(leaf.record.spiffe_id.as_str(), &leaf.record.dns_names, registered);
        let is_changed = is_changed_since(registered, leaf);
        let fault = || {
            let message = format!("its workload may no longer hold {}", lost.join(", "));
            Fault::new(leaf.subject(), message).seen(format!("the spec changed at {}", registered.changed_at))
        };
        (is_changed && !lost.is_empty() && !evidence.is_anothers(&lost, registered)).then(fault)
    };
    evidence.valid().filter_map(fault).collect()
}

/// Whether a spec changed after a certificate was issued; within one second nobody knows, and it may have.
pub(crate) fn is_changed_since(registered: &Registered, leaf: &Leaf<'_>) -> bool {
    registered.changed_at >= leaf.record.issued_at
}

/// The names that the registration does not give.
pub(crate) fn not_claimed(identity: &str, dns_names: &[String], registered: &Registered) -> Vec<String> {
    let identity = (!registered.spiffe_ids.iter().any(|own| own == identity)).then(|| identity.to_owned());
    let names = dns_names.iter().filter(|name| !registered.dns_names.contains(name)).cloned();
    identity.into_iter().chain(names).collect()
}

impl Evidence<'_> {
    /// Whether one of the names belongs to another workload now.
    pub(crate) fn is_anothers(&self, names: &[String], registered: &Registered) -> bool {
        self.inventory.workloads.iter().filter(|other| other.workload != registered.workload).any(|other| {
            names.iter().any(|name| other.spiffe_ids.contains(name) || other.dns_names.contains(name))
        })
    }
}
