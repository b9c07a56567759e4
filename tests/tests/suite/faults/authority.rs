//! The Signet server is away, slow, or contradicted.

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Signal, kill_process};
use serde_json::Value;
use signet::local::admin::Admin;
use signet_sds::testing::{Answer, MiniCa};
use signet_tests::{
    bed::{
        Bed,
        pair::Pair,
        relay::{Manner, Relay},
        trial::Trial,
    },
    clock, eventually,
};
use tokio::time::Instant;

use super::{
    PATIENCE, RATE, flawless, guest, held, imposter::Imposter, renewed, until_logged, until_presented,
};
use crate::secrets::bed::{Variant, bad_list};

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

/// Roots that an Envoy took.
const TAKEN: &str = "sds.ROOTCA.update_success";

/// What an authority may answer wrongly, and what the agent says of it.
const LIES: [(Answer, &str); 8] = [
    (Answer::OtherKey, "is for another key than ours"),
    (Answer::SomebodyElses, "-other\"], not for"),
    (Answer::TwoNames, "-other\"], not for"),
    (Answer::Early, "is valid from"),
    (Answer::Expired, "is valid from"),
    (Answer::OtherRoot, "is no client certificate under the bundle"),
    (Answer::Alone, "is no client certificate under the bundle"),
    (Answer::ClientOnly, "is no server certificate under the bundle"),
];

#[tokio::test(flavor = "multi_thread")]
async fn f14_f22_an_authority_that_answers_wrongly_and_pushes_bad_roots_is_not_believed_and_what_was_held_stays()
-> Result<()> {
    let mut bed = Bed::start().await?;
    let right = bed.server.grpc_address().parse()?;
    let (relay, address) = Relay::tcp(right).await?;
    bed.server.ready.grpc = format!("https://{address}");
    let pair = Pair::start_in(bed, RATE).await?;
    let nodes = [&pair.caller, &pair.server];
    let mut trial = Trial::begin(&pair).await?;
    trial.answered(&pair, 60).await?;
    let before = held(&pair).await?;
    let imposter = Imposter::start(&pair.bed.server.ready.data_dir).await?;
    relay.redirect(imposter.address);
    relay.cut();
    // What Envoys refuse, they go on without; what is right again, they take.
    let authority = imposter.authority();
    imposter.trust("bad", authority.root(), vec![bad_list(&authority)?]);
    for node in nodes {
        eventually("Envoy refuses the roots", PATIENCE, || async {
            ensure!(node.total("sds.ROOTCA.update_rejected").await? > 0);
            Ok(())
        })
        .await?;
    }
    trial.answered(&pair, 60).await?;
    let taken = [nodes[0].total(TAKEN).await?, nodes[1].total(TAKEN).await?];
    imposter.trust("good", authority.root(), Vec::new());
    for (node, taken) in nodes.iter().zip(taken) {
        eventually("Envoy takes the roots", PATIENCE, || async {
            ensure!(node.total(TAKEN).await? > taken);
            Ok(())
        })
        .await?;
    }
    // What would not vouch for what is held does not come to Envoy.
    let stranger = MiniCa::new(&"signet.internal".parse()?, clock()());
    imposter.trust("stranger", stranger.root(), Vec::new());
    for node in nodes {
        until_logged(node, "what the server says to trust is not handed on", 1).await?;
    }
    let updates = pair.server.total("ssl_context_update_by_sds").await?;
    for (lie, words) in LIES {
        imposter.answer(lie);
        let told = nodes.map(|node| node.sidecar.log().matches(words).count());
        for (node, told) in nodes.iter().zip(told) {
            node.sidecar.rotate()?;
            until_logged(node, words, told + 1).await.with_context(|| format!("{lie:?}"))?;
        }
    }
    let asked = imposter.asked();
    ensure!(asked.len() == 2 && asked.values().all(|count| *count >= 8), "{asked:?}");
    trial.answered(&pair, 60).await?;
    ensure!(trial.observed(&pair).serials().len() == 1, "another certificate came about");
    ensure!(pair.server.total("ssl_context_update_by_sds").await? == updates, "Envoy was sent something");

    relay.redirect(right);
    relay.cut();
    let back = Instant::now();
    // The right server hears that they failed, before they ask again by themselves, and makes a metric of it.
    let ops = Admin::new(pair.bed.server.ready.ops.trim_start_matches("http://").parse()?);
    eventually("the failures are counted", PATIENCE, || async {
        let metrics = ops.text("/metrics").await?;
        ensure!(metrics.contains("signet_agents_failing_to_renew{mesh=\"m\"} 2"), "{metrics}");
        Ok(())
    })
    .await?;
    ensure!(held_again(&pair).await? == before, "somebody holds another certificate");
    for node in nodes {
        node.sidecar.rotate()?;
    }
    renewed(&pair, &before).await?;
    println!("converged {} ms after the end", trial.converged(&pair, back).await?.as_millis());
    println!("{}", flawless(trial, pair).await?);
    Ok(())
}
