//! JUnit XML, for whatever shows test results: a test case for each check.

use std::fmt::Write as _;

use crate::report::{Outcome, Ran, Report};

/// One test suite. A check with findings failed, one that did not run is an error, one that was not asked for skipped.
#[must_use]
pub fn junit(report: &Report) -> String {
    let count = |is: fn(&Ran) -> bool| report.checks.iter().filter(|ran| is(ran)).count();
    let failed = report.checks.iter().filter(|ran| found(report, ran).next().is_some()).count();
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "<testsuites>\n<testsuite name=\"signet audit\" tests=\"{}\" failures=\"{failed}\" errors=\"{}\" skipped=\"{}\">",
        report.checks.len(),
        count(is_open),
        count(|ran| ran.outcome == Outcome::Skipped),
    );
    if let Some(judged) = &report.judged {
        text.push_str("<properties>\n");
        let kind = judged.taken_for.as_str().to_owned();
        for (name, value) in
            [("takenFor", kind), ("because", judged.because.clone()), ("certificate", judged.name())]
        {
            let _ = writeln!(text, "<property name=\"{name}\" value=\"{}\"/>", escaped(&value));
        }
        text.push_str("</properties>\n");
    }
    for ran in &report.checks {
        case(&mut text, report, ran);
    }
    text.push_str("</testsuite>\n</testsuites>\n");
    text
}

fn is_open(ran: &Ran) -> bool {
    matches!(ran.outcome, Outcome::NotRun | Outcome::Partial)
}

fn found<'a>(report: &'a Report, ran: &'a Ran) -> impl Iterator<Item = &'a crate::Finding> {
    report.findings.iter().filter(|finding| finding.id == ran.id)
}

fn case(text: &mut String, report: &Report, ran: &Ran) {
    let title = crate::find(&ran.id).map_or("", |check| check.title);
    let _ = write!(text, "<testcase classname=\"signet.audit.{}\" name=\"{}\"", ran.id, escaped(title));
    let findings: Vec<_> = found(report, ran).collect();
    if findings.is_empty() && !is_open(ran) && ran.outcome != Outcome::Skipped {
        text.push_str("/>\n");
        return;
    }
    text.push_str(">\n");
    if let Some(first) = findings.first() {
        let _ = write!(text, "<failure type=\"{}\" message=\"{} findings\">", first.severity, findings.len());
        for finding in &findings {
            let line = format!("{}: {}\n", finding.subject, finding.message);
            text.push_str(&escaped(&line));
        }
        text.push_str("</failure>\n");
    } else if is_open(ran) {
        let _ =
            writeln!(text, "<error type=\"{}\" message=\"{}\"/>", ran.outcome.as_str(), escaped(&ran.reason));
    } else {
        text.push_str("<skipped/>\n");
    }
    text.push_str("</testcase>\n");
}

/// Text for XML 1.0: what it cannot hold is left out.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'.. => {
                escaped.push(character)
            }
            _ => {}
        }
    }
    escaped
}
