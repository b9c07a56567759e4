//! The statements on SDS that a real Envoy is held to, too; their numbers are those of docs/sds.md.
//!
//! An Envoy with one listener, whose certificate and roots come from the agent's SDS server in this very process.

pub(crate) mod bed;
mod mesh;

use std::time::Duration;

use anyhow::{Result, ensure};
use signet_tests::{eventually, machine};

use bed::{Authority, EnvoyBed, Sds, Shape, Variant};

const PATIENCE: Duration = Duration::from_secs(10);

/// 1 and 43: the kernel's word counts, and whoever is let in is served from memory.
#[tokio::test(flavor = "multi_thread")]
async fn s01_an_envoy_of_another_user_is_told_nothing_and_one_of_ours_presents_the_certificate() -> Result<()>
{
    let _machine = machine().await?;
    let authority = Authority::new()?;
    let held = authority.issue()?;
    let strangers = Sds::start(Some(held.clone()), 54_321)?;
    let stranger = EnvoyBed::start(&strangers, Variant::Sotw, "ROOTCA").await?;
    let served = Sds::start(Some(held.clone()), bed::own_uid())?;
    let envoy = EnvoyBed::start(&served, Variant::Sotw, "ROOTCA").await?;
    envoy.presents(&authority, held.leaf().serial()).await?;
    ensure!(stranger.counter("sds.default.update_success").await? == 0, "the stranger got a secret");
    ensure!(strangers.deliveries.list().is_empty(), "the stranger opened a stream");
    ensure!(stranger.attempt(&authority).await.is_err(), "the stranger presents something");
    // 43: a second Envoy comes while nothing new can be had.
    let second = EnvoyBed::start(&served, Variant::Sotw, "ROOTCA").await?;
    second.presents(&authority, held.leaf().serial()).await
}

/// 11, 12, 20: what Envoy accepts and refuses, and what it is sent after.
#[tokio::test(flavor = "multi_thread")]
async fn s12_envoys_rejection_is_kept_answered_by_nothing_and_mended_by_the_next_secret() -> Result<()> {
    let _machine = machine().await?;
    let authority = Authority::new()?;
    let good = authority.issue()?;
    let served = Sds::start(Some(good.clone()), bed::own_uid())?;
    let envoy = EnvoyBed::start(&served, Variant::Sotw, "ROOTCA").await?;
    envoy.presents(&authority, good.leaf().serial()).await?;
    // 11: nothing was answered to the ACK.
    let sent = served.deliveries.totals().sent;
    served.publish(&authority.with_bad_list(&good)?);
    eventually("Envoy refuses the roots", PATIENCE, || async {
        let refused = served.deliveries.list().into_iter().find_map(|one| one.rejected);
        let (_, reason) = refused.ok_or_else(|| anyhow::anyhow!("{:?}", served.deliveries.list()))?;
        ensure!(!reason.is_empty() && !reason.contains("BEGIN"), "{reason}");
        Ok(())
    })
    .await?;
    ensure!(served.deliveries.totals().sent == sent + 1, "12: the refused version was sent once");
    ensure!(envoy.counter("sds.ROOTCA.update_rejected").await? == 1, "Envoy counts one rejection");
    envoy.presents(&authority, good.leaf().serial()).await?;
    // The roots alone: Envoy goes on with the refused ones until then, and would refuse a new leaf for them.
    served.publish(&good);
    eventually("20: it is mended", PATIENCE, || async {
        let list = served.deliveries.list();
        ensure!(list.iter().all(|one| one.rejected.is_none()), "{list:?}");
        Ok(())
    })
    .await?;
    let next = authority.issue()?;
    served.publish(&next);
    envoy.presents(&authority, next.leaf().serial()).await?;
    ensure!(served.deliveries.totals().rejected == [("ROOTCA".to_owned(), 1)].into(), "counted by name");
    Ok(())
}

