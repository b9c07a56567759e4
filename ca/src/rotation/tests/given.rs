//! A root whose key is elsewhere in the place of another.

use super::*;
use crate::{
    IssuerName,
    fixtures::operator::{Operator, ca, certificate},
    ledger::{Reason, Subject},
};

fn operators_root(name: &str) -> Operator {
    Operator::self_signed(&ca(name, None), &rcgen::PKCS_ECDSA_P384_SHA384)
}

async fn start(world: &World, root: &Operator) {
    world.rotations.start(&Succession::Root, Some(&root.pem()), world::SPREAD, "me").await.unwrap();
    world.look().await;
}

/// What an operator does for an issuer.
async fn certify(world: &World, root: &Operator, issuer: &str) {
    let name: IssuerName = issuer.parse().unwrap();
    let request = world.rotations.request(&name, false).await.unwrap();
    world.rotations.install(&name, &root.answers(&request, |_| {})).await.unwrap();
    world.look().await;
}

#[tokio::test]
async fn a_root_that_is_elsewhere_takes_over_when_it_has_certified_every_issuer_and_another_after_it() {
    let mut world = World::new().await;
    let mut one = world.agent("a").await;
    let (first, second) = (operators_root("First root"), operators_root("Second root"));
    for root in [&first, &second] {
        let old_issuer = world.issuer_of_new_leaf().await;
        start(&world, root).await;
        assert_eq!(world.trusted().len(), 2);
        world.accept(&mut one).await;
        assert_eq!((world.phase(), world.laggards()), (Phase::Distribute, vec!["mesh/my-mesh".to_owned()]));
        assert!(world.why().contains("signet ca csr mesh/my-mesh --next"), "{}", world.why());
        assert_eq!(world.issuer_of_new_leaf().await, old_issuer, "the old one signs");

        // A request outlives the server as everything else does.
        let name: IssuerName = "mesh/my-mesh".parse().unwrap();
        let request = world.rotations.request(&name, false).await.unwrap();
        world = world.restarted().await;
        one = world.reconnect(one);
        assert_eq!(world.rotations.request(&name, false).await.unwrap(), request);
        let by_another = operators_root("Another root").answers(&request, |_| {});
        assert!(world.rotations.install(&name, &by_another).await.is_err());
        world.look().await;
        assert_eq!(world.phase(), Phase::Distribute);

        certify(&world, root, "mesh/my-mesh").await;
        assert_eq!(world.phase(), Phase::Issue);
        assert_ne!(world.issuer_of_new_leaf().await, old_issuer, "the new one signs");
        world.renew(&mut one).await;
        assert_eq!((world.phase(), world.trusted()), (Phase::Retire, vec![root.der.clone()]));
        world.accept(&mut one).await;
        assert_eq!((world.phase(), world.root()), (Phase::Completed, root.der.clone()));
        let plain = world.rotations.start(&Succession::Root, None, world::SPREAD, "me").await.unwrap_err();
        assert!(plain.to_string().contains("--root-file"), "{plain}");
        world = world.restarted().await;
        one = world.reconnect(one);
        assert_eq!(world.root(), root.der);
    }
}

#[tokio::test]
async fn abort_from_every_phase_returns_everybody_from_a_root_that_is_elsewhere() {
    for phase in [Phase::Distribute, Phase::Issue, Phase::Retire] {
        let world = World::new().await;
        let (old, mut one) = (world.root(), world.agent("a").await);
        let root = operators_root("New root");
        start(&world, &root).await;
        certify(&world, &root, "mesh/my-mesh").await;
        if phase != Phase::Distribute {
            world.accept(&mut one).await;
        }
        if phase == Phase::Retire {
            world.renew(&mut one).await;
        }
        assert_eq!(world.phase(), phase);
        world.rotations.abort("me").await.unwrap();
        for _ in 0..4 {
            world.accept(&mut one).await;
            if world.phase() == Phase::Return {
                world.renew(&mut one).await;
            }
        }
        assert_eq!((world.phase(), world.trusted()), (Phase::Aborted, vec![old]), "from {phase}");
        assert_eq!(one.leaf.issuer_key.as_ref(), Some(&world.old_issuer));
        let idle = world.rotations.request(&"mesh/my-mesh".parse().unwrap(), false).await;
        assert!(matches!(idle, Err(RotationError::Idle)), "{idle:?}");
    }
}

