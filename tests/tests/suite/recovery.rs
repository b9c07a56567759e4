//! Parts are killed without warning; traffic does not notice.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use http::Method;
use signet::{
    demo::{stage::MESH, steps::ModeStep},
    local::{load::Load, mesh::SidecarPlan},
};
use signet_policies::identity::Workload;
use signet_tests::{
    TestMesh,
    bed::{Bed, calling},
    clock, eventually, tally_of,
};

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_comes_back_with_everything_and_no_request_fails_meanwhile() -> Result<()> {
    let mut mesh = TestMesh::start().await?;
    mesh.stage.set_mode(ModeStep::StrictVerified).await?;
    mesh.stage.until_in_force(ModeStep::StrictVerified).await;
    let path = format!("/v20190125/meshes/{MESH}/virtualNodes/service-b-v1");
    let before = mesh.stage.client.call(Method::GET, &path, None).await?;
    let root = std::fs::read(mesh.stage.server.ca_file())?;
    let load = Load::start(&mesh.stage.load_plan()?);

    mesh.stage.server.kill().await?;
    for probe in mesh.stage.probe(ModeStep::StrictVerified).await {
        assert_eq!(probe.got, probe.expected, "while the server is down: {probe:?}");
    }
    mesh.stage.server.restart().await?;
    mesh.stage.client = mesh.stage.server.client(clock())?;

    let after = mesh.stage.client.call(Method::GET, &path, None).await?;
    assert_eq!(before, after, "an acknowledged write was lost or changed");
    assert_eq!(root, std::fs::read(mesh.stage.server.ca_file())?, "the root is another one");
    eventually("all three proxies are synced again", PATIENCE, || async {
        let answer = mesh.stage.client.call(Method::GET, "/v1/proxies", None).await?;
        let proxies = answer["proxies"].as_array().cloned().unwrap_or_default();
        let synced = proxies.iter().filter(|proxy| proxy["status"] == "synced").count();
        ensure!(synced == 3, "{synced} are: {answer}");
        Ok(())
    })
    .await?;
    // The control loop lives: a change still reaches the Envoys, and so does a new certificate.
    mesh.stage.set_mode(ModeStep::Permissive).await?;
    mesh.stage.until_in_force(ModeStep::Permissive).await;
    for probe in mesh.stage.probe(ModeStep::Permissive).await {
        assert_eq!(probe.got, probe.expected, "after the restart: {probe:?}");
    }
    let serials = mesh.stage.serials().await?;
    mesh.stage.rotate(&serials).await?;
    for ((node, before), (_, after)) in serials.iter().zip(mesh.stage.serials().await?) {
        assert_ne!(*before, after, "{node} got no new certificate");
    }
    let tally = tally_of(load, 600).await?;
    assert_eq!(tally.failed, 0, "of {}: {:?}", tally.requests(), tally.failures);
    mesh.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_agent_leaves_its_envoy_serving_and_the_next_one_takes_it_over_without_a_token() -> Result<()>
{
    let mut mesh = TestMesh::start().await?;
    mesh.stage.set_mode(ModeStep::StrictVerified).await?;
    mesh.stage.until_in_force(ModeStep::StrictVerified).await;
    let load = Load::start(&mesh.stage.load_plan()?);
    let envoy = mesh.stage.sidecars[1].ready.envoy_pid;

    mesh.stage.sidecars[1].kill_agent().await?;
    for probe in mesh.stage.probe(ModeStep::StrictVerified).await {
        assert_eq!(probe.got, probe.expected, "while the agent is down: {probe:?}");
    }
    mesh.stage.sidecars[1].restart_agent().await?;

    assert_eq!(mesh.stage.sidecars[1].ready.envoy_pid, envoy, "it started another Envoy");
    let serials = mesh.stage.serials().await?;
    mesh.stage.rotate(&serials).await?;
    for ((node, before), (_, after)) in serials.iter().zip(mesh.stage.serials().await?) {
        assert_ne!(*before, after, "{node} got no new certificate");
    }
    let tally = tally_of(load, 600).await?;
    assert_eq!(tally.failed, 0, "of {}: {:?}", tally.requests(), tally.failures);
    mesh.end().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_of_another_user_starts_where_the_memory_of_its_number_is_roots() -> Result<()> {
    let mut bed = Bed::start().await?;
    bed.mesh("m").await?;
    bed.virtual_node("m", "a", calling(&[])).await?;
    let address = bed.address();
    let workload = Workload::virtual_node("m", "a")?;
    let plan = SidecarPlan {
        user: Some(1337),
        ..SidecarPlan::on_loopback(workload, address, bed.programs.envoy.clone())
    };
    let mut node = bed.start_sidecar(&plan, address).await?;
    let memory = memory_of(node.sidecar.ready.envoy_pid)?;
    ensure!(memory.exists(), "Envoy keeps its memory elsewhere than at {}", memory.display());
    node.sidecar.stop().await;
    ensure!(!memory.exists(), "an agent that ends leaves it behind");

    std::fs::write(&memory, "")?;
    node.sidecar.restart_agent().await?;
    let next = memory_of(node.sidecar.ready.envoy_pid)?;
    ensure!(next != memory && next.exists(), "{} is used", next.display());
    std::fs::remove_file(memory)?;
    node.sidecar.stop().await;
    bed.end().await;
    Ok(())
}

/// What an Envoy shares with the next by the number in its arguments.
fn memory_of(envoy: i32) -> Result<PathBuf> {
    let arguments = std::fs::read_to_string(format!("/proc/{envoy}/cmdline"))?;
    let mut arguments = arguments.split('\0').skip_while(|argument| *argument != "--base-id");
    let number: u64 = arguments.nth(1).context("it has no number")?.parse()?;
    Ok(PathBuf::from(format!("/dev/shm/envoy_shared_memory_{}", number * 10)))
}
