//! One watch for each kind.

use super::watch::Watch;
use crate::resource::ResourceType;

/// In the order of [`ResourceType::ALL`].
#[derive(Debug)]
pub(super) struct Watches([Watch; ResourceType::ALL.len()]);

impl Watches {
    pub(super) const fn of(&self, kind: ResourceType) -> &Watch {
        let [clusters, endpoints, listeners, routes, secrets] = &self.0;
        match kind {
            ResourceType::Cluster => clusters,
            ResourceType::Endpoint => endpoints,
            ResourceType::Listener => listeners,
            ResourceType::Route => routes,
            ResourceType::Secret => secrets,
        }
    }

    pub(super) const fn of_mut(&mut self, kind: ResourceType) -> &mut Watch {
        let [clusters, endpoints, listeners, routes, secrets] = &mut self.0;
        match kind {
            ResourceType::Cluster => clusters,
            ResourceType::Endpoint => endpoints,
            ResourceType::Listener => listeners,
            ResourceType::Route => routes,
            ResourceType::Secret => secrets,
        }
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Watch> {
        self.0.iter_mut()
    }
}

impl Default for Watches {
    fn default() -> Self {
        Self(ResourceType::ALL.map(Watch::new))
    }
}
