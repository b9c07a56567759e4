//! Turning round: by a refusal, by an operator, from every phase.

use super::{world::Agent, *};

#[tokio::test]
async fn a_proxy_that_refuses_the_roots_sends_everybody_back_and_is_named_with_its_reason() {
    let world = World::new().await;
    let (old, mut good, mut bad) = (world.root(), world.agent("a").await, world.agent("b").await);
    world.start(&Succession::Root).await;
    world.accept(&mut good).await;
    world.refuse(&mut bad).await;
    assert_eq!(world.phase(), Phase::Withdraw);
    assert_eq!(world.trusted(), std::slice::from_ref(&old));
    let reason = world.status().reason.clone();
    assert!(reason.contains(&bad.name()) && reason.contains("no such root for me"), "{reason}");
    world.accept(&mut good).await;
    assert_eq!(world.phase(), Phase::Withdraw, "until each has accepted the old one");
    world.accept(&mut bad).await;
    assert_eq!(world.phase(), Phase::Aborted);
    assert_eq!(world.root(), old);
    assert!(!world.folder.path().join("next").exists(), "its keys are gone");
    assert!(world.ledger_text().await.contains("no such root for me"));
    world.start(&Succession::Root).await;
    assert_eq!(world.phase(), Phase::Distribute, "and another can begin");
}

#[tokio::test]
async fn a_refusal_of_the_new_root_alone_brings_both_back() {
    let world = World::new().await;
    let mut one = world.agent("a").await;
    world.start(&Succession::Root).await;
    world.accept(&mut one).await;
    world.renew(&mut one).await;
    assert_eq!(world.phase(), Phase::Retire);
    world.refuse(&mut one).await;
    assert_eq!((world.phase(), world.trusted().len()), (Phase::Restore, 2));
}

#[tokio::test]
async fn a_refusal_moves_nobody_back_while_the_change_is_paused() {
    let world = World::new().await;
    let mut one = world.agent("a").await;
    world.start(&Succession::Root).await;
    world.rotations.pause("me").await.unwrap();
    world.refuse(&mut one).await;
    assert_eq!((world.phase(), world.trusted().len(), world.status().refused), (Phase::Distribute, 2, 1));
    world.rotations.resume(&[], "me").await.unwrap();
    world.look().await;
    assert_eq!(world.phase(), Phase::Withdraw);
}

/// Brings a change to a phase; where both agents renewed it is `retire`.
async fn bring(world: &World, one: &mut Agent, two: &mut Agent, phase: Phase) {
    world.start(&Succession::Root).await;
    if phase != Phase::Distribute {
        world.accept(one).await;
        world.accept(two).await;
        // In the middle: one has moved, the other has not.
        world.renew(one).await;
    }
    if phase == Phase::Retire {
        world.renew(two).await;
    }
    assert_eq!(world.phase(), phase);
}

#[tokio::test]
async fn abort_returns_everybody_from_every_phase_and_ends_with_certificates_of_the_old_issuer_alone() {
    for phase in [Phase::Distribute, Phase::Issue, Phase::Retire] {
        let world = World::new().await;
        let (old, mut one, mut two) = (world.root(), world.agent("a").await, world.agent("b").await);
        bring(&world, &mut one, &mut two, phase).await;
        world.rotations.abort("me").await.unwrap();
        let again = world.rotations.abort("me").await.unwrap_err().to_string();
        assert!(again.contains("on its way back already"), "{again}");
        while world.phase() != Phase::Aborted {
            let before = (world.phase(), world.laggards());
            for agent in [&mut one, &mut two] {
                let is_new = agent.leaf.issuer_key.as_ref() != Some(&world.old_issuer);
                if world.phase() == Phase::Return && is_new {
                    assert_eq!(world.trusted().len(), 2, "what is in use is trusted");
                    world.renew(agent).await;
                }
                world.accept(agent).await;
            }
            assert_ne!((world.phase(), world.laggards()), before, "it comes to an end");
        }
        assert_eq!((world.root(), world.trusted()), (old.clone(), vec![old]), "from {phase}");
        for agent in [&one, &two] {
            assert_eq!(agent.leaf.issuer_key.as_ref(), Some(&world.old_issuer), "from {phase}");
        }
        assert_eq!(world.issuer_of_new_leaf().await, world.old_issuer);
        assert!(matches!(world.rotations.abort("me").await, Err(RotationError::Idle)));
    }
}
