//! OpenMetrics 1.0.0, for a file that a collector reads.

use std::fmt::Write as _;

use crate::{
    finding::Severity,
    report::{Outcome, Report, Taken},
};

/// For each check how many findings there are and how old the oldest is, whether it ran, and when the audit did: a dead
/// auditor is seen by the last.
#[must_use]
pub fn openmetrics(report: &Report) -> String {
    let mut text = String::new();
    let family = |text: &mut String, name: &str, help: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# TYPE {name} gauge\n# HELP {name} {help}");
    };
    family(&mut text, "signet_audit_findings", "Findings that are neither waived nor in the baseline.");
    for ran in &report.checks {
        for severity in Severity::ALL {
            let of_check = report.findings.iter().filter(|finding| finding.id == ran.id);
            let count = of_check.filter(|finding| finding.severity == severity).count();
            let _ = writeln!(
                text,
                "signet_audit_findings{{check=\"{}\",name=\"{}\",severity=\"{severity}\"}} {count}",
                ran.id, ran.name
            );
        }
    }
    family(
        &mut text,
        "signet_audit_oldest_finding_seconds",
        "Age of the oldest finding of a check; 0 without one.",
    );
    for ran in &report.checks {
        let first = report.findings.iter().chain(&report.known).filter(|finding| finding.id == ran.id);
        let first = first.map(|finding| finding.first_seen).min();
        let age = first.map_or(0, |first| report.ran_at.saturating_sub(first).max(0));
        let _ = writeln!(text, "signet_audit_oldest_finding_seconds{{check=\"{}\"}} {age}", ran.id);
    }
    family(
        &mut text,
        "signet_audit_check_complete",
        "1 where a check ran on everything, 0 where it did not.",
    );
    for ran in report.checks.iter().filter(|ran| ran.outcome != Outcome::Skipped) {
        let is_complete = ran.reason.is_empty();
        let _ =
            writeln!(text, "signet_audit_check_complete{{check=\"{}\"}} {}", ran.id, u8::from(is_complete));
    }
    text.extend(report.judged.as_ref().map(judged));
    for (name, help, value) in [
        ("signet_audit_certificates", "Certificates that were examined.", report.coverage.certificates),
        ("signet_audit_nodes", "Proxies that there are.", report.coverage.nodes),
        ("signet_audit_nodes_examined", "Proxies that were examined.", report.coverage.nodes_examined),
    ] {
        family(&mut text, name, help);
        let _ = writeln!(text, "{name} {value}");
    }
    family(&mut text, "signet_audit_last_run_timestamp_seconds", "When the audit ran.");
    let _ = writeln!(text, "signet_audit_last_run_timestamp_seconds {}", report.ran_at);
    text.push_str("# EOF\n");
    text
}

fn judged(judged: &Taken) -> String {
    format!(
        "# TYPE signet_audit_judged info\n# HELP signet_audit_judged The certificate, and what it was taken for.\n\
         signet_audit_judged_info{{taken_for=\"{}\",serial=\"{}\"}} 1\n",
        judged.taken_for.as_str(),
        judged.serial
    )
}
