//! What the parser takes, a real Envoy takes.

use anyhow::{Context, Result, anyhow, ensure};
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};
use serde_json::{Value, json};
use signet_tests::{
    bed::{Bed, PATIENCE},
    eventually,
};

use super::legal::resource;

/// Specs of each kind.
const EACH: usize = 40;
/// The listeners of every router and of the gateway, by the name of the route that fits.
const PORTS: [(&str, u16, &str); 4] = [
    ("httpRoute", 8080, "http"),
    ("http2Route", 8081, "http2"),
    ("grpcRoute", 8082, "grpc"),
    ("tcpRoute", 8083, "tcp"),
];

/// Random legal specs of one kind, always the same ones.
fn specs(root: &str) -> Result<Vec<Value>> {
    let (mut runner, strategy) = (TestRunner::deterministic(), resource()?);
    let mut specs = Vec::new();
    while specs.len() < EACH {
        let tree = strategy.new_tree(&mut runner).map_err(|reason| anyhow!("{reason}"))?;
        let (_, found, spec) = tree.current();
        if found == root {
            specs.push(spec);
        }
    }
    Ok(specs)
}

/// Nothing verifies paths (constraint C18), so those of the specs are made ones that can be opened.
fn openable(value: &mut Value) {
    if let Some(members) = value.as_object_mut() {
        for (member, name) in [("certificate", "default"), ("trust", "ROOTCA")] {
            if let Some(source) = members.get_mut(member).filter(|source| source.get("file").is_some()) {
                *source = json!({"sds": {"secretName": name}});
            }
        }
        if let Some(log) = members.get_mut("accessLog") {
            log["file"]["path"] = json!("/dev/null");
        }
        members.values_mut().for_each(openable);
    } else if let Some(items) = value.as_array_mut() {
        items.iter_mut().for_each(openable);
    }
}

/// A TCP service is called on its own port of loopback, which may be one that an outgoing connection of this machine
/// has just now. So every port is made one that the system gives to none.
fn outside_of_outgoing(value: &mut Value) {
    const FIRST: u64 = 32_768;
    if let Some(members) = value.as_object_mut() {
        if let Some(port) = members.get_mut("port")
            && let Some(found) = port.as_u64().filter(|port| *port >= FIRST)
        {
            *port = json!(found - FIRST + 1);
        }
        members.values_mut().for_each(outside_of_outgoing);
    } else if let Some(items) = value.as_array_mut() {
        items.iter_mut().for_each(outside_of_outgoing);
    }
}

/// Binds the route of a spec to the port that fits it, and gives it a target.
fn bind(spec: &mut Value, member: &str, target: impl Fn(u16) -> Value) -> Result<()> {
    let (kind, port, _) = PORTS.iter().find(|(kind, ..)| spec.get(kind).is_some()).context("no route")?;
    spec[*kind]["match"]["port"] = json!(port);
    spec[*kind]["action"][member] = target(*port);
    Ok(())
}

fn listeners(count: usize) -> Value {
    let listener = |(_, port, protocol): &(&str, u16, &str)| json!({"portMapping": {"port": port, "protocol": protocol}});
    PORTS[..count].iter().map(listener).collect()
}

#[tokio::test]
async fn a_real_envoy_takes_every_legal_spec() -> Result<()> {
    let mut bed = Bed::start().await?;
    bed.mesh("m").await?;
    let target = json!({"listeners": listeners(4), "serviceDiscovery": {"dns": {"hostname": "127.0.0.1"}}});
    bed.virtual_node("m", "target", target).await?;
    bed.service_of_node("m", "target", "target").await?;
    let mut services = vec!["target".to_owned()];
    for (index, mut spec) in specs("VirtualNodeSpec")?.into_iter().enumerate() {
        openable(&mut spec);
        outside_of_outgoing(&mut spec);
        let name = format!("node-{index}");
        bed.virtual_node("m", &name, spec).await?;
        bed.service_of_node("m", &name, &name).await?;
        services.push(name);
    }
    let ports: Vec<(u16, &str)> = PORTS.iter().map(|(_, port, protocol)| (*port, *protocol)).collect();
    for (index, mut spec) in specs("RouteSpec")?.into_iter().enumerate() {
        let name = format!("router-{index}");
        bed.router("m", &name, &name, &ports).await?;
        let targets = |port| json!([{"virtualNode": "target", "weight": 1, "port": port}]);
        bind(&mut spec, "weightedTargets", targets)?;
        bed.route("m", &name, "route", spec).await?;
        services.push(name);
    }
    let gateway = json!({"virtualGatewayName": "g", "spec": {"listeners": listeners(3)}});
    bed.put("meshes/m/virtualGateways", gateway).await?;
    for (index, mut spec) in specs("GatewayRouteSpec")?.into_iter().enumerate() {
        let service = json!({"virtualServiceName": "target"});
        bind(&mut spec, "target", |port| json!({"virtualService": service, "port": port}))?;
        let body = json!({"gatewayRouteName": format!("route-{index}"), "spec": spec});
        bed.put("meshes/m/virtualGateway/g/gatewayRoutes", body).await?;
    }
    let services: Vec<&str> = services.iter().map(String::as_str).collect();
    let _caller = bed.caller("m", "caller", &services).await?;
    let ingress = bed.address();
    let _gateway = bed.gateway_at("m", "g", ingress).await?;
    accepted(&bed, 2).await?;
    bed.end().await;
    Ok(())
}

/// Waits until every proxy has said what it thinks of everything, and that nothing is refused.
async fn accepted(bed: &Bed, count: usize) -> Result<()> {
    let proxies = eventually("every proxy is fed", PATIENCE, || async {
        let answer = bed.proxies().await?;
        ensure!(answer["revision"] == answer["fedRevision"], "reconcile is behind");
        let proxies = answer["proxies"].as_array().cloned().unwrap_or_default();
        ensure!(
            proxies.len() == count && proxies.iter().all(|proxy| proxy["status"] != "pending"),
            "{proxies:?}"
        );
        Ok(proxies)
    })
    .await?;
    ensure!(proxies.iter().all(|proxy| proxy["status"] == "synced"), "{proxies:#?}");
    Ok(())
}
