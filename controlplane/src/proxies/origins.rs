//! Which changes of the model brought a proxy what it should hold.

use std::{collections::BTreeMap, sync::Arc};

use signet_xds::{Resource, ResourceType, Snapshot};

use crate::model::{Deed, Written};

/// Most changes that are named as what may have brought something.
const NAMED: usize = 8;

/// What brought a proxy a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cause {
    /// The revision of the newest of the changes, or where none is known that of the model.
    pub(super) revision: u64,
    /// The writes of which one brought it, or some together; the newest first. Empty where none is known.
    pub(super) changes: Vec<Arc<Written>>,
}

impl Cause {
    /// Any of these writes, if one of them can have been it, else what is in the model at `revision`.
    pub(crate) fn of(changes: &[Arc<Written>], revision: u64) -> Arc<Self> {
        // Nothing that a proxy is sent depends on tags.
        let mut changes: Vec<_> = changes.iter().filter(|write| write.deed != Deed::Tag).cloned().collect();
        changes.sort_by_key(|write| std::cmp::Reverse(write.revision));
        changes.dedup_by_key(|write| write.revision);
        changes.truncate(NAMED);
        let revision = changes.first().map_or(revision, |write| write.revision);
        Arc::new(Self { revision, changes })
    }
}

/// Since which change each resource is wanted as it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Origins {
    /// What they are the origins of.
    of: Arc<Snapshot>,
    kinds: BTreeMap<ResourceType, OfKind>,
}

/// Those of one kind: one for all, and others for those that changed since.
#[derive(Clone, Debug, Default)]
struct OfKind {
    cause: Arc<Cause>,
    changed: BTreeMap<Arc<str>, Arc<Cause>>,
}

impl Origins {
    /// From now on this is wanted, and a change brought it.
    pub(super) fn follow(&mut self, snapshot: &Arc<Snapshot>, cause: &Arc<Cause>) {
        let before = std::mem::replace(&mut self.of, Arc::clone(snapshot));
        for kind in ResourceType::ALL.into_iter().filter(|kind| !snapshot.shares(*kind, &before)) {
            let of_kind = self.kinds.entry(kind).or_default();
            let changed = snapshot.changed_since(&before, kind);
            of_kind.changed.extend(changed.map(|name| (name, Arc::clone(cause))));
            of_kind.changed.retain(|name, _| snapshot.get(kind, name).is_some());
            if of_kind.changed.len() == snapshot.count(kind) {
                let oldest = of_kind.changed.values().min_by_key(|cause| cause.revision);
                let oldest = Arc::clone(oldest.unwrap_or(cause));
                of_kind.changed.retain(|_, cause| *cause != oldest);
                of_kind.cause = oldest;
            }
        }
    }

    /// Why exactly this version is wanted; `None` if it is not, or not any more.
    pub(super) fn cause(&self, kind: ResourceType, name: &str, version: &str) -> Option<&Arc<Cause>> {
        if self.of.get(kind, name).map(Resource::version) != Some(version) {
            return None;
        }
        let of_kind = self.kinds.get(&kind)?;
        Some(of_kind.changed.get(name).unwrap_or(&of_kind.cause))
    }
}

#[cfg(test)]
mod tests {
    use signet_xds::pb::envoy::config::route::v3::RouteConfiguration;

    use super::*;

    /// Routes by name and content.
    fn snapshot(routes: &[(&str, &str)]) -> Arc<Snapshot> {
        let resource = |(name, content): &(&str, &str)| {
            let message = RouteConfiguration { name: (*content).to_owned(), ..Default::default() };
            Resource::new(ResourceType::Route, *name, &message)
        };
        Arc::new(routes.iter().map(resource).collect())
    }

    #[test]
    fn a_resource_is_as_old_as_its_last_change() {
        let mut origins = Origins::default();
        let steps: [(u64, &[_], &[_]); 5] = [
            (3, &[("a", "1"), ("b", "1")], &[Some(3), Some(3), None]),
            (5, &[("a", "2"), ("b", "1")], &[Some(5), Some(3), None]),
            (6, &[("a", "2"), ("b", "1"), ("c", "1")], &[Some(5), Some(3), Some(6)]),
            (7, &[("a", "2"), ("b", "2"), ("c", "1")], &[Some(5), Some(7), Some(6)]),
            (9, &[("b", "2"), ("c", "2")], &[None, Some(7), Some(9)]),
        ];
        for (revision, routes, expected) in steps {
            let snapshot = snapshot(routes);
            origins.follow(&snapshot, &Cause::of(&[], revision));
            let version = |name| snapshot.get(ResourceType::Route, name).map_or("?", Resource::version);
            let cause = |name| origins.cause(ResourceType::Route, name, version(name));
            let found = ["a", "b", "c"].map(|name| cause(name).map(|cause| cause.revision));
            assert_eq!(found, expected, "at {revision}");
        }
    }

    #[test]
    fn what_is_not_wanted_in_this_version_has_no_origin() {
        let mut origins = Origins::default();
        origins.follow(&snapshot(&[("a", "1")]), &Cause::of(&[], 1));
        assert_eq!(origins.cause(ResourceType::Route, "a", "another"), None);
        assert_eq!(origins.cause(ResourceType::Cluster, "a", "another"), None);
    }
}
