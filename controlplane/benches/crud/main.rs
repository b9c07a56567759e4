//! What the API costs, each way beside the limit that it cannot pass.
//!
//! `cargo bench -p signet-controlplane --bench crud` measures limit and ours in turn, so that a slow moment of
//! the machine hits both. Requests are signed, go over loopback, and meet the store on a disk. The process ends
//! with 1 when a ratio misses its goal.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench that cannot run may end, and prints")]

mod api;
mod wire;

use std::{process::ExitCode, time::Duration};

/// A measured thing beside what bounds it.
struct Row {
    what: &'static str,
    limit: &'static str,
    /// Ours over the limit, in time: at most this.
    goal: f64,
    ours: Duration,
    bound: Duration,
}

impl Row {
    fn ratio(&self) -> f64 {
        self.ours.as_secs_f64() / self.bound.as_secs_f64()
    }

    /// Says whether the goal is met.
    fn print(&self) -> bool {
        let Self { what, limit, goal, ours, bound } = self;
        let is_met = self.ratio() <= *goal;
        println!(
            "{what:42} {:>6.3} of the limit, at most {goal:.2} wanted: {}; {ours:.1?}, the limit {bound:.1?}: {limit}",
            self.ratio(),
            if is_met { "PASS" } else { "FAIL" },
        );
        is_met
    }
}

/// The middle one.
fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn main() -> ExitCode {
    let rows = api::rows();
    let missed = rows.iter().filter(|row| !row.print()).count();
    match missed {
        0 => ExitCode::SUCCESS,
        missed => {
            println!("{missed} of {} goals were missed", rows.len());
            ExitCode::FAILURE
        }
    }
}
