//! Mode by mode, with Envoy's own word for what is in force.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Result, ensure};
use bytes::Bytes;
use http::{Request, StatusCode, header::CONNECTION};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use signet::{
    demo::steps::ModeStep,
    local::{admin::Admin, load::Load, mesh::Sidecar, probe::Approach},
};
use signet_tests::{TestMesh, eventually, tally_of};
use tokio::{net::TcpStream, task::JoinSet, time::timeout};

const PATIENCE: Duration = Duration::from_secs(20);

/// Transport sockets of the ingress chains that Envoy runs: `tls`, `mtls` or `plaintext`.
async fn ingress_chains(sidecar: &Sidecar) -> Result<BTreeSet<&'static str>> {
    let dump = sidecar.admin().json("/config_dump?resource=dynamic_listeners").await?;
    let listeners = dump["configs"].as_array().cloned().unwrap_or_default();
    let active = listeners.iter().map(|entry| &entry["active_state"]["listener"]);
    let ingress = active
        .filter(|listener| listener["name"].as_str().is_some_and(|name| name.starts_with("lds_ingress")));
    let chains = ingress.filter_map(|listener| listener["filter_chains"].as_array()).flatten();
    Ok(chains.map(kind_of_chain).collect())
}

fn kind_of_chain(chain: &Value) -> &'static str {
    let tls = &chain["transport_socket"]["typed_config"];
    match (tls.is_null(), tls["require_client_certificate"] == true) {
        (true, _) => "plaintext",
        (false, false) => "tls",
        (false, true) => "mtls",
    }
}

