//! An Envoy that Signet does not configure, and whose SPIFFE validator passes lists over: what its operator does, as
//! docs/revocation.md tells.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, ensure};
use rustls::HandshakeKind;
use serde_json::json;
use signet_tests::{Outsider, bed::Bed, eventually};
use tokio::{io::AsyncReadExt as _, task::JoinSet, time::timeout};

use super::{
    PATIENCE, ca, id,
    wire::{Thief, ask},
};
use crate::secrets::bed::{EnvoyBed, Shape, Variant};

/// Uses a connection until its server asks for its end, and then another; counts what is answered.
async fn call(friend: Thief, answered: Arc<AtomicU64>) -> Result<()> {
    let mut pulse = tokio::time::interval(Duration::from_millis(20));
    loop {
        let mut stream = friend.connect().await?;
        loop {
            pulse.tick().await;
            let is_over = ask(&mut stream).await?;
            answered.fetch_add(1, Ordering::SeqCst);
            if is_over {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_spiffe_validator_lets_in_what_was_revoked_until_its_listener_denies_the_name() -> Result<()> {
    let mut bed = Bed::start().await?;
    bed.mesh("m").await?;
    for name in ["own", "thief", "friend"] {
        bed.virtual_node("m", name, json!({})).await?;
    }
    let own = bed.node("m", "own").await?;
    let shape =
        Shape { variant: Variant::Spiffe, roots: "spiffe://signet.internal", second: None, caller: None };
    let (foreign, file) = EnvoyBed::with_file(&own.sidecar.ready.socket, &shape).await?;
    let at = foreign.listener()?;
    let stolen = Outsider::join(&bed.server, &bed.client, "m", "thief").await?;
    let friend = Outsider::join(&bed.server, &bed.client, "m", "friend").await?;
    let (thief, friend) = (Thief::new(&stolen, at)?, Thief::new(&friend, at)?);
    let mut open = eventually("the listener serves", PATIENCE, || thief.connect()).await?;
    let (answered, mut friends) = (Arc::new(AtomicU64::new(0)), JoinSet::new());
    friends.spawn(call(friend.clone(), Arc::clone(&answered)));

    let revoking = ["revoke", &id("thief"), "--reason", "keyCompromise"];
    let output = tokio::task::block_in_place(|| ca(&bed.server, &revoking))?;
    let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
    ensure!(output.status.code() == Some(1) && said.contains("mesh/m/virtualNode/own/"), "{said}");
    thief.connect().await?;
    ask(&mut open).await?;

    file.deny(&id("thief"))?;
    eventually("new connections are refused", PATIENCE, || async {
        ensure!(thief.connect().await.is_err(), "the thief is served");
        Ok(())
    })
    .await?;
    let resuming = thief.resuming();
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let mut stream = resuming.shake().await?;
        kinds.push(stream.get_ref().1.handshake_kind());
        ensure!(ask(&mut stream).await.is_err(), "a resumed session of the thief is served");
    }
    ensure!(kinds == [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)], "{kinds:?}");
    // The listener that let it in is drained; it ends though nobody says a word on it.
    let end = timeout(PATIENCE, open.read(&mut [0; 64])).await;
    ensure!(matches!(end, Ok(Ok(0) | Err(_))), "the open connection goes on: {end:?}");
    friend.connect().await?;
    let lost = friends.try_join_next();
    ensure!(lost.is_none(), "a request of another was lost: {lost:?}");
    ensure!(answered.load(Ordering::SeqCst) > 50, "{answered:?} requests of others");
    friends.shutdown().await;
    drop(own);
    bed.end().await;
    Ok(())
}
