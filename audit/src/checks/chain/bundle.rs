//! B01: what is served against what every peer trusts.

use std::collections::BTreeMap;

use crate::{
    certificate::Certificate,
    check::Check,
    evidence::{Ca, Evidence, Served, node_subject},
    finding::{Fault, Severity, Subject},
    inventory::{Need, Place},
};

pub(crate) const CHAINS_TO_BUNDLE: Check = Check {
    id: "B01",
    name: "chains-to-bundle",
    title: "Every certificate that is served chains to a root in every bundle that must verify it",
    severity: Severity::Critical,
    needs: &[Need::Records, Need::Der, Need::Authorities, Need::Presented, Need::Trust],
    why: "A peer whose bundle lacks the root refuses the handshake; which pairs meet is up to the next request.",
    how: "For each mesh, the roots above what its proxies present are looked up in the bundle of each of its proxies, as its \
          agent reports it: every pair of a mesh may meet. What is presented must bring every certificate between it and \
          its root.",
    fix: "See that the agent reaches the server, so that it gets the bundle in force (`signet ca bundle`); look at the \
          secret ROOTCA of that proxy.",
    run,
};

fn run(evidence: &Evidence<'_>) -> Vec<Fault> {
    let anchors = anchors(evidence);
    let mut faults: Vec<Fault> =
        evidence.served.iter().filter_map(|served| incomplete(evidence, served)).collect();
    for node in evidence.reporting() {
        let Some(version) = &node.trust_version else { continue };
        let Some(bundle) = evidence.inventory.bundles.iter().find(|bundle| bundle.version == *version) else {
            // After a change, or a restart of the server, nodes with an older one need a moment.
            let settled = evidence.inventory.bundles.iter().filter(|bundle| bundle.is_current);
            let settled = settled.map(|bundle| bundle.since + evidence.thresholds.adopt_within_seconds).max();
            if settled.is_some_and(|settled| evidence.now <= settled) {
                continue;
            }
            let message = format!("it trusts the bundle {version}, which is not known here");
            faults.push(Fault::new(node_subject(node), message).at(Severity::Warning).keyed("unknown"));
            continue;
        };
        let mesh = node_subject(node).mesh;
        for ((_, issuer), served) in anchors.iter().filter(|((of, _), _)| *of == mesh) {
            if !evidence.above(*issuer).any(|ca| bundle.roots.contains(&ca.authority.der)) {
                let message = format!("its bundle cannot verify what {} serves", served.node.name());
                let fault = Fault::new(node_subject(node), message).keyed(&served.node.workload);
                faults.push(
                    fault
                        .seen(format!("bundle {version}"))
                        .seen(format!("presented on {}", served.presented.address)),
                );
            }
        }
    }
    faults
}

/// A leaf that comes without a certificate between it and its root: who trusts the root alone cannot verify it.
fn incomplete(evidence: &Evidence<'_>, served: &Served<'_>) -> Option<Fault> {
    let issuer = evidence.leaf(&served.certificate.as_ref().ok()?.serial_text())?.issuer?;
    let sent: Vec<Certificate> =
        served.presented.chain.iter().filter_map(|der| Certificate::read(&der.0).ok()).collect();
    // An authority may have several certificates for its key; any of them leads on.
    let is_sent = |ca: &Ca<'_>| {
        let own = ca.certificate.as_ref().ok();
        own.is_none_or(|own| sent.iter().any(|it| it.subject == own.subject && it.key.hash == own.key.hash))
    };
    let mut between = evidence.above(issuer).filter(|ca| ca.authority.place != Place::Root);
    let missing = between.find(|ca| !is_sent(ca))?;
    let message = format!(
        "it does not send the certificate of {}, which its peers do not have",
        missing.authority.name
    );
    let subject = Subject { serial: None, ..served.subject() };
    Some(
        Fault::new(subject, message).keyed("chain").seen(format!("{} certificates came with it", sent.len())),
    )
}

/// Mesh and issuer of everything that is served, with one that serves it. What the ledger does not know is for E01.
fn anchors<'e, 'a>(evidence: &'e Evidence<'a>) -> BTreeMap<(Option<String>, usize), &'e Served<'a>> {
    let mut anchors = BTreeMap::new();
    for served in &evidence.served {
        let Ok(certificate) = &served.certificate else { continue };
        let leaf = evidence.leaf(&certificate.serial_text()).filter(|leaf| leaf.is_signed);
        if let Some(issuer) = leaf.and_then(|leaf| leaf.issuer) {
            anchors.entry((node_subject(served.node).mesh, issuer)).or_insert(served);
        }
    }
    anchors
}
