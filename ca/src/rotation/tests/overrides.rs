//! Whom nobody waits for: names that somebody has, and others.

use super::*;
use crate::{Ledger as _, Random, Serial};

impl World {
    async fn excuse(&self, name: &str) -> Result<Arc<Status>, RotationError> {
        self.rotations.resume(&[name.to_owned()], "me").await
    }

    fn excused(&self) -> Vec<String> {
        self.status().overrides.iter().map(|excused| excused.node.clone()).collect()
    }
}

const A: &str = "mesh/my-mesh/virtualNode/a";

#[tokio::test]
async fn a_name_that_nobody_has_is_refused_with_those_who_are_waited_for_and_nothing_is_changed() {
    let world = World::new().await;
    let (agent, stray) = (world.agent("a").await, world.issue("b", None).await);
    world.issue_to_the_server().await;
    world.start(&Succession::Root).await;
    world.rotations.pause("me").await.unwrap();
    let (record, told) = (Record::read(world.folder.path()).unwrap(), world.ledger_text().await);
    let waited = format!("these are waited for: {stray} (of mesh/my-mesh/virtualNode/b)");
    assert_eq!(world.laggards(), [stray.to_string(), agent.name()]);
    let unknown =
        ["", "a", "mesh/my-mesh", "mesh/my-mesh/virtualNode/c", "server", "mesh/my-mesh/virtualNode/a/"];
    let unknown = unknown.into_iter().map(str::to_owned);
    let issued = world.ledger.list(None, usize::MAX).await.unwrap();
    let own = issued.iter().find(|issued| issued.workload.is_none()).unwrap().serial;
    let serials = [Serial::draw(&Random::system()), own].map(|serial| serial.to_string());
    for name in unknown.chain(serials).chain([format!("{A}/2")]) {
        let refused = world.rotations.resume(&[A.to_owned(), name.clone()], "me").await.unwrap_err();
        let text = refused.to_string();
        assert!(matches!(refused, RotationError::Nobody { .. }), "{name}: {text}");
        assert!(text.contains(&format!("{name:?}")) && text.ends_with(&waited), "{text}");
        let record_now = Record::read(world.folder.path()).unwrap();
        assert_eq!((&record_now, &world.ledger_text().await), (&record, &told), "{name}");
        assert!(world.status().paused && world.excused().is_empty(), "{name}");
    }
}

#[tokio::test]
async fn an_error_names_a_few_of_many_and_repeats_no_long_name() {
    let world = World::new().await;
    for _ in 0..14 {
        world.issue("b", None).await;
    }
    world.start(&Succession::Root).await;
    let text = world.excuse(&"x".repeat(2000)).await.unwrap_err().to_string();
    assert!(text.ends_with(" and 4 more") && text.matches("virtualNode/b").count() == 10, "{text}");
    assert!(text.len() < 1500, "{text}");
}

#[tokio::test]
async fn the_servers_own_certificate_cannot_be_overridden() {
    let mut world = World::new().await;
    let mut agent = world.agent("a").await;
    world.start(&Succession::Root).await;
    world.follows = false;
    world.accept(&mut agent).await;
    world.renew(&mut agent).await;
    assert_eq!(world.laggards(), ["signet/server"]);
    let refused = world.excuse("signet/server").await.unwrap_err();
    assert!(matches!(refused, RotationError::Needed(_)), "{refused}");
    let text = world.excuse("x").await.unwrap_err().to_string();
    assert!(text.ends_with("nobody is waited for who can be overridden"), "{text}");
}

#[tokio::test]
async fn whoever_is_there_was_there_or_may_be_back_can_be_overridden_also_twice() {
    let mut world = World::new().await;
    let (agent, dead, left) = (world.agent("a").await, world.agent("b").await, world.agent("c").await);
    let other = world.agent_of("other-mesh", "x").await;
    let stray = world.issue("d", None).await;
    left.leave(&world).await;
    let dead = dead.name();
    world.start(&mesh_issuer()).await;
    // It lags no more, and is killed in a moment.
    let agent = {
        let mut agent = agent;
        world.renew(&mut agent).await;
        agent
    };
    assert!(!world.laggards().contains(&agent.name()));
    let names = [
        agent.name(),
        A.to_owned(),
        dead.clone(),
        "mesh/my-mesh/virtualNode/b".to_owned(),
        "mesh/my-mesh/virtualNode/c".to_owned(),
        "mesh/my-mesh/virtualNode/d".to_owned(),
        stray.to_string(),
        other.name(),
    ];
    for _ in 0..2 {
        for name in &names {
            world.excuse(name).await.unwrap();
        }
        assert_eq!(world.excused(), names);
    }
    // Nobody remembers the instance any more, but that it was named.
    world = world.restarted().await;
    world.excuse(&dead).await.unwrap();
}

#[tokio::test]
async fn a_serial_number_names_whoever_holds_a_certificate_of_the_same_agent() {
    let world = World::new().await;
    let (mut agent, stray) = (world.agent("a").await, world.issue("b", None).await);
    let first = agent.serial();
    world.start(&Succession::Root).await;
    world.pass(Duration::from_secs(1));
    agent.leaf = world.certificate(&fixtures::node("a"), Some(first)).await;
    agent.report(&world);
    let newer = world.issue("b", Some(stray)).await;
    world.look().await;
    assert_eq!(world.laggards(), [newer.to_string(), agent.name()]);
    for _ in 0..2 {
        world.excuse(&first.to_string().to_uppercase()).await.unwrap();
        world.excuse(&stray.to_string()).await.unwrap();
    }
    assert_eq!(world.excused(), [agent.name(), stray.to_string()], "by the name that the status has for it");
    world.look().await;
    assert_eq!(world.phase(), Phase::Completed, "nobody is waited for");
}

#[tokio::test]
async fn an_instance_that_nobody_waits_for_is_not_waited_for_by_its_certificate_after_a_restart() {
    let world = World::new().await;
    let (dead, other) = (world.agent("a").await, world.agent("b").await);
    let (name, serial) = (dead.name(), other.serial());
    drop((dead, other));
    world.start(&Succession::Root).await;
    assert_eq!(world.laggards().len(), 2, "{:?}", world.laggards());
    world.excuse(&name).await.unwrap();
    let world = world.restarted().await;
    world.look().await;
    assert_eq!((world.phase(), world.laggards()), (Phase::Distribute, vec![serial.to_string()]));
}

#[tokio::test]
async fn a_name_whose_certificate_ended_while_it_was_being_overridden_is_no_mistake() {
    let world = World::new().await;
    let (agent, stray) = (world.agent("a").await, world.issue("b", None).await);
    let name = agent.name();
    drop(agent);
    world.start(&Succession::Root).await;
    world.rotations.pause("me").await.unwrap();
    world.pass(Duration::from_secs(2 * 24 * 60 * 60));
    world.excuse(A).await.unwrap();
    world.nodes.forget_ended((world.rotations.0.clock)().into());
    for name in [&name, &stray.to_string()] {
        world.excuse(name).await.unwrap();
    }
}
