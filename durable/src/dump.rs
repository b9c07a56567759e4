//! All of a database at one moment, for backups.

use std::{collections::BTreeMap, path::Path};

use crate::{CommitError, Database, OpenError};

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
        // sled has a tree of its own that nobody writes to.
        if !entries.is_empty() {
            trees.insert(String::from_utf8_lossy(&name).into_owned(), entries);
        }
    }
    Ok(Dump { trees })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dump_is_whole_at_one_moment_and_restores_to_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).unwrap();
        let [left, right] = ["left", "right"].map(|name| database.tree(name).unwrap());
        let mut writers = tokio::task::JoinSet::new();
        for number in 0..64_u8 {
            let (database, left, right) = (database.clone(), left.clone(), right.clone());
            writers.spawn(async move {
                let change = move || {
                    left.insert([number], vec![number])?;
                    right.insert([number], vec![number]).map(drop)
                };
                database.commit(change).await.unwrap();
            });
        }
        let early = database.dump().await.unwrap();
        assert_eq!(early.trees.get("left"), early.trees.get("right"), "no change is in it by half");
        writers.join_all().await;
        let dump = database.dump().await.unwrap();
        assert_eq!(dump.trees["left"].len(), 64);
        let other = tempfile::tempdir().unwrap();
        Database::restore(other.path(), dump.clone()).await.unwrap();
        assert_eq!(Database::open(other.path()).unwrap().dump().await.unwrap(), dump);
    }
}
