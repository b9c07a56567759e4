//! How a herd fared.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use serde::Serialize;
use signet_policies::time::{Timestamp, Validity};
use signet_sds::{rotator::renewal_at, secret::Secrets, signer::SignerError};

use super::Call;

/// Everybody has its certificates; this says how long that took.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Agents.
    pub agents: usize,
    /// All tokens, made one by one over the API, many calls at once.
    pub tokens_took: Duration,
    /// Until all had joined.
    pub joins: Wave,
    /// Until all had renewed, all at once.
    pub renewals: Wave,
    /// The largest distance between the share of certificates that are due at a moment of their life and the share that
    /// should be: 0 to 1.
    pub spread: f64,
}

/// All agents asking at once.
#[derive(Clone, Debug, Serialize)]
pub struct Wave {
    /// From the first to the last.
    pub took: Duration,
    /// The middle one of the calls that were served, from the begin of the connection on.
    pub p50: Duration,
    /// Of a hundred calls that were served, the slowest but one.
    pub p99: Duration,
    /// The slowest call that was served.
    pub max: Duration,
    /// Calls that were served.
    pub served: usize,
    /// Calls that were told when to come back.
    pub sent_away: usize,
    /// Calls without a connection or an answer in time.
    pub unanswered: usize,
    /// Why the last one was refused for good; nobody should be.
    pub refused: Option<String>,
}

impl Wave {
    pub(super) fn new(took: Duration, calls: Vec<Call>) -> Self {
        let mut served: Vec<_> =
            calls.iter().filter(|call| call.outcome.is_ok()).map(|call| call.took).collect();
        served.sort_unstable();
        let at = |hundredths: usize| {
            served.get(served.len().saturating_sub(1) * hundredths / 100).copied().unwrap_or_default()
        };
        let mut wave = Self {
            took,
            p50: at(50),
            p99: at(99),
            max: at(100),
            served: served.len(),
            sent_away: 0,
            unanswered: 0,
            refused: None,
        };
        for failure in calls.into_iter().filter_map(|call| call.outcome.err()) {
            match failure {
                SignerError::Busy { .. } => wave.sent_away += 1,
                SignerError::Unavailable(_) => wave.unanswered += 1,
                SignerError::Refused(reason) => wave.refused = Some(reason),
            }
        }
        wave
    }
}

/// How far the moments of first renewals are from where the theory has them: Kolmogorov's and Smirnov's distance.
///
/// # Errors
/// No certificate is the first of its agent.
pub(super) fn spread(held: &[Arc<Secrets>]) -> Result<f64> {
    ensure!(!held.is_empty() && held.iter().all(|held| held.leaf().is_first()), "these are no first ones");
    let share = |index: usize, of: usize| index as f64 / of as f64;
    let mut due: Vec<_> = held
        .iter()
        .map(|held| {
            let validity = held.leaf().validity();
            let after = Timestamp::from(renewal_at(held.leaf())).since(validity.not_before());
            after.as_secs_f64() / validity.length().as_secs_f64()
        })
        .collect();
    due.sort_by(f64::total_cmp);
    let life = Validity::new(Timestamp::from_unix(0), Timestamp::from_unix(1_000_000))?;
    // What every thousandth draw comes to.
    let theory: Vec<_> = (0..1000_u32)
        .map(|draw| life.first_renewal_at(draw * (u32::MAX / 1000)).unix() as f64 / 1e6)
        .collect();
    let distance = |(index, due_at): (usize, &f64)| {
        let expected = share(theory.partition_point(|at| at <= due_at), theory.len());
        // The share of what is due steps up there.
        [index, index + 1]
            .map(|index| (expected - share(index, due.len())).abs())
            .into_iter()
            .fold(0.0, f64::max)
    };
    Ok(due.iter().enumerate().map(distance).fold(0.0, f64::max))
}

/// For people.
#[must_use]
pub fn table(report: &Report) -> String {
    let Report { agents, tokens_took, joins, renewals, spread } = report;
    let rate = |count: usize, took: &Duration| count as f64 / took.as_secs_f64();
    let mut text = format!(
        "{agents} agents\n\n{:<34} {:>8} {:>9} {:>8} {:>8} {:>8} {:>10} {:>11}\n",
        "", "SECONDS", "A SECOND", "P50 s", "P99 s", "MAX s", "SENT AWAY", "UNANSWERED"
    );
    let took = tokens_took.as_secs_f64();
    let _ =
        writeln!(text, "{:<34} {took:>8.2} {:>9.0}", "tokens, 32 calls at once", rate(*agents, tokens_took));
    for (what, wave) in [("joins, all begun within 1 s", joins), ("renewals, all begun at once", renewals)] {
        let Wave { took, p50, p99, max, served, sent_away, unanswered, refused } = wave;
        let [p50, p99, max] = [p50, p99, max].map(Duration::as_secs_f64);
        let (seconds, rate) = (took.as_secs_f64(), rate(*served, took));
        let _ = writeln!(
            text,
            "{what:<34} {seconds:>8.2} {rate:>9.0} {p50:>8.2} {p99:>8.2} {max:>8.2} {sent_away:>10} {unanswered:>11}"
        );
        if let Some(refused) = refused {
            let _ = writeln!(text, "refused: {refused}");
        }
    }
    let _ = writeln!(text, "\ntheir own moments of renewal are {spread:.4} from the theory's, of 1");
    text
}
