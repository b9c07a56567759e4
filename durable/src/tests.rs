use super::*;

fn open(folder: &Path) -> Database {
    Database::open(folder).unwrap()
}

#[tokio::test]
async fn what_was_committed_is_there_when_the_folder_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    {
        let database = open(folder.path());
        let tree = database.tree("t").unwrap();
        database.commit(move || tree.insert("key", "value").map(|_| ())).await.unwrap();
    }
    let tree = open(folder.path()).tree("t").unwrap();
    assert_eq!(tree.get("key").unwrap().unwrap(), "value");
}

#[tokio::test]
async fn of_many_racing_check_and_write_changes_exactly_one_wins() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(folder.path());
    let tree = database.tree("t").unwrap();
    let mut racers = tokio::task::JoinSet::new();
    for racer in 0..64_u8 {
        let (database, tree) = (database.clone(), tree.clone());
        racers.spawn(async move {
            let take = move || {
                let free = !tree.contains_key("token")?;
                tree.insert("token", vec![racer]).map(|_| free)
            };
            database.commit(take).await.unwrap()
        });
    }
    let wins = racers.join_all().await.into_iter().filter(|won| *won).count();
    assert_eq!(wins, 1);
}

#[test]
fn a_second_opener_is_told_that_the_folder_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let _first = open(folder.path());
    let second = Database::open(folder.path());
    assert!(matches!(second, Err(OpenError::InUse(path)) if path == folder.path()));
}

#[test]
fn a_file_in_place_of_the_folder_is_an_io_error_that_names_it() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Database::open(file.path()).unwrap_err();
    assert!(error.to_string().contains(&*file.path().to_string_lossy()));
}

/// One change of the journal for each number, one after another.
async fn count_to(database: &Database, last: u32) {
    let tree = database.tree("t").unwrap();
    for number in 1..=last {
        let tree = tree.clone();
        let change = move |writes: &mut Writes| {
            writes.insert(&tree, number.to_be_bytes(), number.to_be_bytes());
            Ok(())
        };
        database.journal(change, |()| {}).await.unwrap();
    }
}

/// Copies the folder of an open database as a process that was killed now would leave it.
fn copy_as_if_killed(from: &Path, to: &Path) {
    let copy = |name: PathBuf| std::fs::copy(from.join(&name), to.join(name)).unwrap();
    std::fs::create_dir(to.join("blobs")).unwrap();
    for blob in std::fs::read_dir(from.join("blobs")).unwrap() {
        copy(Path::new("blobs").join(blob.unwrap().file_name()));
    }
    for name in ["conf", "db", journal::NAME] {
        copy(name.into());
    }
}

#[tokio::test]
async fn what_the_journal_held_is_in_sleds_log_before_it_begins_anew() {
    let (folder, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let database = open(folder.path());
    // Each takes a block, so that it is full once; sled would not write so little by itself.
    let last = u32::try_from(journal::SIZE / 4096).unwrap() + 10;
    count_to(&database, last).await;
    copy_as_if_killed(folder.path(), killed.path());
    assert_eq!(open(killed.path()).tree("t").unwrap().len(), usize::try_from(last).unwrap());
}

#[tokio::test]
async fn a_change_that_no_journal_can_hold_is_durable_and_wins_over_the_smaller_ones_before_it() {
    let (folder, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let database = open(folder.path());
    count_to(&database, 3).await;
    let tree = database.tree("t").unwrap();
    let change = move |writes: &mut Writes| {
        writes.insert(&tree, 2_u32.to_be_bytes(), vec![7; journal::SIZE]);
        writes.remove(&tree, 3_u32.to_be_bytes());
        Ok(())
    };
    database.journal(change, |()| {}).await.unwrap();
    copy_as_if_killed(folder.path(), killed.path());
    let found = open(killed.path()).tree("t").unwrap();
    let lengths: Vec<_> = found.iter().map(|entry| entry.unwrap().1.len()).collect();
    assert_eq!(lengths, [4, journal::SIZE]);
}

#[tokio::test]
async fn of_several_writes_to_a_key_the_last_one_wins_before_and_after_a_kill() {
    let (folder, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let database = open(folder.path());
    let tree = database.tree("t").unwrap();
    // Each of them in a change of its own, and again in the next one.
    for round in ["1", "2"] {
        let tree = tree.clone();
        let change = move |writes: &mut Writes| {
            writes.insert(&tree, "gone", round);
            writes.remove(&tree, "gone");
            writes.remove(&tree, "back");
            writes.insert(&tree, "back", round);
            writes.insert(&tree, "late", "0");
            writes.insert(&tree, "late", round);
            writes.append(&tree, "more", "x");
            writes.append(&tree, "more", round);
            Ok(())
        };
        database.journal(change, |()| {}).await.unwrap();
    }
    copy_as_if_killed(folder.path(), killed.path());
    let killed = open(killed.path()).tree("t").unwrap();
    drop(database);
    for tree in [killed, tree] {
        let [gone, back, late, more] = ["gone", "back", "late", "more"].map(|key| tree.get(key).unwrap());
        assert_eq!(gone, None);
        assert_eq!((back.unwrap(), late.unwrap(), more.unwrap()), ("2".into(), "2".into(), "x2".into()));
    }
}

#[tokio::test]
async fn a_folder_that_was_closed_in_order_needs_no_journal() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(folder.path());
    count_to(&database, 20).await;
    drop(database);
    let (journal, groups) = journal::Journal::open(folder.path()).unwrap().unwrap();
    assert!(journal.is_empty() && groups.is_empty(), "there is something left to do");
    std::fs::remove_file(folder.path().join(journal::NAME)).unwrap();
    assert_eq!(open(folder.path()).tree("t").unwrap().len(), 20);
}

#[tokio::test]
async fn a_change_that_is_refused_notes_nothing_and_is_published_to_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(folder.path());
    let tree = database.tree("t").unwrap();
    let change = move |writes: &mut Writes| {
        writes.insert(&tree, "key", "value");
        Err::<(), _>(CommitError::Write("no".into()))
    };
    let refused = database.journal(change, |()| panic!("it was published")).await;
    assert_eq!(refused, Err(CommitError::Write("no".into())));
    count_to(&database, 1).await;
    drop(database);
    assert_eq!(open(folder.path()).tree("t").unwrap().len(), 1);
}

/// A folder that was closed in order, in which sixty changes are.
async fn closed() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let database = open(folder.path());
    count_to(&database, 60).await;
    drop(database);
    folder
}

