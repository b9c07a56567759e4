//! Everything that one client should hold, as one value.

mod difference;
mod kind;
mod replacements;

use std::{collections::BTreeMap, sync::Arc};

use crate::resource::{Resource, ResourceType};

pub(crate) use kind::{Kind, digest};
pub use replacements::Replacements;

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

impl Snapshot {
    /// Adds a resource; one of the same kind and name is replaced and returned.
    pub fn insert(&mut self, resource: Resource) -> Option<Resource> {
        Arc::make_mut(self.kinds.entry(resource.kind()).or_default()).insert(resource)
    }

    /// Takes the resource of this kind and name out.
    pub fn remove(&mut self, kind: ResourceType, name: &str) -> Option<Resource> {
        let resources = self.kinds.get_mut(&kind).filter(|resources| resources.contains_key(name))?;
        let removed = Arc::make_mut(resources).remove(name);
        // A snapshot without any of a kind is one that never had any.
        if resources.is_empty() {
            self.kinds.remove(&kind);
        }
        removed
    }

    /// The resource of this kind and name.
    pub fn get(&self, kind: ResourceType, name: &str) -> Option<&Resource> {
        self.kinds.get(&kind)?.get(name)
    }

    /// Every resource of a kind, by name.
    pub fn resources(&self, kind: ResourceType) -> impl Iterator<Item = &Resource> {
        self.kinds.get(&kind).into_iter().flat_map(|kind| kind.values())
    }

    /// The resources of a kind, as they are shared.
    pub(crate) fn kind(&self, kind: ResourceType) -> &Arc<Kind> {
        self.kinds.get(&kind).unwrap_or_else(|| Kind::nothing())
    }

    /// Whether the resources of a kind are the very same in memory.
    #[must_use]
    pub fn shares(&self, kind: ResourceType, other: &Self) -> bool {
        Arc::ptr_eq(self.kind(kind), other.kind(kind))
    }

    /// The names of a kind that were not in an earlier snapshot, or in another version, in order.
    pub fn changed_since(&self, before: &Self, kind: ResourceType) -> impl Iterator<Item = Arc<str>> {
        let difference = self.kind(kind).since(before.kind(kind));
        (0..).map_while(move |index| difference.changed.get(index).map(|it| Arc::clone(it.shared_name())))
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
        self.kinds.values_mut().filter_map(Arc::get_mut).for_each(|kind| kind.intern(&mut replace));
    }

    /// Puts in the place of each kind what `replace` gives for it, which must be equal to it.
    pub(crate) fn intern_kinds(&mut self, mut replace: impl FnMut(ResourceType, &Arc<Kind>) -> Arc<Kind>) {
        self.kinds.iter_mut().for_each(|(kind, resources)| *resources = replace(*kind, resources));
    }

    /// How many resources there are of a kind.
    pub fn count(&self, kind: ResourceType) -> usize {
        self.kind(kind).len()
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
