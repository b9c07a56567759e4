//! A resource that Envoy refuses: shown with its reason, not sent again, and mended by the next change.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::Method;
use serde_json::{Value, json};
use signet::{
    demo::{
        stage::{MESH, SERVICE},
        steps::ModeStep,
    },
    local::{load::Load, mesh::put},
};
use signet_tests::{TestMesh, eventually};
use tokio::net::TcpListener;

const PATIENCE: Duration = Duration::from_secs(20);

async fn proxy(mesh: &TestMesh, node: &str) -> Result<Value> {
    let answer = mesh.stage.client.call(Method::GET, "/v1/proxies", None).await?;
    let proxies = answer["proxies"].as_array().context("no list of proxies")?;
    let id = format!("mesh/{MESH}/virtualNode/{node}");
    proxies
        .iter()
        .find(|proxy| proxy["workload"] == id.as_str())
        .cloned()
        .with_context(|| format!("no {id} in {answer}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_envoy_cannot_bind_is_reported_once_and_a_fix_goes_out_at_once() -> Result<()> {
    let mesh = TestMesh::start().await?;
    let load = Load::start(&mesh.stage.load_plan()?);
    let good = &mesh.stage.destinations[0];
    // A port of v1's own address that another process holds.
    let taken = TcpListener::bind((good.address.ip(), 0)).await?;
    let port = taken.local_addr()?.port();
    let path = format!("meshes/{MESH}/virtualNodes/{}", good.node);
    let mut spec = ModeStep::Disabled.node_spec(&good.address.ip().to_string(), good.address.port());
    let second = json!({"portMapping": {"port": port, "protocol": "http"}});
    let listeners = spec["listeners"].as_array_mut().context("listeners")?;
    listeners.push(second);
    // A node with two listeners needs a port in every target, so the route names v1's.
    let targets = json!([{"virtualNode": "service-b-v1", "weight": 90, "port": good.address.port()},
                         {"virtualNode": "service-b-v2", "weight": 10}]);
    let route =
        json!({"spec": {"httpRoute": {"match": {"prefix": "/"}, "action": {"weightedTargets": targets}}}});
    put(
        &mesh.stage.client,
        &format!("meshes/{MESH}/virtualRouter/service-b-router/routes/canary-route"),
        route,
    )
    .await?;
    put(&mesh.stage.client, &path, json!({"spec": spec})).await?;

    let admin = mesh.stage.sidecars[1].admin();
    let rejected = eventually("the rejection", PATIENCE, || async {
        let proxy = proxy(&mesh, good.node).await?;
        ensure!(proxy["status"] == "rejected", "it is {proxy}");
        Ok(proxy)
    })
    .await?;
    let text = rejected.to_string();
    assert!(text.contains("lds_ingress") && text.contains("Address already in use"), "{text}");
    let refusals = admin.counter("listener_manager.lds.update_rejected").await?;
    assert!(refusals >= 1);

    // Another change of the very same node goes out, and the refused listener does not go with it.
    let updates = admin.counter("cluster_manager.cds.update_success").await?;
    spec["backends"] = json!([{"virtualService": {"virtualServiceName": SERVICE}}]);
    put(&mesh.stage.client, &path, json!({"spec": spec})).await?;
    eventually("the other change", PATIENCE, || async {
        let dump = admin.text("/config_dump?resource=dynamic_route_configs").await?;
        ensure!(dump.contains(SERVICE), "its routes do not name the new backend");
        ensure!(admin.counter("cluster_manager.cds.update_success").await? > updates, "no new clusters");
        Ok(())
    })
    .await?;
    assert_eq!(admin.counter("listener_manager.lds.update_rejected").await?, refusals, "it was sent again");
    assert_eq!(proxy(&mesh, good.node).await?["status"], "rejected");

    let fixed = ModeStep::Disabled.node_spec(&good.address.ip().to_string(), good.address.port());
    put(&mesh.stage.client, &path, json!({"spec": fixed})).await?;
    eventually("the fix is accepted", PATIENCE, || async {
        let proxy = proxy(&mesh, good.node).await?;
        ensure!(proxy["status"] == "synced", "it is {proxy}");
        Ok(())
    })
    .await?;
    drop(taken);
    let tally = load.stop().await;
    assert_eq!(tally.failed, 0, "of {}: {:?}", tally.requests(), tally.failures);
    mesh.end().await;
    Ok(())
}
