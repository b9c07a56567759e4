//! For people.

use std::fmt::Write as _;

use super::rfc3339;
use crate::{
    check::Check,
    checks::CHECKS,
    finding::{Finding, Severity},
    report::{Outcome, Report},
};

/// The report for a terminal: findings by severity, each with what to do, then what is missing, then the sum.
#[must_use]
pub fn table(report: &Report) -> String {
    let mut text = heading(report);
    for severity in Severity::ALL {
        let of_severity: Vec<&Finding> =
            report.findings.iter().filter(|finding| finding.severity == severity).collect();
        section(&mut text, severity.as_str(), &of_severity);
    }
    waived(&mut text, report);
    let known: Vec<&Finding> = report.known.iter().collect();
    if !known.is_empty() {
        let _ = writeln!(text, "\n{} findings are in the baseline already", known.len());
    }
    incomplete(&mut text, report);
    if report.findings.is_empty() {
        text.push_str("\nno findings\n");
    }
    text
}

fn heading(report: &Report) -> String {
    let coverage = &report.coverage;
    let ran =
        report.checks.iter().filter(|ran| !matches!(ran.outcome, Outcome::Skipped | Outcome::NotRun)).count();
    let mut text = String::new();
    if let Some(judged) = &report.judged {
        let kind = judged.taken_for.as_str();
        let article = if matches!(kind, "issuer" | "intermediate") { "an" } else { "a" };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "judged as {article} {kind} ({}): {}", judged.because, judged.name());
    }
    let mut parts = vec![counted(ran, "check")];
    // One certificate from a file has neither nodes nor a log.
    if coverage.nodes > 0 || coverage.log_entries.is_some() {
        parts.push(format!("{} ({} examined)", counted(coverage.nodes, "node"), coverage.nodes_examined));
    }
    // An authority from a file is counted among authorities.
    if coverage.certificates > 0 || report.judged.is_none() {
        parts.push(counted(coverage.certificates, "certificate"));
    }
    parts.push(match coverage.authorities {
        1 => "1 authority".to_owned(),
        count => format!("{count} authorities"),
    });
    if let Some(entries) = coverage.log_entries {
        parts.push(format!("log of {entries} entries"));
    }
    parts.push(format!("taken {}", rfc3339(report.taken_at)));
    text + &parts.join(" · ") + "\n"
}

fn counted<N: std::fmt::Display + PartialEq + From<u8>>(count: N, what: &str) -> String {
    let end = if count == N::from(1) { "" } else { "s" };
    format!("{count} {what}{end}")
}

/// A text whose lines are no longer than `width` columns, where the blanks in them allow it. What a line goes on with
/// stands below it, indented.
#[must_use]
pub fn folded(text: &str, width: usize) -> String {
    text.lines().fold(String::new(), |mut folded, line| {
        let indent = line.len() - line.trim_start_matches(' ').len();
        let mut column = 0;
        for (number, word) in line[indent..].split(' ').enumerate() {
            let length = word.chars().count();
            let blanks = match number {
                0 => indent,
                // Blanks that only kept columns apart end with their line.
                _ if column + 1 + length > width && word.is_empty() => continue,
                _ if column + 1 + length > width => {
                    folded.truncate(folded.trim_end_matches(' ').len());
                    folded.push('\n');
                    column = 0;
                    indent + 4
                }
                _ => 1,
            };
            folded.extend(std::iter::repeat_n(' ', blanks));
            folded.push_str(word);
            column += blanks + length;
        }
        folded.push('\n');
        folded
    })
}

/// Findings with one fix stand together, and the fix below them.
fn section(text: &mut String, name: &str, findings: &[&Finding]) {
    if findings.is_empty() {
        return;
    }
    // Writing to a string cannot fail.
    let _ = writeln!(text, "\n{}  {}", name.to_uppercase(), findings.len());
    for (at, finding) in findings.iter().enumerate() {
        let subject = match finding.subject.to_string() {
            subject if subject.is_empty() => String::new(),
            subject => format!("{subject}: "),
        };
        let _ = writeln!(text, "  {} {:<22} {subject}{}", finding.id, finding.name, finding.message);
        for evidence in &finding.evidence {
            let _ = writeln!(text, "      {evidence}");
        }
        if findings.get(at + 1).is_none_or(|next| (&next.id, &next.fix) != (&finding.id, &finding.fix)) {
            if let Some(check) = crate::find(&finding.id) {
                let _ = writeln!(text, "      why: {}", check.why);
            }
            let _ = writeln!(text, "      do:  {}", finding.fix);
        }
    }
}

fn waived(text: &mut String, report: &Report) {
    for waived in &report.waived {
        let (waiver, until) = (&waived.waiver, rfc3339(waived.waiver.until));
        let _ = match waived.is_expired {
            true => writeln!(
                text,
                "\nthe waiver of {} ended {until}; it waives nothing: {}",
                waiver.id, waiver.reason
            ),
            false => writeln!(
                text,
                "\n{} findings of {} are waived until {until}: {}",
                waived.findings.len(),
                waiver.id,
                waiver.reason
            ),
        };
    }
}

fn incomplete(text: &mut String, report: &Report) {
    for stale in &report.stale {
        let _ = writeln!(text, "\nSTALE\n  {stale}");
    }
    let open: Vec<_> = report
        .checks
        .iter()
        .filter(|ran| ran.outcome == Outcome::NotRun || (ran.outcome == Outcome::Partial))
        .collect();
    if !open.is_empty() {
        let _ = writeln!(text, "\nINCOMPLETE  {}", open.len());
    }
    for ran in open {
        let _ = writeln!(text, "  {} {:<22} {}: {}", ran.id, ran.name, ran.outcome.as_str(), ran.reason);
    }
}

/// All checks, a line each.
#[must_use]
pub fn list() -> String {
    let mut text = String::new();
    let mut group = "";
    for check in CHECKS {
        if check.group() != group {
            group = check.group();
            let _ = writeln!(text, "{}. {group}", &check.id[..1]);
        }
        let _ = writeln!(
            text,
            "  {} {:<22} {:<9} {}",
            check.id,
            check.name,
            check.severity.as_str(),
            check.title
        );
    }
    text
}

/// All that is to be said about one check.
#[must_use]
pub fn explain(check: &Check) -> String {
    let needs: Vec<&str> = check.needs.iter().map(|need| need.as_str()).collect();
    format!(
        "{} {} ({} at worst; {})\n\n{}.\n\nWhy:   {}\nHow:   {}\nFix:   {}\nNeeds: {}\nDocs:  {}\n",
        check.id,
        check.name,
        check.severity,
        check.group(),
        check.title,
        check.why,
        check.how,
        check.fix,
        needs.join(", "),
        check.docs(),
    )
}
