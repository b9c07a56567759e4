//! Statements 17 to 24: what is asked for, and given up.

use anyhow::{Result, ensure};
use signet_xds::session::Variant;

use super::{Lane, Verdict, World, applicable, client::Wire};

pub(super) async fn wildcard(lane: &Lane, id: u8) -> Result<Verdict> {
    applicable!(lane.only(if id == 17 { Variant::Sotw } else { Variant::Delta }));
    applicable!(lane.only_wildcard());
    let (kind, existing) = (lane.kind(), lane.existing().await?);
    let [name, rest @ ..] = &existing[..] else {
        return Ok(Verdict::skip("there is no resource of this kind"));
    };
    let mut wire = lane.open().await?;
    wire.ask(kind, &[]);
    ensure!(
        wire.next().await?.names().len() == existing.len(),
        "an empty list is not answered with everything"
    );
    wire.ack(kind);
    wire.ask(kind, &["*", name]);
    ensure!(wire.next().await?.has(name), "a name beside the wildcard is not answered");
    wire.ack(kind);
    wire.give_up(kind, &["*"]);
    wire.quiet("the wildcard was given up").await?;
    wire.give_up(kind, &[name]);
    wire.quiet("the last name was given up").await?;
    if let Ok(driver) = lane.driven()
        && driver.can(World::Changed, kind)
    {
        driver.publish(World::Changed).await?;
        wire.quiet("nothing is asked for any more, and an empty list is no wildcard now").await?;
    }
    wire.ask(kind, &["*"]);
    let again = wire.next().await?;
    ensure!(rest.iter().all(|name| again.has(name)), "the wildcard is not taken up again");
    Ok(Verdict::Pass)
}

pub(super) async fn leaving_under_a_wildcard(lane: &Lane) -> Result<Verdict> {
    applicable!(lane.only(Variant::Delta));
    applicable!(lane.only_wildcard());
    let name = applicable!(lane.a_name().await?);
    let (kind, missing) = (lane.kind(), "no-such-resource");
    let mut wire = lane.open().await?;
    wire.ask(kind, &["*", &name, missing]);
    wire.next().await?;
    wire.ack(kind);
    wire.settle().await?;
    wire.give_up(kind, &[&name]);
    ensure!(wire.next().await?.has(&name), "a name that stays under the wildcard is not sent");
    wire.ack(kind);
    wire.give_up(kind, &[missing]);
    ensure!(wire.next().await?.removed == [missing], "a name that does not exist is not said to be gone");
    Ok(Verdict::Pass)
}

pub(super) async fn unsubscribe(lane: &Lane) -> Result<Verdict> {
    let kind = lane.kind();
    let driver = lane.driver.as_deref().filter(|driver| driver.can(World::Changed, kind));
    let name = match driver {
        Some(driver) => driver.changing(kind),
        None => applicable!(lane.a_name().await?),
    };
    let mut wire = lane.open().await?;
    wire.ask(kind, &[&name]);
    wire.next().await?;
    wire.ack(kind);
    wire.give_up(kind, &[&name]);
    wire.quiet("a name was given up").await?;
    if let Some(driver) = driver {
        driver.publish(World::Changed).await?;
        wire.quiet("a name that was given up has changed").await?;
    }
    Ok(Verdict::Pass)
}

pub(super) async fn again(lane: &Lane, id: u8) -> Result<Verdict> {
    applicable!(lane.only(if id == 21 { Variant::Sotw } else { Variant::Delta }));
    let existing = lane.existing().await?;
    let Some(name) = existing.first() else {
        return Ok(Verdict::skip("there is no resource of this kind"));
    };
    let kind = lane.kind();
    let others: Vec<&str> = existing.iter().map(String::as_str).collect();
    let mut wire = lane.open().await?;
    wire.ask(kind, &others);
    wire.next().await?;
    wire.ack(kind);
    if lane.variant == Variant::Sotw {
        wire.give_up(kind, &[name]);
        wire.quiet("a name was given up").await?;
        wire.ask(kind, &others);
    } else {
        wire.ask(kind, &[name]);
    }
    ensure!(wire.next().await?.has(name), "a name that was asked for again is not sent");
    Ok(Verdict::Pass)
}

/// Waits for a response with a name, acknowledging those before it.
async fn until(wire: &mut Wire, lane: &Lane, name: &str) -> Result<()> {
    for _ in 0..3 {
        let said = wire.next().await?;
        wire.ack(lane.kind());
        if said.has(name) {
            return Ok(());
        }
    }
    anyhow::bail!("{name} is not sent")
}

pub(super) async fn missing(lane: &Lane) -> Result<Verdict> {
    applicable!(lane.only(Variant::Delta));
    let kind = lane.kind();
    let driver = lane.driver.as_deref().filter(|driver| driver.can(World::Grown, kind));
    let name = driver.map_or("no-such-resource".to_owned(), |driver| driver.fresh(kind));
    let mut wire = lane.open().await?;
    wire.ask(kind, &[&name]);
    ensure!(
        wire.next().await?.removed == [name.clone()],
        "a name that does not exist is not said to be gone"
    );
    wire.ack(kind);
    if let Some(driver) = driver {
        driver.publish(World::Grown).await?;
        until(&mut wire, lane, &name).await?;
        driver.publish(World::Base).await?;
        ensure!(wire.next().await?.removed == [name], "its end is not told");
    }
    Ok(Verdict::Pass)
}

pub(super) async fn completeness(lane: &Lane) -> Result<Verdict> {
    applicable!(lane.only(Variant::Sotw));
    applicable!(lane.only_wildcard());
    let driver = applicable!(lane.driven());
    let kind = lane.kind();
    if !driver.can(World::Changed, kind) {
        return Ok(Verdict::skip("the driver cannot change a resource of this kind"));
    }
    let mut wire = lane.open().await?;
    wire.ask(kind, &[]);
    let all = wire.next().await?.names();
    wire.ack(kind);
    driver.publish(World::Changed).await?;
    let changed = wire.next().await?.names();
    ensure!(changed == all, "a change of one came with {changed:?} instead of {all:?}");
    wire.ack(kind);
    if driver.can(World::Empty, kind) {
        driver.publish(World::Empty).await?;
        ensure!(wire.next().await?.items.is_empty(), "the end of the last resource is not an empty response");
    }
    Ok(Verdict::Pass)
}
