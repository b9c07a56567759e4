//! A change of the root under load, with what was never meant to come in its middle.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use signet_tests::{
    Outsider,
    bed::{pair::Pair, trial::Trial},
    clock, eventually,
};

use super::{PATIENCE, RATE, flawless};
use crate::revocation::wire::Thief;

/// The phases in which there is somebody to wait for.
const PHASES: [&str; 3] = ["distribute", "issue", "retire"];
const THIEF: &str = "spiffe://signet.internal/mesh/m/virtual-node/thief";
const START: [&str; 5] = ["rotate", "start", "--root", "--spread", "2"];

/// Waits until the change has entered a phase, and says in which it is.
async fn entered(pair: &Pair, phase: &str) -> Result<String> {
    eventually(phase, PATIENCE, || async {
        let status = pair.status().await?;
        let phases = status["phases"].as_array().cloned().unwrap_or_default();
        ensure!(phases.iter().any(|one| one["phase"] == phase), "{status:#}");
        Ok(status["phase"].as_str().unwrap_or_default().to_owned())
    })
    .await
}

/// Until the change is over, which must be because it is complete.
async fn over(pair: &Pair) -> Result<Value> {
    let status = eventually("the change is over", PATIENCE, || async {
        let status = pair.status().await?;
        ensure!(status["isOver"] == true, "{status:#}");
        Ok(status)
    })
    .await?;
    ensure!(status["phase"] == "completed", "{status:#}");
    Ok(status)
}

/// The same of a change that must have put a new root in the place of `old`; the new one.
async fn completed(pair: &Pair, old: &str) -> Result<String> {
    let status = over(pair).await?;
    let new = pair.root().await?;
    ensure!(new != old, "the root is the old one: {status:#}");
    Ok(new)
}

#[tokio::test(flavor = "multi_thread")]
async fn f01_f10_a_server_that_is_killed_in_each_phase_of_a_root_change_completes_it_and_lasting_connections_stay()
-> Result<()> {
    let mut pair = Pair::start(RATE).await?;
    let mut root = pair.root().await?;
    let mut trial = Trial::begin(&pair).await?;
    let mut killed_in = Vec::new();
    for phase in PHASES {
        pair.told(&START)?;
        killed_in.push(entered(&pair, phase).await?);
        pair.bed.server.kill().await?;
        // The Envoys go on meanwhile.
        trial.answered(&pair, 60).await?;
        pair.bed.server.restart().await?;
        pair.bed.client = pair.bed.server.client(clock())?;
        root = completed(&pair, &root).await.with_context(|| format!("killed in {killed_in:?}"))?;
        trial.renewed(&pair).await?;
    }
    println!("killed in {killed_in:?}; {}", flawless(trial, pair).await?);
    Ok(())
}

async fn join(pair: &Pair) -> Result<Outsider> {
    Outsider::join(&pair.bed.server, &pair.bed.client, "m", "thief").await
}

async fn refused(thieves: &[Thief]) -> Result<()> {
    for (number, thief) in thieves.iter().enumerate() {
        ensure!(thief.connect().await.is_err(), "stolen certificate {number} is let in");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn f10_f21_an_identity_revoked_in_each_phase_of_a_root_change_stays_out_under_both_roots_and_the_change_goes_on()
-> Result<()> {
    let mut pair = Pair::start(RATE).await?;
    // A revocation cuts connections of TCP that last, after Envoy's drain time.
    (pair.plan.kept_alive, pair.plan.connections) = (0, 0);
    pair.bed.virtual_node("m", "thief", json!({})).await?;
    let mut root = pair.root().await?;
    let mut trial = Trial::begin(&pair).await?;
    let mut revoked_in = Vec::new();
    for phase in PHASES {
        // Of the old root. Nobody who reports holds it, so the change would wait for its end.
        let early = join(&pair).await?;
        pair.told(&START)?;
        pair.told(&["rotate", "resume", "--override", "mesh/m/virtualNode/thief"])?;
        revoked_in.push(entered(&pair, phase).await?);
        // Of whichever signs now. It trusts both roots, so that who refuses is the called Envoy.
        let late = join(&pair).await?;
        let thief = |stolen| Thief::trusting(stolen, late.roots(), pair.listener());
        let thieves = [thief(&early)?, thief(&late)?];
        // To retire the old root is to trust it no longer.
        let good = if phase == "retire" { &thieves[1..] } else { &thieves[..] };
        for stolen in good {
            let first = stolen.connect().await;
            first.with_context(|| format!("refused before it is revoked in {revoked_in:?}"))?;
        }
        let said = pair.told(&["revoke", THIEF, "--reason", "keyCompromise"])?;
        ensure!(said.contains("every connected proxy has accepted the lists"), "{said}");
        refused(&thieves).await.with_context(|| format!("revoked in {revoked_in:?}"))?;
        root = completed(&pair, &root).await.with_context(|| format!("revoked in {revoked_in:?}"))?;
        refused(&thieves).await.with_context(|| format!("under the new root; revoked in {revoked_in:?}"))?;
        ensure!(join(&pair).await.is_err(), "a banned identity joined under the new root");
        trial.renewed(&pair).await?;
        pair.told(&["allow", THIEF])?;
    }
    // Its certificates are on the lists for as long as they live; an issuer that is new gets one, too.
    pair.told(&["rotate", "start", "--issuer", "m", "--spread", "1"])?;
    pair.told(&["rotate", "resume", "--override", "mesh/m/virtualNode/thief"])?;
    over(&pair).await?;
    let verdict = trial.end(&pair).await?;
    println!("revoked in {revoked_in:?}; {verdict}");
    verdict.sound()?;
    ensure!(verdict.tally.failed == 0, "{verdict}: {:?}", verdict.tally.failures);
    pair.end().await.map(drop)
}
