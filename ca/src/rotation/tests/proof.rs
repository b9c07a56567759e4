//! Each thing that is asked of a proxy, missing by itself.

use super::*;

#[tokio::test]
async fn a_proxy_that_moved_and_then_says_nothing_for_too_long_counts_again_when_it_is_heard() {
    let world = World::new().await;
    let (mut silent, mut heard) = (world.agent("a").await, world.agent("b").await);
    world.start(&Succession::Root).await;
    world.accept(&mut silent).await;
    world.pass(FRESH + Duration::from_secs(1));
    world.accept(&mut heard).await;
    assert_eq!((world.phase(), world.laggards()), (Phase::Distribute, vec![silent.name()]));
    assert!(world.why().contains("said nothing for 31 s"), "{}", world.why());
    silent.report(&world);
    world.look().await;
    assert_eq!(world.phase(), Phase::Issue);
}

#[tokio::test]
async fn what_an_agent_has_says_nothing_of_what_its_proxy_accepted() {
    let world = World::new().await;
    let mut one = world.agent("a").await;
    world.start(&Succession::Root).await;
    one.hand_on(&world);
    world.look().await;
    assert_eq!((world.phase(), world.laggards()), (Phase::Distribute, vec![one.name()]));
    assert!(world.why().contains("has not accepted the roots as ROOTCA yet"), "{}", world.why());
    world.accept(&mut one).await;
    assert_eq!(world.phase(), Phase::Issue);
}

#[tokio::test]
async fn what_a_proxy_accepted_says_nothing_of_what_its_agent_has() {
    let world = World::new().await;
    let mut one = world.agent("a").await;
    let before = one.trust.clone();
    world.start(&Succession::Root).await;
    one.accept(&world);
    one.trust = before;
    one.report(&world);
    world.look().await;
    assert_eq!((world.phase(), world.why().as_str()), (Phase::Distribute, "its agent has other roots"));
}

#[tokio::test]
async fn an_agent_that_left_and_has_got_another_certificate_since_is_waited_for_again() {
    let world = World::new().await;
    let (mut one, gone) = (world.agent("a").await, world.agent("b").await);
    let last = gone.serial();
    gone.leave(&world).await;
    world.pass(Duration::from_secs(1));
    let newest = world.issue("b", Some(last)).await;
    world.start(&Succession::Root).await;
    world.accept(&mut one).await;
    assert_eq!((world.phase(), world.laggards()), (Phase::Distribute, vec![newest.to_string()]));
}
