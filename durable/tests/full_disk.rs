//! A disk that is filled up by somebody else: a tmpfs of its own, for which the test must be root.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic, in its helpers too")]

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use signet_durable::{CommitError, Database, MARGIN, Writes};
use tokio::task::JoinSet;

/// Mounted until it is dropped.
struct Disk(tempfile::TempDir);

impl Disk {
    fn mount(size: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={size}");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path()).status();
        assert!(mount.unwrap().success(), "a tmpfs cannot be mounted; run this test as root");
        Self(folder)
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    fn filler(&self) -> PathBuf {
        self.0.path().join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // sled's threads may hold files for a moment longer than the database.
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// Writes until there is no byte left.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    for size in [1 << 20, 4096, 1] {
        while file.write_all(&vec![7; size]).is_ok() {}
    }
}

/// Gives back what [`fill`] took. Emptied first: a process that another test starts holds the open file until it
/// has become what it starts, and its bytes with it.
fn free(path: &Path) {
    File::create(path).unwrap();
    fs::remove_file(path).unwrap();
}

async fn insert(database: &Database, key: u64) -> Result<(), CommitError> {
    let tree = database.tree("t").unwrap();
    database.commit(move || tree.insert(key.to_be_bytes(), vec![b'x'; 2048]).map(drop)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_changes_unbegun_and_takes_them_again_once_there_is_room() {
    let disk = Disk::mount(MARGIN + (24 << 20));
    let database = Database::open(&disk.data()).unwrap();
    insert(&database, 1).await.unwrap();
    fill(&disk.filler());
    for key in 2..20 {
        let refused = insert(&database, key).await.unwrap_err();
        assert!(matches!(refused, CommitError::Full { .. }), "{refused}");
    }
    assert_eq!(database.health(), Ok(()), "it serves what it has, and needs no restart");
    free(&disk.filler());
    insert(&database, 20).await.unwrap();
    drop(database);
    let tree = Database::open(&disk.data()).unwrap().tree("t").unwrap();
    let keys: Vec<_> =
        tree.iter().keys().map(|key| u64::from_be_bytes((*key.unwrap()).try_into().unwrap())).collect();
    assert_eq!(keys, [1, 20], "what was refused was not begun, and what was answered is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_under_many_writers_loses_nothing_and_needs_no_restart() {
    let disk = Disk::mount(MARGIN + (24 << 20));
    let database = Database::open(&disk.data()).unwrap();
    let is_done = std::sync::Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for writer in 0..8_u64 {
        let (database, is_done) = (database.clone(), is_done.clone());
        writers.spawn(async move {
            let (mut written, mut refused) = (Vec::new(), 0);
            for number in 0.. {
                let key = writer << 32 | number;
                match insert(&database, key).await {
                    Ok(()) => written.push(key),
                    Err(CommitError::Full { .. }) => refused += 1,
                    Err(other) => panic!("{other}"),
                }
                if is_done.load(Ordering::Relaxed) {
                    return (written, refused);
                }
            }
            unreachable!()
        });
    }
    // Twice, because the second time the log has grown.
    for _ in 0..2 {
        let filler = disk.filler();
        tokio::task::spawn_blocking(move || fill(&filler)).await.unwrap();
        let refused =
            async { while !matches!(insert(&database, u64::MAX).await, Err(CommitError::Full { .. })) {} };
        tokio::time::timeout(Duration::from_secs(10), refused).await.unwrap();
        free(&disk.filler());
        insert(&database, u64::MAX).await.unwrap();
    }
    is_done.store(true, Ordering::Relaxed);
    let outcomes = writers.join_all().await;
    assert!(outcomes.iter().all(|(written, refused)| !written.is_empty() && *refused > 0));
    drop(database);
    let tree = Database::open(&disk.data()).unwrap().tree("t").unwrap();
    for key in outcomes.iter().flat_map(|(written, _)| written) {
        assert_eq!(tree.get(key.to_be_bytes()).unwrap().map(|value| value.len()), Some(2048), "{key}");
    }
}

#[tokio::test]
async fn a_disk_that_somebody_fills_within_a_change_has_room_for_that_change() {
    let disk = Disk::mount(MARGIN + (24 << 20));
    let database = Database::open(&disk.data()).unwrap();
    // The first one has a log that is there; the others find where the last one ended.
    for round in 0..3_u64 {
        let (tree, filler) = (database.tree("t").unwrap(), disk.filler());
        let change = move || {
            fill(&filler);
            (0..32_u64)
                .try_for_each(|key| tree.insert((round << 32 | key).to_be_bytes(), vec![7; 4096]).map(drop))
        };
        database.commit(change).await.unwrap();
        free(&disk.filler());
    }
    drop(database);
    assert_eq!(Database::open(&disk.data()).unwrap().tree("t").unwrap().len(), 3 * 32);
}

#[tokio::test]
async fn a_store_opens_on_a_full_disk_and_shows_what_it_has() {
    let disk = Disk::mount(MARGIN + (24 << 20));
    let database = Database::open(&disk.data()).unwrap();
    insert(&database, 1).await.unwrap();
    drop(database);
    fill(&disk.filler());
    let database = Database::open(&disk.data()).unwrap();
    assert!(database.tree("t").unwrap().contains_key(1_u64.to_be_bytes()).unwrap());
    assert!(matches!(insert(&database, 2).await, Err(CommitError::Full { .. })));
    free(&disk.filler());
    insert(&database, 2).await.unwrap();
}

#[tokio::test]
async fn a_store_that_could_not_open_on_a_full_disk_opens_once_there_is_room() {
    let disk = Disk::mount(MARGIN + (24 << 20));
    let database = Database::open(&disk.data()).unwrap();
    insert(&database, 1).await.unwrap();
    drop(database);
    // As an earlier version left it, which kept nothing to spare.
    fs::remove_file(disk.data().join("spare")).unwrap();
    fill(&disk.filler());
    for _ in 0..2 {
        assert!(Database::open(&disk.data()).is_err());
    }
    free(&disk.filler());
    let database = Database::open(&disk.data()).unwrap();
    assert!(database.tree("t").unwrap().contains_key(1_u64.to_be_bytes()).unwrap());
}

/// As [`insert`], through the journal.
async fn write(database: &Database, key: u64) -> Result<(), CommitError> {
    let tree = database.tree("t").unwrap();
    let change = move |writes: &mut Writes| {
        writes.insert(&tree, key.to_be_bytes(), vec![b'x'; 2048]);
        Ok(())
    };
    database.journal(change, |()| {}).await
}

/// Copies the folder of an open database as a process that was killed now would leave it.
fn copy_as_if_killed(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_as_if_killed(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

#[tokio::test]
async fn a_full_disk_refuses_what_goes_through_the_journal_and_has_it_once_there_is_room() {
    let disk = Disk::mount(MARGIN + (24 << 20));
    let database = Database::open(&disk.data()).unwrap();
    // Before there is a journal, and when there is one.
    for key in [1, 2] {
        fill(&disk.filler());
        let refused = write(&database, key).await.unwrap_err();
        assert!(matches!(refused, CommitError::Full { .. }), "{refused}");
        free(&disk.filler());
        write(&database, key).await.unwrap();
    }
    drop(database);
    assert_eq!(Database::open(&disk.data()).unwrap().tree("t").unwrap().len(), 2);
}

#[tokio::test]
async fn what_a_killed_process_left_in_its_journal_is_there_on_a_full_disk_and_once_there_is_room() {
    // A few changes, and as many as a journal holds.
    for count in [20, 1000] {
        let (disk, origin) = (Disk::mount(MARGIN + (24 << 20)), tempfile::tempdir().unwrap());
        let database = Database::open(origin.path()).unwrap();
        for key in 0..count {
            write(&database, key).await.unwrap();
        }
        copy_as_if_killed(origin.path(), &disk.data());
        fill(&disk.filler());
        for _ in 0..2 {
            let database = Database::open(&disk.data()).unwrap();
            assert_eq!(database.tree("t").unwrap().len(), usize::try_from(count).unwrap());
        }
        free(&disk.filler());
        let database = Database::open(&disk.data()).unwrap();
        write(&database, count).await.unwrap();
        drop(database);
        let found = Database::open(&disk.data()).unwrap().tree("t").unwrap().len();
        assert_eq!(found, usize::try_from(count + 1).unwrap());
    }
}

#[tokio::test]
async fn a_store_that_could_not_be_made_on_a_full_disk_is_made_once_there_is_room() {
    let disk = Disk::mount(MARGIN + (24 << 20));
    fill(&disk.filler());
    for _ in 0..2 {
        assert!(Database::open(&disk.data()).is_err());
    }
    free(&disk.filler());
    let database = Database::open(&disk.data()).unwrap();
    write(&database, 1).await.unwrap();
}
