//! D06 and D07: who holds an identity.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    check::Check,
    evidence::{Evidence, Leaf, node_subject},
    finding::{Fault, Severity, Subject},
    inventory::{Need, Node},
};

pub(crate) const ORPHAN: Check = Check {
    id: "D06",
    name: "orphan-identity",
    title: "Every valid certificate belongs to a workload that exists",
    severity: Severity::Warning,
    needs: &[Need::Records, Need::Registry],
    why: "A node that was deleted keeps its identity until its certificates end; whoever has the key can speak for it.",
    how: "The workloads of all valid certificates are looked up in the meshes.",
    fix: "signet ca revoke IDENTITY --reason cessationOfOperation",
    run: orphans,
};

fn orphans(evidence: &Evidence<'_>) -> Vec<Fault> {
    let mut by_identity: BTreeMap<&str, Vec<&Leaf<'_>>> = BTreeMap::new();
    for leaf in evidence.valid() {
        if leaf.record.workload.as_deref().is_some_and(|workload| evidence.registered(workload).is_none()) {
            by_identity.entry(&leaf.record.spiffe_id).or_default().push(leaf);
        }
    }
    let fault = |(identity, leaves): (&str, Vec<&Leaf<'_>>)| {
        let last = leaves.iter().max_by_key(|leaf| leaf.record.not_after)?;
        let workload = last.record.workload.as_deref()?;
        let message = format!("{workload} does not exist, and has {} valid certificates", leaves.len());
        let subject = Subject { identity: Some(identity.to_owned()), ..Subject::workload(workload) };
        let fault = Fault::new(subject, message)
            .by(format!("signet ca revoke {identity} --reason cessationOfOperation"));
        Some(fault.seen(format!("the last one, {}, ends at {}", last.record.serial, last.record.not_after)))
    };
    by_identity.into_iter().filter_map(fault).collect()
}

pub(crate) const COPIED_KEY: Check = Check {
    id: "D07",
    name: "copied-key",
    title: "Every certificate is held by one instance in one place, and no identity by more instances than there are",
    severity: Severity::Critical,
    needs: &[Need::Records, Need::Nodes, Need::Presented],
    why: "Agents make a key for each instance; two instances with one certificate mean that a key was copied.",
    how: "The serials that live proxies present and have loaded are compared between instances; agents from two addresses \
          that take each other's place as one instance, as copies of one state folder do, are told of by the server; where \
          instances are registered, those that report are counted.",
    fix: "Revoke the serial; let every instance join by itself.",
    run: copies,
};

fn copies(evidence: &Evidence<'_>) -> Vec<Fault> {
    let mut holders: BTreeMap<String, BTreeMap<String, &Node>> = BTreeMap::new();
    for node in evidence.reporting() {
        for serial in serials(evidence, node) {
            holders.entry(serial).or_default().insert(node.name(), node);
        }
    }
    let mut faults = Vec::new();
    for (serial, nodes) in holders.iter().filter(|(_, nodes)| nodes.len() > 1) {
        let Some(leaf) = evidence.leaf(serial) else { continue };
        let message = format!("{} instances hold this certificate", nodes.len());
        let fault = Fault::new(leaf.subject(), message).keyed("copied");
        faults.push(nodes.values().take(10).fold(fault, |fault, node| {
            fault.seen(format!(
                "{} at {}",
                node.name(),
                node.address.as_deref().unwrap_or("an unknown address")
            ))
        }));
    }
    faults.extend(evidence.reporting().filter_map(|node| contested(evidence, node)));
    faults.extend(too_many(evidence));
    faults
}

/// One turn is a host whose address changed before its old stream was seen to end.
const TURNS: u32 = 2;
/// Turns that are longer ago, in seconds, are over.
const LATELY: i64 = 3600;

fn contested(evidence: &Evidence<'_>, node: &Node) -> Option<Fault> {
    let rival =
        node.rival.as_ref().filter(|rival| rival.turns >= TURNS && evidence.now - rival.at <= LATELY)?;
    let message =
        format!("agents at two addresses say that they are it, and took turns {} times", rival.turns);
    let fault = Fault::new(node_subject(node), message).keyed("contested");
    Some(fault.seen(format!(
        "{} and {}",
        node.address.as_deref().unwrap_or("an unknown address"),
        rival.address
    )))
}

/// What the node holds of what the ledger knows.
fn serials(evidence: &Evidence<'_>, node: &Node) -> BTreeSet<String> {
    let served = evidence.served.iter().filter(|served| std::ptr::eq(served.node, node));
    let served = served.filter_map(|served| Some(served.certificate.as_ref().ok()?.serial_text()));
    served
        .chain(node.loaded.iter().map(|loaded| loaded.serial.clone()))
        .filter_map(|serial| evidence.leaf(&serial).map(|leaf| leaf.record.serial.clone()))
        .collect()
}

fn too_many(evidence: &Evidence<'_>) -> Vec<Fault> {
    let mut live: BTreeMap<&str, Vec<&Node>> = BTreeMap::new();
    for node in evidence.reporting() {
        live.entry(node.workload.as_str()).or_default().push(node);
    }
    let fault = |(workload, nodes): (&str, Vec<&Node>)| {
        let registered = evidence.registered(workload)?.instances?;
        let (count, first) = (u64::try_from(nodes.len()).ok()?, nodes.first()?);
        let message = format!("{count} instances hold this identity, and {registered} are registered");
        let subject = Subject { instance: None, ..node_subject(first) };
        (count > registered).then(|| Fault::new(subject, message).keyed("more"))
    };
    live.into_iter().filter_map(fault).collect()
}
