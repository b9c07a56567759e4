//! Statements 6 to 9: nonces and acknowledgements.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use signet_xds::session::Variant;

use super::{Lane, Verdict, applicable, client::Ask};

pub(super) async fn unique(lane: &Lane) -> Result<Verdict> {
    let name = applicable!(lane.a_name().await?);
    let kind = lane.kind();
    let mut wire = lane.open().await?;
    // A client that reconnects may bring along what an earlier stream gave it.
    let first =
        Ask { nonce: "of-another-stream".into(), version: "7".into(), ..wire.request(kind, &[&name]) };
    wire.send(first);
    wire.next().await?;
    wire.ack(kind);
    for _ in 0..3 {
        wire.give_up(kind, &[&name]);
        wire.ask(kind, &[&name]);
        wire.next().await?;
    }
    let nonces: Vec<&str> = wire.heard.iter().map(|said| &*said.nonce).collect();
    ensure!(nonces.iter().all(|nonce| !nonce.is_empty()), "a nonce is empty");
    let different: BTreeSet<&str> = nonces.iter().copied().collect();
    ensure!(different.len() == nonces.len(), "a nonce is repeated: {nonces:?}");
    Ok(Verdict::Pass)
}

pub(super) async fn silent_ack(lane: &Lane) -> Result<Verdict> {
    let name = applicable!(lane.a_name().await?);
    let mut wire = lane.open().await?;
    let names: &[&str] = if lane.is_wildcard() { &[] } else { &[&name] };
    wire.ask(lane.kind(), names);
    wire.next().await?;
    for _ in 0..2 {
        wire.ack(lane.kind());
        wire.quiet("an acknowledgement was sent").await?;
    }
    Ok(Verdict::Pass)
}

pub(super) async fn stale(lane: &Lane, id: u8) -> Result<Verdict> {
    let variant = if id == 8 { Variant::Sotw } else { Variant::Delta };
    applicable!(lane.only(variant));
    let existing = lane.existing().await?;
    let [name, other, ..] = &existing[..] else {
        return Ok(Verdict::skip("needs two resources of this kind"));
    };
    let kind = lane.kind();
    let mut wire = lane.open().await?;
    wire.ask(kind, &[name]);
    let first = wire.next().await?;
    wire.ack(kind);
    if variant == Variant::Delta {
        for nonce in ["never-seen".to_owned(), first.nonce] {
            let stale = Ask { nonce, ..wire.request(kind, &[other]) };
            wire.send(stale);
            ensure!(wire.next().await?.has(other), "a subscription with a stale nonce is lost");
        }
        return Ok(Verdict::Pass);
    }
    wire.give_up(kind, &[name]);
    wire.ask(kind, &[name]);
    wire.next().await?;
    let stale = Ask { nonce: first.nonce, ..wire.request(kind, &[name, other]) };
    wire.send(stale);
    wire.quiet("a request with an older nonce was sent").await?;
    wire.ask(kind, &[name, other]);
    ensure!(wire.next().await?.has(other), "the request with the current nonce is not answered");
    Ok(Verdict::Pass)
}
