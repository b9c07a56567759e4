//! What agents report, and which proxies have none that does.

use std::collections::BTreeMap;

use signet_audit::inventory::{
    Der, Gap, Lapsed, Listener, Loaded, Need, Node, Presented, Probe, Renewal, Rival, Secret, Tickets,
};
use signet_ca::nodes::{self, NodeView, Report, SecretState};
use signet_policies::time::Timestamp;

use super::super::V1;

pub(super) fn collect(v1: &V1) -> (Vec<Node>, Vec<Gap>) {
    v1.nodes.forget_ended((v1.clock)().into());
    let views = v1.nodes.subscribe().borrow().clone();
    let nodes: Vec<Node> = views.iter().map(|view| node(view)).collect();
    (nodes, silent(v1, &views))
}

/// Agents that were away until their certificates had ended.
pub(super) fn lapsed(v1: &V1) -> Vec<Lapsed> {
    let lapsed = |one: nodes::Lapsed| Lapsed {
        workload: one.key.workload.to_string(),
        instance: one.key.instance,
        ended: one.ended.unix(),
        serial: one.serial.map(|serial| serial.to_string()),
        reported_at: Timestamp::from(one.reported_at).unix(),
        address: one.address.map(|address| address.to_string()),
    };
    v1.nodes.lapsed().into_iter().map(lapsed).collect()
}

/// Workloads with more proxies than agents that report.
fn silent(v1: &V1, views: &nodes::NodeViews) -> Vec<Gap> {
    let mut counts: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for proxy in v1.proxies.list() {
        counts.entry(proxy.workload.clone()).or_default().0 += 1;
    }
    for view in views.iter() {
        counts.entry(view.key.workload.to_string()).or_default().1 += 1;
    }
    let gap = |(workload, (proxies, agents)): (String, (u64, u64))| {
        let reason = format!("{proxies} of its proxies are connected, and {agents} of its agents report");
        (proxies > agents).then_some(Gap { need: Need::Nodes, node: Some(workload), reason })
    };
    counts.into_iter().filter_map(gap).collect()
}

fn node(view: &NodeView) -> Node {
    let report = &*view.report;
    Node {
        workload: view.key.workload.to_string(),
        instance: view.key.instance.clone(),
        is_connected: view.connected,
        reported_at: Some(Timestamp::from(view.reported_at).unix()),
        address: view.line.address.map(|address| address.to_string()),
        rival: view.rival.map(rival),
        clock_ahead_ms: Some(view.clock_ahead_ms()),
        trust_version: Some(report.trust_version.clone()).filter(|version| !version.is_empty()),
        secrets: report.secrets.iter().map(secret).collect(),
        presented: report.presented.iter().map(presented).collect(),
        loaded: report.loaded.iter().filter_map(loaded).collect(),
        renewal: renewal(report),
        listeners: report.listeners.iter().map(listener).collect(),
    }
}

fn secret(secret: &SecretState) -> Secret {
    Secret {
        name: secret.name.clone(),
        sent_version: secret.sent.clone(),
        accepted_version: secret.accepted.clone(),
        rejected_version: secret.rejected.clone(),
        reason: secret.reason.clone(),
        at: secret.at_unix_ms / 1000,
    }
}

fn presented(presented: &nodes::Presented) -> Presented {
    Presented {
        address: presented.address.to_string(),
        leaf: presented.leaf.as_ref().map(|leaf| Der(leaf.der.clone())),
        chain: presented.chain.iter().map(|der| Der(der.clone())).collect(),
        error: presented.error.clone(),
        protocol: Some(presented.protocol.clone()).filter(|version| !version.is_empty()),
        at: presented.at_unix_ms / 1000,
        revoked_probe: None,
    }
}

/// Envoy shows the roots that it trusts too; those are in the bundle.
fn loaded(loaded: &nodes::Loaded) -> Option<Loaded> {
    loaded.serial.map(|serial| Loaded { serial: serial.to_string() })
}

fn listener(listener: &nodes::ListenerState) -> Listener {
    Listener {
        port: listener.port,
        takes_plaintext: listener.takes_plaintext,
        takes_tls: listener.takes_tls,
        requires_client_certificate: listener.requires_client_certificate,
        lowest_protocol: Some(listener.lowest_protocol.clone()).filter(|version| !version.is_empty()),
        cipher_suites: listener.cipher_suites.clone(),
        plaintext_probe: listener
            .served_plaintext
            .map(|is_served| if is_served { Probe::Accepted } else { Probe::Refused }),
        tickets: listener.tickets.map(|tickets| match tickets {
            nodes::Tickets::None => Tickets::None,
            nodes::Tickets::OwnKeys => Tickets::OwnKeys,
            nodes::Tickets::GivenKeys => Tickets::GivenKeys,
        }),
    }
}

fn rival(rival: nodes::Rival) -> Rival {
    let nodes::Rival { address, turns, at } = rival;
    Rival { address: address.to_string(), turns, at: Timestamp::from(at).unix() }
}

fn renewal(report: &Report) -> Option<Renewal> {
    let renewal = &report.renewal;
    let (next, last_success) = (renewal.next?, renewal.last_success?);
    Some(Renewal {
        next: next.unix(),
        last_success: last_success.unix(),
        failures: renewal.failures,
        last_error: renewal.last_error.clone(),
    })
}
