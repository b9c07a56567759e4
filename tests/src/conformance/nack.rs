//! Statements 11 to 16: what a client refuses.

use anyhow::{Result, ensure};
use signet_xds::session::Variant;

use super::{Lane, Verdict, World, applicable, client::Ask, client::Wire, driver::Driver};

/// A stream that has asked for a name and has its first response, unanswered.
async fn asked(lane: &Lane, name: &str) -> Result<Wire> {
    let mut wire = lane.open().await?;
    wire.ask(lane.kind(), &[name]);
    wire.next().await?;
    Ok(wire)
}

fn changeable(lane: &Lane, world: World) -> Result<&dyn Driver, Verdict> {
    let driver = lane.driven()?;
    let cannot = || Verdict::skip("the driver cannot change a resource of this kind");
    if driver.can(world, lane.kind()) { Ok(driver) } else { Err(cannot()) }
}

pub(super) async fn detection(lane: &Lane) -> Result<Verdict> {
    let name = applicable!(lane.a_name().await?);
    let kind = lane.kind();
    let mut wire = asked(lane, &name).await?;
    // An acknowledgement, though it names a version that was never sent.
    let names: &[&str] = if lane.variant == Variant::Sotw { &[&name] } else { &[] };
    let odd = Ask { version: "another".into(), ..wire.request(kind, names) };
    wire.send(odd);
    wire.quiet("an acknowledgement with an odd version was sent").await?;
    let Ok(driver) = changeable(lane, World::Changed) else {
        return Ok(Verdict::Pass);
    };
    // A NACK, though it is empty and names the version that was sent.
    let name = driver.changing(kind);
    let mut wire = asked(lane, &name).await?;
    wire.ack(kind);
    driver.publish(World::Changed).await?;
    let version = wire.next().await?.version;
    let names: &[&str] = if lane.variant == Variant::Sotw { &[&name] } else { &[] };
    let empty = Ask { version, error: Some(String::new()), ..wire.request(kind, names) };
    wire.send(empty);
    wire.quiet("a NACK with an empty text was sent").await?;
    ensure!(!driver.is_synced().await?, "an empty error detail was taken for an acknowledgement");
    Ok(Verdict::Pass)
}

pub(super) async fn no_resend(lane: &Lane) -> Result<Verdict> {
    let name = applicable!(lane.a_name().await?);
    let mut wire = asked(lane, &name).await?;
    wire.answer(lane.kind(), Some("refused by the conformance suite"), &[]);
    for _ in 0..3 {
        wire.quiet("the response was refused").await?;
    }
    Ok(Verdict::Pass)
}

pub(super) async fn fix(lane: &Lane) -> Result<Verdict> {
    let driver = applicable!(changeable(lane, World::Changed));
    let (kind, name) = (lane.kind(), driver.changing(lane.kind()));
    let mut wire = asked(lane, &name).await?;
    wire.answer(kind, Some("refused by the conformance suite"), &[]);
    wire.quiet("the response was refused").await?;
    driver.publish(World::Changed).await?;
    let start = tokio::time::Instant::now();
    ensure!(wire.next().await?.has(&name), "the fix is not sent");
    let took = start.elapsed();
    ensure!(took < std::time::Duration::from_secs(2), "the fix came only after {took:?}");
    wire.ack(kind);
    wire.quiet("the fix is acknowledged").await?;
    Ok(Verdict::Pass)
}

pub(super) async fn sent_is_not_accepted(lane: &Lane) -> Result<Verdict> {
    let driver = applicable!(changeable(lane, World::Changed));
    applicable!(lane.only_ads());
    let mut wire = lane.open().await?;
    for kind in [signet_xds::ResourceType::Cluster, signet_xds::ResourceType::Listener] {
        wire.ask(kind, &[]);
        wire.next().await?;
        wire.quiet("the response is not answered").await?;
        ensure!(!driver.is_synced().await?, "what was only sent counts as accepted");
        wire.ack(kind);
    }
    wire.quiet("everything is acknowledged").await?;
    ensure!(driver.is_synced().await?, "what was acknowledged does not count as accepted");
    Ok(Verdict::Pass)
}

pub(super) async fn subscriptions(lane: &Lane) -> Result<Verdict> {
    let existing = lane.existing().await?;
    let [name, other, ..] = &existing[..] else {
        return Ok(Verdict::skip("needs two resources of this kind"));
    };
    let mut wire = asked(lane, name).await?;
    wire.answer(lane.kind(), Some("refused by the conformance suite"), &[other]);
    let said = wire.next().await?;
    ensure!(said.has(other), "a name that a NACK subscribes to is not sent; {:?} is", said.names());
    Ok(Verdict::Pass)
}

pub(super) async fn partial(lane: &Lane) -> Result<Verdict> {
    let driver = applicable!(changeable(lane, World::ChangedOther));
    let kind = lane.kind();
    let (bad, good) = (driver.changing(kind), driver.other(kind));
    let mut wire = lane.open().await?;
    wire.ask(kind, &[&bad, &good]);
    let first = wire.next().await?;
    let version_of = |items: &[super::client::Item]| {
        items.iter().find(|item| item.name == bad).map(|item| item.any.value.clone())
    };
    let refused = version_of(&first.items);
    wire.answer(kind, Some(&format!("{bad}: refused by the conformance suite")), &[]);
    driver.publish(World::ChangedOther).await?;
    for _ in 0..3 {
        let said = wire.next().await?;
        ensure!(
            version_of(&said.items).is_none_or(|value| Some(value) != refused),
            "the refused {bad} is sent again with the change of another"
        );
        if said.has(&good) {
            return Ok(Verdict::Pass);
        }
        wire.ack(kind);
    }
    anyhow::bail!("the change of {good} is not sent")
}
