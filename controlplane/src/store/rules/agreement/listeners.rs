//! Who listens where, and who leads there.

use std::num::NonZeroU16;

use crate::{
    model::{PortMapping, Provider, Spec, key::Key},
    store::rules::State,
};

/// The ports that a spec opens.
pub(super) fn of(spec: &Spec) -> Vec<PortMapping> {
    match spec {
        Spec::VirtualNode(node) => node.listeners.iter().map(|listener| listener.port_mapping).collect(),
        Spec::VirtualGateway(gateway) => {
            gateway.listeners.iter().map(|listener| listener.port_mapping).collect()
        }
        Spec::VirtualRouter(router) => router.listeners.clone(),
        Spec::Mesh(_) | Spec::VirtualService(_) | Spec::Route(_) | Spec::GatewayRoute(_) => Vec::new(),
    }
}

/// The node or router that serves a virtual service.
pub(super) fn provider_key(service: &Key, provider: &Provider) -> Key {
    let mesh = service.mesh().clone();
    match provider {
        Provider::VirtualNode(name) => Key::VirtualNode { mesh, name: name.clone() },
        Provider::VirtualRouter(name) => Key::VirtualRouter { mesh, name: name.clone() },
    }
}

impl State {
    /// The ports of what is there; none of what is not.
    pub(super) fn listeners(&self, key: &Key) -> Vec<PortMapping> {
        self.spec(key).map_or_else(Vec::new, of)
    }

    pub(super) fn provider(&self, service: &Key) -> Option<Key> {
        match self.spec(service) {
            Some(Spec::VirtualService(spec)) => {
                spec.provider.as_ref().map(|provider| provider_key(service, provider))
            }
            Some(_) | None => None,
        }
    }

    pub(super) fn referrers(&self, key: &Key) -> impl Iterator<Item = &Key> {
        self.referrers.get(key).into_iter().flatten()
    }

    /// The routes that lead to a node, once for each target, with the port that the target names.
    pub(super) fn route_targets(&self, node: &Key) -> impl Iterator<Item = (&Key, Option<NonZeroU16>)> {
        self.referrers(node).flat_map(|referrer| {
            let targets = match self.spec(referrer) {
                Some(Spec::Route(route)) => &route.targets[..],
                Some(_) | None => &[],
            };
            let here = targets.iter().filter(|target| target.virtual_node.as_str() == node.name());
            here.map(move |target| (referrer, target.port))
        })
    }

    /// The gateway routes that lead to a service, with the port that each names.
    pub(super) fn gateway_targets(&self, service: &Key) -> impl Iterator<Item = (&Key, Option<NonZeroU16>)> {
        self.referrers(service).filter_map(|referrer| match self.spec(referrer) {
            Some(Spec::GatewayRoute(route)) => Some((referrer, route.target_port)),
            Some(_) | None => None,
        })
    }

    fn spec(&self, key: &Key) -> Option<&Spec> {
        self.records.find(key).map(|found| found.document.spec())
    }
}
