//! Servers that are killed, and folders that were moved by half.

use std::{fs, path::PathBuf};

use super::*;

#[tokio::test]
async fn a_server_that_is_killed_in_any_phase_goes_on_where_it_was() {
    let mut world = World::new().await;
    let mut one = world.agent("a").await;
    world.start(&Succession::Root).await;
    let mut seen = Vec::new();
    for _ in 0..8 {
        let (phase, trusted, issuer) = (world.phase(), world.trusted(), world.issuer_of_new_leaf().await);
        seen.push(phase);
        world = world.restarted().await;
        assert_eq!((world.phase(), world.trusted()), (phase, trusted));
        assert_eq!(world.issuer_of_new_leaf().await, issuer, "the same one signs in {phase}");
        if phase.is_over() {
            break;
        }
        one = world.reconnect(one);
        world.accept(&mut one).await;
        if world.phase() == phase && phase == Phase::Issue {
            world.renew(&mut one).await;
        }
    }
    assert_eq!(seen, [Phase::Distribute, Phase::Issue, Phase::Retire, Phase::Completed]);
}

/// Every file below a folder, by its path there.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    found.insert(path.strip_prefix(folder).unwrap().to_owned(), fs::read(&path).unwrap());
                }
            }
        }
    }
    found
}

fn copy(from: &Path, to: &Path) {
    for (path, content) in files(from) {
        let path = to.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

#[tokio::test]
async fn folders_that_were_moved_by_half_are_moved_to_the_end_and_once_is_as_good_as_twice() {
    let world = World::new().await;
    let mut one = world.agent("a").await;
    world.start(&Succession::Root).await;
    world.accept(&mut one).await;
    world.renew(&mut one).await;
    assert_eq!(world.phase(), Phase::Retire);
    let done = |folder: &Path| Authority::finish(folder, &Succession::Root, "0a").unwrap();
    let whole = tempfile::tempdir().unwrap();
    copy(world.folder.path(), whole.path());
    done(whole.path());
    let expected = files(whole.path());
    assert!(expected.contains_key(Path::new("retired/0a/root/cert.pem")));
    done(whole.path());
    assert_eq!(files(whole.path()), expected, "twice");

    // What a kill may leave: after each of the renames, in their order.
    let moves = [
        ("meshes", "retired/0a/meshes"),
        ("next/meshes", "meshes"),
        ("server", "retired/0a/server"),
        ("next/server", "server"),
        ("intermediate", "retired/0a/intermediate"),
        ("requests", "retired/0a/requests"),
        ("next/requests", "requests"),
        ("root", "retired/0a/root"),
        ("next/root", "root"),
    ];
    for count in 0..=moves.len() {
        let half = tempfile::tempdir().unwrap();
        copy(world.folder.path(), half.path());
        for (from, to) in moves.iter().take(count) {
            let (from, to) = (half.path().join(from), half.path().join(to));
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            match from.exists() {
                true => fs::rename(from, to).unwrap(),
                // No server's certificate was issued here: an empty shelf says that it was looked at.
                false if to.starts_with(half.path().join("retired")) => fs::create_dir_all(to).unwrap(),
                false => {}
            }
        }
        done(half.path());
        assert_eq!(files(half.path()), expected, "after {count} moves");
    }
}

#[tokio::test]
async fn what_was_made_for_a_change_that_never_began_is_cleared_away() {
    let world = World::new().await;
    let next = world.folder.path().join("next");
    world.rotations.0.issuing.authority().prepare(&Succession::Root, None, fixtures::NOW).unwrap();
    assert!(next.exists());
    let reopened = world.restarted().await;
    assert!(!next.exists());
    assert_eq!(reopened.root(), world.root());
}

#[tokio::test]
async fn a_change_whose_record_could_not_be_written_never_began_and_the_next_one_begins() {
    let world = World::new().await;
    let root = world.root();
    // No file can be made where a folder is.
    let beside = world.folder.path().join("rotation.new");
    fs::create_dir(&beside).unwrap();
    let start = || world.rotations.start(&Succession::Root, None, Duration::ZERO, "me");
    let error = start().await.unwrap_err();
    assert!(matches!(error, RotationError::Record(RecordError::Io { .. })), "{error}");
    assert!(!world.folder.path().join("next").exists());
    assert_eq!(world.trusted(), vec![root]);
    fs::remove_dir(&beside).unwrap();
    assert_eq!(start().await.unwrap().phase, Some(Phase::Distribute));
}

#[tokio::test]
async fn folders_that_cannot_be_put_in_place_are_tried_again_and_nothing_is_said_to_be_complete_before() {
    let world = World::new().await;
    let (old, mut one) = (world.root(), world.agent("a").await);
    world.start(&Succession::Root).await;
    world.accept(&mut one).await;
    world.renew(&mut one).await;
    assert_eq!(world.phase(), Phase::Retire);
    let (trusted, issuer) = (world.trusted(), world.issuer_of_new_leaf().await);
    // No folder can be made where a file is.
    let shelf = world.folder.path().join("retired");
    fs::write(&shelf, b"").unwrap();
    one.accept(&world);
    for _ in 0..2 {
        world.rotations.look().await.unwrap_err();
        assert!(!Record::read(world.folder.path()).unwrap().unwrap().phase.is_over());
        assert_eq!(world.trusted(), trusted, "the new one is trusted");
        assert_eq!(world.issuer_of_new_leaf().await, issuer, "and signs");
    }
    assert_eq!(world.phase(), Phase::Promote, "the status says where it stands");
    fs::remove_file(&shelf).unwrap();
    world.rotations.look().await.unwrap();
    assert_eq!((world.phase(), world.trusted()), (Phase::Completed, trusted));
    assert_ne!(world.root(), old);
    let reopened = world.restarted().await;
    assert_eq!((reopened.root(), reopened.phase()), (world.root(), Phase::Completed));
}

#[tokio::test]
async fn folders_that_a_kill_kept_from_being_put_in_place_are_put_there_by_the_next_start() {
    let world = World::new().await;
    let (old, mut one) = (world.root(), world.agent("a").await);
    world.start(&Succession::Root).await;
    world.accept(&mut one).await;
    world.renew(&mut one).await;
    let (trusted, issuer) = (world.trusted(), world.issuer_of_new_leaf().await);
    // As above, but nobody tries again.
    let shelf = world.folder.path().join("retired");
    fs::write(&shelf, b"").unwrap();
    one.accept(&world);
    world.rotations.look().await.unwrap_err();
    assert_eq!(Record::read(world.folder.path()).unwrap().unwrap().phase, Phase::Promote);
    fs::remove_file(&shelf).unwrap();
    let reopened = world.restarted().await;
    assert_eq!((reopened.phase(), reopened.trusted()), (Phase::Completed, trusted));
    assert_eq!(reopened.issuer_of_new_leaf().await, issuer, "the new one signs");
    assert_ne!(reopened.root(), old);
    assert!(!world.folder.path().join("next").exists());
}

#[tokio::test]
async fn after_a_restart_who_left_counts_for_nothing_and_who_is_not_seen_yet_is_waited_for() {
    let world = World::new().await;
    let (mut seen, unseen, gone) = (world.agent("a").await, world.agent("b").await, world.agent("c").await);
    gone.leave(&world).await;
    world.start(&Succession::Root).await;
    let (name, serial) = (unseen.name(), unseen.serial());
    assert_eq!(world.laggards(), [seen.name(), name.clone()]);

    let world = world.restarted().await;
    seen = world.reconnect(seen);
    world.accept(&mut seen).await;
    assert_eq!(
        (world.phase(), world.laggards()),
        (Phase::Distribute, vec![serial.to_string()]),
        "it may live, though nobody has heard of it since the start"
    );
    let mut unseen = world.reconnect(unseen);
    world.look().await;
    assert_eq!((world.phase(), world.laggards()), (Phase::Distribute, vec![name]));
    world.accept(&mut unseen).await;
    assert_eq!(world.phase(), Phase::Issue);
}

#[tokio::test]
async fn who_left_and_is_back_is_waited_for_although_it_is_killed_and_the_server_too() {
    for renews in [false, true] {
        let world = World::new().await;
        let mut agent = world.agent("a").await;
        let before = agent.leaf.clone();
        agent.leave(&world).await;
        world.pass(Duration::from_secs(1));
        agent = world.comeback("a", before).await;
        if renews {
            agent.leaf = world.certificate(&fixtures::node("a"), agent.leaf.serial).await;
        }
        let serial = agent.serial();
        drop(agent);
        let world = world.restarted().await;
        world.start(&Succession::Root).await;
        assert_eq!(world.laggards(), [serial.to_string()], "renews: {renews}");
        world
            .nodes
            .forget(&serial.to_string(), &|_| false, &*world.ledger, "me", (world.rotations.0.clock)().into())
            .await
            .unwrap();
        world.look().await;
        assert_eq!(world.phase(), Phase::Completed, "and nobody waits for whom somebody says to forget");
    }
}
