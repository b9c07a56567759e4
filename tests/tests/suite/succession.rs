//! Roots and issuers replaced under load: each request a handshake of its own, beside connections that last.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use signet_tests::{
    bed::{
        app::App,
        pair::Pair,
        trial::{Trial, Verdict},
    },
    eventually,
};

const PATIENCE: Duration = Duration::from_secs(40);
/// Requests per second, each over a connection, and so a handshake between two Envoys, of its own.
const HANDSHAKES: u32 = 320;

/// What holds for a change of roots: nothing fails, at the rate that was asked for.
fn flawless(verdict: &Verdict) -> Result<()> {
    verdict.flawless()?;
    // The load is open: it does not wait for whoever is slow, and each of its new connections is a handshake.
    ensure!(verdict.handshakes.0 > 0 && verdict.tally.reopened == 0, "{verdict}");
    Ok(())
}

fn phases(status: &Value) -> String {
    let all = status["phases"].as_array().cloned().unwrap_or_default();
    let one = |phase: &Value| format!("{} {}", phase["phase"], phase["tookMs"]);
    all.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[tokio::test(flavor = "multi_thread")]
async fn f10_f13_a_root_an_issuer_and_an_abort_in_the_middle_fail_no_request_at_three_hundred_handshakes_a_second()
-> Result<()> {
    let pair = Pair::start(HANDSHAKES).await?;
    let old = pair.root().await?;
    let trial = Trial::begin(&pair).await?;

    pair.told(&["rotate", "start", "--root", "--spread", "2", "--wait"])?;
    let status = pair.status().await?;
    println!("root: {} (ms)", phases(&status));
    assert_eq!(status["phase"], "completed", "{status:#}");
    let new = pair.root().await?;
    assert_ne!(new, old);

    pair.told(&["rotate", "start", "--issuer", "m", "--spread", "1", "--wait"])?;
    println!("issuer: {} (ms)", phases(&pair.status().await?));
    assert_eq!(pair.root().await?, new, "the root stays");

    // In the middle: one holds a certificate of the new root when everybody is told to go back.
    pair.told(&["rotate", "start", "--root", "--spread", "600"])?;
    pair.until("issue").await?;
    pair.caller.sidecar.rotate()?;
    eventually("half have moved", PATIENCE, || async {
        let status = pair.status().await?;
        ensure!(status["proven"] == 1 && status["total"] == 2, "{status:#}");
        Ok(())
    })
    .await?;
    pair.told(&["rotate", "abort"])?;
    pair.until("return").await?;
    pair.caller.sidecar.rotate()?;
    let status = pair.until("aborted").await?;
    println!("abort: {} (ms)", phases(&status));
    assert_eq!(pair.root().await?, new);

    let verdict = trial.end(&pair).await?;
    println!("{verdict}");
    flawless(&verdict)?;
    println!("{:?}", pair.end().await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn f11_a_dead_proxy_holds_a_root_change_up_by_name_through_a_kill_of_the_server_until_it_is_overridden()
-> Result<()> {
    let mut pair = Pair::start(HANDSHAKES).await?;
    let app = App::http("third").await?;
    let mut third = pair.bed.served("m", "third", &app, "http", |_| {}).await?;
    pair.until_watched(3).await?;
    third.sidecar.kill_agent().await?;
    let trial = Trial::begin(&pair).await?;

    pair.told(&["rotate", "start", "--root", "--spread", "1"])?;
    let waits = || async {
        eventually("it waits for the dead one alone", PATIENCE, || async {
            let status = pair.status().await?;
            let names = status["laggards"].to_string();
            ensure!(status["phase"] == "distribute" && status["proven"] == 2, "{status:#}");
            ensure!(names.contains("virtualNode/third"), "{names}");
            Ok(())
        })
        .await
    };
    waits().await?;
    pair.bed.server.kill().await?;
    pair.bed.server.restart().await?;
    eventually("it goes on where it was, and knows of the dead one by the ledger", PATIENCE, || async {
        let status = pair.status().await?;
        let names = status["laggards"].to_string();
        ensure!(status["phase"] == "distribute" && status["proven"] == 2, "{status:#}");
        ensure!(names.contains("virtualNode/third"), "{names}");
        Ok(())
    })
    .await?;
    let said = pair.told(&["rotate", "resume", "--override", "mesh/m/virtualNode/third", "--wait"])?;
    println!("{said}");
    assert!(said.contains("nobody waits for it"), "{said}");
    let verdict = trial.end(&pair).await?;
    println!("{verdict}");
    flawless(&verdict)?;

    // Whoever was away goes on serving, and is told what to do.
    third.sidecar.restart_agent().await?;
    eventually("the agent says what to do", PATIENCE, || async {
        ensure!(third.sidecar.log().contains("copy the new ca.pem"), "{}", third.sidecar.log());
        Ok(())
    })
    .await?;
    pair.end().await?;
    Ok(())
}
