//! CPU time and memory of this process.

use std::{fs, time::Duration};

use rustix::time::{ClockId, clock_gettime};

/// What something took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meter {
    /// Until the last client had it.
    pub(super) seconds: f64,
    /// The time that this process ran, which has the server and not the clients.
    pub(super) cpu_us: f64,
}

/// Where a measurement began.
pub(super) struct Start {
    cpu: Duration,
}

impl Start {
    pub(super) fn now() -> Self {
        Self { cpu: cpu() }
    }

    /// What it took; `seconds` is what the clients say.
    pub(super) fn end(&self, seconds: f64) -> Meter {
        Meter { seconds, cpu_us: cpu().saturating_sub(self.cpu).as_secs_f64() * 1e6 }
    }
}

/// The time that the threads of this process have run. Their schedstats do not say: of a thread that runs, such as the one
/// that asks, that is as old as the last tick.
fn cpu() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap()
}

/// Resident memory in bytes.
pub(super) fn memory() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kilobytes: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes * 1024.0
}
