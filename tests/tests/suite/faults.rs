//! Faults under load: each request of the load is a handshake of its own, beside connections that last.
//!
//! The numbers are those of docs/faults.md, which says what each fault is, what is expected, and which are seen
//! elsewhere. A test is a [`Pair`] of real Envoys under a [`Trial`], which holds it to the six invariants.

mod agent;
mod authority;
mod changes;
mod clock;
mod disk;
mod imposter;
mod number;
pub(crate) mod socket;
mod torn;

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use signet_tests::{
    bed::{Node, observer::presented, pair::Pair, trial::Trial},
    eventually,
};

use crate::secrets::bed::{EnvoyBed, Shape, Variant};

/// Handshakes a second between the two Envoys. Enough that each moment of a fault is met by several, and so few that
/// a machine with two cores is not what is measured.
const RATE: u32 = 60;
/// How long anything may take to come true.
const PATIENCE: Duration = Duration::from_secs(40);

/// A further Envoy that asks an agent's socket, or whatever stands before it, for the same secrets.
async fn guest(socket: &Path, variant: Variant) -> Result<EnvoyBed> {
    EnvoyBed::at(socket, &Shape { variant, roots: "ROOTCA", second: None, caller: None }).await
}

/// What both agents hold now; the caller's first.
async fn held(pair: &Pair) -> Result<Vec<String>> {
    let held = pair.held().await?;
    held.into_values().map(|all| all.into_iter().next().context("nothing is held")).collect()
}

/// Waits until each of the two agents holds another certificate than before, and both proxies show it.
async fn renewed(pair: &Pair, before: &[String]) -> Result<()> {
    eventually("both hold another certificate", PATIENCE, || async {
        let now = held(pair).await?;
        ensure!(now.iter().zip(before).all(|(now, before)| now != before), "{now:?}");
        Ok(())
    })
    .await?;
    pair.until_converged(PATIENCE).await
}

/// Waits until a listener presents this certificate.
async fn until_presented(guest: &EnvoyBed, serial: &str) -> Result<()> {
    let listener = guest.listener()?;
    eventually("the certificate in a handshake", PATIENCE, || async {
        let shown = presented(listener).await?;
        ensure!(shown == serial.trim_start_matches('0'), "{shown} is presented, not {serial}");
        Ok(())
    })
    .await
}

/// Waits until an agent, or its Envoy, has logged these words so often.
async fn until_logged(node: &Node, words: &str, times: usize) -> Result<()> {
    eventually("it is in the log", PATIENCE, || async {
        let log = node.sidecar.log();
        ensure!(log.matches(words).count() >= times, "{words:?} is not there {times} times in\n{log}");
        Ok(())
    })
    .await
}

/// Ends load and pair, and holds both to all that must hold.
async fn flawless(trial: Trial, pair: Pair) -> Result<String> {
    let verdict = trial.end(&pair).await?;
    verdict.flawless()?;
    ensure!(verdict.tally.reopened == 0, "long-lived connections were lost: {verdict}");
    let clients = pair.end().await?;
    ensure!(!clients.connections.is_empty(), "nobody wrote the clients' certificates down");
    Ok(format!("{verdict}\nclients' serials: {}", clients.connections.len()))
}
