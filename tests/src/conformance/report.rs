//! Verdicts, and how they are shown.

use serde::Serialize;

use super::{Lane, Statement};

/// What became of a statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "verdict", content = "reason")]
pub enum Verdict {
    /// It holds.
    Pass,
    /// It does not, for this reason.
    Fail(String),
    /// It could not be tried, for this reason.
    NotApplicable(String),
}

impl Verdict {
    /// Not applicable.
    #[must_use]
    pub fn skip(reason: &str) -> Self {
        Self::NotApplicable(reason.to_owned())
    }
}

/// One verdict.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// The variant and the service.
    pub lane: String,
    /// What was to hold.
    #[serde(flatten)]
    pub statement: Statement,
    /// Whether it does.
    #[serde(flatten)]
    pub verdict: Verdict,
}

impl Finding {
    pub(super) fn new(lane: &Lane, statement: &Statement, verdict: Verdict) -> Self {
        Self { lane: lane.name(), statement: *statement, verdict }
    }

    /// Whether the server was found to break a statement.
    #[must_use]
    pub fn is_fail(&self) -> bool {
        matches!(self.verdict, Verdict::Fail(_))
    }
}

/// A line for each finding, and a line for each lane.
#[must_use]
pub fn table(findings: &[Finding]) -> String {
    let mut text = String::new();
    for lane in findings.chunk_by(|a, b| a.lane == b.lane) {
        let mut counts = [0; 3];
        for Finding { lane, statement: Statement { id, sentence }, verdict } in lane {
            let (column, word, reason) = match verdict {
                Verdict::Pass => (0, "pass", String::new()),
                Verdict::Fail(reason) => (1, "FAIL", format!("\n      {reason}")),
                Verdict::NotApplicable(reason) => (2, "n/a ", format!("\n      {reason}")),
            };
            counts[column] += 1;
            text.push_str(&format!("{lane:15} {id:>2} {word} {sentence}{reason}\n"));
        }
        let [pass, fail, other] = counts;
        let name = lane.first().map_or("", |finding| &finding.lane);
        text.push_str(&format!("{name:15} {pass} pass, {fail} fail, {other} not applicable\n\n"));
    }
    text
}
