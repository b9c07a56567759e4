//! Statements 10 and 26: versions, and what they spare.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use signet_xds::session::Variant;

use super::{Lane, Verdict, World, applicable, client::Ask};

pub(super) async fn content_versions(lane: &Lane) -> Result<Verdict> {
    let name = applicable!(lane.a_name().await?);
    let mut versions = Vec::new();
    for _ in 0..2 {
        let mut wire = lane.open().await?;
        let names: &[&str] = if lane.is_wildcard() { &[] } else { &[&name] };
        wire.ask(lane.kind(), names);
        let said = wire.next().await?;
        versions.push(
            said.items
                .iter()
                .map(|item| (item.name.clone(), item.version.clone()))
                .collect::<BTreeMap<_, _>>(),
        );
    }
    ensure!(
        versions.iter().all(|of_stream| of_stream.values().all(|version| !version.is_empty())),
        "a version is empty"
    );
    ensure!(versions.first() == versions.last(), "two streams have different versions: {versions:?}");
    Ok(Verdict::Pass)
}

pub(super) async fn reconnect(lane: &Lane) -> Result<Verdict> {
    applicable!(lane.only(Variant::Delta));
    let existing = lane.existing().await?;
    let [changed, same @ ..] = &existing[..] else {
        return Ok(Verdict::skip("there is no resource of this kind"));
    };
    let kind = lane.kind();
    let names: Vec<&str> =
        if lane.is_wildcard() { vec![] } else { existing.iter().map(String::as_str).collect() };
    let mut wire = lane.open().await?;
    wire.ask(kind, &names);
    let first = wire.next().await?;
    let held: BTreeMap<String, String> =
        first.items.iter().map(|item| (item.name.clone(), item.version.clone())).collect();

    let mut unchanged = lane.open().await?;
    let resumed = Ask { initial: held.clone(), ..unchanged.request(kind, &names) };
    unchanged.send(resumed);
    if lane.is_wildcard() {
        let said = unchanged.next().await?;
        ensure!(
            said.items.is_empty() && said.removed.is_empty(),
            "nothing changed, but {:?} came",
            said.names()
        );
        unchanged.ack(kind);
    }
    unchanged.quiet("nothing changed since the last stream").await?;

    let mut other = lane.open().await?;
    let mut old = held;
    old.insert(changed.clone(), "older".into());
    old.insert("no-such-resource".into(), "1".into());
    let names: Vec<&str> =
        names.iter().copied().chain((!lane.is_wildcard()).then_some("no-such-resource")).collect();
    let resumed = Ask { initial: old, ..other.request(kind, &names) };
    other.send(resumed);
    let said = other.settle().await?;
    let sent: Vec<String> = said.iter().flat_map(super::client::Said::names).collect();
    let removed: Vec<&String> = said.iter().flat_map(|said| &said.removed).collect();
    ensure!(sent == [changed.clone()], "one differs of {}, but {sent:?} came", same.len() + 1);
    ensure!(removed == ["no-such-resource"], "what is gone is {removed:?}");

    if let Ok(driver) = lane.driven()
        && driver.can(World::Changed, kind)
    {
        driver.publish(World::Changed).await?;
        let said = unchanged.next().await?;
        ensure!(said.names() == [driver.changing(kind)], "one changed, but {:?} came", said.names());
    }
    Ok(Verdict::Pass)
}
