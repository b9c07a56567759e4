//! A09: certificates that never reached a proxy.

use crate::{
    check::Check,
    evidence::{Evidence, Leaf},
    finding::{Fault, Severity},
    inventory::Need,
};

pub(crate) const DELIVERY: Check = Check {
    id: "A09",
    name: "delivery",
    title: "Every certificate reaches a proxy soon after it is signed",
    severity: Severity::Info,
    needs: &[Need::Records, Need::Deliveries],
    why: "A certificate that no proxy took is an agent that died meanwhile, or one that was asked for by somebody else.",
    how: "Certificates that were signed since deliveries are watched, are still valid and were not renewed are compared with \
          what proxies were seen to hold.",
    fix: "Look at that workload's agents and at `signet proxies`; revoke the serial if nobody knows of it.",
    run,
};

fn run(evidence: &Evidence<'_>) -> Vec<Fault> {
    let Some(since) = evidence.inventory.watched_since else {
        return Vec::new();
    };
    let within = evidence.thresholds.deliver_within_seconds;
    let is_late = |leaf: &&Leaf<'_>| {
        let record = leaf.record;
        record.workload.is_some()
            && record.issued_at >= since
            && evidence.now - record.issued_at > within
            && record.delivered_at.is_none()
            && evidence.successor(&record.serial).is_none()
    };
    let fault = |leaf: &Leaf<'_>| {
        let age = evidence.now - leaf.record.issued_at;
        Fault::new(leaf.subject(), format!("it was signed {age} s ago, and no proxy was seen to hold it"))
    };
    evidence.valid().filter(is_late).map(fault).collect()
}
