//! What the changes of one group want written together.
//!
//! sled writes its log out twice for every batch of several keys, and waits for both. Changes that share a sync
//! therefore share a batch too.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Most bytes that wait: beyond them a batch is applied although its group goes on, so that the room that was
/// made for each change is enough for all.
const MAX_WAITING: usize = 1024 * 1024;

/// The batches of the group that is being applied, by tree. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Staged(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    batches: BTreeMap<sled::IVec, (sled::Tree, sled::Batch)>,
    bytes: usize,
    /// The first batch that was refused: what was in it is never written, so no sync may vouch for it.
    failed: Option<sled::Error>,
}

/// The writes of one change to one tree. Later ones of a key win.
#[derive(Debug, Default)]
pub struct Writes(Vec<(Vec<u8>, Option<Vec<u8>>)>);

impl Writes {
    /// A new value for a key.
    pub fn insert(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.0.push((key.into(), Some(value.into())));
    }

    /// The end of a key, there or not.
    pub fn remove(&mut self, key: impl Into<Vec<u8>>) {
        self.0.push((key.into(), None));
    }

    fn bytes(&self) -> usize {
        self.0.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len)).sum()
    }
}

impl Staged {
    /// Adds the writes of a change, which are applied with the others of its group, all or none of them.
    ///
    /// # Errors
    /// What waited had to be applied first, and sled refused it.
    pub(crate) fn add(&self, tree: &sled::Tree, writes: Writes) -> Result<(), sled::Error> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.bytes > 0 && waiting.bytes.saturating_add(writes.bytes()) > MAX_WAITING {
            waiting.apply()?;
        }
        waiting.bytes = waiting.bytes.saturating_add(writes.bytes());
        let (_, batch) =
            waiting.batches.entry(tree.name()).or_insert_with(|| (tree.clone(), sled::Batch::default()));
        for (key, value) in writes.0 {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        Ok(())
    }

    /// Applies what waits, one batch for each tree.
    ///
    /// # Errors
    /// sled refused one.
    pub(crate) fn apply(&self) -> Result<(), sled::Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).apply()
    }
}

impl Waiting {
    fn apply(&mut self) -> Result<(), sled::Error> {
        self.bytes = 0;
        for (tree, batch) in std::mem::take(&mut self.batches).into_values() {
            if let Err(error) = tree.apply_batch(batch) {
                self.failed.get_or_insert(error);
            }
        }
        self.failed.clone().map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> (tempfile::TempDir, sled::Tree) {
        let folder = tempfile::tempdir().unwrap();
        let db = sled::Config::new().path(folder.path()).flush_every_ms(None).open().unwrap();
        let tree = db.open_tree("t").unwrap();
        (folder, tree)
    }

    fn writes(key: &str, value: Option<Vec<u8>>) -> Writes {
        let mut writes = Writes::default();
        match value {
            Some(value) => writes.insert(key, value),
            None => writes.remove(key),
        }
        writes
    }

    #[test]
    fn what_is_staged_is_written_together_and_the_last_write_of_a_key_wins() {
        let (_folder, tree) = tree();
        let staged = Staged::default();
        for (key, value) in [("a", Some(vec![1])), ("b", Some(vec![2])), ("a", Some(vec![3])), ("b", None)] {
            staged.add(&tree, writes(key, value)).unwrap();
        }
        assert!(tree.is_empty(), "nothing is written before the group is whole");
        staged.apply().unwrap();
        assert_eq!(tree.get("a").unwrap().as_deref(), Some(&[3][..]));
        assert_eq!(tree.get("b").unwrap(), None);
        tree.remove("a").unwrap();
        staged.apply().unwrap();
        assert!(tree.is_empty(), "and it is written once");
    }

    #[test]
    fn what_is_too_much_to_wait_is_written_before_more_is_added() {
        let (_folder, tree) = tree();
        let staged = Staged::default();
        staged.add(&tree, writes("a", Some(vec![0; MAX_WAITING - 1]))).unwrap();
        staged.add(&tree, writes("b", Some(vec![0]))).unwrap();
        assert!(tree.contains_key("a").unwrap() && !tree.contains_key("b").unwrap());
        staged.apply().unwrap();
        assert!(tree.contains_key("b").unwrap());
    }
}
