//! The Signet server is away, slow, or contradicted.

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Signal, kill_process};
use serde_json::Value;
use signet_tests::{
    bed::{
        Bed,
        pair::Pair,
        relay::{Manner, Relay},
        trial::Trial,
    },
    eventually,
};
use tokio::time::Instant;

use super::{PATIENCE, RATE, flawless, guest, held, renewed, until_logged, until_presented};
use crate::secrets::bed::Variant;

#[tokio::test(flavor = "multi_thread")]
async fn f01_a_server_that_is_killed_at_a_renewal_fails_nothing_and_an_envoy_that_starts_meanwhile_is_served()
-> Result<()> {
    let mut pair = Pair::start(RATE).await?;
    let mut trial = Trial::begin(&pair).await?;
    trial.answered(&pair, 60).await?;
    let before = held(&pair).await?;
    pair.caller.sidecar.rotate()?;
    pair.server.sidecar.rotate()?;
    pair.bed.server.kill().await?;
    for node in [&pair.caller, &pair.server] {
        until_logged(node, "no stream to the server", 1).await?;
    }
    let newcomer = guest(&pair.server.sidecar.ready.socket, Variant::Sotw).await?;
    let last = trial.observed(&pair).last.unwrap_or_default();
    until_presented(&newcomer, &last).await?;
    trial.answered(&pair, 60).await?;

    pair.bed.server.restart().await?;
    let back = Instant::now();
    // Whichever of the two requests came through before the kill has been answered or is made again.
    let now = held_again(&pair).await?;
    for node in [&pair.caller, &pair.server] {
        node.sidecar.rotate()?;
    }
    renewed(&pair, &now).await?;
    ensure!(held(&pair).await?.iter().all(|serial| !before.contains(serial)));
    println!(
        "both renewed {} ms after the server came back",
        trial.converged(&pair, back).await?.as_millis()
    );
    let serial = held(&pair).await?.pop().unwrap_or_default();
    until_presented(&newcomer, &serial).await?;
    println!("{}", flawless(trial, pair).await?);
    Ok(())
}

/// What both agents hold, once they are heard again.
pub(super) async fn held_again(pair: &Pair) -> Result<Vec<String>> {
    eventually("both agents are back", PATIENCE, || held(pair)).await
}

/// Threads and descriptors of an agent.
fn burden(pair: &Pair) -> Result<Vec<usize>> {
    let mut burden = Vec::new();
    for node in [&pair.caller, &pair.server] {
        let pid = node.sidecar.agent_pid().map_or(0, |pid| pid.as_raw_nonzero().get());
        for what in ["task", "fd"] {
            burden.push(std::fs::read_dir(format!("/proc/{pid}/{what}"))?.count());
        }
    }
    Ok(burden)
}

#[tokio::test(flavor = "multi_thread")]
async fn f02_a_server_that_says_a_byte_a_second_or_nothing_is_given_up_on_and_the_old_certificates_stay()
-> Result<()> {
    let mut bed = Bed::start().await?;
    let (relay, address) = Relay::tcp(bed.server.grpc_address().parse()?).await?;
    bed.server.ready.grpc = format!("https://{address}");
    let pair = Pair::start_in(bed, RATE).await?;
    let mut trial = Trial::begin(&pair).await?;
    let (before, light) = (held(&pair).await?, burden(&pair)?);

    relay.behave(Manner::Trickle);
    for node in [&pair.caller, &pair.server] {
        node.sidecar.rotate()?;
    }
    for node in [&pair.caller, &pair.server] {
        until_logged(node, "tls handshake eof", 1).await?;
    }
    // Now it takes connections and says nothing at all.
    let server = pair.bed.server.pid().context("the server runs")?;
    kill_process(server, Signal::STOP)?;
    relay.behave(Manner::Pass);
    relay.cut();
    for node in [&pair.caller, &pair.server] {
        node.sidecar.rotate()?;
    }
    for node in [&pair.caller, &pair.server] {
        until_logged(node, "the server did not answer within 10 s", 1).await?;
    }
    let heavy = burden(&pair)?;
    let grew = heavy.iter().zip(&light).any(|(heavy, light)| *heavy > light + 8);
    ensure!(!grew, "threads and descriptors: {light:?} before, {heavy:?} now");
    ensure!(trial.observed(&pair).serials().len() == 1, "another certificate came about");

    kill_process(server, Signal::CONT)?;
    let back = Instant::now();
    eventually("both agents are back", PATIENCE, || held(&pair)).await?;
    renewed(&pair, &before).await?;
    println!("converged {} ms after the end", trial.converged(&pair, back).await?.as_millis());
    println!("{}", flawless(trial, pair).await?);
    Ok(())
}

fn text(status: &Value) -> String {
    format!("{status:#}")
}

#[tokio::test(flavor = "multi_thread")]
async fn f12_a_proxy_that_refuses_the_roots_ends_their_change_with_its_reason_and_the_old_ones_come_back()
-> Result<()> {
    let pair = Pair::start(RATE).await?;
    let old = pair.root().await?;
    let mut refuser = super::socket::Refuser::connect(&pair.caller.sidecar.ready.socket).await?;
    let trial = Trial::begin(&pair).await?;
    trial.answered(&pair, 60).await?;
    let first = refuser.accept().await?;

    pair.told(&["rotate", "start", "--root", "--spread", "1"])?;
    refuser.refuse("too many roots for me").await?;
    let status = eventually("everybody goes back", PATIENCE, || async {
        let status = pair.status().await?;
        ensure!(status["phase"] == "aborted", "{status:#}");
        Ok(status)
    })
    .await?;
    ensure!(text(&status).contains("too many roots for me"), "{status:#}");
    ensure!(text(&status).contains("virtualNode/caller"), "{status:#}");
    ensure!(refuser.accept().await? == first, "the old bundle comes back, byte for byte");
    ensure!(pair.root().await? == old, "the root is another one");
    pair.until_converged(PATIENCE).await?;
    println!("{}", flawless(trial, pair).await?);
    Ok(())
}
