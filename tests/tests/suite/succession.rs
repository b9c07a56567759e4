//! Roots and issuers replaced under load: each request a handshake of its own, beside connections that last.

use std::{
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use signet::local::load::{Load, Plan};
use signet_tests::{
    bed::{Bed, Node, app::App, call::free_port},
    eventually, program,
};

const PATIENCE: Duration = Duration::from_secs(40);
/// Requests per second, each over a connection, and so a handshake between two Envoys, of its own.
const HANDSHAKES: u32 = 320;
const DOMAIN: &str = "/v1/ca/rotation";

/// Two Envoys that trust each other by certificates alone, and what calls through them.
struct Pair {
    bed: Bed,
    server: Node,
    caller: Node,
    plan: Plan,
    _app: App,
}

impl Pair {
    async fn start() -> Result<Self> {
        let mut bed = Bed::start().await?;
        bed.mesh("m").await?;
        let app = App::http("app").await?;
        let own = json!({"sds": {"secretName": "default"}});
        let roots = json!({"trust": {"sds": {"secretName": "ROOTCA"}}});
        // A listener of TCP: each connection of a client is one between the Envoys.
        let server = bed
            .served("m", "server", &app, "tcp", |spec| {
                spec["listeners"][0]["tls"] =
                    json!({"mode": "STRICT", "certificate": own, "validation": roots});
            })
            .await?;
        let dialed = free_port().await?;
        bed.router("m", "app.test", "r", &[(dialed, "tcp")]).await?;
        let to = json!([{"virtualNode": "server", "weight": 1}]);
        bed.route("m", "r", "all", json!({"tcpRoute": {"action": {"weightedTargets": to}}})).await?;
        let tls = json!({"enforce": true, "certificate": own, "validation": roots});
        let backend = json!({"virtualServiceName": "app.test", "clientPolicy": {"tls": tls}});
        bed.virtual_node("m", "caller", json!({"backends": [{"virtualService": backend}]})).await?;
        let caller = bed.node("m", "caller").await?;
        bed.synced().await?;
        let plan = Plan {
            address: ([127, 0, 0, 1], dialed).into(),
            host: "app.test".to_owned(),
            new_connections: HANDSHAKES,
            kept_alive: 40,
            connections: 8,
        };
        let pair = Self { bed, server, caller, plan, _app: app };
        pair.until_watched(2).await?;
        Ok(pair)
    }

    /// Until the server knows what so many proxies hold.
    async fn until_watched(&self, count: usize) -> Result<()> {
        eventually("every agent reports", PATIENCE, || async {
            let answer = self.get("/v1/nodes").await?;
            let nodes = answer["nodes"].as_array().cloned().unwrap_or_default();
            let loaded = |node: &&Value| {
                node["connected"] == true && node["loaded"].as_array().is_some_and(|all| !all.is_empty())
            };
            ensure!(nodes.iter().filter(loaded).count() == count, "{answer}");
            Ok(())
        })
        .await
    }

    async fn get(&self, path: &str) -> Result<Value> {
        self.bed.client.call(http::Method::GET, path, None).await
    }

    async fn status(&self) -> Result<Value> {
        self.get(DOMAIN).await
    }

    async fn until(&self, phase: &str) -> Result<Value> {
        eventually(phase, PATIENCE, || async {
            let status = self.status().await?;
            ensure!(status["phase"] == phase, "{status:#}");
            Ok(status)
        })
        .await
    }

    /// Runs `signet ca …`.
    fn ca(&self, arguments: &[&str]) -> Result<Output> {
        let output = Command::new(program()?)
            .arg("ca")
            .args(arguments)
            .env("SIGNET_ENDPOINT", &self.bed.server.ready.api)
            .env("AWS_SHARED_CREDENTIALS_FILE", self.bed.server.credentials())
            .output()?;
        Ok(output)
    }

    fn told(&self, arguments: &[&str]) -> Result<String> {
        let output = self.ca(arguments)?;
        let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
        ensure!(output.status.success(), "signet ca {arguments:?}: {said}");
        Ok(said)
    }

    async fn root(&self) -> Result<String> {
        let answer = self.get("/v1/ca").await?;
        Ok(answer["authorities"][0]["fingerprint"].as_str().unwrap_or_default().to_owned())
    }

    /// The handshakes between the two Envoys so far, and those that failed.
    async fn handshakes(&self) -> Result<(u64, u64)> {
        let failed = "ssl.(connection_error|fail_verify_error|fail_verify_san|fail_verify_no_cert)$";
        let server = self.server.total(&format!("listener.ingress_.*{failed}")).await?;
        let caller = self.caller.total(&format!("cluster.*app.*{failed}")).await?;
        let shaken = self.server.total("listener.ingress_.*ssl.handshake$").await?;
        Ok((shaken, server + caller))
    }
}

/// Ends the load, and holds it to no failure and the rate that was asked for. Says what it was.
async fn flawless(load: Load, pair: &Pair, before: (u64, u64), seconds: f64) -> Result<String> {
    let tally = load.stop().await;
    let after = pair.handshakes().await?;
    ensure!(tally.failed == 0, "{} of {} failed: {:?}", tally.failed, tally.requests(), tally.failures);
    ensure!(after.1 == before.1, "{} handshakes failed", after.1 - before.1);
    let rate = f64::from(u32::try_from(after.0 - before.0)?) / seconds;
    ensure!(rate >= 300.0, "only {rate:.0} handshakes a second");
    let requests = tally.requests();
    Ok(format!("{requests} requests, 0 failed; {rate:.0} new handshakes a second for {seconds:.1} s"))
}

fn phases(status: &Value) -> String {
    let all = status["phases"].as_array().cloned().unwrap_or_default();
    let one = |phase: &Value| format!("{} {}", phase["phase"], phase["tookMs"]);
    all.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_an_issuer_and_an_abort_in_the_middle_fail_no_request_at_three_hundred_handshakes_a_second()
-> Result<()> {
    let pair = Pair::start().await?;
    let old = pair.root().await?;
    let (before, started) = (pair.handshakes().await?, tokio::time::Instant::now());
    let load = Load::start(&pair.plan);

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

    println!("{}", flawless(load, &pair, before, started.elapsed().as_secs_f64()).await?);
    pair.bed.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_proxy_holds_a_root_change_up_by_name_through_a_kill_of_the_server_until_it_is_overridden()
-> Result<()> {
    let mut pair = Pair::start().await?;
    let app = App::http("third").await?;
    let mut third = pair.bed.served("m", "third", &app, "http", |_| {}).await?;
    pair.until_watched(3).await?;
    third.sidecar.kill_agent().await?;
    let (before, started) = (pair.handshakes().await?, tokio::time::Instant::now());
    let load = Load::start(&pair.plan);

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
    println!("{}", flawless(load, &pair, before, started.elapsed().as_secs_f64()).await?);

    // Whoever was away goes on serving, and is told what to do.
    third.sidecar.restart_agent().await?;
    eventually("the agent says what to do", PATIENCE, || async {
        ensure!(third.sidecar.log().contains("copy the new ca.pem"), "{}", third.sidecar.log());
        Ok(())
    })
    .await?;
    pair.bed.end().await;
    Ok(())
}
