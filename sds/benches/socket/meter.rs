//! CPU time and memory of this process, and how ratios are shown.

use std::{fs, time::Duration};

use rustix::time::{ClockId, clock_gettime};

/// What a push took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meter {
    /// Until the last client had it.
    pub(super) millis: f64,
    /// Of this process, in which the clients are not.
    pub(super) cpu_us: f64,
}

/// CPU time that the threads of this process had so far, in microseconds. Their schedstats do not say: of a thread that runs,
/// such as the one that asks, that is as old as the last tick.
pub(super) fn cpu_us() -> f64 {
    let cpu: Duration = clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap();
    cpu.as_secs_f64() * 1e6
}

/// Resident memory, in bytes.
pub(super) fn memory() -> f64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: f64 = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096.0
}

/// A goal.
pub(super) struct Row<'a> {
    pub(super) what: &'a str,
    pub(super) limit: &'a str,
    pub(super) unit: &'a str,
    pub(super) most: f64,
}

/// How many files this process may have open.
pub(super) fn open_files() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap_or(usize::MAX)
}

impl Row<'_> {
    /// Prints the median of the ratios of pairs of ours and the limit; says whether the goal is met.
    #[must_use]
    pub(super) fn report(&self, pairs: Vec<(f64, f64)>) -> bool {
        let ratio = self.print(pairs, |ratio| if ratio <= self.most { "PASS" } else { "FAIL" });
        ratio <= self.most
    }

    /// Prints it as something to know.
    pub(super) fn show(&self, pairs: Vec<(f64, f64)>) {
        self.print(pairs, |_| "");
    }

    fn print(&self, mut pairs: Vec<(f64, f64)>, verdict: impl Fn(f64) -> &'static str) -> f64 {
        pairs.sort_by(|(a, b), (c, d)| (a / b).total_cmp(&(c / d)));
        let (ours, limit) = pairs[pairs.len() / 2];
        let ratio = ours / limit;
        let Self { what, limit: name, unit, most } = self;
        let most = if most.is_finite() { format!("of at most {most:4.2}") } else { String::new() };
        println!(
            "  {what:36} {ratio:5.2} {most:15}  {:4}  {ours:8.1} {unit}, {limit:8.1} {unit}: {name}",
            verdict(ratio)
        );
        ratio
    }
}
