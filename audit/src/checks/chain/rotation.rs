//! B08 and B09: changes of root and issuers.

use std::collections::BTreeMap;

use crate::{
    check::Check,
    evidence::{Ca, Evidence, node_subject},
    finding::{Fault, Severity},
    inventory::{Need, Place, Standing},
};

pub(crate) const ROTATION: Check = Check {
    id: "B08",
    name: "rotation-order",
    title: "An authority signs only after every live proxy trusts its root, and one of each name signs at a time",
    severity: Severity::Critical,
    needs: &[Need::Records, Need::Der, Need::Authorities, Need::Rotation, Need::Trust],
    why: "A new root that signs before everybody has it in their bundle is an outage for those who have not.",
    how: "While a root is being changed, the bundle of every live proxy must hold the root that signs; no authority may have \
          signed before its turn, and no two of one name may sign.",
    fix: "signet ca rotate status names the laggards; signet ca rotate abort returns everybody.",
    run: out_of_order,
};

fn out_of_order(evidence: &Evidence<'_>) -> Vec<Fault> {
    let mut faults = too_early(evidence);
    let mut active: BTreeMap<&str, Vec<&Ca<'_>>> = BTreeMap::new();
    for (ca, _) in evidence.current().filter(|(ca, _)| ca.authority.standing == Standing::Active) {
        active.entry(&ca.authority.name).or_default().push(ca);
    }
    for (_, extra) in active.values().filter_map(|all| all.split_first()).filter(|(_, rest)| !rest.is_empty())
    {
        faults.extend(
            extra.iter().map(|ca| {
                Fault::new(ca.subject(), "two authorities of this name sign at a time").keyed("two")
            }),
        );
    }
    let roots: Vec<&Ca<'_>> =
        evidence.current().map(|(ca, _)| ca).filter(|ca| ca.authority.place == Place::Root).collect();
    if roots.len() > 1 {
        let signing = roots.iter().filter(|ca| ca.authority.standing == Standing::Active);
        faults.extend(signing.flat_map(|ca| not_everywhere(evidence, ca)));
    }
    faults
}

/// Leaves by an authority whose turn has not come.
fn too_early(evidence: &Evidence<'_>) -> Vec<Fault> {
    let waiting = |at: usize| {
        let authority = evidence.authorities[at].authority;
        matches!(authority.standing, Standing::Prepared | Standing::Distributed).then_some(authority)
    };
    let early = evidence.leaves.iter().filter(|leaf| leaf.is_signed);
    let early = early.filter_map(|leaf| Some((leaf, waiting(leaf.issuer?)?)));
    early
        .map(|(leaf, authority)| {
            let message =
                format!("{} signed it while it was only {}", authority.name, authority.standing.as_str());
            Fault::new(leaf.subject(), message).keyed("early")
        })
        .collect()
}

/// The live proxies that do not trust the root that signs.
fn not_everywhere(evidence: &Evidence<'_>, root: &Ca<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for node in evidence.reporting() {
        let bundle = node.trust_version.as_ref();
        let bundle =
            bundle.and_then(|version| evidence.inventory.bundles.iter().find(|b| b.version == *version));
        // What is in a bundle that nobody knows is for B01 to ask.
        if bundle.is_some_and(|bundle| !bundle.roots.contains(&root.authority.der)) {
            let message = format!("{} signs, and this proxy does not trust it yet", root.authority.name);
            faults.push(Fault::new(node_subject(node), message).keyed("laggard"));
        }
    }
    faults
}

pub(crate) const RETIRED: Check = Check {
    id: "B09",
    name: "retired-authority",
    title: "What was retired signs no more and is in no bundle",
    severity: Severity::Critical,
    needs: &[Need::Records, Need::Der, Need::Authorities, Need::Rotation, Need::Trust],
    why: "An authority is retired because its key may be known to others, or will be; whoever trusts it still takes what \
          they make.",
    how: "The signing moments of all leaves are compared with the moment of retirement, and the bundles of live proxies are \
          searched for retired roots.",
    fix: "Revoke what it signed; see that the agents that are named reach the server.",
    run: not_gone,
};

/// What was asked for before a change-over is signed a moment after it; in seconds.
const CHANGE_OVER: i64 = 5;

fn not_gone(evidence: &Evidence<'_>) -> Vec<Fault> {
    let is_over = |ca: &Ca<'_>| ca.authority.standing >= Standing::Retiring;
    let mut faults = Vec::new();
    for leaf in evidence.leaves.iter().filter(|leaf| leaf.is_signed) {
        let ca = leaf.issuer.map(|at| &evidence.authorities[at]).filter(|ca| is_over(ca));
        let stopped = |ca: &&&Ca<'_>| leaf.record.issued_at > ca.authority.since.saturating_add(CHANGE_OVER);
        if let Some(ca) = ca.as_ref().filter(|ca| stopped(ca)) {
            let after = leaf.record.issued_at - ca.authority.since;
            let message = format!("{} signed it {after} s after it stopped to", ca.authority.name);
            faults.push(Fault::new(leaf.subject(), message).keyed("signed"));
        }
    }
    let within = evidence.thresholds.retired_within_seconds;
    let gone = evidence.authorities.iter().filter(|ca| ca.authority.standing == Standing::Retired);
    for ca in gone.filter(|ca| evidence.now - ca.authority.since > within) {
        for node in evidence.reporting() {
            let bundle =
                evidence.inventory.bundles.iter().find(|b| Some(&b.version) == node.trust_version.as_ref());
            if bundle.is_some_and(|bundle| bundle.roots.contains(&ca.authority.der)) {
                let message = format!("it still trusts {}, which is retired", ca.authority.name);
                faults.push(Fault::new(node_subject(node), message).at(Severity::Warning).keyed("bundle"));
            }
        }
    }
    faults
}
