//! Which change of the model brought a proxy what it should hold.

use std::collections::BTreeMap;

use signet_xds::{ResourceType, Snapshot};

/// Since which revision of the model each resource is wanted as it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Origins(BTreeMap<ResourceType, BTreeMap<String, Origin>>);

#[derive(Clone, Debug)]
struct Origin {
    version: String,
    revision: u64,
}

impl Origins {
    /// Those of a snapshot of the model at `revision`, which takes the place of the one that these are of.
    pub(super) fn after(&self, snapshot: &Snapshot, revision: u64) -> Self {
        let of_kind = |kind| {
            let origins = snapshot.resources(kind).map(|resource| {
                let (name, version) = (resource.name(), resource.version());
                let revision = self.revision(kind, name, version).unwrap_or(revision);
                (name.to_owned(), Origin { version: version.to_owned(), revision })
            });
            (kind, origins.collect())
        };
        Self(ResourceType::ALL.into_iter().map(of_kind).collect())
    }

    /// Since when exactly this version is wanted; `None` if it is not, or not any more.
    pub(super) fn revision(&self, kind: ResourceType, name: &str, version: &str) -> Option<u64> {
        let origin = self.0.get(&kind)?.get(name)?;
        (origin.version == version).then_some(origin.revision)
    }
}
