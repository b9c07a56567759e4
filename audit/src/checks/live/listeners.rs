//! E07 and E08: what listeners accept.

use crate::{
    check::Check,
    evidence::{Evidence, Served, node_subject},
    finding::{Fault, Severity, Subject},
    inventory::{Listener, Mode, Need, Node, Peer, Port, Probe, Tickets},
    thresholds::PROTOCOLS,
};

pub(crate) const MODE: Check = Check {
    id: "E07",
    name: "strict-not-enforced",
    title: "A port that is declared STRICT takes nothing else",
    severity: Severity::Critical,
    needs: &[Need::Nodes, Need::Modes, Need::Listeners],
    why: "STRICT on paper and plaintext on the wire is worse than PERMISSIVE: nobody looks any more.",
    how: "The filter chains of the live listener, and a connection without TLS that must be refused, where the agent can \
          call it: not where connections are redirected to the listener. A port that requires a client's certificate must \
          require it in every chain.",
    fix: "signet proxies shows whether the Envoy refused its configuration; restart it if it runs an old one.",
    run: weaker,
};

fn weaker(evidence: &Evidence<'_>) -> Vec<Fault> {
    let mut faults: Vec<Fault> =
        evidence.inventory.ports.iter().filter_map(|port| stuck(evidence, port)).collect();
    for node in evidence.reporting() {
        let ports = evidence.inventory.ports.iter().filter(|port| port.workload == node.workload);
        for port in ports.filter(|port| port.declared == Mode::Strict && port.in_force == Mode::Strict) {
            let listeners = node.listeners.iter().filter(|listener| listener.port == port.port);
            faults.extend(listeners.filter_map(|listener| accepts_more(node, port, listener)));
        }
    }
    faults
}

fn accepts_more(node: &Node, port: &Port, listener: &Listener) -> Option<Fault> {
    let message = if listener.plaintext_probe == Some(Probe::Accepted) {
        "a connection without TLS was accepted"
    } else if listener.takes_plaintext {
        "its live listener has a filter chain without TLS"
    } else if port.peer == Peer::Required && !listener.requires_client_certificate {
        "its live listener does not require a client's certificate"
    } else {
        return None;
    };
    let subject = Subject { port: Some(port.port), ..node_subject(node) };
    Some(Fault::new(subject, format!("declared STRICT, but {message}")))
}

/// A port whose proxies are still fed something weaker long after it was declared.
fn stuck(evidence: &Evidence<'_>, port: &Port) -> Option<Fault> {
    let changed_at = evidence.registered(&port.workload)?.changed_at;
    let waited = evidence.now - changed_at;
    let is_stuck = port.declared == Mode::Strict && port.in_force < Mode::Strict;
    (is_stuck && waited > evidence.thresholds.mode_change_seconds).then(|| {
        let subject = Subject { port: Some(port.port), ..Subject::workload(&port.workload) };
        let message = format!("declared STRICT {waited} s ago, and its proxies are still fed a weaker mode");
        Fault::new(subject, message)
            .keyed("stuck")
            .by("signet proxies names the proxies that the change waits for")
    })
}

pub(crate) const PARAMETERS: Check = Check {
    id: "E08",
    name: "tls-parameters",
    title: "Listeners accept no TLS below the policy, and resume no session beyond it",
    severity: Severity::Warning,
    needs: &[Need::Nodes, Need::Listeners, Need::Presented],
    why: "Old versions and suites can be read later by whoever recorded them; so can sessions whose tickets are sealed with \
          keys that stand in a file.",
    how: "The lowest version of every live listener, and the version of every handshake, against the thresholds; suites \
          without forward secrecy or with CBC are named, and so are session tickets that are sealed with keys from the \
          configuration, or where the thresholds do not allowSessionTickets any. That a resumed session is refused once its \
          certificate is revoked is Envoy's doing, which this does not try.",
    fix: "Remove the listener's own TLS parameters; Signet sets 1.2 as the lowest and Envoy's suites.",
    run: parameters,
};

fn parameters(evidence: &Evidence<'_>) -> Vec<Fault> {
    let rank = |version: &str| PROTOCOLS.iter().position(|known| known.eq_ignore_ascii_case(version));
    let lowest = rank(&evidence.thresholds.lowest_protocol).unwrap_or(2);
    let mut faults = Vec::new();
    for node in evidence.reporting() {
        for listener in node.listeners.iter().filter(|listener| listener.takes_tls) {
            let subject = || Subject { port: Some(listener.port), ..node_subject(node) };
            let version = listener.lowest_protocol.as_deref().unwrap_or("TLSv1.2");
            if rank(version).is_none_or(|found| found < lowest) {
                let message = format!("it accepts {version}; the lowest allowed is {}", PROTOCOLS[lowest]);
                faults.push(Fault::new(subject(), message).keyed("version"));
            }
            let weak: Vec<&str> =
                listener.cipher_suites.iter().map(String::as_str).filter(|suite| is_weak(suite)).collect();
            if !weak.is_empty() {
                faults.push(Fault::new(subject(), format!("it accepts {}", weak.join(", "))).keyed("suites"));
            }
            let message = match listener.tickets {
                Some(Tickets::GivenKeys) => "its session tickets are sealed with keys from its configuration",
                Some(Tickets::OwnKeys) if !evidence.thresholds.allow_session_tickets => {
                    "it hands out session tickets"
                }
                Some(Tickets::OwnKeys | Tickets::None) | None => continue,
            };
            faults.push(Fault::new(subject(), message).keyed("tickets"));
        }
    }
    let agreed = |served: &Served<'_>| {
        let version = served.presented.protocol.as_deref()?;
        let message = format!("a handshake came to {version}; the lowest allowed is {}", PROTOCOLS[lowest]);
        let is_low = rank(version).is_none_or(|found| found < lowest);
        is_low.then(|| Fault::new(Subject { serial: None, ..served.subject() }, message).keyed("agreed"))
    };
    faults.extend(evidence.served.iter().filter_map(agreed));
    faults
}

/// Without forward secrecy, without authentication of the data, or broken.
fn is_weak(suite: &str) -> bool {
    let has_secrecy = suite.starts_with("ECDHE-") || suite.starts_with("TLS_");
    let is_sealed = suite.contains("GCM") || suite.contains("CHACHA20");
    !(has_secrecy && is_sealed)
}
