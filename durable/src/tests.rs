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
