//! What the demo saw, as one document and as the table's rows.

use std::{fmt::Write as _, time::Duration};

use serde::Serialize;

use crate::local::{load::Tally, probe::Approach};

/// How far the measured split may be from the configured one.
const SPLIT_TOLERANCE: f64 = 0.04;
/// Requests a second below which a step has not been under load.
const LEAST_RATE: f64 = 200.0;

/// The whole run.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Whether everything came out as it must.
    pub passed: bool,
    /// Why not, one sentence each.
    pub problems: Vec<String>,
    /// In order.
    pub steps: Vec<StepReport>,
    /// From the first process to the last step.
    pub seconds: f64,
}

/// One step: a mode, or the rotation.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepReport {
    /// What was done.
    pub step: &'static str,
    /// Requests of the load that ended in this step.
    pub requests: u64,
    /// How long the step took, and with it the count.
    pub seconds: f64,
    /// Of them, not answered by an application with 200.
    pub failed: u64,
    /// The first failures in words.
    pub failures: Vec<String>,
    /// The share of answers from `service-b-v1`; 0.9 is configured.
    pub share_v1: f64,
    /// Median time to the answer.
    pub p50_ms: f64,
    /// The time that one answer in a hundred exceeded.
    pub p99_ms: f64,
    /// From the API's answer (or the rotation's signal) until every probe came out as it must.
    pub in_force_after_ms: f64,
    /// What strangers were served, per node and approach.
    pub probes: Vec<ProbeReport>,
    /// Serial numbers before and after, for the rotation only: of the destinations as handshakes showed them, of
    /// the caller, with whom nobody shakes hands, as its Envoy's `/certs` does.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub serials: Vec<SerialChange>,
}

/// One attempt of a stranger.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProbeReport {
    /// The virtual node.
    pub node: String,
    /// With what.
    pub approach: Approach,
    /// What the mode demands.
    pub expected: Verdict,
    /// What happened.
    pub got: Verdict,
    /// How the refusal looked, where there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The application answered.
    Accepted,
    /// It did not get through.
    Refused,
}

/// A node's certificate before and after the rotation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SerialChange {
    /// The virtual node.
    pub node: String,
    /// Lower-case hex.
    pub before: String,
    /// Lower-case hex.
    pub after: String,
}

impl From<bool> for Verdict {
    fn from(served: bool) -> Self {
        if served { Self::Accepted } else { Self::Refused }
    }
}

impl StepReport {
    /// A step's report from what the load and the probes saw.
    #[must_use]
    pub fn new(
        step: &'static str,
        took: Duration,
        tally: &Tally,
        in_force_after: Duration,
        probes: Vec<ProbeReport>,
    ) -> Self {
        Self {
            step,
            requests: tally.requests(),
            seconds: took.as_secs_f64(),
            failed: tally.failed,
            failures: tally.failures.clone(),
            share_v1: tally.share("service-b-v1"),
            p50_ms: milliseconds(tally.percentile(50)),
            p99_ms: milliseconds(tally.percentile(99)),
            in_force_after_ms: milliseconds(in_force_after),
            probes,
            serials: Vec::new(),
        }
    }

