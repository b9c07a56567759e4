//! For programs: one document, or a line for each finding.

use serde_json::json;

use crate::report::Report;

/// One JSON document.
///
/// # Errors
/// None that a report can cause.
pub fn json(report: &Report) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(report).map(|text| text + "\n")
}

/// A line of JSON for each finding, then one with everything but the findings.
///
/// # Errors
/// None that a report can cause.
pub fn jsonl(report: &Report) -> Result<String, serde_json::Error> {
    let mut text = String::new();
    for finding in &report.findings {
        text.push_str(&serde_json::to_string(&json!({ "finding": finding }))?);
        text.push('\n');
    }
    let summary = Report { findings: Vec::new(), ..report.clone() };
    text.push_str(&serde_json::to_string(&json!({ "summary": summary }))?);
    text.push('\n');
    Ok(text)
}
