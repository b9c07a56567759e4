//! From the model to what one Envoy is told.
//!
//! ```text
//!  Model ────┐
//!  Proxy ────┼─▶ backend ──▶ route, cluster, endpoint ─┐
//!  InForce ──┤   (who is called, how)                  ├─▶ Snapshot
//!  Instances ┘   listener ◀── tls ─────────────────────┘      names: naming
//! ```
//!
//! What one write changes is often one cluster of many proxies: `patch` finds that out, and `forge` encodes it once.
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
use signet_xds::{Resource, ResourceType, Snapshot, pb::envoy::config::route::v3::RouteConfiguration};

use crate::{
    discovery::Instances,
    model::{
        AccessLog, Discovery, EgressFilter, IpPreference, Listener, Mesh, Model, VirtualGateway, VirtualNode,
    },
};

mod backend;
mod cluster;
pub(crate) mod endpoint;
mod forge;
mod gateway;
mod in_force;
mod listener;
mod log;
mod metadata;
pub mod naming;
mod patch;
mod reach;
mod retry;
mod route;
mod scalar;
mod tls;

pub(crate) use forge::Forge;
pub use in_force::{Dial, Generations, InForce, Offer, PortId, Proof, Standing, TlsOffer};
pub(crate) use patch::Since;
pub(crate) use reach::{Part, reach};

/// Where Envoy binds its egress listener: loopback only, because whoever reaches it is given the node's identity.
pub const EGRESS_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What translation must know of one Envoy.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Proxy {
    /// The virtual node or gateway that it stands for.
    pub workload: Workload,
    /// How traffic gets to it.
    pub interception: Interception,
    /// Where it serves the listeners, each on its own port; where traffic is redirected, everywhere.
    pub ingress_address: IpAddr,
    /// Where, on loopback, it takes the application's calls, or a gateway's own.
    pub egress_port: NonZeroU16,
}

/// How traffic gets to a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Interception {
    /// By itself: callers use the proxy's ports.
    None,
    /// It is redirected to two ports of the proxy's, as App Mesh had it.
    Redirected {
        /// Where others' calls arrive, whatever port they were meant for.
        ingress_port: NonZeroU16,
    },
}

impl Proxy {
    /// The listener that takes others' calls to a port.
    #[must_use]
    pub fn ingress_listener(&self, port: NonZeroU16) -> String {
        match self.interception {
            Interception::None => naming::ingress_listener(self.ingress_address, port),
            Interception::Redirected { ingress_port } => {
                naming::ingress_listener(IpAddr::V4(Ipv4Addr::UNSPECIFIED), ingress_port)
            }
        }
    }
}

/// One proxy and all that is looked up for it.
pub(crate) struct Scope<'a> {
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

    /// Where its requests are logged.
    fn access_log(&self) -> Option<&'a AccessLog> {
        match self.role {
            Role::Node(node) => node.access_log.as_ref(),
            Role::Gateway(gateway) => gateway.access_log.as_ref(),
        }
    }

    /// Which addresses are its own to use.
    fn ip_preference(&self) -> Option<IpPreference> {
        let own = match self.role {
            Role::Node(node) => node.discovery.as_ref().and_then(Discovery::ip_preference),
            Role::Gateway(_) => None,
        };
        own.or(self.mesh.settings.ip_preference)
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
    Given { model, in_force, instances, trust_domain }.snapshot(proxy, &mut Forge::default())
}

/// All that translation looks things up in.
#[derive(Clone, Copy)]
pub(crate) struct Given<'a> {
    pub(crate) model: &'a Model,
    pub(crate) in_force: &'a InForce,
    pub(crate) instances: &'a Instances,
    pub(crate) trust_domain: &'a TrustDomain,
}

impl<'a> Given<'a> {
    /// As [`snapshot`], encoding what many proxies are told once for all of them.
    pub(crate) fn snapshot(self, proxy: &Proxy, forge: &mut Forge) -> Snapshot {
        self.scope(proxy).map_or_else(Snapshot::default, |scope| scope.snapshot(forge))
    }

    /// What is looked up for a proxy; nothing where its node or gateway does not exist.
    pub(crate) fn scope(self, proxy: &'a Proxy) -> Option<Scope<'a>> {
        let Given { model, in_force, instances, trust_domain } = self;
        let Workload { mesh, kind, name } = &proxy.workload;
        let mesh = model.meshes.get(mesh)?;
        let role = match kind {
            WorkloadKind::VirtualNode => Role::Node(mesh.virtual_nodes.get(name)?),
            WorkloadKind::VirtualGateway => Role::Gateway(mesh.virtual_gateways.get(name)?),
        };
        Some(Scope { mesh, role, proxy, in_force, instances, trust_domain })
    }
}

/// Whether a proxy speaks TLS to a port of a node whatever that offers, because a client policy enforces it.
#[must_use]
pub fn enforces_tls(model: &Model, caller: &Workload, port: &PortId) -> bool {
    let Some(mesh) = model.meshes.get(&caller.mesh).filter(|_| caller.mesh == port.workload.mesh) else {
        return false;
    };
    let backends = match caller.kind {
        WorkloadKind::VirtualNode => {
            mesh.virtual_nodes.get(&caller.name).map(|node| backend::of_node(mesh, node))
        }
        WorkloadKind::VirtualGateway => {
            mesh.virtual_gateways.get(&caller.name).map(|gateway| backend::of_gateway(mesh, gateway))
        }
    };
    let backends = backends.unwrap_or_default();
    let is_meant = |destination: &backend::Destination<'_>| {
        port.workload.kind == WorkloadKind::VirtualNode
            && (destination.node, destination.mapping.port) == (&port.workload.name, port.port)
    };
    let enforces =
        |destination: &backend::Destination<'_>| destination.policy.is_some_and(|policy| policy.enforce);
    distinct(&backends, is_meant).into_values().any(enforces)
}

