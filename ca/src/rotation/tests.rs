//! Changes before agents that do as they are told, are silent, refuse, or show something else than they say.

mod back;
mod crash;
mod given;
mod ledger;
mod overrides;
mod proof;
mod settling;
mod told;
mod world;

use std::collections::BTreeMap;

use super::*;
use crate::{
    IssuerName, Succession, fixtures,
    nodes::{NodeKey, Window},
};
use world::World;

fn mesh_issuer() -> Succession {
    Succession::Issuer(IssuerName::Mesh(fixtures::node("a").mesh))
}

#[tokio::test]
async fn a_root_goes_when_everybody_trusts_the_new_one_and_holds_nothing_of_the_old() {
    let world = World::new().await;
    let (old, mut one, mut two) = (world.root(), world.agent("a").await, world.agent("b").await);
    world.start(&Succession::Root).await;
    assert_eq!(world.phase(), Phase::Distribute);
    assert_eq!(world.trusted().len(), 2, "both are to be trusted");
    assert_eq!(world.issuer_of_new_leaf().await, world.old_issuer, "and the old one signs");

    world.accept(&mut one).await;
    assert_eq!(world.phase(), Phase::Distribute);
    assert_eq!(world.laggards(), [two.name()]);
    world.accept(&mut two).await;
    assert_eq!(world.phase(), Phase::Issue);
    assert_ne!(world.issuer_of_new_leaf().await, world.old_issuer, "the new one signs");
    assert_eq!(world.laggards(), [one.name(), two.name()], "who hold certificates of the old one");
    let windows = world.advice();
    assert_eq!(windows.len(), 2);
    assert!(windows.values().all(|window| window.end == window.start + world::SPREAD), "{windows:?}");

    world.renew(&mut one).await;
    assert_eq!((world.phase(), world.advice().len()), (Phase::Issue, 1));
    world.renew(&mut two).await;
    assert_eq!(world.phase(), Phase::Retire);
    assert_eq!(world.trusted().len(), 1);
    assert_ne!(world.trusted(), std::slice::from_ref(&old));
    world.accept(&mut one).await;
    world.accept(&mut two).await;
    assert_eq!(world.phase(), Phase::Completed);
    assert_eq!((world.trusted(), world.advice().len()), (vec![world.root()], 0));
    assert_ne!(world.root(), old);

    let reopened = world.restarted().await;
    assert_eq!(reopened.root(), world.root());
    assert_eq!(reopened.phase(), Phase::Completed);
    let shelf =
        std::fs::read_dir(world.folder.path().join("retired")).unwrap().next().unwrap().unwrap().path();
    let names = ["root/cert.pem", "meshes/my-mesh/cert.pem", "root/key.pem", "meshes/my-mesh/key.pem"];
    let there = names.map(|name| shelf.join(name).exists());
    assert_eq!(there, [true, true, false, false], "certificates are kept, and keys are not");
}

#[tokio::test]
async fn one_mesh_gets_another_issuer_and_nobody_else_is_concerned() {
    let world = World::new().await;
    let (root, mut own, other) =
        (world.root(), world.agent("a").await, world.agent_of("other-mesh", "x").await);
    world.start(&mesh_issuer()).await;
    assert_eq!(world.phase(), Phase::Issue, "everybody trusts the root already");
    assert_eq!(world.trusted(), std::slice::from_ref(&root));
    assert_eq!(world.laggards(), [own.name()]);
    assert_eq!(world.advice().keys().map(ToString::to_string).collect::<Vec<_>>(), [own.name()]);
    world.renew(&mut own).await;
    assert_eq!(world.phase(), Phase::Completed);
    assert_eq!(world.root(), root);
    drop(other);
    let issuer = world.issuer_of_new_leaf().await;
    assert_ne!(issuer, world.old_issuer);
    let reopened = world.restarted().await;
    assert_eq!(reopened.issuer_of_new_leaf().await, issuer);
}

#[tokio::test]
async fn a_proxy_that_is_silent_holds_a_change_up_by_name_until_somebody_says_not_to_wait() {
    let world = World::new().await;
    let (mut one, two) = (world.agent("a").await, world.agent("b").await);
    let name = two.name();
    drop(two);
    world.start(&Succession::Root).await;
    world.accept(&mut one).await;
    assert_eq!((world.phase(), world.laggards()), (Phase::Distribute, vec![name.clone()]));
    world.pass(FRESH * 10);
    one.report(&world);
    world.look().await;
    assert_eq!(world.phase(), Phase::Distribute, "time alone proves nothing");
    world.rotations.resume(&["mesh/my-mesh/virtualNode/b".to_owned()], "me").await.unwrap();
    one.report(&world);
    world.look().await;
    assert_eq!(world.phase(), Phase::Issue);
    let told = world.ledger_text().await;
    assert!(told.contains("mesh/my-mesh/virtualNode/b"), "who was not waited for is in the ledger: {told}");

    // One that stays connected and says nothing is no better.
    world.pass(FRESH + Duration::from_secs(1));
    world.look().await;
    assert_eq!(world.laggards(), [one.name()]);
}