#[tokio::test]
async fn a_mesh_that_nobody_uses_needs_no_issuer_if_somebody_says_so_and_the_server_needs_its_own() {
    let world = World::new().await;
    let mut one = world.agent("a").await;
    let gone = world.agent_of("other-mesh", "x").await;
    gone.leave(&world).await;
    world.issue_to_the_server().await;
    let root = operators_root("New root");
    start(&world, &root).await;
    world.accept(&mut one).await;
    assert_eq!(world.laggards(), ["mesh/my-mesh", "mesh/other-mesh", "server"]);
    let excuse = async |name: &str| world.rotations.resume(&[name.to_owned()], "me").await;
    let refused = excuse("server").await.unwrap_err();
    assert!(matches!(refused, RotationError::Needed(_)), "{refused}");
    for _ in 0..2 {
        excuse("mesh/other-mesh").await.unwrap();
    }
    certify(&world, &root, "mesh/my-mesh").await;
    assert_eq!((world.phase(), world.laggards()), (Phase::Distribute, vec!["server".to_owned()]));
    certify(&world, &root, "server").await;
    assert_eq!(world.phase(), Phase::Issue);
    let refused = world.try_certificate("other-mesh", "x").await.unwrap_err();
    assert!(refused.contains("signet ca csr mesh/other-mesh --next"), "{refused}");
}

#[tokio::test]
async fn what_is_no_root_or_is_the_one_that_is_there_begins_nothing() {
    let world = World::new().await;
    let leaf = certificate(&world.agent("a").await.leaf.der);
    let own = certificate(&world.root());
    let (one, two) = (operators_root("one"), operators_root("two"));
    let both = one.pem() + &two.pem();
    for (given, what) in [("", "PEM"), (&leaf, "CA:TRUE"), (&own, "already"), (&both, "one PEM block")] {
        let plan = world.rotations.plan(&Succession::Root, Some(given)).await.unwrap();
        assert!(plan.obstacles.concat().contains(what), "{what}: {:?}", plan.obstacles);
        assert!(world.rotations.start(&Succession::Root, Some(given), world::SPREAD, "me").await.is_err());
    }
    let plan = world.rotations.plan(&Succession::Root, Some(&one.pem())).await.unwrap();
    assert!(plan.obstacles.is_empty(), "{:?}", plan.obstacles);
    assert!(plan.steps.concat().contains("signet ca csr mesh/my-mesh --next"), "{:?}", plan.steps);
    let issuer = world.rotations.start(&mesh_issuer(), Some(&one.pem()), world::SPREAD, "me").await;
    assert!(matches!(issuer, Err(RotationError::Authority(crate::Error::Succession(_)))), "{issuer:?}");
    assert!(!world.folder.path().join("next").exists());
}

#[tokio::test]
async fn while_proxies_ask_for_lists_a_root_signs_nothing_before_they_have_its_own() {
    let world = World::new().await;
    let mut one = world.agent("a").await;
    let stolen = world.issue("a", Some(one.serial())).await;
    let guard = world.rotations.0.issuing.guard();
    guard.revoke(Subject::Certificate(stolen), Reason::KeyCompromise, "me", fixtures::NOW).await.unwrap();
    world.give_lists();
    let root = operators_root("New root");
    start(&world, &root).await;
    certify(&world, &root, "mesh/my-mesh").await;
    world.give_lists();
    world.accept(&mut one).await;
    assert_eq!(
        (world.phase(), world.laggards()),
        (Phase::Distribute, ["CN=New root", "CN=issuer"].map(str::to_owned).to_vec())
    );
    assert!(world.why().contains("ca/lists"), "{}", world.why());
    let folder = world.folder.path().join("lists");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("new.crl"), root.empty_list()).unwrap();
    assert_eq!(world.phase(), Phase::Distribute, "it lies there, and no proxy has it");
    world.give_lists();
    world.look().await;
    assert_eq!((world.phase(), world.laggards()), (Phase::Distribute, vec![one.name()]));
    world.accept(&mut one).await;
    assert_eq!(world.phase(), Phase::Issue);
}

#[tokio::test]
async fn an_intermediate_and_requests_of_the_root_that_goes_go_with_it() {
    let old = operators_root("Old root");
    let intermediate = old.below(ca("Old mesh CA", Some(1)));
    let world = World::of_operator(&old, &intermediate).await;
    let mut one = world.agent("a").await;
    world.rotations.0.issuing.authority().request(&"mesh/my-mesh".parse().unwrap(), false).unwrap();
    let root = operators_root("New root");
    start(&world, &root).await;
    certify(&world, &root, "mesh/my-mesh").await;
    world.accept(&mut one).await;
    world.renew(&mut one).await;
    world.accept(&mut one).await;
    assert_eq!(world.phase(), Phase::Completed);
    let issuer = world.issuer_of_new_leaf().await;
    let reopened = world.restarted().await;
    assert_eq!((reopened.root(), reopened.issuer_of_new_leaf().await), (root.der.clone(), issuer));
    assert!(reopened.rotations.0.issuing.authority().waiting().unwrap().is_empty());
    let shelf =
        std::fs::read_dir(world.folder.path().join("retired")).unwrap().next().unwrap().unwrap().path();
    let there = ["cert.pem", "key.pem"].map(|name| shelf.join("intermediate").join(name).exists());
    assert_eq!(there, [true, false], "its certificate is kept, and its key is not");
}
