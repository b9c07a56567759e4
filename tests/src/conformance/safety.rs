//! Statements 25 and 29 to 34: what must never be, and who is served.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use signet_xds::{ResourceType, pb::envoy::config::core::v3::Node};
use tokio::time::Instant;
use tonic::Code;

use super::{Lane, Verdict, World, applicable, client::Ask, client::Said};

/// Everything that a client hears who asks for all that it can.
async fn everything(lane: &Lane) -> Result<Vec<Said>> {
    let mut wire = lane.open().await?;
    let kinds: Vec<ResourceType> = match lane.service {
        Some(kind) => vec![kind],
        None => ResourceType::ALL.to_vec(),
    };
    for kind in kinds {
        let names = match (kind, lane.service, &lane.driver) {
            (ResourceType::Cluster | ResourceType::Listener, ..) => Vec::new(),
            (_, Some(_), _) => lane.names.clone(),
            (_, None, driver) => driver.as_ref().map(|driver| driver.names(kind)).unwrap_or_default(),
        };
        wire.ask(kind, &names.iter().map(String::as_str).collect::<Vec<_>>());
    }
    wire.settle().await?;
    if let Ok(driver) = lane.driven() {
        for world in [World::Changed, World::Grown, World::Base] {
            if driver.can(world, lane.kind()) {
                driver.publish(world).await?;
                wire.settle().await?;
            }
        }
    }
    Ok(wire.heard)
}

pub(super) async fn no_duplicates(lane: &Lane) -> Result<Verdict> {
    for said in everything(lane).await? {
        let names = said.names();
        let different: BTreeSet<&String> = names.iter().chain(&said.removed).collect();
        ensure!(
            different.len() == names.len() + said.removed.len(),
            "a name occurs twice: {names:?}, gone {:?}",
            said.removed
        );
        let stranger = said.items.iter().find(|item| item.any.type_url != said.type_url);
        ensure!(
            stranger.is_none(),
            "a resource of another type: {:?}",
            stranger.map(|item| &item.any.type_url)
        );
    }
    Ok(Verdict::Pass)
}

pub(super) async fn no_ttl(lane: &Lane) -> Result<Verdict> {
    for said in everything(lane).await? {
        for item in &said.items {
            ensure!(!item.has_ttl, "{} has a time to live", item.name);
        }
    }
    Ok(Verdict::Pass)
}

pub(super) async fn slow_reader(lane: &Lane) -> Result<Verdict> {
    let name = applicable!(lane.a_name().await?);
    let mut slow = lane.open().await?;
    for _ in 0..2000 {
        slow.ask(lane.kind(), &[&name]);
    }
    let start = Instant::now();
    for _ in 0..10 {
        let mut quick = lane.open().await?;
        quick.ask(lane.kind(), &[&name]);
        quick.next().await?;
    }
    ensure!(start.elapsed() < super::PATIENCE, "ten others took {:?}", start.elapsed());
    Ok(Verdict::Pass)
}

pub(super) async fn own_identity(lane: &Lane) -> Result<Verdict> {
    if !lane.target.proves_identity {
        return Ok(Verdict::skip("the connection does not prove who the client is"));
    }
    let (head, _) = lane.target.node.id.rsplit_once('/').unwrap_or(("", ""));
    for other in [format!("{head}/somebody-else"), "mesh/other/virtualNode/a".to_owned()] {
        let mut wire = lane.open().await?;
        let node = Node { id: other.clone(), ..lane.target.node.clone() };
        let ask = Ask { node: Some(node), ..wire.request(lane.kind(), &[]) };
        wire.send(ask);
        let code = wire.end().await?;
        ensure!(
            matches!(code, Code::PermissionDenied | Code::Unauthenticated | Code::InvalidArgument),
            "a stream as {other} ends with {code:?}"
        );
        ensure!(wire.heard.is_empty(), "a stream as {other} is served");
    }
    Ok(Verdict::Pass)
}

pub(super) async fn open_streams(lane: &Lane) -> Result<Verdict> {
    let driver = applicable!(lane.driven());
    if !driver.can(World::NoNode, lane.kind()) {
        return Ok(Verdict::skip("the driver cannot take the node's right to be served away"));
    }
    let name = applicable!(lane.a_name().await?);
    let mut wire = lane.open().await?;
    wire.ask(lane.kind(), &[&name]);
    wire.next().await?;
    driver.publish(World::NoNode).await?;
    let code = wire.end().await?;
    ensure!(
        matches!(code, Code::InvalidArgument | Code::PermissionDenied | Code::Unauthenticated),
        "the stream ends with {code:?}"
    );
    Ok(Verdict::Pass)
}

pub(super) async fn no_key_material(lane: &Lane) -> Result<Verdict> {
    const KEY: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg9ReallyPrivate";
    let driver = applicable!(lane.driven());
    let name = applicable!(lane.a_name().await?);
    let mut wire = lane.open().await?;
    wire.ask(lane.kind(), &[&name]);
    wire.next().await?;
    let text = format!("{name}: bad key -----BEGIN PRIVATE KEY-----\n{KEY}\n-----END PRIVATE KEY-----");
    wire.answer(lane.kind(), Some(&text), &[]);
    wire.quiet("the response was refused").await?;
    let shown = driver.shown().await?;
    ensure!(!shown.contains(KEY) && !shown.contains("BEGIN PRIVATE KEY"), "a key in a NACK is shown");
    ensure!(shown.contains(&name), "the refusal is not shown at all");
    Ok(Verdict::Pass)
}

pub(super) async fn secrets_agree(lane: &Lane) -> Result<Verdict> {
    applicable!(lane.only_ads());
    let agents = || ["default", "ROOTCA"].map(str::to_owned).to_vec();
    let names = lane.driver.as_ref().map(|driver| driver.names(ResourceType::Secret));
    let names = names.filter(|names| !names.is_empty()).unwrap_or_else(agents);
    let over_ads = secrets(lane, &names).await?;
    if over_ads.is_empty() {
        return Ok(Verdict::skip(
            "none of them is served over ADS, so there is nothing that SDS could say otherwise",
        ));
    }
    let sds = Lane { service: Some(ResourceType::Secret), ..lane.clone() };
    let over_sds = match secrets(&sds, &names).await {
        Ok(secrets) => secrets,
        Err(error) if code(&error) == Some(Code::Unimplemented) => {
            return Ok(Verdict::skip("the server has no SDS"));
        }
        Err(error) => return Err(error),
    };
    for (name, value) in over_ads {
        let other = over_sds.get(&name).is_none_or(|over_sds| *over_sds != value);
        // Never the value: it may be a key.
        ensure!(!other, "{name:?} over ADS is not what it is over SDS");
    }
    Ok(Verdict::Pass)
}

/// The secrets of these names, as the lane's service has them.
async fn secrets(lane: &Lane, names: &[String]) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut wire = lane.open().await?;
    wire.ask(ResourceType::Secret, &names.iter().map(String::as_str).collect::<Vec<_>>());
    let said = wire.settle().await?;
    let items = said.into_iter().flat_map(|said| said.items);
    Ok(items.map(|item| (item.name, item.any.value)).collect())
}

fn code(error: &anyhow::Error) -> Option<Code> {
    error.chain().find_map(|cause| cause.downcast_ref::<tonic::Status>()).map(tonic::Status::code)
}
