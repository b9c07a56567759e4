//! From the model to what one Envoy is told.
//!
//! ```text
//!  Model ────┐
//!  Proxy ────┼─▶ backend ──▶ route, cluster, endpoint ─┐
//!  InForce ──┤   (who is called, how)                  ├─▶ Snapshot
//!  Instances ┘   listener ◀── tls ─────────────────────┘      names: naming
//! ```
//!
//! Invariants:
//! - Pure and total: no clock, no I/O, no error. Whatever dangles in the model becomes an answer of 404 or 503.
//! - Equal input gives equal bytes, on every replica and after a restart: a version is a hash of the bytes, and
//!   other bytes would make every Envoy renew its connections. So no protobuf map ever holds two entries.
//! - No upstream TLS without validation, no listener on an address of the machine's but those that were asked
//!   for, and nothing that Envoy 1.40 calls deprecated.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU16,
};

use signet_policies::identity::{ResourceName, TrustDomain, Workload, WorkloadKind};
use signet_xds::{Resource, ResourceType, Snapshot};

use crate::{
    discovery::Instances,
    model::{Listener, Mesh, Model, VirtualGateway, VirtualNode},
};

mod backend;
mod cluster;
pub(crate) mod endpoint;
mod gateway;
mod in_force;
mod listener;
pub mod naming;
mod retry;
mod route;
mod scalar;
mod tls;

pub use in_force::{Dial, InForce, Offer, PortId, Standing, TlsOffer};

/// Where Envoy binds its egress listener: loopback only, because whoever reaches it is given the node's identity.
pub const EGRESS_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What translation must know of one Envoy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// The virtual node or gateway that it stands for.
    pub workload: Workload,
    /// Where it serves the listeners, each on its own port.
    pub ingress_address: IpAddr,
    /// Where, on loopback, it takes the application's calls, or a gateway's own.
    pub egress_port: NonZeroU16,
}

/// One proxy and all that is looked up for it.
struct Scope<'a> {
    mesh: &'a Mesh,
    role: Role<'a>,
    proxy: &'a Proxy,
    in_force: &'a InForce,
    instances: &'a Instances,
    trust_domain: &'a TrustDomain,
}

/// What the proxy stands for.
#[derive(Clone, Copy)]
enum Role<'a> {
    /// An application beside it.
    Node(&'a VirtualNode),
    /// A way into the mesh.
    Gateway(&'a VirtualGateway),
}

impl<'a> Scope<'a> {
    /// The ports that it serves.
    fn listeners(&self) -> &'a [Listener] {
        match self.role {
            Role::Node(node) => &node.listeners,
            Role::Gateway(gateway) => &gateway.listeners,
        }
    }

    /// One of the proxy's own ports.
    fn own_port(&self, port: NonZeroU16) -> PortId {
        PortId { workload: self.proxy.workload.clone(), port }
    }

    /// A port of a node in this proxy's mesh.
    fn port(&self, node: &ResourceName, port: NonZeroU16) -> PortId {
        let mesh = self.proxy.workload.mesh.clone();
        PortId { workload: Workload { mesh, kind: WorkloadKind::VirtualNode, name: node.clone() }, port }
    }
}

/// Translates what `proxy` is told: its listeners, clusters and routes. Empty where there is no such node or
/// gateway.
///
/// Ports that `in_force` does not hold stand as the model asks.
#[must_use]
pub fn snapshot(
    model: &Model,
    proxy: &Proxy,
    in_force: &InForce,
    instances: &Instances,
    trust_domain: &TrustDomain,
) -> Snapshot {
    let Workload { mesh, kind, name } = &proxy.workload;
    let Some(mesh) = model.meshes.get(mesh) else {
        return Snapshot::default();
    };
    let role = match kind {
        WorkloadKind::VirtualNode => mesh.virtual_nodes.get(name).map(|node| Role::Node(node)),
        WorkloadKind::VirtualGateway => mesh.virtual_gateways.get(name).map(|gateway| Role::Gateway(gateway)),
    };
    role.map_or_else(Snapshot::default, |role| {
        Scope { mesh, role, proxy, in_force, instances, trust_domain }.snapshot()
    })
}

impl Scope<'_> {
    /// Those of a destination that is found by Cloud Map's names.
    fn endpoints(&self, destination: &backend::Destination<'_>) -> Option<Resource> {
        let backend::Destination { node, mapping, found } = destination;
        let (_, discovery) = (*found)?;
        let mesh_name = &self.proxy.workload.mesh;
        endpoint::of(mesh_name, self.mesh, node, *mapping, discovery, self.instances)
    }

    fn snapshot(&self) -> Snapshot {
        let backends = match self.role {
            Role::Node(node) => backend::of_node(self.mesh, node),
            Role::Gateway(gateway) => backend::of_gateway(self.mesh, gateway),
        };
        let mut resources = Vec::new();
        for listener in self.listeners() {
            let (local, routes) = match self.role {
                Role::Node(_) => (cluster::local(self, listener), route::ingress(self, listener)),
                Role::Gateway(gateway) => (
                    gateway::self_redirect(self, gateway, listener),
                    gateway::ingress(self, gateway, listener, &backends),
                ),
            };
            resources.push(Resource::new(ResourceType::Cluster, local.name.clone(), &local));
            let ingress = listener::ingress(self, listener);
            resources.push(Resource::new(ResourceType::Listener, ingress.name.clone(), &ingress));
            resources.push(Resource::new(ResourceType::Route, routes.name.clone(), &routes));
        }
        for (_, destination) in distinct(&backends) {
            if let Some(target) = cluster::target(self, destination) {
                resources.push(Resource::new(ResourceType::Cluster, target.name.clone(), &target));
            }
            resources.extend(self.endpoints(destination));
        }
        let egress = listener::egress(self);
        resources.push(Resource::new(ResourceType::Listener, egress.name.clone(), &egress));
        let routes = match self.role {
            Role::Node(_) => route::egress(self, &backends),
            Role::Gateway(gateway) => gateway::egress(self, gateway, &backends),
        };
        resources.push(Resource::new(ResourceType::Route, routes.name.clone(), &routes));
        resources.into_iter().collect()
    }
}

/// Every destination once, however many routes lead to it.
fn distinct<'a>(
    backends: &'a [backend::Backend<'a>],
) -> BTreeMap<(&'a ResourceName, NonZeroU16), &'a backend::Destination<'a>> {
    let routes = backends.iter().flat_map(|backend| &backend.ports).flat_map(|port| &port.routes);
    let targets = routes.flat_map(|route| &route.targets);
    targets.map(|(destination, _)| ((destination.node, destination.mapping.port), destination)).collect()
}
