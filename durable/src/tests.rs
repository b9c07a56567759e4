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

#[tokio::test]
async fn what_the_journal_held_is_in_sleds_log_before_it_begins_anew() {
    let (folder, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let database = open(folder.path());
    // Each takes a block, so that it is full once; sled would not write so little by itself.
    let last = u32::try_from(journal::SIZE / 4096).unwrap() + 10;
    count_to(&database, last).await;
    // As a process that was killed here would leave it.
    for file in ["conf", "db", journal::NAME] {
        std::fs::copy(folder.path().join(file), killed.path().join(file)).unwrap();
    }
    std::fs::create_dir(killed.path().join("blobs")).unwrap();
    assert_eq!(open(killed.path()).tree("t").unwrap().len(), usize::try_from(last).unwrap());
}

#[tokio::test]
async fn a_folder_that_was_closed_in_order_needs_no_journal() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(folder.path());
    count_to(&database, 20).await;
    drop(database);
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