impl<'a> Scope<'a> {
    /// Whom the proxy calls.
    fn backends(&self) -> Vec<backend::Backend<'a>> {
        match self.role {
            Role::Node(node) => backend::of_node(self.mesh, node),
            Role::Gateway(gateway) => backend::of_gateway(self.mesh, gateway),
        }
    }

    /// The cluster of a destination, where there is such a node.
    fn target(&self, destination: &backend::Destination<'_>, forge: &mut Forge) -> Option<Resource> {
        let mesh = &self.proxy.workload.mesh;
        forge.cluster(mesh, destination, || cluster::target(self, destination))
    }

    /// The endpoints of a destination that is found by Cloud Map's names.
    fn endpoints(&self, destination: &backend::Destination<'_>, forge: &mut Forge) -> Option<Resource> {
        let backend::Destination { node, mapping, found, policy: _, service: _ } = destination;
        let (_, discovery) = (*found)?;
        let mesh_name = &self.proxy.workload.mesh;
        endpoint::of(mesh_name, self.mesh, node, *mapping, discovery, self.instances, forge)
    }

    /// What the proxy is told.
    pub(crate) fn snapshot(&self, forge: &mut Forge) -> Snapshot {
        let backends = self.backends();
        let mut resources = Vec::new();
        for listener in self.listeners() {
            let (local, routes) = match self.role {
                Role::Node(_) => {
                    // TCP has nothing to be routed by.
                    let is_http = listener.port_mapping.protocol.is_http();
                    (cluster::local(self, listener), is_http.then(|| route::ingress(self, listener)))
                }
                Role::Gateway(gateway) => (
                    gateway::self_redirect(self, gateway, listener),
                    Some(gateway::ingress(self, gateway, listener, &backends)),
                ),
            };
            resources.push(forge.make(ResourceType::Cluster, local.name.clone(), &local));
            let routes = routes.map(|routes| forge.make(ResourceType::Route, routes.name.clone(), &routes));
            resources.extend(routes);
        }
        for (_, destination) in distinct(&backends, |_| true) {
            resources.extend(self.target(destination, forge));
            resources.extend(self.endpoints(destination, forge));
        }
        for listener in listener::ingress(self).into_iter().chain(listener::egress(self, &backends)) {
            resources.push(forge.make(ResourceType::Listener, listener.name.clone(), &listener));
        }
        self.outward(&backends, forge, &mut resources);
        let tls = self.listeners().iter().filter_map(|listener| listener.tls.as_ref());
        let policies =
            distinct(&backends, |_| true).into_values().filter_map(|destination| destination.policy);
        resources.extend(tls::secrets(tls, policies));
        resources.into_iter().collect()
    }

    /// Route tables of the proxy's own calls, and the clusters that lead out of the mesh.
    fn outward(&self, backends: &[backend::Backend<'_>], forge: &mut Forge, resources: &mut Vec<Resource>) {
        let mut table = |routes: RouteConfiguration| {
            resources.push(forge.make(ResourceType::Route, routes.name.clone(), &routes));
        };
        match (self.role, self.proxy.interception) {
            (Role::Gateway(gateway), _) => return table(gateway::egress(self, gateway, backends)),
            (Role::Node(_), Interception::None) => return table(route::egress(self, backends)),
            (Role::Node(_), Interception::Redirected { .. }) => {}
        }
        route::redirected(self, backends).into_iter().for_each(table);
        let mesh = &self.proxy.workload.mesh;
        let passthrough = match self.mesh.settings.egress_filter {
            EgressFilter::AllowAll => Some(naming::passthrough_cluster(mesh)),
            EgressFilter::DropAll => None,
        };
        for name in passthrough.into_iter().chain([naming::aws_cluster(mesh)]) {
            resources.push(forge.share(ResourceType::Cluster, name.clone(), cluster::passthrough(name)));
        }
    }
}

/// Every destination that is meant, once for each cluster that leads there, however many routes do.
fn distinct<'a>(
    backends: &'a [backend::Backend<'a>],
    is_meant: impl Fn(&backend::Destination<'a>) -> bool,
) -> BTreeMap<(&'a ResourceName, NonZeroU16, Option<&'a str>), &'a backend::Destination<'a>> {
    let routes = backends.iter().flat_map(|backend| &backend.ports).flat_map(|port| &port.routes);
    let targets = routes.flat_map(|route| &route.targets);
    let key = |destination: &backend::Destination<'a>| {
        (destination.node, destination.mapping.port, destination.service)
    };
    let meant = targets.map(|(destination, _)| destination).filter(|destination| is_meant(destination));
    meant.map(|destination| (key(destination), destination)).collect()
}
