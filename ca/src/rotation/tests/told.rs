//! What the ledger and people are told of a change, also where a kill or a full disk came between.

use super::{ledger::TestLedger, world::Agent, *};
use crate::{
    Ledger as _,
    ledger::{Event, What},
};

/// An entry of a change: its phase, who entered it, and what else it says.
type Entered = (String, String, String);

impl World {
    async fn told(&self) -> Vec<Entered> {
        let events = self.ledger.events().await.unwrap();
        let entered = events.into_iter().filter_map(|(_, Event { by, what, .. })| {
            let What::Phase { phase, detail, .. } = what else { return None };
            Some((phase, by, detail))
        });
        entered.collect()
    }

    async fn phases_told(&self) -> Vec<String> {
        self.told().await.into_iter().map(|(phase, ..)| phase).collect()
    }

    fn on_disk(&self) -> Record {
        Record::read(self.folder.path()).unwrap().unwrap()
    }

    /// An agent does what the phase asks of it, and nobody looks yet.
    async fn obey(&self, agent: &mut Agent) {
        let signs = self.issuer_of_new_leaf().await;
        if self.phase().needs_renewal() && agent.leaf.issuer_key != Some(signs) {
            agent.leaf = self.certificate(&fixtures::node("a"), agent.leaf.serial).await;
        }
        agent.accept(self);
    }
}

/// Has a ledger fail when it is told of a phase.
type Fail = fn(&TestLedger);

const FAILS: [Fail; 3] = [
    |ledger| ledger.set_room(0),
    // It is full after the first of two entries.
    |ledger| ledger.set_room(1),
    // Nobody knows that the entry is there.
    |ledger| ledger.set_mute(true),
];

/// Which phases the ledger has after a change, whose server is killed whenever the ledger failed, which it may in each.
async fn told_in_spite(fail: Fail, goes_back: bool) -> Vec<String> {
    let mut world = World::new().await;
    let mut agent = world.agent("a").await;
    world.start(&Succession::Root).await;
    while !world.phase().is_over() {
        if goes_back && world.phase() == Phase::Issue {
            world.rotations.abort("me").await.unwrap();
        }
        world.obey(&mut agent).await;
        fail(&world.ledger);
        let looked = world.rotations.look().await;
        world.ledger.mend();
        if looked.is_err() {
            assert_ne!(world.on_disk().phase, world.phase(), "the record came first");
        }
        world = world.restarted().await;
        agent = world.reconnect(agent);
    }
    let told = world.phases_told().await;
    assert_eq!(world.restarted().await.phases_told().await, told, "a further start tells nothing");
    told
}

#[tokio::test]
async fn the_ledger_has_each_phase_once_although_the_server_is_killed_between_the_record_and_the_entry() {
    for fail in FAILS {
        let forth = told_in_spite(fail, false).await;
        assert_eq!(forth, ["distribute", "issue", "retire", "promote", "completed"]);
        let back = told_in_spite(fail, true).await;
        assert_eq!(back, ["distribute", "issue", "return", "withdraw", "aborted"]);
    }
}

#[tokio::test]
async fn the_ledger_has_each_phase_once_although_it_failed_and_the_server_goes_on() {
    for fail in FAILS {
        let world = World::new().await;
        let mut agent = world.agent("a").await;
        world.start(&Succession::Root).await;
        for _ in 0..20 {
            world.obey(&mut agent).await;
            fail(&world.ledger);
            let _ = world.rotations.look().await;
            world.ledger.mend();
            world.look().await;
        }
        assert_eq!(world.phase(), Phase::Completed);
        assert_eq!(world.phases_told().await, ["distribute", "issue", "retire", "promote", "completed"]);
    }
}

#[tokio::test]
async fn the_ledger_has_the_end_of_a_change_whose_server_was_killed_while_folders_were_put_in_place() {
    let world = World::new().await;
    let mut agent = world.agent("a").await;
    world.start(&Succession::Root).await;
    world.accept(&mut agent).await;
    world.renew(&mut agent).await;
    // No folder can be made where a file is.
    let shelf = world.folder.path().join("retired");
    std::fs::write(&shelf, b"").unwrap();
    agent.accept(&world);
    world.rotations.look().await.unwrap_err();
    std::fs::remove_file(&shelf).unwrap();
    let reopened = world.restarted().await;
    let phases = ["distribute", "issue", "retire", "promote", "completed"];
    assert_eq!(
        (reopened.phase(), reopened.phases_told().await),
        (Phase::Completed, phases.map(str::to_owned).to_vec())
    );
    assert_eq!(reopened.restarted().await.phases_told().await, phases);
}

#[tokio::test]
async fn a_change_that_could_not_begin_is_in_the_ledger_with_its_end_and_the_next_one_begins() {
    for restarts in [false, true] {
        let mut world = World::new().await;
        world.ledger.set_room(0);
        let start = world.rotations.start(&Succession::Root, None, Duration::ZERO, "me").await;
        assert!(matches!(start, Err(RotationError::Ledger(_))), "{start:?}");
        assert_eq!((world.status().is_over, world.trusted().len()), (true, 1));
        assert!(!world.folder.path().join("next").exists());
        world.ledger.set_room(usize::MAX);
        if restarts {
            world = world.restarted().await;
            assert_eq!(
                (world.phase(), world.status().reason.as_str()),
                (Phase::Aborted, "it could not begin")
            );
        }
        world.pass(Duration::from_secs(1));
        world.rotations.start(&Succession::Root, None, Duration::ZERO, "me").await.unwrap();
        assert_eq!(world.phases_told().await, ["distribute", "aborted", "distribute"]);
    }
}

