//! The certificate audit: forty checks over everything that a Signet server knows of its certificates.
//!
//! ```text
//!  Inventory ──▶ Evidence ──▶ 40 checks ──▶ Report ──▶ table, json, jsonl, sarif, junit, csv, openmetrics
//!  (as found)    (read, each     │           (waived, known, new; exit code)
//!                 signature      └ what a check needs and nobody could find out makes the audit incomplete
//!                 verified once)
//! ```
//!
//! Invariants: no I/O, no clock, no randomness; the inventory says what time it is. Nothing in an inventory is
//! believed that can be computed again. A check that could not run is never counted as passed.

mod certificate;
mod check;
mod checks;
mod evidence;
mod finding;
pub mod format;
pub mod inventory;
mod judge;
mod report;
mod run;
mod thresholds;
mod waiver;

pub use check::Check;
pub use checks::{CHECKS, find};
pub use finding::{Finding, Severity, Subject};
pub use inventory::Inventory;
pub use judge::{Judged, judge};
pub use report::{Coverage, Kind, Outcome, Ran, Report, Taken};
pub use run::{Baseline, Selection, audit};
pub use thresholds::{Ladder, Thresholds};
pub use waiver::{InvalidWaiver, Waived, Waiver};
