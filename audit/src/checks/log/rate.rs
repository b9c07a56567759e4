//! A08: how often each identity gets a certificate.

use std::collections::BTreeMap;

use crate::{
    check::Check,
    evidence::Evidence,
    finding::{Fault, Severity, Subject},
    inventory::{Need, Record},
};

pub(crate) const RATE: Check = Check {
    id: "A08",
    name: "issuance-rate",
    title: "Every identity gets certificates as often as its renewals explain, and does not fall silent",
    severity: Severity::Warning,
    needs: &[Need::Records, Need::Registry, Need::Nodes],
    why: "A burst is an agent in a loop, or somebody with a stolen certificate; silence is a fleet that stopped renewing.",
    how: "The certificates of each identity within any hour are compared with what its lives and instances explain; and an \
          identity that exists, and whose last certificate ended lately with nothing after it, is named for information.",
    fix: "Look at the log of that workload's agents; revoke the identity if it is not they who ask.",
    run,
};

const HOUR: i64 = 3600;
/// What starts, restarts and tries of people add to an hour.
const FREE: u64 = 10;

fn run(evidence: &Evidence<'_>) -> Vec<Fault> {
    let mut by_identity: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    for leaf in &evidence.leaves {
        by_identity.entry(leaf.record.spiffe_id.as_str()).or_default().push(leaf.record);
    }
    let mut faults = Vec::new();
    for records in by_identity.values_mut() {
        records.sort_by_key(|record| record.issued_at);
        faults.extend(burst(evidence, records));
        faults.extend(silence(evidence, records));
    }
    faults
}

/// The busiest hour, where there was too much in it.
fn burst(evidence: &Evidence<'_>, records: &[&Record]) -> Option<Fault> {
    let newest = records.last()?;
    let (mut first, mut most) = (0, 0);
    for (last, record) in records.iter().enumerate() {
        while records[first].issued_at <= record.issued_at - HOUR {
            first += 1;
        }
        most = most.max(last + 1 - first);
    }
    let instances = evidence.inventory.nodes.iter();
    let instances = instances.filter(|node| Some(&node.workload) == newest.workload.as_ref()).count();
    let registered = newest.workload.as_deref().and_then(|workload| evidence.registered(workload)?.instances);
    let instances = u64::try_from(instances).unwrap_or(u64::MAX).max(registered.unwrap_or(0)).max(1);
    let shortest = records.iter().map(|record| record.life()).min()?;
    // A renewal is due after half of a life at the earliest.
    let renewals = u64::try_from(2 * HOUR / shortest + 1).unwrap_or(1);
    let explained = FREE
        .saturating_add(evidence.thresholds.burst_factor.saturating_mul(instances).saturating_mul(renewals));
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    (most > explained).then(|| {
        let message = format!("{most} certificates within an hour; {explained} can be explained");
        Fault::new(subject(newest), message).keyed("burst")
    })
}

fn silence(evidence: &Evidence<'_>, records: &[&Record]) -> Option<Fault> {
    let last = records.iter().max_by_key(|record| record.not_after)?;
    let ended = evidence.now - last.not_after;
    let exists = last.workload.as_deref().is_some_and(|workload| evidence.registered(workload).is_some());
    let is_alive = evidence.inventory.nodes.iter().any(|node| Some(&node.workload) == last.workload.as_ref());
    (exists && !is_alive && (1..evidence.thresholds.silence_seconds).contains(&ended)).then(|| {
        let message = format!("its last certificate ended {ended} s ago, and nobody asked for another");
        Fault::new(subject(last), message).at(Severity::Info).keyed("silence")
    })
}

fn subject(record: &Record) -> Subject {
    let workload = record.workload.as_deref().map(Subject::workload).unwrap_or_default();
    Subject { identity: Some(record.spiffe_id.clone()), ..workload }
}
