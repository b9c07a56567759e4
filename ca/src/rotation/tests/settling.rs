//! What began before the proof is given time to end.

use super::{world::Agent, *};

const GRACE: Duration = Duration::from_secs(5);
const TICK: Duration = Duration::from_secs(1);

impl World {
    /// Time passes, in which an agent says no news.
    async fn hear(&self, agent: &Agent, time: Duration) {
        self.pass(time);
        agent.report(self);
        self.look().await;
    }

    /// For how long it waits yet for what began before.
    fn wait(&self) -> Option<Duration> {
        let end = self.status().settled_at_unix_ms?;
        let now = millis((self.rotations.0.clock)());
        Some(Duration::from_millis(u64::try_from(end - now).unwrap()))
    }
}

#[tokio::test]
async fn a_root_goes_no_earlier_than_a_handshake_takes_after_the_proof_that_nobody_presents_it() {
    let world = World::with_grace(GRACE).await;
    let mut one = world.agent("a").await;
    world.start(&Succession::Root).await;
    assert_eq!(world.wait(), None, "it waits for proof");
    world.accept(&mut one).await;
    assert_eq!((world.phase(), world.wait()), (Phase::Distribute, Some(GRACE)));
    assert_eq!(world.issuer_of_new_leaf().await, world.old_issuer);
    world.hear(&one, GRACE - TICK).await;
    assert_eq!((world.phase(), world.wait()), (Phase::Distribute, Some(TICK)));
    world.hear(&one, TICK).await;
    assert_eq!((world.phase(), world.wait()), (Phase::Issue, None));

    world.renew(&mut one).await;
    assert_eq!((world.phase(), world.wait()), (Phase::Issue, Some(GRACE)));
    assert_eq!(world.trusted().len(), 2, "what is shown in handshakes that began before is trusted");
    world.hear(&one, GRACE - TICK).await;
    assert_eq!((world.phase(), world.wait()), (Phase::Issue, Some(TICK)));
    world.hear(&one, TICK).await;
    assert_eq!(world.phase(), Phase::Retire);
    world.accept(&mut one).await;
    assert_eq!(world.phase(), Phase::Completed, "nothing is refused by what comes then");
}

#[tokio::test]
async fn a_proof_that_did_not_last_is_none_and_neither_is_time_before_a_restart_or_that_a_clock_took_back() {
    let world = World::with_grace(GRACE).await;
    let mut one = world.agent("a").await;
    world.start(&Succession::Root).await;
    world.accept(&mut one).await;
    world.hear(&one, GRACE - TICK).await;
    let mut two = world.agent("b").await;
    two.forget_trust(&world);
    world.look().await;
    assert_eq!((world.laggards(), world.wait()), (vec![two.name()], None));
    world.accept(&mut two).await;
    assert_eq!((world.phase(), world.wait()), (Phase::Distribute, Some(GRACE)), "it begins again");
    two.leave(&world).await;
    world.hear(&one, GRACE - TICK).await;
    world.set_back(TICK * 60);
    one.report(&world);
    world.look().await;
    assert_eq!((world.phase(), world.wait()), (Phase::Distribute, Some(GRACE)));
    world.hear(&one, GRACE - TICK).await;
    let reopened = world.restarted().await;
    let one = reopened.reconnect(one);
    reopened.look().await;
    assert_eq!((reopened.phase(), reopened.wait()), (Phase::Distribute, Some(GRACE)));
    reopened.hear(&one, GRACE).await;
    assert_eq!(reopened.phase(), Phase::Issue);
}

#[tokio::test]
async fn on_the_way_back_the_same_is_waited_for() {
    let world = World::with_grace(GRACE).await;
    let mut one = world.agent("a").await;
    world.start(&Succession::Root).await;
    world.accept(&mut one).await;
    world.hear(&one, GRACE).await;
    world.renew(&mut one).await;
    world.hear(&one, GRACE).await;
    assert_eq!(world.phase(), Phase::Retire);
    world.rotations.abort("me").await.unwrap();
    world.accept(&mut one).await;
    assert_eq!((world.phase(), world.wait()), (Phase::Restore, Some(GRACE)));
    world.hear(&one, GRACE).await;
    world.renew(&mut one).await;
    assert_eq!((world.phase(), world.wait()), (Phase::Return, Some(GRACE)));
    world.hear(&one, GRACE).await;
    assert_eq!(world.phase(), Phase::Withdraw);
    world.accept(&mut one).await;
    assert_eq!(world.phase(), Phase::Aborted);
}

#[tokio::test]
async fn nobody_is_waited_for_where_nobody_is_and_where_trust_stays_only_certificates_are() {
    let world = World::with_grace(GRACE).await;
    world.start(&Succession::Root).await;
    assert_eq!(world.phase(), Phase::Completed);

    let world = World::with_grace(GRACE).await;
    let mut one = world.agent("a").await;
    world.start(&mesh_issuer()).await;
    assert_eq!((world.phase(), world.wait()), (Phase::Issue, None), "its root is trusted all along");
    world.renew(&mut one).await;
    assert_eq!((world.phase(), world.wait()), (Phase::Issue, Some(GRACE)));
    world.hear(&one, GRACE).await;
    assert_eq!(world.phase(), Phase::Completed);
}

#[tokio::test]
async fn each_phase_has_a_pause_of_its_own_also_where_nobody_is_left_to_wait_for() {
    let world = World::with_grace(GRACE).await;
    let one = world.agent("a").await;
    world.start(&Succession::Root).await;
    world.rotations.resume(&["mesh/my-mesh/virtualNode/a".to_owned()], "me").await.unwrap();
    world.look().await;
    for phase in [Phase::Distribute, Phase::Issue] {
        assert_eq!((world.phase(), world.wait()), (phase, Some(GRACE)));
        world.hear(&one, GRACE).await;
    }
    assert_eq!(world.phase(), Phase::Completed);
}
