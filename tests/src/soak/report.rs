//! What came of a soak.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use serde::Serialize;

use super::{Trend, Wanted};

/// Growth of a process's memory that is none: allocators and caches breathe.
const BREATH_MIB: f64 = 8.0;
/// How much memory may grow, as a part of it.
const GROWTH: f64 = 0.1;

/// Something that must hold always.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Invariant {
    /// I1 to I6.
    pub name: &'static str,
    /// In words.
    pub what: &'static str,
    /// How it was broken; empty where it held.
    pub broken: Vec<String>,
}

/// How long everybody took to come round after the steps of a kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// The kind.
    pub step: String,
    /// How many there were.
    pub count: usize,
    /// The median, in seconds.
    pub p50_secs: f64,
    /// All but one in a hundred took no longer.
    pub p99_secs: f64,
    /// The longest.
    pub max_secs: f64,
}

/// What came of a soak.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What was wanted; the same gives the same steps.
    pub wanted: Wanted,
    /// How long it took, in seconds.
    pub seconds: u64,
    /// Steps that were played.
    pub steps: usize,
    /// Certificates that the two agents renewed.
    pub rotations: u64,
    /// Secrets that the Envoys took over.
    pub secrets_accepted: u64,
    /// Changes of the root that were completed.
    pub root_changes: u64,
    /// Requests that came to an end.
    pub requests: u64,
    /// TLS handshakes between the Envoys.
    pub handshakes: u64,
    /// Handshakes of an independent client with the called Envoy.
    pub looks: u64,
    /// Connections for many requests that were opened again, of how many that lasted.
    pub reopened: u64,
    /// Times by kind of step.
    pub rows: Vec<Row>,
    /// Mean times of the phases of changes of the root, in milliseconds.
    pub phases: BTreeMap<String, i64>,
    /// Memory of the processes.
    pub memory: Vec<Trend>,
    /// What had to hold.
    pub invariants: Vec<Invariant>,
}

impl Report {
    /// Whether everything held.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.invariants.iter().all(|invariant| invariant.broken.is_empty())
    }
}

/// One row of many times.
pub(super) fn row(step: &str, times: &[Duration]) -> Row {
    let mut sorted: Vec<f64> = times.iter().map(Duration::as_secs_f64).collect();
    sorted.sort_by(f64::total_cmp);
    let at = |percent: usize| {
        let index = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
        sorted.get(index).copied().unwrap_or(0.0)
    };
    Row { step: step.to_owned(), count: sorted.len(), p50_secs: at(50), p99_secs: at(99), max_secs: at(100) }
}

/// How memory grew more than it may.
pub(super) fn grown(trends: &[Trend]) -> Vec<String> {
    let is_grown = |trend: &&Trend| trend.last_mib > trend.first_mib * (1.0 + GROWTH) + BREATH_MIB;
    let words = |trend: &Trend| {
        format!("{} went from {:.1} to {:.1} MiB", trend.part, trend.first_mib, trend.last_mib)
    };
    trends.iter().filter(is_grown).map(words).collect()
}

/// For people.
#[must_use]
pub fn table(report: &Report) -> String {
    let Report { wanted, seconds, steps, rotations, secrets_accepted, root_changes, .. } = report;
    let mut text = format!(
        "seed {}: {rotations} rotations and {root_changes} changes of the root in {steps} steps and {seconds} s, with \
         leaves of {} s\n{secrets_accepted} secrets accepted by Envoys; {} requests, {} handshakes between Envoys, {} \
         by an observer, {} lasting connections reopened\n\n",
        wanted.seed, wanted.leaf_secs, report.requests, report.handshakes, report.looks, report.reopened
    );
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{:<58} {:>5} {:>8} {:>8} {:>8}", "STEP", "COUNT", "P50 s", "P99 s", "MAX s");
    for Row { step, count, p50_secs, p99_secs, max_secs } in &report.rows {
        let _ = writeln!(text, "{step:<58} {count:>5} {p50_secs:>8.2} {p99_secs:>8.2} {max_secs:>8.2}");
    }
    let phases: Vec<_> = report.phases.iter().map(|(phase, ms)| format!("{phase} {ms} ms")).collect();
    let _ = writeln!(text, "\nphases of a change of the root, mean: {}\n", phases.join(", "));
    let _ = writeln!(
        text,
        "{:<16} {:>8} {:>10} {:>10} {:>10}",
        "MEMORY", "SECONDS", "FIRST MiB", "LAST MiB", "MiB/h"
    );
    for Trend { part, seconds, first_mib, last_mib, slope_mib_per_hour } in &report.memory {
        let _ = writeln!(
            text,
            "{part:<16} {seconds:>8.0} {first_mib:>10.1} {last_mib:>10.1} {slope_mib_per_hour:>10.1}"
        );
    }
    text.push('\n');
    for Invariant { name, what, broken } in &report.invariants {
        let verdict = if broken.is_empty() { "holds" } else { "BROKEN" };
        let _ = writeln!(text, "{name}  {verdict:<7} {what}");
        for how in broken {
            let _ = writeln!(text, "            {how}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_summed_up_by_rank() {
        let times: Vec<_> = (1..=200).map(Duration::from_secs).collect();
        let row = row("x", &times);
        assert_eq!((row.count, row.p50_secs, row.p99_secs, row.max_secs), (200, 100.0, 198.0, 200.0));
        assert_eq!(super::row("none", &[]).max_secs, 0.0);
    }

    #[test]
    fn memory_may_breathe_and_not_grow() {
        let trend = |last_mib| Trend {
            part: "server",
            seconds: 1.0,
            first_mib: 100.0,
            last_mib,
            slope_mib_per_hour: 0.0,
        };
        assert!(grown(&[trend(90.0), trend(117.0)]).is_empty());
        assert_eq!(grown(&[trend(119.0)]), ["server went from 100.0 to 119.0 MiB"]);
    }
}
