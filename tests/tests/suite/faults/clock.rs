//! Clocks that jump, and processes that are frozen meanwhile.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use signet::local::admin::Admin;
use signet_tests::bed::{Bed, clock::FalseClock, pair::Pair, trial::Trial};
use tokio::time::Instant;

use super::{RATE, flawless, held, renewed};

/// Beyond the moment at which each certificate is renewed, and before its end.
const SLEPT: Duration = Duration::from_secs(17 * 3600);

fn frozen(pids: &[Pid], meanwhile: impl FnOnce() -> Result<()>) -> Result<()> {
    pids.iter().try_for_each(|pid| kill_process(*pid, Signal::STOP))?;
    let done = meanwhile();
    pids.iter().try_for_each(|pid| kill_process(*pid, Signal::CONT))?;
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn f04_f05_a_machine_that_slept_past_its_renewals_makes_them_when_it_wakes_and_nothing_fails()
-> Result<()> {
    let folder = tempfile::tempdir()?;
    let clock = FalseClock::new(folder.path())?;
    let mut bed = Bed::start_with(clock.programs()?, IpAddr::V4(Ipv4Addr::LOCALHOST)).await?;
    bed.client = bed.server.client(clock.clock())?;
    let pair = Pair::start_in(bed, RATE).await?;
    let mut trial = Trial::begin_by(&pair, &clock.clock()).await?;
    trial.answered(&pair, 60).await?;
    let before = held(&pair).await?;
    let envoy = |pid| Pid::from_raw(pid);
    let pids = [
        pair.bed.server.pid(),
        pair.server.sidecar.agent_pid(),
        pair.caller.sidecar.agent_pid(),
        envoy(pair.server.sidecar.ready.envoy_pid),
        envoy(pair.caller.sidecar.ready.envoy_pid),
    ];
    let pids: Vec<Pid> = pids.into_iter().collect::<Option<_>>().context("all of them run")?;
    frozen(&pids, || clock.set_ahead(SLEPT))?;
    let woke = Instant::now();
    renewed(&pair, &before).await?;
    println!("renewed and converged {} ms after it woke", trial.converged(&pair, woke).await?.as_millis());
    trial.answered(&pair, 60).await?;
    println!("{}", flawless(trial, pair).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn f07_a_node_whose_clock_is_two_hours_ahead_serves_and_renews_and_no_other_notices() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let clock = FalseClock::new(folder.path())?;
    clock.set_ahead(Duration::from_secs(2 * 3600))?;
    let mut bed = Bed::start().await?;
    // The agent and the Envoy of both nodes come from here; the called one's are right again before they are used.
    let right = std::mem::replace(&mut bed.programs, clock.programs()?);
    bed.programs.server = right.server;
    let pair = Pair::start_in_with(bed, RATE, |bed| {
        bed.programs.agent.clone_from(&right.agent);
        bed.programs.envoy.clone_from(&right.envoy);
    })
    .await?;
    let mut trial = Trial::begin(&pair).await?;
    trial.answered(&pair, 60).await?;
    for _ in 0..2 {
        let before = held(&pair).await?;
        for node in [&pair.caller, &pair.server] {
            node.sidecar.rotate()?;
        }
        renewed(&pair, &before).await?;
        trial.converged(&pair, Instant::now()).await?;
    }
    // The server says whose clock it is, once, and how far.
    let log = pair.bed.server.log();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("more than a minute apart")).collect();
    ensure!(told.len() == 1 && told[0].contains("virtualNode/server"), "{told:?}");
    let ops = pair.bed.server.ready.ops.trim_start_matches("http://").parse()?;
    let metrics = Admin::new(ops).text("/metrics").await?;
    let apart =
        metrics.lines().find_map(|line| line.strip_prefix("signet_agent_clock_apart_seconds{mesh=\"m\"} "));
    let apart: u64 = apart.context("no such metric")?.parse()?;
    ensure!((7190..=7200).contains(&apart), "{apart} s");
    let nodes = pair.get("/v1/nodes").await?;
    ensure!(nodes["nodes"].as_array().is_some_and(|all| all.iter().all(|node| node["connected"] == true)));
    println!("{}", flawless(trial, pair).await?);
    Ok(())
}
