//! How much memory processes hold, over time.

use std::{collections::BTreeMap, time::Duration};

use rustix::process::Pid;
use serde::Serialize;

use crate::bed::trial::resident;

/// The part of a process's life in which it warms up, and is not looked at.
const WARM_UP: f64 = 0.2;

/// What was seen of every process.
#[derive(Debug, Default)]
pub struct Memory(BTreeMap<(&'static str, i32), Vec<(f64, f64)>>);

/// How the memory of a process that lived to the end went.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Trend {
    /// Which.
    pub part: &'static str,
    /// How long it was looked at, in seconds, after it had warmed up.
    pub seconds: f64,
    /// What it held in the first quarter of that, in MiB.
    pub first_mib: f64,
    /// What it held in the last quarter.
    pub last_mib: f64,
    /// The slope of the line of least squares, in MiB an hour.
    pub slope_mib_per_hour: f64,
}

impl Memory {
    /// Looks at a process now; one that is gone is passed over.
    pub fn look(&mut self, part: &'static str, pid: Pid, elapsed: Duration) {
        if let Some(mib) = mib(pid) {
            self.note(part, pid.as_raw_nonzero().get(), elapsed, mib);
        }
    }

    fn note(&mut self, part: &'static str, pid: i32, elapsed: Duration, mib: f64) {
        self.0.entry((part, pid)).or_default().push((elapsed.as_secs_f64(), mib));
    }

    /// Of each part the process that was seen last.
    #[must_use]
    pub fn trends(&self) -> Vec<Trend> {
        let mut last = BTreeMap::<&'static str, &Vec<(f64, f64)>>::new();
        for ((part, _), samples) in &self.0 {
            let end = |samples: &[(f64, f64)]| samples.last().map_or(0.0, |(at, _)| *at);
            let kept = last.entry(part).or_insert(samples);
            if end(samples) > end(kept) {
                *kept = samples;
            }
        }
        last.into_iter().filter_map(|(part, samples)| trend(part, samples)).collect()
    }
}

fn trend(part: &'static str, samples: &[(f64, f64)]) -> Option<Trend> {
    let (born, died) = (samples.first()?.0, samples.last()?.0);
    let warm = born + WARM_UP * (died - born);
    let seen: Vec<_> = samples.iter().copied().filter(|(at, _)| *at >= warm).collect();
    let quarter = seen.len().div_ceil(4);
    let mean = |values: &mut dyn Iterator<Item = f64>| {
        let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
        sum / f64::max(count, 1.0)
    };
    let (x, y) = (mean(&mut seen.iter().map(|(at, _)| *at)), mean(&mut seen.iter().map(|(_, mib)| *mib)));
    let covariance = mean(&mut seen.iter().map(|(at, mib)| (at - x) * (mib - y)));
    let variance = mean(&mut seen.iter().map(|(at, _)| (at - x) * (at - x)));
    Some(Trend {
        part,
        seconds: died - warm,
        first_mib: mean(&mut seen.iter().take(quarter).map(|(_, mib)| *mib)),
        last_mib: mean(&mut seen.iter().rev().take(quarter).map(|(_, mib)| *mib)),
        slope_mib_per_hour: if variance > 0.0 { covariance / variance * 3600.0 } else { 0.0 },
    })
}

/// Resident memory in MiB.
fn mib(pid: Pid) -> Option<f64> {
    let kib = u32::try_from(resident(pid)?).ok()?;
    Some(f64::from(kib) / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trend_is_that_of_the_last_process_after_it_warmed_up() {
        let mut memory = Memory::default();
        for second in 0..100 {
            let at = Duration::from_secs(second);
            memory.note("server", 1, at, 500.0);
            memory.note("agent", 3, at, 7.0);
        }
        for second in 100..200 {
            // A jump, then 1 MiB in ten seconds.
            let grown = f64::from(u32::try_from(second).unwrap() - 100) / 10.0;
            memory.note(
                "server",
                2,
                Duration::from_secs(second),
                if second < 110 { 5.0 } else { 50.0 + grown },
            );
        }
        let trends = memory.trends();
        let [agent, server] = &trends[..] else { panic!("{trends:?}") };
        assert!((server.slope_mib_per_hour - 360.0).abs() < 1e-6, "{server:?}");
        assert!(server.first_mib > 50.0 && server.last_mib > server.first_mib, "{server:?}");
        assert_eq!((agent.slope_mib_per_hour, agent.first_mib), (0.0, 7.0));
    }
}
