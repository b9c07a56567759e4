//! A soak: a mesh lives through years in minutes, while chance does what it can.
//!
//! ```text
//!  seed ─▶ script ─▶ stage: server, two agents with Envoys, load ─▶ report
//!                      ▲  what goes wrong, one thing after the other
//!                      └─ observers: ledger, handshakes, memory; they look all the time
//! ```
//!
//! Leaves live for seconds, so that a run has a thousand rotations. What must hold is what must hold always: no request
//! fails, nobody presents a certificate that has ended, the ledger verifies and repeats no serial number, everybody
//! comes round after each fault, and memory stays.

mod faults;
mod memory;
mod observer;
mod report;
mod script;
mod stage;

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use tokio::time::Instant;

pub use memory::{Memory, Trend};
pub use report::{Invariant, Report, table};
pub use script::{Fault, Step, Twist, Who, script};
use stage::Stage;

/// What is wanted of a soak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Wanted {
    /// All chance comes out of it.
    pub seed: u64,
    /// Certificates that the two agents renew at least.
    pub rotations: u64,
    /// Changes of the root.
    pub root_changes: u64,
    /// Requests a second, each over a connection and a handshake of its own.
    pub handshakes: u32,
    /// Life of a leaf, in seconds.
    pub leaf_secs: u64,
    /// Whether anything goes wrong.
    pub faults: bool,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { seed: 1, rotations: 1000, root_changes: 20, handshakes: 100, leaf_secs: 20, faults: true }
    }
}

/// How far a soak is.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Since its start.
    pub elapsed: Duration,
    /// Steps that are done.
    pub done: usize,
    /// Of so many.
    pub steps: usize,
    /// What comes next.
    pub next: String,
    /// Certificates that were renewed.
    pub rotations: u64,
    /// Requests that came to an end.
    pub requests: u64,
    /// Of those, how many failed.
    pub failed: u64,
}

/// Runs a soak to its end. What broke is in the report; `tell` is told before each step.
///
/// # Errors
/// The mesh cannot be set up, or did not come round after a step.
pub async fn run(wanted: &Wanted, mut tell: impl FnMut(&Progress)) -> Result<Report> {
    let steps = script(wanted);
    let mut stage = Stage::set(wanted).await?;
    let started = Instant::now();
    for (done, step) in steps.iter().enumerate() {
        tell(&stage.progress(started.elapsed(), done, steps.len(), step.to_string()));
        if let Err(error) = stage.play(step).await {
            stage.broke(format!("step {done}, {step}: {error:#}"));
            break;
        }
    }
    tell(&stage.progress(started.elapsed(), steps.len(), steps.len(), "the report".to_owned()));
    stage.strike(wanted, started.elapsed()).await
}
