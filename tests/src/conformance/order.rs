//! Statements 27 and 28: make before break, and what warms.

use anyhow::{Context as _, Result, ensure};
use prost::Message as _;
use signet_xds::{
    ResourceType::{Cluster, Endpoint, Listener, Route},
    pb::envoy::config::cluster::v3::{
        self as cluster,
        cluster::{ClusterDiscoveryType, DiscoveryType},
    },
    session::Variant,
};

use super::{Lane, Verdict, World, applicable, client::Said};

/// What a response does in a move from one cluster to another.
fn step(said: &Said, old: &str, new: &str) -> Option<&'static str> {
    let kind = said.kind()?;
    if kind == Cluster && said.removed.iter().any(|name| name == old) {
        return Some("old cluster goes");
    }
    if kind == Cluster && said.has(new) {
        return Some("new cluster comes");
    }
    let moves = matches!(kind, Listener | Route) && !said.items.is_empty();
    moves.then_some("routes move")
}

pub(super) async fn make_before_break(lane: &Lane) -> Result<Verdict> {
    applicable!(lane.only_ads());
    let driver = applicable!(lane.driven());
    if !driver.can(World::Moved, Cluster) {
        return Ok(Verdict::skip("the driver cannot move traffic"));
    }
    let (old, new) = driver.moved();
    let routes = driver.names(Route);
    let routes: Vec<&str> = routes.iter().map(String::as_str).collect();
    let mut wire = lane.open().await?;
    wire.ask(Cluster, &[]);
    wire.ask(Listener, &[]);
    wire.ask(Route, &routes);
    wire.settle().await?;
    driver.publish(World::Moved).await?;

    let mut steps = Vec::new();
    let mut had_old = true;
    for _ in 0..10 {
        if wire.quiet("").await.is_ok() {
            break;
        }
        let said = wire.heard.last().cloned().context("nothing came")?;
        let kind = said.kind().context("a response of no known type")?;
        // A whole set without the old cluster takes it away.
        let is_removal = lane.variant == Variant::Sotw && kind == Cluster && !said.has(&old) && had_old;
        had_old &= kind != Cluster || lane.variant == Variant::Delta || said.has(&old);
        let step = if is_removal { Some("old cluster goes") } else { step(&said, &old, &new) };
        if step == Some("new cluster comes") {
            wire.quiet("the new cluster is not acknowledged").await?;
        }
        steps.extend(step);
        wire.ack(kind);
    }
    steps.dedup();
    ensure!(steps == ["new cluster comes", "routes move", "old cluster goes"], "the order is {steps:?}");
    Ok(Verdict::Pass)
}

pub(super) async fn warming(lane: &Lane) -> Result<Verdict> {
    applicable!(lane.only_ads());
    let mut wire = lane.open().await?;
    wire.ask(Cluster, &[]);
    let clusters = wire.next().await?;
    wire.ack(Cluster);
    let mut awaited = Vec::new();
    for item in &clusters.items {
        let cluster = cluster::Cluster::decode(&*item.any.value)?;
        if cluster.cluster_discovery_type == Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())) {
            let name = cluster.eds_cluster_config.map(|eds| eds.service_name).filter(|name| !name.is_empty());
            awaited.push(name.unwrap_or(cluster.name));
        }
    }
    if awaited.is_empty() {
        return Ok(Verdict::skip("no cluster finds its endpoints by EDS"));
    }
    let names: Vec<&str> = awaited.iter().map(String::as_str).collect();
    wire.ask(Endpoint, &names);
    let said = wire.settle().await?;
    let there: Vec<String> =
        said.iter().filter(|said| said.kind() == Some(Endpoint)).flat_map(Said::names).collect();
    for name in &awaited {
        ensure!(there.contains(name), "cluster endpoints {name} are not served, not even empty");
    }
    // After a reconnect Envoy may ask for endpoints first.
    let mut early = lane.open().await?;
    early.ask(Endpoint, &names);
    early.settle().await?;
    early.ask(Cluster, &[]);
    let said = early.settle().await?;
    ensure!(
        said.iter().any(|said| said.kind() == Some(Endpoint)),
        "endpoints are not sent again after their clusters"
    );
    if let Ok(driver) = lane.driven()
        && let Some((changed, endpoints)) = driver.by_eds()
    {
        driver.publish(World::Changed).await?;
        let said = wire.settle().await?;
        let kinds: Vec<_> = said.iter().filter_map(|said| Some((said.kind()?, said))).collect();
        let cluster = kinds.iter().position(|(kind, said)| *kind == Cluster && said.has(&changed));
        let again = kinds.iter().rposition(|(kind, said)| *kind == Endpoint && said.has(&endpoints));
        ensure!(
            cluster.zip(again).is_some_and(|(cluster, again)| cluster < again),
            "cluster {changed} changed and its endpoints did not follow"
        );
    }
    Ok(Verdict::Pass)
}
