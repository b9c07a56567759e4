//! Which changes of the model brought a proxy what it should hold.

use std::{collections::BTreeMap, sync::Arc};

use signet_xds::{ResourceType, Snapshot};

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
pub(super) struct Origins(BTreeMap<ResourceType, BTreeMap<String, Origin>>);

#[derive(Clone, Debug)]
struct Origin {
    version: String,
    cause: Arc<Cause>,
}

impl Origins {
    /// Those of a snapshot that a change brought, in the place of the one that these are of.
    pub(super) fn after(&self, snapshot: &Snapshot, cause: &Arc<Cause>) -> Self {
        let of_kind = |kind| {
            let origins = snapshot.resources(kind).map(|resource| {
                let (name, version) = (resource.name(), resource.version());
                let cause = self.cause(kind, name, version).unwrap_or(cause);
                (name.to_owned(), Origin { version: version.to_owned(), cause: Arc::clone(cause) })
            });
            (kind, origins.collect())
        };
        Self(ResourceType::ALL.into_iter().map(of_kind).collect())
    }

    /// Why exactly this version is wanted; `None` if it is not, or not any more.
    pub(super) fn cause(&self, kind: ResourceType, name: &str, version: &str) -> Option<&Arc<Cause>> {
        let origin = self.0.get(&kind)?.get(name)?;
        (origin.version == version).then_some(&origin.cause)
    }
}
