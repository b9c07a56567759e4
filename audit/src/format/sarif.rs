//! SARIF 2.1.0, for whatever shows results of code scanning.

use serde_json::{Value, json};

use crate::{
    checks::CHECKS,
    finding::{Finding, Severity},
    report::{Outcome, Report},
};

/// One SARIF log with one run: a rule for each check, a result for each finding, its place a logical location.
///
/// # Errors
/// None that a report can cause.
pub fn sarif(report: &Report) -> Result<String, serde_json::Error> {
    let rules: Vec<Value> = CHECKS
        .iter()
        .map(|check| {
            json!({
                "id": check.id,
                "name": check.name,
                "shortDescription": { "text": check.title },
                "fullDescription": { "text": check.why },
                "help": { "text": check.fix },
                "helpUri": check.docs(),
                "defaultConfiguration": { "level": level(check.severity) },
            })
        })
        .collect();
    let new = report.findings.iter().map(|finding| result(finding, "new", None));
    let known = report.known.iter().map(|finding| result(finding, "unchanged", None));
    let waived = report.waived.iter().flat_map(|waived| {
        waived.findings.iter().map(|finding| result(finding, "unchanged", Some(&waived.waiver.reason)))
    });
    let notes: Vec<Value> = report
        .checks
        .iter()
        .filter(|ran| matches!(ran.outcome, Outcome::NotRun | Outcome::Partial))
        .map(|ran| {
            let text = format!("{}: {}", ran.outcome.as_str(), ran.reason);
            json!({ "level": "warning", "message": { "text": text }, "associatedRule": { "id": ran.id } })
        })
        .collect();
    let mut log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "signet audit", "rules": rules } },
            "invocations": [{
                "executionSuccessful": !report.is_incomplete(),
                "toolExecutionNotifications": notes,
            }],
            "results": new.chain(known).chain(waived).collect::<Vec<_>>(),
        }],
    });
    if let Some(judged) = &report.judged {
        log["runs"][0]["properties"] = json!({ "judged": judged });
    }
    serde_json::to_string_pretty(&log).map(|text| text + "\n")
}

fn result(finding: &Finding, state: &str, waiver: Option<&String>) -> Value {
    let subject = finding.subject.to_string();
    let name = match subject.as_str() {
        "" => "server",
        subject => subject,
    };
    let text = match finding.evidence.as_slice() {
        [] => format!("{name}: {}", finding.message),
        evidence => format!("{name}: {} ({})", finding.message, evidence.join("; ")),
    };
    let mut result = json!({
        "ruleId": finding.id,
        "level": level(finding.severity),
        "message": { "text": text },
        "locations": [{ "logicalLocations": [{ "fullyQualifiedName": name, "kind": "resource" }] }],
        "partialFingerprints": { "signetAudit/v1": finding.fingerprint },
        "baselineState": state,
    });
    if let Some(reason) = waiver {
        result["suppressions"] = json!([{ "kind": "external", "justification": reason }]);
    }
    result
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    }
}
