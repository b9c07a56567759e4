//! Roots and issuers replaced under load: each request a handshake of its own, beside connections that last.

use std::{path::Path, time::Duration};

use anyhow::{Result, ensure};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use serde_json::Value;
use signet::local::probe::tls_connector;
use signet_tests::{
    bed::{
        app::App,
        pair::Pair,
        trial::{Trial, Verdict},
    },
    ceremony::openssl,
    eventually,
};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(40);
/// Of the two, the one that is called.
const SERVER: &str = "mesh/m/virtualNode/server";
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

/// Whether what the server's Envoy presents is good by these roots alone. Nobody is shown for the caller, which a handshake of
/// TLS 1.3 survives.
async fn is_good_by(pair: &Pair, roots: &[CertificateDer<'static>]) -> Result<bool> {
    let at = pair.listener();
    let tcp = TcpStream::connect(at).await?;
    let shaken = tls_connector(roots, None, &[])?.connect(ServerName::IpAddress(at.ip().into()), tcp).await;
    Ok(shaken.is_ok())
}

/// What is trusted.
fn trusted(pair: &Pair) -> Result<Vec<CertificateDer<'static>>> {
    let bundle = std::fs::read(pair.bed.server.ca_file())?;
    Ok(CertificateDer::pem_slice_iter(&bundle).collect::<Result<_, _>>()?)
}

/// 37 and 38 of docs/sds.md: who is the last to accept the new root, or to hold a certificate of the old one, is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn s37_s38_no_envoy_presents_a_new_root_before_all_accepted_it_and_the_old_one_is_trusted_while_one_presents_it()
-> Result<()> {
    let mut pair = Pair::start(50).await?;
    let app = App::http("third").await?;
    let mut third = pair.bed.served("m", "third", &app, "http", |_| {}).await?;
    pair.until_watched(3).await?;
    third.sidecar.kill_agent().await?;
    let trial = Trial::begin(&pair).await?;
    let old = trusted(&pair)?;
    pair.told(&["rotate", "start", "--root", "--spread", "600"])?;
    eventually("two of three accept both roots", PATIENCE, || async {
        let status = pair.status().await?;
        ensure!(status["phase"] == "distribute" && status["proven"] == 2, "{status:#}");
        Ok(())
    })
    .await?;
    let both = trusted(&pair)?;
    let new: Vec<_> = both.iter().filter(|root| !old.contains(root)).cloned().collect();
    ensure!((old.len(), new.len(), both.len()) == (1, 1, 2), "{} roots are trusted", both.len());
    // 37: whoever renews now gets a leaf that the third trusts.
    let before = pair.held().await?;
    pair.server.sidecar.rotate()?;
    eventually("the server's Envoy presents another leaf", PATIENCE, || async {
        let held = pair.held().await?;
        let (now, then) = (&held[SERVER], &before[SERVER]);
        ensure!(now.first() != then.first() && now.iter().all(|one| now.first() == Some(one)), "{held:?}");
        Ok(())
    })
    .await?;
    ensure!(
        is_good_by(&pair, &old).await? && !is_good_by(&pair, &new).await?,
        "a leaf of the new root is there"
    );

    pair.told(&["rotate", "resume", "--override", "mesh/m/virtualNode/third"])?;
    pair.until("issue").await?;
    pair.server.sidecar.rotate()?;
    eventually("the server's Envoy presents the new root's leaf", PATIENCE, || async {
        ensure!(is_good_by(&pair, &new).await?, "not yet");
        Ok(())
    })
    .await?;
    // 38: the caller presents one of the old root to an Envoy whose own is of the new one.
    trial.answered(&pair, 250).await?;
    let status = pair.status().await?;
    ensure!(status["phase"] == "issue" && laggards(&status).len() == 1, "{status:#}");
    ensure!(trusted(&pair)? == both, "what is trusted changed");
    pair.caller.sidecar.rotate()?;
    pair.until("completed").await?;
    let verdict = trial.end(&pair).await?;
    println!("{verdict}");
    // The looks from here are handshakes that failed, so only requests are counted.
    ensure!(verdict.tally.failed == 0 && verdict.tally.requests() > 250, "{:?}", verdict.tally.failures);
    // Its Envoy outlived the agent, and ends with one that is there.
    third.sidecar.restart_agent().await?;
    third.sidecar.stop().await;
    pair.end().await?;
    Ok(())
}

/// An operator's root in a folder of its own, made by OpenSSL.
fn make_root(folder: &Path, name: &str) -> Result<String> {
    openssl(
        folder,
        &format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-384 -noenc -keyout {name}.key -out {name}.pem -days 3650 \
             -subj '/O=Example/CN={name} root' -addext basicConstraints=critical,CA:TRUE \
             -addext keyUsage=critical,keyCertSign,cRLSign -addext subjectAltName=URI:spiffe://signet.internal"
        ),
    )?;
    Ok(folder.join(format!("{name}.pem")).display().to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_of_the_server_goes_for_an_offline_one_and_that_for_another_and_no_request_fails() -> Result<()>
{
    let pair = Pair::start(HANDSHAKES).await?;
    let folder = pair.bed.path("operator");
    std::fs::create_dir(&folder)?;
    let path = |name: &str| folder.join(name).display().to_string();
    let trial = Trial::begin(&pair).await?;
    for name in ["first", "second"] {
        let file = make_root(&folder, name)?;
        let plan = pair.told(&["rotate", "--plan", "--root", "--root-file", &file])?;
        assert!(plan.contains("signet ca csr mesh/m --next") && plan.contains("csr server --next"), "{plan}");
        pair.told(&["rotate", "start", "--root", "--root-file", &file, "--spread", "2"])?;
        let issuers = [("server", "server"), ("mesh/m", "mesh-m")];
        eventually("it waits for the operator alone", PATIENCE, || async {
            let status = pair.status().await?;
            ensure!(status["phase"] == "distribute" && status["proven"] == 2, "{status:#}");
            let waiting: Vec<&str> = laggards(&status);
            ensure!(waiting == ["mesh/m", "server"], "{status:#}");
            Ok(())
        })
        .await?;
        for (issuer, short) in issuers {
            let (request, certificate) = (path(&format!("{short}.csr")), path(&format!("{short}.pem")));
            pair.told(&["csr", issuer, "--next", "--out", &request])?;
            let signing = format!("-CA {name}.pem -CAkey {name}.key -copy_extensions copyall -days 365");
            openssl(&folder, &format!("x509 -req -in {short}.csr {signing} -out {short}.pem"))?;
            pair.told(&["install", issuer, &certificate, "--next"])?;
        }
        let said = pair.told(&["rotate", "status", "--wait"])?;
        println!("{name}: {} (ms)", phases(&pair.status().await?));
        assert!(said.contains("completed"), "{said}");
        let trusted = std::fs::read_to_string(pair.bed.server.ca_file())?;
        assert_eq!(trusted.trim(), std::fs::read_to_string(&file)?.trim());
    }
    let verdict = trial.end(&pair).await?;
    println!("{verdict}");
    flawless(&verdict)?;
    assert!(pair.told(&["show"])?.contains("offline"));
    pair.end().await?;
    Ok(())
}

fn laggards(status: &Value) -> Vec<&str> {
    let all = status["laggards"].as_array().into_iter().flatten();
    all.filter_map(|laggard| laggard["node"].as_str()).collect()
}
