//! E05, E06 and E09: agents.

use signet_policies::time::{Timestamp, Validity};

use crate::{
    certificate::Certificate,
    check::Check,
    evidence::{Evidence, node_subject},
    finding::{Fault, Severity, Subject},
    inventory::{Lapsed, Mode, Need, Node},
};

pub(crate) const RENEWAL: Check = Check {
    id: "E05",
    name: "renewal-failing",
    title: "Every agent renews when it is due",
    severity: Severity::Critical,
    needs: &[Need::Nodes, Need::Renewal],
    why: "From the first failure on the clock runs to the end of the certificate that is in use.",
    how: "A renewal that is later than its latest moment, 70 per cent of a life, is the worst; one that failed and is tried \
          again a warning. An agent that was away until its certificate had ended is found for a day after that, or until it \
          is back.",
    fix: "The evidence has the agent's own words; see whether it reaches the server, and whether its node exists. One whose \
          certificate has ended needs a token: signet token create, and --token-file; if it is gone for good, signet ca \
          forget.",
    run: failing,
};

fn failing(evidence: &Evidence<'_>) -> Vec<Fault> {
    let late = evidence.reporting().filter_map(|node| late(evidence, node));
    late.chain(evidence.inventory.lapsed.iter().map(|lapsed| over(evidence, lapsed))).collect()
}

/// An agent that slept through all of its renewal's time.
fn over(evidence: &Evidence<'_>, lapsed: &Lapsed) -> Fault {
    let Lapsed { workload, instance, ended, serial, reported_at, address } = lapsed;
    let (over, silent) = (evidence.now.saturating_sub(*ended), evidence.now.saturating_sub(*reported_at));
    let (instance, serial) = (Some(instance.clone()), serial.clone());
    let subject = Subject { instance, serial, ..Subject::workload(workload) };
    let message = format!("its certificate ended {over} s ago while it was away, so it cannot renew");
    let from = address.as_ref().map(|address| format!(", from {address}")).unwrap_or_default();
    Fault::new(subject, message).keyed("lapsed").seen(format!("it reported last {silent} s ago{from}"))
}

fn late(evidence: &Evidence<'_>, node: &Node) -> Option<Fault> {
    let renewal = node.renewal.as_ref()?;
    let grace = evidence.thresholds.renewal_grace_seconds;
    let latest = latest_moment(evidence, node).unwrap_or(renewal.next);
    let fault = |message: String| {
        let fault = Fault::new(node_subject(node), message).keyed("renewal");
        if renewal.last_error.is_empty() { fault } else { fault.seen(renewal.last_error.as_str()) }
    };
    if evidence.now > latest.saturating_add(grace) {
        let over = evidence.now - latest;
        return Some(fault(format!("its renewal is {over} s late, and failed {} times", renewal.failures)));
    }
    (renewal.failures > 0)
        .then(|| fault(format!("its renewal failed {} times", renewal.failures)).at(Severity::Warning))
}

/// By when the newest certificate that it serves should have been renewed.
fn latest_moment(evidence: &Evidence<'_>, node: &Node) -> Option<i64> {
    let served = evidence.served.iter().filter(|served| std::ptr::eq(served.node, node));
    let lives = served.filter_map(|served| {
        let certificate = served.certificate.as_ref().ok()?;
        // What the ledger does not know is not for the agent to renew.
        evidence.leaf(&certificate.serial_text())?;
        latest_of(certificate)
    });
    lives.max()
}

/// The latest moment that a renewal is drawn for.
pub(super) fn latest_of(certificate: &Certificate) -> Option<i64> {
    let [start, end] = [certificate.not_before, certificate.not_after].map(Timestamp::from_unix);
    Validity::new(start, end).ok().map(|life| life.renewal_at(u32::MAX).unix())
}

pub(crate) const NO_CERTIFICATE: Check = Check {
    id: "E06",
    name: "no-certificate",
    title: "Every proxy whose ports speak TLS has a certificate",
    severity: Severity::Critical,
    needs: &[Need::Nodes, Need::Modes, Need::Presented, Need::Loaded],
    why: "A listener that waits for its secret accepts connections and answers none of them.",
    how: "Proxies of workloads with a port that takes TLS must present a certificate, or have one loaded.",
    fix: "See that the agent runs beside this Envoy and has joined; `signet proxies` shows what was refused.",
    run: bare,
};

fn bare(evidence: &Evidence<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for node in evidence.reporting() {
        let mut ports = evidence.inventory.ports.iter().filter(|port| port.workload == node.workload);
        let Some(port) = ports.find(|port| port.in_force != Mode::Disabled) else { continue };
        let has_one =
            node.presented.iter().any(|presented| presented.leaf.is_some()) || !node.loaded.is_empty();
        if !has_one {
            let message = format!("port {} takes TLS, and there is no certificate", port.port);
            let fault = Fault::new(node_subject(node), message);
            let errors = node.presented.iter().filter(|presented| !presented.error.is_empty()).take(5);
            faults.push(errors.fold(fault, |fault, presented| {
                fault.seen(format!("{}: {}", presented.address, presented.error))
            }));
        }
    }
    faults
}

pub(crate) const CLOCK: Check = Check {
    id: "E09",
    name: "clock-skew",
    title: "Every node's clock agrees with the server's",
    severity: Severity::Critical,
    needs: &[Need::Nodes, Need::Clocks],
    why: "To a clock that is a minute slow, every new certificate is not valid yet; to one that is fast, good ones ended.",
    how: "The time in each report against the server's when it came.",
    fix: "Start a time service such as chrony on that host.",
    run: skewed,
};

fn skewed(evidence: &Evidence<'_>) -> Vec<Fault> {
    let thresholds = evidence.thresholds;
    let fault = |node: &Node| {
        let ahead = node.clock_ahead_ms?;
        let apart = ahead.unsigned_abs();
        let severity = if apart > thresholds.skew_critical_ms.unsigned_abs() {
            Severity::Critical
        } else if apart > thresholds.skew_warning_ms.unsigned_abs() {
            Severity::Warning
        } else {
            return None;
        };
        let direction = if ahead > 0 { "fast" } else { "slow" };
        Some(Fault::new(node_subject(node), format!("its clock is {apart} ms {direction}")).at(severity))
    };
    evidence.reporting().filter_map(fault).collect()
}
