//! Resources by where they live, in the order in which lists show them.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
    sync::Arc,
};

use super::{Refusal, Resource, tokens::Use};
use crate::model::{
    Author, Tags,
    key::{Collection, Key},
};

/// All resources at one revision.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// Rises with every change; 0 is the empty store.
    pub(super) revision: u64,
    /// No collection in it is empty.
    collections: BTreeMap<Collection, BTreeMap<Box<str>, Arc<Resource>>>,
    /// Of whoever has any.
    tags: BTreeMap<Key, Arc<Tags>>,
}

/// What one write changes.
#[derive(Clone, Debug)]
pub(super) struct Change {
    /// The revision that it makes.
    pub(super) revision: u64,
    /// Who makes it, as far as that is known. Not kept on disk.
    pub(super) by: Option<Author>,
    /// What it does.
    pub(super) effect: Effect,
    /// The resource as it then is, or last was.
    pub(super) resource: Arc<Resource>,
    /// Its tags from then on, where they change. Those of a resource that goes, go with it.
    pub(super) tags: Option<Arc<Tags>>,
    /// Under which token it was made, if any, and the record that remembers it.
    pub(super) used: Option<(u64, Use)>,
    /// Records of tokens that are remembered no longer.
    pub(super) forgotten: Vec<u64>,
}

/// What a change does to its resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// The resource is there, as the change says.
    Put,
    /// Only its tags are others.
    Tag,
    /// The resource is gone.
    Remove,
}

impl Records {
    pub(super) fn find(&self, key: &Key) -> Option<&Arc<Resource>> {
        self.collections.get(&key.collection())?.get(key.name())
    }

    /// As [`Records::find`], naming the topmost thing that is missing.
    pub(super) fn get(&self, key: &Key) -> Result<&Arc<Resource>, Refusal> {
        if let Some(resource) = self.find(key) {
            return Ok(resource);
        }
        self.require_parent(&key.collection())?;
        Err(Refusal::Missing(key.clone()))
    }

    pub(super) fn tags(&self, key: &Key) -> Result<Arc<Tags>, Refusal> {
        self.get(key)?;
        Ok(self.tags.get(key).cloned().unwrap_or_default())
    }

    /// Refuses a collection whose parent, or the parent's parent, is not there.
    pub(super) fn require_parent(&self, collection: &Collection) -> Result<(), Refusal> {
        collection.parent().map_or(Ok(()), |parent| self.get(&parent).map(drop))
    }

    pub(super) fn list(
        &self,
        collection: &Collection,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Arc<Resource>>, Refusal> {
        self.require_parent(collection)?;
        let Some(resources) = self.collections.get(collection) else {
            return Ok(Vec::new());
        };
        let start = after.map_or(Unbounded, Excluded);
        Ok(resources
            .range::<str, _>((start, Unbounded))
            .take(limit)
            .map(|(_, found)| found.clone())
            .collect())
    }

    /// All of a collection.
    pub(super) fn all(&self, collection: &Collection) -> impl Iterator<Item = &Arc<Resource>> + use<'_> {
        self.collections.get(collection).into_iter().flat_map(BTreeMap::values)
    }

    pub(super) fn count(&self, collection: &Collection) -> usize {
        self.collections.get(collection).map_or(0, BTreeMap::len)
    }

    pub(super) fn is_empty(&self, collection: &Collection) -> bool {
        !self.collections.contains_key(collection)
    }

    pub(super) fn apply(&mut self, change: &Change) {
        let key = change.resource.document.key();
        let collection = key.collection();
        match change.effect {
            Effect::Put => {
                let resources = self.collections.entry(collection).or_default();
                resources.insert(key.name().into(), change.resource.clone());
            }
            Effect::Tag => {}
            Effect::Remove => {
                self.tags.remove(key);
                if let Some(resources) = self.collections.get_mut(&collection) {
                    resources.remove(key.name());
                    if resources.is_empty() {
                        self.collections.remove(&collection);
                    }
                }
            }
        }
        match &change.tags {
            Some(tags) if tags.is_empty() => drop(self.tags.remove(key)),
            Some(tags) => drop(self.tags.insert(key.clone(), tags.clone())),
            None => {}
        }
        self.revision = change.revision;
    }
}