#[tokio::test]
async fn what_is_left_of_a_change_that_could_not_begin_keeps_no_other_from_beginning() {
    let world = World::new().await;
    let start = || world.rotations.start(&Succession::Root, None, Duration::ZERO, "me");
    world.ledger.set_room(0);
    start().await.unwrap_err();
    world.ledger.set_room(usize::MAX);
    // As if the disk had failed before it was taken away.
    let mut left = world.on_disk();
    left.phase = left.entered.remove(0).phase;
    left.entered.clear();
    left.write(world.folder.path()).unwrap();
    world.rotations.0.issuing.authority().prepare(&Succession::Root, None, fixtures::NOW).unwrap();
    world.pass(Duration::from_secs(1));
    assert_eq!(start().await.unwrap().phase, Some(Phase::Distribute));
    assert_eq!(world.phases_told().await, ["aborted", "distribute"]);
}

#[tokio::test]
async fn an_order_that_the_ledger_does_not_take_changes_nothing_also_not_after_a_restart() {
    let mut world = World::new().await;
    let _agent = world.agent("a").await;
    world.start(&Succession::Root).await;
    let before = world.on_disk();
    world.ledger.set_room(0);
    world.rotations.abort("me").await.unwrap_err();
    world.rotations.resume(&["mesh/my-mesh/virtualNode/a".to_owned()], "me").await.unwrap_err();
    world.ledger.set_room(usize::MAX);
    assert_eq!((world.on_disk(), world.phase()), (before.clone(), Phase::Distribute));
    world = world.restarted().await;
    assert_eq!((world.on_disk(), world.phase()), (before, Phase::Distribute));
}

#[tokio::test]
async fn an_order_is_in_the_ledger_with_the_name_of_who_gave_it_although_somebody_else_began() {
    let mut world = World::new().await;
    let _agent = world.agent("a").await;
    let node = "mesh/my-mesh/virtualNode/a".to_owned();
    world.start(&Succession::Root).await;
    world.rotations.pause("you").await.unwrap();
    world.rotations.resume(&[], "her").await.unwrap();
    // Killed before the ledger was told.
    let mut record = world.on_disk();
    let excused = Override { node: node.clone(), by: "him".to_owned(), at_unix_ms: 7, certificate: None };
    record.overrides.push(excused);
    record.write(world.folder.path()).unwrap();
    world = world.restarted().await.restarted().await;
    world.rotations.abort("them").await.unwrap();
    let entry = |phase: &str, by: &str, detail: &str| (phase.to_owned(), by.to_owned(), detail.to_owned());
    assert_eq!(
        world.told().await,
        [
            entry("distribute", "me", ""),
            entry("distribute", "you", "paused"),
            entry("distribute", "her", "goes on"),
            entry("distribute", "him", &node),
            entry("withdraw", "them", &format!("aborted by them {node}")),
        ]
    );
}

#[tokio::test]
async fn a_server_that_has_not_looked_yet_who_has_moved_says_so() {
    let mut world = World::new().await;
    let mut agent = world.agent("a").await;
    world.start(&Succession::Root).await;
    assert!(world.status().looked);
    world = world.restarted().await;
    let status = world.status();
    assert_eq!((status.phase, status.looked, status.coverage), (Some(Phase::Distribute), false, 0));
    world.ledger.set_unreadable(true);
    world.rotations.look().await.unwrap_err();
    assert!(!world.status().looked, "the ledger did not answer");
    world.ledger.set_unreadable(false);
    world.rotations.look().await.unwrap();
    let status = world.status();
    assert_eq!((status.looked, status.total, status.proven, status.coverage), (true, 1, 0, 0));
    agent = world.reconnect(agent);
    world.accept(&mut agent).await;
    world.renew(&mut agent).await;
    world.accept(&mut agent).await;
    let status = world.status();
    assert_eq!((status.phase, status.looked, status.coverage), (Some(Phase::Completed), true, 100));
    let status = world.restarted().await.status();
    assert_eq!((status.is_over, status.looked), (true, false), "nobody counts after the end");
}

#[tokio::test]
async fn what_began_while_nobody_could_be_counted_has_begun_and_is_looked_after() {
    let world = World::new().await;
    let mut agent = world.agent("a").await;
    let mut news = world.rotations.status();
    world.ledger.set_unreadable(true);
    let status = world.rotations.start(&Succession::Root, None, Duration::ZERO, "me").await.unwrap();
    assert_eq!((status.phase, status.looked), (Some(Phase::Distribute), false));
    assert!(news.has_changed().unwrap(), "who looks after it is woken");
    assert!(news.borrow_and_update().id.is_some());
    world.rotations.pause("me").await.unwrap();
    world.ledger.set_unreadable(false);
    world.rotations.resume(&[], "me").await.unwrap();
    world.accept(&mut agent).await;
    assert_eq!(world.phase(), Phase::Issue);
}
