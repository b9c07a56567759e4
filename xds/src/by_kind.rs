//! One of something for each kind of resource.

use crate::resource::ResourceType;

/// In the order of [`ResourceType::ALL`].
#[derive(Clone, Debug, Default)]
pub(crate) struct ByKind<T>([T; ResourceType::ALL.len()]);

impl<T> ByKind<T> {
    pub(crate) fn new(of: impl FnMut(ResourceType) -> T) -> Self {
        Self(ResourceType::ALL.map(of))
    }

    pub(crate) const fn of(&self, kind: ResourceType) -> &T {
        let [clusters, endpoints, listeners, routes, secrets] = &self.0;
        match kind {
            ResourceType::Cluster => clusters,
            ResourceType::Endpoint => endpoints,
            ResourceType::Listener => listeners,
            ResourceType::Route => routes,
            ResourceType::Secret => secrets,
        }
    }

    pub(crate) const fn of_mut(&mut self, kind: ResourceType) -> &mut T {
        let [clusters, endpoints, listeners, routes, secrets] = &mut self.0;
        match kind {
            ResourceType::Cluster => clusters,
            ResourceType::Endpoint => endpoints,
            ResourceType::Listener => listeners,
            ResourceType::Route => routes,
            ResourceType::Secret => secrets,
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ResourceType, &T)> {
        ResourceType::ALL.into_iter().zip(&self.0)
    }
}