#[tokio::test]
async fn a_certificate_whose_holder_nobody_knows_holds_a_change_up_unless_the_holder_left_or_is_renewed() {
    let world = World::new().await;
    let mut one = world.agent("a").await;
    let stray = world.issue("b", None).await;
    let gone = world.agent("b").await;
    gone.leave(&world).await;
    world.start(&Succession::Root).await;
    world.accept(&mut one).await;
    assert_eq!((world.phase(), world.laggards()), (Phase::Distribute, vec![stray.to_string()]));
    world.rotations.resume(&[stray.to_string()], "me").await.unwrap();
    world.look().await;
    assert_eq!(world.phase(), Phase::Issue);
    // An answer that was lost on its way: the agent asks again with what it has.
    let held = one.serial();
    world.issue("a", Some(held)).await;
    world.renew(&mut one).await;
    assert_eq!(world.phase(), Phase::Retire, "all that descend from one join are one agent's");
}

#[tokio::test]
async fn what_a_handshake_presents_and_what_envoy_holds_count_for_more_than_what_the_agent_holds() {
    let world = World::new().await;
    let mut one = world.agent("a").await;
    let before = one.leaf.clone();
    world.start(&Succession::Root).await;
    world.accept(&mut one).await;
    assert_eq!(world.phase(), Phase::Issue);
    one.presents = Some(before.clone());
    world.renew(&mut one).await;
    assert_eq!(world.phase(), Phase::Issue);
    assert!(world.why().contains("still presents"), "{}", world.why());
    one.presents = None;
    one.loads = Some(before.serial.unwrap());
    one.report(&world);
    world.look().await;
    assert_eq!(world.phase(), Phase::Issue);
    assert!(world.why().contains("still holds certificate"), "{}", world.why());
    one.loads = None;
    one.report(&world);
    world.look().await;
    assert_eq!(world.phase(), Phase::Retire);
}

#[tokio::test]
async fn the_old_root_does_not_go_while_the_servers_own_certificate_is_of_it() {
    let mut world = World::new().await;
    let mut one = world.agent("a").await;
    world.start(&Succession::Root).await;
    world.follows = false;
    world.accept(&mut one).await;
    world.renew(&mut one).await;
    assert_eq!((world.phase(), world.laggards()), (Phase::Issue, vec!["signet/server".to_owned()]));
    world.follows = true;
    world.look().await;
    assert_eq!(world.phase(), Phase::Retire);
}

#[tokio::test]
async fn a_paused_change_moves_nobody_and_a_second_one_does_not_begin() {
    let world = World::new().await;
    let mut one = world.agent("a").await;
    world.start(&Succession::Root).await;
    world.rotations.pause("me").await.unwrap();
    world.accept(&mut one).await;
    assert_eq!(world.phase(), Phase::Distribute);
    let busy = world.rotations.start(&mesh_issuer(), None, Duration::ZERO, "me").await;
    assert!(matches!(busy, Err(RotationError::Busy(_))), "{busy:?}");
    world.rotations.resume(&[], "me").await.unwrap();
    world.look().await;
    assert_eq!(world.phase(), Phase::Issue);
    world.rotations.pause("me").await.unwrap();
    assert!(world.advice().is_empty(), "nobody is told to renew");
}

#[tokio::test]
async fn a_plan_changes_nothing_and_names_who_would_hold_it_up() {
    let world = World::new().await;
    let one = world.agent("a").await;
    let silent = world.agent("b").await;
    let name = silent.name();
    drop(silent);
    let (root, trusted) = (world.root(), world.trusted());
    let plan = world.rotations.plan(&Succession::Root, None).await.unwrap();
    assert_eq!((plan.total, plan.ready, plan.obstacles.len()), (2, 1, 0));
    assert_eq!(plan.laggards.iter().map(|one| one.node.clone()).collect::<Vec<_>>(), [name]);
    assert_eq!((world.root(), world.trusted()), (root, trusted));
    assert!(
        !world.folder.path().join("next").exists() && !world.folder.path().join("rotation.json").exists()
    );
    drop(one);
}
