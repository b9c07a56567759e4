//! What changes write through the journal, gathered until their group is whole.

use std::collections::BTreeMap;

/// The writes of one change. Later ones of a key win.
#[derive(Debug, Default)]
pub struct Writes(Vec<Write>);

#[derive(Debug)]
struct Write {
    tree: sled::Tree,
    key: Vec<u8>,
    value: Value,
}

#[derive(Debug)]
enum Value {
    New(Vec<u8>),
    More(Vec<u8>),
    None,
}

/// A key, and the value that it gets, if any.
pub(crate) type Entries = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// What the changes of one group write, each key once.
#[derive(Debug, Default)]
pub(crate) struct Group {
    trees: BTreeMap<sled::IVec, (sled::Tree, Entries)>,
    bytes: usize,
}

impl Writes {
    /// A new value for a key.
    pub fn insert(&mut self, tree: &sled::Tree, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.0.push(Write { tree: tree.clone(), key: key.into(), value: Value::New(value.into()) });
    }

    /// More of a value that changes of one group write together: it is what they append, and nothing of what was there
    /// before the group.
    pub fn append(&mut self, tree: &sled::Tree, key: impl Into<Vec<u8>>, more: impl Into<Vec<u8>>) {
        self.0.push(Write { tree: tree.clone(), key: key.into(), value: Value::More(more.into()) });
    }

    /// The end of a key, there or not.
    pub fn remove(&mut self, tree: &sled::Tree, key: impl Into<Vec<u8>>) {
        self.0.push(Write { tree: tree.clone(), key: key.into(), value: Value::None });
    }
}

impl Group {
    /// Adds what one change writes, all of it.
    pub(crate) fn add(&mut self, writes: Writes) {
        for Write { tree, key, value } in writes.0 {
            let (_, entries) = self.trees.entry(tree.name()).or_insert_with(|| (tree, Entries::new()));
            let length = match &value {
                Value::New(bytes) | Value::More(bytes) => bytes.len(),
                Value::None => 0,
            };
            self.bytes = self.bytes.saturating_add(key.len() + length);
            let there = entries.entry(key).or_default();
            match (there, value) {
                (Some(there), Value::More(more)) => there.extend(more),
                (there, Value::New(value) | Value::More(value)) => *there = Some(value),
                (there, Value::None) => *there = None,
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.trees.is_empty()
    }

    /// Bytes of all that was added.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The names of the trees, and what is written to each.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &Entries)> {
        self.trees.iter().map(|(name, (_, entries))| (&**name, entries))
    }

    /// Makes the writes, for readers to see. They reach the disk when sled is flushed, or has much to write.
    ///
    /// # Errors
    /// sled refused one; those after it were not made.
    pub(crate) fn apply(self) -> Result<(), sled::Error> {
        self.trees.into_values().try_for_each(|(tree, entries)| apply(&tree, entries))
    }

    /// Makes the writes of each tree so that a crash leaves all of them or none.
    ///
    /// # Errors
    /// sled refused them.
    pub(crate) fn apply_whole(&self) -> Result<(), sled::Error> {
        for (tree, entries) in self.trees.values() {
            let mut batch = sled::Batch::default();
            for (key, value) in entries {
                match value {
                    Some(value) => batch.insert(&**key, &**value),
                    None => batch.remove(&**key),
                }
            }
            tree.apply_batch(batch)?;
        }
        Ok(())
    }
}

/// Makes these writes one by one.
///
/// # Errors
/// sled refused one; those after it were not made.
pub(crate) fn apply(tree: &sled::Tree, entries: Entries) -> Result<(), sled::Error> {
    for (key, value) in entries {
        match value {
            Some(value) => tree.insert(key, value)?,
            None => tree.remove(key)?,
        };
    }
    Ok(())
}