fn chains_of(mode: ModeStep) -> BTreeSet<&'static str> {
    match mode {
        ModeStep::Disabled => ["plaintext"].into(),
        ModeStep::Permissive => ["plaintext", "tls"].into(),
        ModeStep::Strict => ["tls"].into(),
        ModeStep::StrictVerified => ["mtls"].into(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mode_serves_whom_it_must_and_no_request_is_lost_on_the_way_there_and_back() -> Result<()> {
    let mesh = TestMesh::start().await?;
    let load = Load::start(&mesh.stage.load_plan()?);
    let back = ModeStep::ALL.into_iter().rev();
    // A jump over PERMISSIVE, both ways, is what a hasty operator does.
    let jumps = [ModeStep::StrictVerified, ModeStep::Disabled];
    for mode in ModeStep::ALL.into_iter().chain(back).chain(jumps) {
        mesh.stage.set_mode(mode).await?;
        eventually(mode.name(), PATIENCE, || async {
            for sidecar in mesh.stage.sidecars.iter().skip(1) {
                let chains = ingress_chains(sidecar).await?;
                ensure!(chains == chains_of(mode), "Envoy runs {chains:?}");
            }
            Ok(())
        })
        .await?;
        mesh.stage.until_in_force(mode).await;
        for probe in mesh.stage.probe(mode).await {
            assert_eq!(probe.got, probe.expected, "{}: {probe:?}", mode.name());
        }
    }
    let tally = load.stop().await;
    assert_eq!(tally.failed, 0, "of {}: {:?}\n{}", tally.requests(), tally.failures, mesh.stage.server.log());
    mesh.end().await;
    Ok(())
}

/// Requests that came in over plaintext chains, which STRICT takes away with their counters.
async fn plaintext_requests(admin: &Admin) -> Result<u64> {
    let stats = admin.text("/stats?filter=http.ingress_http_.*_plaintext.downstream_rq_total").await?;
    Ok(stats.lines().filter_map(|line| line.rsplit(": ").next()?.parse::<u64>().ok()).sum())
}

#[tokio::test(flavor = "multi_thread")]
async fn in_strict_envoys_counters_show_verified_handshakes_and_none_in_plaintext() -> Result<()> {
    let mesh = TestMesh::start().await?;
    mesh.stage.set_mode(ModeStep::StrictVerified).await?;
    mesh.stage.until_in_force(ModeStep::StrictVerified).await;
    let destination = &mesh.stage.sidecars[1].admin();
    let plaintext_before = plaintext_requests(destination).await?;
    let load = Load::start(&mesh.stage.load_plan()?);
    let caller = mesh.stage.caller()?.admin();
    eventually("a verified handshake", PATIENCE, || async {
        let stats = destination.text("/stats?filter=ssl").await?;
        let total = |suffix: &str| -> u64 {
            let of_listener =
                stats.lines().filter(|line| line.starts_with("listener.") && line.contains(suffix));
            of_listener.filter_map(|line| line.rsplit(": ").next()?.parse::<u64>().ok()).sum()
        };
        ensure!(total(".ssl.handshake: ") > 0, "no handshake yet");
        ensure!(total(".ssl.no_certificate: ") == 0, "a client came without a certificate");
        Ok(())
    })
    .await?;
    assert_eq!(plaintext_requests(destination).await?, plaintext_before);
    let handshakes = caller.text("/stats?filter=cluster.*ssl.handshake").await?;
    assert!(
        handshakes.lines().any(|line| !line.ends_with(": 0")),
        "the caller made no handshake: {handshakes}"
    );
    assert_eq!(load.stop().await.failed, 0);
    mesh.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_split_follows_the_weights_and_a_changed_route() -> Result<()> {
    let mesh = TestMesh::start().await?;
    let spec = |v1: u8, v2: u8| {
        serde_json::json!({"spec": {"httpRoute": {"match": {"prefix": "/"}, "action": {"weightedTargets": [
            {"virtualNode": "service-b-v1", "weight": v1}, {"virtualNode": "service-b-v2", "weight": v2}]}}}})
    };
    let path = "meshes/demo/virtualRouter/service-b-router/routes/canary-route";
    for (v1, v2) in [(50, 50), (0, 100), (100, 0)] {
        signet::local::mesh::put(&mesh.stage.client, path, spec(v1, v2)).await?;
        let caller = mesh.stage.caller()?;
        eventually("the caller's Envoy has the weights", PATIENCE, || async {
            let dump = caller.admin().text("/config_dump?resource=dynamic_route_configs").await?;
            let weights: Vec<&str> = dump.lines().filter(|line| line.contains("\"weight\"")).collect();
            let has = |weight: u8| {
                let zero = weight == 0;
                zero || weights.iter().any(|line| line.contains(&format!("\"weight\": {weight}")))
            };
            ensure!(has(v1) && has(v2), "the weights are {weights:?}");
            Ok(())
        })
        .await?;
        let tally = tally_of(Load::start(&mesh.stage.load_plan()?), 600).await?;
        assert_eq!(tally.failed, 0, "{:?}", tally.failures);
        let share = tally.share("service-b-v1") * 100.0;
        assert!(
            (share - f64::from(v1)).abs() < 8.0,
            "{v1}/{v2} measured as {share:.1} of {}",
            tally.requests()
        );
    }
    mesh.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plaintext_connection_from_before_strict_is_closed_after_its_next_answer() -> Result<()> {
    let mesh = TestMesh::start().await?;
    mesh.stage.set_mode(ModeStep::Permissive).await?;
    mesh.stage.until_in_force(ModeStep::Permissive).await;
    let tcp = TcpStream::connect(mesh.stage.destinations[0].address).await?;
    let (mut stranger, connection) = http1::handshake(TokioIo::new(tcp)).await?;
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let request = || Request::get("/").header("host", "x").body(Empty::<Bytes>::new());
    stranger.ready().await?;
    assert_eq!(
        stranger.send_request(request()?).await?.status(),
        StatusCode::OK,
        "it is served in PERMISSIVE"
    );

    mesh.stage.set_mode(ModeStep::Strict).await?;
    mesh.stage.until_in_force(ModeStep::Strict).await;
    let after = async {
        stranger.ready().await?;
        let answer = stranger.send_request(request()?).await?;
        ensure!(
            answer.headers().get(CONNECTION).is_some_and(|value| value == "close"),
            "it may go on: {answer:?}"
        );
        Ok(())
    };
    // An end without an answer is as good: the connection was closed before.
    if let Err(error) = after.await {
        assert!(error.is::<hyper::Error>(), "{error:#}");
    }
    let ended = timeout(PATIENCE, driver.join_next()).await;
    assert!(ended.is_ok(), "the connection is still open");
    mesh.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_cannot_use_the_callers_egress_listener_from_another_address() -> Result<()> {
    let mesh = TestMesh::start().await?;
    let egress = mesh.stage.caller()?.ready.egress;
    let elsewhere = std::net::SocketAddr::from(([127, 0, 0, 99], egress.port()));
    assert!(TcpStream::connect(elsewhere).await.is_err(), "egress listens on more than its own address");
    mesh.stage.set_mode(ModeStep::StrictVerified).await?;
    mesh.stage.until_in_force(ModeStep::StrictVerified).await;
    let probes = mesh.stage.probe(ModeStep::StrictVerified).await;
    let foreign = probes.iter().filter(|probe| probe.approach == Approach::TlsForeignCertificate);
    assert!(foreign.clone().count() == 2 && foreign.clone().all(|probe| probe.got == probe.expected));
    mesh.end().await;
    Ok(())
}
