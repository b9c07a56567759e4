//! Statements 1 to 5: how a stream begins, and whose it is.

use anyhow::{Result, ensure};
use signet_xds::{ResourceType, pb::envoy::config::core::v3::Node};
use tonic::Code;

use super::{Lane, Verdict, World, applicable, client::Ask};

pub(super) async fn node_on_the_first_message(lane: &Lane) -> Result<Verdict> {
    let kind = lane.kind();
    if lane.service.is_none() {
        for node in [None, Some(Node::default())] {
            let mut wire = lane.open().await?;
            let ask = Ask { node: node.clone(), ..wire.request(kind, &[]) };
            wire.send(ask);
            let code = wire.end().await?;
            let how = if node.is_some() { "a node without id" } else { "no node" };
            ensure!(code == Code::InvalidArgument, "{how} ends the stream with {code:?}");
        }
    }
    let name = applicable!(lane.a_name().await?);
    let mut wire = lane.open().await?;
    wire.ask(kind, &[&name]);
    wire.next().await?;
    // From here on no request says which node it is.
    wire.ack(kind);
    let second = if lane.service.is_none() { ResourceType::Listener } else { kind };
    let asked = wire.request(second, &["no-such-resource", &name]);
    ensure!(asked.node.is_none(), "the client said who it is twice");
    wire.send(asked);
    match lane.variant {
        signet_xds::session::Variant::Delta => drop(wire.next().await?),
        signet_xds::session::Variant::Sotw => wire.settle().await.map(drop)?,
    }
    Ok(Verdict::Pass)
}

pub(super) async fn one_node_per_stream(lane: &Lane) -> Result<Verdict> {
    let name = applicable!(lane.a_name().await?);
    let mut wire = lane.open().await?;
    wire.ask(lane.kind(), &[&name]);
    wire.next().await?;
    let other = Node { id: format!("{}-other", lane.target.node.id), ..lane.target.node.clone() };
    let ask = Ask { node: Some(other), ..wire.request(lane.kind(), &[&name]) };
    wire.send(ask);
    let code = wire.end().await?;
    ensure!(code != Code::Ok, "the stream ends with OK");
    Ok(Verdict::Pass)
}

pub(super) async fn type_url(lane: &Lane) -> Result<Verdict> {
    let name = applicable!(lane.a_name().await?);
    let mut wire = lane.open().await?;
    let ask = Ask { type_url: String::new(), ..wire.request(lane.kind(), &[&name]) };
    wire.send(ask);
    if lane.service.is_none() {
        let code = wire.end().await?;
        ensure!(code == Code::InvalidArgument, "a request without type ends the stream with {code:?}");
    } else {
        let said = wire.next().await?;
        ensure!(said.kind() == Some(lane.kind()), "the response is of type {:?}", said.type_url);
    }
    Ok(Verdict::Pass)
}

pub(super) async fn many_types(lane: &Lane) -> Result<Verdict> {
    applicable!(lane.only_ads());
    let mut wire = lane.open().await?;
    let unknown =
        Ask { type_url: "type.googleapis.com/example.Unknown".into(), ..wire.request(lane.kind(), &["x"]) };
    wire.send(unknown);
    wire.ask(ResourceType::Cluster, &[]);
    let clusters = wire.next().await?;
    wire.ask(ResourceType::Listener, &[]);
    let listeners = wire.next().await?;
    ensure!(
        clusters.kind() == Some(ResourceType::Cluster),
        "clusters were asked for, {:?} came",
        clusters.type_url
    );
    ensure!(
        listeners.kind() == Some(ResourceType::Listener),
        "listeners were asked for, {:?} came",
        listeners.type_url
    );
    ensure!(clusters.nonce != listeners.nonce, "two types share the nonce {:?}", clusters.nonce);
    // A nonce of another type acknowledges nothing and asks for nothing.
    let crossed = Ask { nonce: listeners.nonce, ..wire.request(ResourceType::Cluster, &[]) };
    wire.send(crossed);
    wire.quiet("a nonce of another type was sent").await?;
    wire.ack(ResourceType::Cluster);
    wire.ack(ResourceType::Listener);
    wire.quiet("everything is acknowledged").await?;
    Ok(Verdict::Pass)
}

pub(super) async fn nothing_before_readiness(lane: &Lane) -> Result<Verdict> {
    let driver = applicable!(lane.driven());
    if !driver.can(World::Unknown, lane.kind()) {
        return Ok(Verdict::skip("the server opens its port only when it knows what to serve"));
    }
    let name = applicable!(lane.a_name().await?);
    driver.publish(World::Unknown).await?;
    let mut wire = lane.open().await?;
    let names: &[&str] = if lane.is_wildcard() { &[] } else { &[&name] };
    wire.ask(lane.kind(), names);
    if wire.quiet("there is nothing to serve yet").await.is_err() {
        let code = wire.end().await?;
        ensure!(code == Code::Unavailable, "a stream before readiness is served, or ends with {code:?}");
        return Ok(Verdict::Pass);
    }
    driver.publish(World::Base).await?;
    ensure!(wire.next().await?.has(&name), "what is there now is not served");
    Ok(Verdict::Pass)
}