    /// Everything about this step that is not as it must be.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let step = self.step;
        let mut problems = Vec::new();
        let requests = u32::try_from(self.requests).unwrap_or(u32::MAX);
        let rate = f64::from(requests) / self.seconds;
        if rate < LEAST_RATE {
            problems.push(format!("{step}: {rate:.0} requests a second, which is too few to tell anything"));
        }
        if self.failed > 0 {
            let first = self.failures.first().map_or("", String::as_str);
            problems.push(format!("{step}: {} of {} requests failed: {first}", self.failed, self.requests));
        }
        if (self.share_v1 - 0.9).abs() > SPLIT_TOLERANCE {
            problems.push(format!("{step}: {:.1} % went to v1, not 90 %", self.share_v1 * 100.0));
        }
        for probe in self.probes.iter().filter(|probe| probe.got != probe.expected) {
            let ProbeReport { node, approach, expected, got, .. } = probe;
            problems.push(format!("{step}: {approach:?} at {node} was {got:?}, not {expected:?}"));
        }
        for change in self.serials.iter().filter(|change| change.before == change.after) {
            problems.push(format!("{step}: {} still presents serial {}", change.node, change.before));
        }
        problems
    }

    /// Whether a stranger was served, at every node alike.
    fn verdict(&self, approach: Approach) -> &'static str {
        let mut verdicts =
            self.probes.iter().filter(|probe| probe.approach == approach).map(|probe| probe.got);
        match verdicts.next() {
            None => "-",
            Some(first) if verdicts.any(|other| other != first) => "mixed",
            Some(Verdict::Accepted) => "accepted",
            Some(Verdict::Refused) => "refused",
        }
    }

    /// The row of the table.
    #[must_use]
    pub fn row(&self) -> String {
        let split = format!("{:.1}/{:.1}", self.share_v1 * 100.0, (1.0 - self.share_v1) * 100.0);
        let mut row = format!(
            "{:<24} {:>8} {:>6} {:>10} {:>7.1} {:>7.1} {:>9.0} ms ",
            self.step, self.requests, self.failed, split, self.p50_ms, self.p99_ms, self.in_force_after_ms
        );
        for approach in Approach::ALL {
            // Writing to a string cannot fail.
            let _ = write!(row, " {:<10}", self.verdict(approach));
        }
        row.trim_end().to_owned()
    }
}

/// The table's head, two lines.
#[must_use]
pub fn header() -> String {
    let head = format!(
        "{:<24} {:>8} {:>6} {:>10} {:>7} {:>7} {:>12}  {:<10} {:<10} {:<10} {:<10}",
        "", "", "", "v1/v2", "p50", "p99", "in force", "plain", "TLS, no", "TLS, mesh", "TLS, other"
    );
    let second = format!(
        "{:<24} {:>8} {:>6} {:>10} {:>7} {:>7} {:>12}  {:<10} {:<10} {:<10} {:<10}",
        "step", "requests", "failed", "%", "ms", "ms", "after", "text", "cert", "cert", "domain"
    );
    format!("{}\n{}", head.trim_end(), second.trim_end())
}

fn milliseconds(time: Duration) -> f64 {
    // Whole microseconds, so that the document holds no noise digits.
    f64::from(u32::try_from(time.as_micros()).unwrap_or(u32::MAX)) / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(got: Verdict) -> ProbeReport {
        ProbeReport {
            node: "n".into(),
            approach: Approach::Plaintext,
            expected: Verdict::Refused,
            got,
            detail: None,
        }
    }

    fn good() -> StepReport {
        let tally = Tally {
            answered: [("service-b-v1".to_owned(), 900), ("service-b-v2".to_owned(), 100)].into(),
            ..Tally::default()
        };
        let (took, in_force_after) = (Duration::from_secs(4), Duration::from_millis(20));
        StepReport::new("STRICT", took, &tally, in_force_after, vec![probe(Verdict::Refused)])
    }

    #[test]
    fn a_step_as_it_must_be_has_no_problem() {
        assert_eq!(good().problems(), Vec::<String>::new());
    }

    #[test]
    fn each_thing_that_can_go_wrong_is_a_problem_of_its_own() {
        let serial = SerialChange { node: "n".into(), before: "1".into(), after: "1".into() };
        let wrong = [
            StepReport { failed: 1, failures: vec!["status 503".into()], ..good() },
            StepReport { requests: 799, ..good() },
            StepReport { share_v1: 0.8, ..good() },
            StepReport { probes: vec![probe(Verdict::Accepted)], ..good() },
            StepReport { serials: vec![serial], ..good() },
        ];
        for step in wrong {
            assert_eq!(step.problems().len(), 1, "{step:?}");
        }
    }

    #[test]
    fn nodes_that_disagree_show_as_mixed() {
        let step = StepReport { probes: vec![probe(Verdict::Accepted), probe(Verdict::Refused)], ..good() };
        assert!(step.row().contains("mixed"));
        assert!(good().row().contains("refused"));
    }
}