#[tokio::test]
async fn a_folder_whose_log_was_cut_anywhere_is_refused_or_has_all_that_was_acknowledged() {
    let (folder, mut refused) = (closed().await, 0);
    let whole = std::fs::read(folder.path().join(disk::LOG)).unwrap();
    for sixteenths in 0..16 {
        let work = tempfile::tempdir().unwrap();
        copy_as_if_killed(folder.path(), work.path());
        std::fs::write(work.path().join(disk::LOG), &whole[..whole.len() * sixteenths / 16]).unwrap();
        match Database::open(work.path()) {
            Ok(database) => assert_eq!(database.tree("t").unwrap().len(), 60, "{sixteenths}"),
            Err(OpenError::Damaged { .. }) => refused += 1,
            Err(error) => panic!("{sixteenths}: {error}"),
        }
    }
    assert!(refused > 0);
    std::fs::remove_file(folder.path().join(disk::LOG)).unwrap();
    let error = Database::open(folder.path()).unwrap_err().to_string();
    assert!(error.ends_with(
        "missing in it: its files were cut or damaged, or are not all of one moment; restore a backup"
    ));
}

#[tokio::test]
async fn whatever_is_wrong_with_the_log_opening_it_ends_with_an_answer() {
    let folder = closed().await;
    let whole = std::fs::read(folder.path().join(disk::LOG)).unwrap();
    for at in (0..whole.len()).step_by(whole.len() / 16) {
        let work = tempfile::tempdir().unwrap();
        copy_as_if_killed(folder.path(), work.path());
        let mut damaged = whole.clone();
        let end = damaged.len().min(at + 4096);
        damaged[at..end].fill(0);
        std::fs::write(work.path().join(disk::LOG), damaged).unwrap();
        drop(Database::open(work.path()));
    }
    // What sled was seen to say of zeros in the middle of a larger log, now and then.
    let panics = || -> Result<(), OpenError> { panic!("tried to serialize Uninitialized") };
    let error = answered(folder.path(), panics).unwrap_err().to_string();
    assert!(
        error.ends_with("sled gave up on it, saying \"tried to serialize Uninitialized\"; restore a backup")
    );
}

#[tokio::test]
async fn a_folder_of_an_earlier_version_has_no_mark_and_gets_one() {
    let folder = closed().await;
    // The four bytes after each head; earlier versions wrote none.
    let path = folder.path().join(journal::NAME);
    let mut bytes = std::fs::read(&path).unwrap();
    [36..40, 4096 + 36..4096 + 40].into_iter().for_each(|mark| bytes[mark].fill(0));
    std::fs::write(&path, bytes).unwrap();
    let db = sled::Config::new().path(folder.path()).open().unwrap();
    assert!(db.drop_tree(disk::MARK).unwrap());
    drop(db);
    let database = open(folder.path());
    count_to(&database, 1).await;
    drop(database);
    let (journal, _) = journal::Journal::open(folder.path()).unwrap().unwrap();
    assert!(journal.mark().is_some());
    assert_eq!(open(folder.path()).tree("t").unwrap().len(), 60);
}

#[tokio::test]
async fn a_folder_whose_files_are_of_two_moments_is_refused() {
    let (folder, torn) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let database = open(folder.path());
    count_to(&database, 3).await;
    copy_as_if_killed(folder.path(), torn.path());
    drop(database);
    std::fs::copy(folder.path().join(journal::NAME), torn.path().join(journal::NAME)).unwrap();
    assert!(matches!(Database::open(torn.path()), Err(OpenError::Damaged { .. })));
}

#[tokio::test]
async fn a_dump_tells_nothing_of_its_folders_journal() {
    let folder = closed().await;
    let dump = open(folder.path()).dump().await.unwrap();
    assert_eq!(dump.trees.into_keys().collect::<Vec<_>>(), ["t"]);
}
