//! What the last few writes were about and who made them, so that whoever follows the model need not compare all of
//! it, and can say which write brought what.

use std::{collections::VecDeque, sync::Arc};

use super::key::{Key, Kind};

/// How many writes are remembered: more than are made while a follower looks away.
const REMEMBERED: usize = 64;

/// The newest writes to a model, by revision.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    writes: VecDeque<Arc<Written>>,
    /// The revision of the newest write that is not remembered any more.
    forgotten: u64,
}

/// A write that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The revision that it made.
    pub revision: u64,
    /// What was written.
    pub key: Key,
    /// What was done to it.
    pub deed: Deed,
    /// Who did; `None` where nobody signed it.
    pub by: Option<Author>,
    /// Milliseconds since the epoch. Of tags, when the resource was last written.
    pub at: u64,
}

/// What is done to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// It is made.
    Create,
    /// It gets a new spec.
    Update,
    /// Only its tags change.
    Tag,
    /// It goes.
    Delete,
}

/// Whose key pair signed a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// The public half of the key pair.
    pub access_key_id: Arc<str>,
    /// The name that it was made under.
    pub user: Arc<str>,
}

impl Written {
    /// The operation of the API: `UpdateVirtualNode`, `CreateMesh`, `TagResource`.
    #[must_use]
    pub fn operation(&self) -> String {
        let of = |verb: &str, kind: Kind| format!("{verb}{kind}");
        match self.deed {
            Deed::Create => of("Create", self.key.kind()),
            Deed::Update => of("Update", self.key.kind()),
            Deed::Delete => of("Delete", self.key.kind()),
            Deed::Tag => "TagResource".to_owned(),
        }
    }
}

impl Changes {
    /// Of a model whose writes up to a revision nobody remembers.
    pub(crate) fn since(revision: u64) -> Self {
        Self { writes: VecDeque::new(), forgotten: revision }
    }

    /// Remembers a write; revisions rise.
    pub fn push(&mut self, write: Written) {
        if self.writes.len() == REMEMBERED
            && let Some(oldest) = self.writes.pop_front()
        {
            self.forgotten = oldest.revision;
        }
        self.writes.push_back(Arc::new(write));
    }

    /// What was written after one revision and up to another, later one; `None` where not all of it is known.
    #[must_use]
    pub fn between(&self, after: u64, up_to: u64) -> Option<Vec<&Arc<Written>>> {
        let newest = self.writes.back().map_or(0, |write| write.revision);
        let is_known = after >= self.forgotten && after < up_to && newest == up_to;
        is_known.then(|| self.writes.iter().filter(|write| write.revision > after).collect())
    }

    /// What is remembered, the newest first.
    pub fn newest(&self) -> impl Iterator<Item = &Arc<Written>> {
        self.writes.iter().rev()
    }
}

/// How a model came about is no part of what it is.
impl PartialEq for Changes {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(revision: u64, number: usize) -> Written {
        let name = |text: &str| text.parse().unwrap();
        let key = Key::VirtualNode { mesh: name("m"), name: name(&format!("n{number}")) };
        Written { revision, key, deed: Deed::Update, by: None, at: 0 }
    }

    #[test]
    fn the_writes_after_a_revision_are_known_until_they_are_forgotten() {
        let mut changes = Changes::default();
        assert_eq!(changes.between(0, 0), None);
        for revision in 1..=3 {
            changes.push(update(revision, 3));
        }
        assert_eq!(changes.between(1, 3), Some(vec![&update(2, 3).into(), &update(3, 3).into()]));
        assert_eq!(changes.between(2, 3), Some(vec![&update(3, 3).into()]));
        for revision in 4..=100 {
            changes.push(update(revision, 7));
        }
        assert_eq!(changes.between(35, 100), None);
        assert_eq!(changes.between(36, 100).map(|writes| writes.len()), Some(64));
        assert_eq!(changes.newest().next().map(|write| write.revision), Some(100));
    }

    #[test]
    fn a_model_whose_revision_is_not_that_of_the_last_write_is_not_explained() {
        let mut changes = Changes::default();
        assert_eq!(changes.between(0, 5), None);
        changes.push(update(3, 1));
        assert_eq!(changes.between(0, 5), None);
    }

    #[test]
    fn a_model_that_was_loaded_is_not_explained_and_the_next_write_to_it_is() {
        let mut changes = Changes::since(7);
        assert_eq!(changes.between(0, 7), None);
        changes.push(update(8, 1));
        assert_eq!(changes.between(0, 8), None);
        assert_eq!(changes.between(7, 8).map(|writes| writes.len()), Some(1));
    }

    #[test]
    fn an_operation_is_called_as_in_the_api() {
        assert_eq!(update(1, 1).operation(), "UpdateVirtualNode");
        assert_eq!(Written { deed: Deed::Tag, ..update(1, 1) }.operation(), "TagResource");
    }
}