/// 17 and 49: a replacement with the same secrets changes nothing for Envoy.
#[tokio::test(flavor = "multi_thread")]
async fn s49_envoy_comes_back_to_the_replacement_of_a_server_without_a_change_of_its_secrets() -> Result<()> {
    let _machine = machine().await?;
    let authority = Authority::new()?;
    let held = authority.issue()?;
    for variant in [Variant::Sotw, Variant::Delta] {
        let mut served = Sds::start(Some(held.clone()), bed::own_uid())?;
        let envoy = EnvoyBed::start(&served, variant, "ROOTCA").await?;
        envoy.presents(&authority, held.leaf().serial()).await?;
        let updates = envoy.counter("ssl_context_update_by_sds").await?;
        served.replace().await?;
        eventually("Envoy is back on both streams", PATIENCE, || async {
            let list = served.deliveries.list();
            let holds = list.iter().filter(|one| one.accepted.is_some()).count();
            ensure!(holds == 2, "{list:?}");
            Ok(())
        })
        .await?;
        envoy.presents(&authority, held.leaf().serial()).await?;
        ensure!(
            envoy.counter("ssl_context_update_by_sds").await? == updates,
            "the contexts were not made anew"
        );
        // 47: a delta client says what it holds, and is not sent it again.
        let sent = served.deliveries.totals().sent;
        let expected = if variant == Variant::Delta { 0 } else { 2 };
        ensure!(sent == expected, "{variant:?}: {sent} secrets were sent again");
        let next = authority.issue()?;
        served.publish(&next);
        envoy.presents(&authority, next.leaf().serial()).await?;
    }
    Ok(())
}

/// 25, 26, 32: names that there is nothing for harm no other.
#[tokio::test(flavor = "multi_thread")]
async fn s25_an_envoy_that_asks_for_anothers_secret_gets_its_own_and_that_one_when_it_may() -> Result<()> {
    let _machine = machine().await?;
    let authority = Authority::new()?;
    let held = authority.issue()?;
    let served = Sds::start(Some(held.clone()), bed::own_uid())?;
    let shape = Shape { variant: Variant::Sotw, roots: "ROOTCA", second: Some(bed::TEAM), caller: None };
    let envoy = EnvoyBed::shaped(&served, &shape).await?;
    envoy.presents(&authority, held.leaf().serial()).await?;
    ensure!(served.deliveries.unserved() == [bed::TEAM.to_owned()].into(), "the name is told");
    ensure!(envoy.attempt_second(&authority).await.is_err(), "nothing is presented for it");
    let team = authority.issue_for(bed::TEAM)?;
    served.further.send_replace(vec![team.clone()]);
    eventually("the further identity is presented", PATIENCE, || async {
        let serial = envoy.attempt_second(&authority).await?;
        ensure!(serial == team.leaf().serial().trim_start_matches('0'), "{serial}");
        Ok(())
    })
    .await?;
    envoy.presents(&authority, held.leaf().serial()).await
}

/// 34 and 41: each form and each way of asking comes to the same certificate.
#[tokio::test(flavor = "multi_thread")]
async fn s34_sotw_delta_and_the_spiffe_validator_come_to_the_same_handshakes() -> Result<()> {
    let _machine = machine().await?;
    let authority = Authority::new()?;
    let held = authority.issue()?;
    let served = Sds::start(Some(held.clone()), bed::own_uid())?;
    for (variant, roots) in
        [(Variant::Sotw, "ALL"), (Variant::Delta, "spiffe://signet.internal"), (Variant::Spiffe, "ROOTCA")]
    {
        let envoy = EnvoyBed::start(&served, variant, roots).await?;
        envoy.presents(&authority, held.leaf().serial()).await?;
        let stranger = Authority::new()?;
        let caller = stranger.issue()?;
        ensure!(envoy.attempt_as(&authority, &caller).await.is_err(), "{variant:?} lets a stranger in");
    }
    Ok(())
}

/// 42: the roots come from the agent, the names of those who may call from whoever configures the listener.
#[tokio::test(flavor = "multi_thread")]
async fn s42_roots_combine_with_the_names_of_authorised_callers() -> Result<()> {
    let _machine = machine().await?;
    let authority = Authority::new()?;
    let held = authority.issue()?;
    let served = Sds::start(Some(held.clone()), bed::own_uid())?;
    let shape = Shape { variant: Variant::Sotw, roots: "ROOTCA", second: None, caller: Some(bed::TEAM) };
    let envoy = EnvoyBed::shaped(&served, &shape).await?;
    let team = authority.issue_for(bed::TEAM)?;
    eventually("the authorised caller is served", PATIENCE, || envoy.attempt_as(&authority, &team)).await?;
    ensure!(envoy.attempt(&authority).await.is_err(), "a caller of another name is served");
    Ok(())
}
