//! All of a database at one moment, for backups.

use std::{collections::BTreeMap, path::Path};

use crate::{CommitError, Database, OpenError, disk::MARK};

/// Key and value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// What a database holds, by tree and key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dump {
    /// Entries in the order of their keys, by the tree's name.
    pub trees: BTreeMap<String, Vec<Entry>>,
}

/// Why a dump was not restored. What was written until then is of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The folder cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The disk is full, or failing.
    #[error(transparent)]
    Write(#[from] CommitError),
}

impl Database {
    /// All that was committed, none of it half: no change runs while it is read.
    ///
    /// It needs no room on the disk.
    ///
    /// # Errors
    /// The disk cannot be read, or a sync failed before.
    pub async fn dump(&self) -> Result<Dump, CommitError> {
        let db = self.db.clone();
        self.committer.read(move || dump(&db)).await
    }

    /// Makes a database of a dump in `folder`, in which there must be none.
    ///
    /// # Errors
    /// The folder cannot be opened or written.
    pub async fn restore(folder: &Path, dump: Dump) -> Result<(), RestoreError> {
        let database = Self::open(folder)?;
        for (name, entries) in dump.trees {
            let tree = database.tree(&name)?;
            let mut batch = sled::Batch::default();
            entries.into_iter().for_each(|(key, value)| batch.insert(key, value));
            database.commit(move || tree.apply_batch(batch)).await?;
        }
        Ok(())
    }
}

fn dump(db: &sled::Db) -> Result<Dump, sled::Error> {
    let mut trees = BTreeMap::new();
    for name in db.tree_names() {
        let tree = db.open_tree(&name)?;
        let entries = tree.iter().map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec())));
        let entries: Vec<_> = entries.collect::<Result<_, _>>()?;
        // sled has a tree of its own that nobody writes to; another tells of this folder's journal.
        if !entries.is_empty() && name != MARK {
            trees.insert(String::from_utf8_lossy(&name).into_owned(), entries);
        }
    }
    Ok(Dump { trees })
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        pin::{Pin, pin},
        sync::mpsc,
        task::Poll,
    };

    use super::*;

    /// What a future comes to without being waited for.
    async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
        poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
    }

    #[tokio::test]
    async fn a_dump_that_is_asked_for_within_a_change_holds_all_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).unwrap();
        let [left, right] = ["left", "right"].map(|name| database.tree(name).unwrap());
        let ((half, is_half_done), (go_on, may_go_on)) = (mpsc::channel(), mpsc::channel::<()>());
        let mut change = pin!(database.commit(move || {
            left.insert("key", "value")?;
            half.send(()).unwrap();
            may_go_on.recv().unwrap();
            right.insert("key", "value").map(drop)
        }));
        assert_eq!(poll_once(change.as_mut()).await, Poll::Pending);
        is_half_done.recv().unwrap();
        let mut dump = pin!(database.dump());
        let early = poll_once(dump.as_mut()).await;
        go_on.send(()).unwrap();
        let dump = if let Poll::Ready(early) = early { early } else { dump.await }.unwrap();
        assert_eq!((dump.trees["left"].len(), dump.trees.get("left")), (1, dump.trees.get("right")));
        change.await.unwrap();
    }

    #[tokio::test]
    async fn a_dump_restores_to_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).unwrap();
        for (name, count) in [("left", 64_u8), ("right", 3)] {
            let tree = database.tree(name).unwrap();
            let change = move || (0..count).try_for_each(|key| tree.insert([key], vec![key]).map(drop));
            database.commit(change).await.unwrap();
        }
        let dump = database.dump().await.unwrap();
        assert_eq!((dump.trees["left"].len(), dump.trees["right"].len()), (64, 3));
        let other = tempfile::tempdir().unwrap();
        Database::restore(other.path(), dump.clone()).await.unwrap();
        assert_eq!(Database::open(other.path()).unwrap().dump().await.unwrap(), dump);
    }
}
