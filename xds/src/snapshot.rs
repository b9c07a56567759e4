//! Everything that one client should hold, as one value.

use std::{collections::BTreeMap, sync::Arc};

use crate::resource::{Name, Resource, ResourceType};

/// The whole of what one client should hold: one resource per kind and name, in order of both.
///
/// It is level-triggered: a stream compares what it has sent with the newest snapshot, so a snapshot that is
/// overtaken before it was sent leaves no trace.
///
/// It must be complete in itself: a cluster with EDS needs its endpoints here, an empty assignment when there
/// are none, or Envoy keeps it in warming until `initial_fetch_timeout`.
///
/// A clone shares everything, kind by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    kinds: BTreeMap<ResourceType, Arc<Kind>>,
}

/// The resources of one kind.
pub(crate) type Kind = BTreeMap<Name, Resource>;

impl Snapshot {
    /// Adds a resource; one of the same kind and name is replaced and returned.
    pub fn insert(&mut self, resource: Resource) -> Option<Resource> {
        let kind = Arc::make_mut(self.kinds.entry(resource.kind()).or_default());
        kind.insert(Arc::clone(resource.shared_name()), resource)
    }

    /// The resource of this kind and name.
    pub fn get(&self, kind: ResourceType, name: &str) -> Option<&Resource> {
        self.kinds.get(&kind)?.get(name)
    }

    /// Every resource of a kind, by name.
    pub fn resources(&self, kind: ResourceType) -> impl Iterator<Item = &Resource> {
        self.kinds.get(&kind).into_iter().flat_map(|kind| kind.values())
    }

    /// Shares with `other` every kind in which both are equal.
    pub fn share_with(&mut self, other: &Self) {
        for (kind, resources) in &mut self.kinds {
            if let Some(theirs) = other.kinds.get(kind).filter(|theirs| *theirs == resources) {
                *resources = Arc::clone(theirs);
            }
        }
    }

    /// Puts in the place of each resource what `replace` gives for it, which must be equal to it. Kinds that are
    /// shared with another snapshot stay as they are.
    pub(crate) fn intern(&mut self, mut replace: impl FnMut(&Resource) -> Resource) {
        for resources in self.kinds.values_mut().filter_map(Arc::get_mut) {
            resources.values_mut().for_each(|resource| *resource = replace(resource));
        }
    }

    /// How many resources there are of all kinds.
    pub fn len(&self) -> usize {
        self.kinds.values().map(|kind| kind.len()).sum()
    }

    /// Whether there is no resource of any kind.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl FromIterator<Resource> for Snapshot {
    fn from_iter<I: IntoIterator<Item = Resource>>(resources: I) -> Self {
        let mut snapshot = Self::default();
        snapshot.extend(resources);
        snapshot
    }
}

impl Extend<Resource> for Snapshot {
    fn extend<I: IntoIterator<Item = Resource>>(&mut self, resources: I) {
        for resource in resources {
            self.insert(resource);
        }
    }
}
