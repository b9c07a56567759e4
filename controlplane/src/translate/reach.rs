//! What of a mesh a proxy's configuration can depend on.
//!
//! Whatever else changes, translation gives the same, so nobody need ask it. This follows the same references as
//! [`backend`](super::backend), and takes more rather than less: every target of a router, on every port.

use std::collections::BTreeSet;

use signet_policies::identity::{ResourceName, Workload, WorkloadKind};

use crate::model::{
    Mesh, Provider,
    key::{Key, ServiceName},
};

/// A resource of a mesh, with what is under it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// A virtual node, and how its ports stand.
    Node(ResourceName),
    /// A virtual service.
    Service(ServiceName),
    /// A virtual router and its routes.
    Router(ResourceName),
    /// A virtual gateway and its routes.
    Gateway(ResourceName),
}

impl Part {
    /// The part that a resource belongs to; `None` for a mesh, on which everything in it depends.
    pub(crate) fn of(key: &Key) -> Option<Self> {
        Some(match key {
            Key::Mesh(_) => return None,
            Key::VirtualNode { name, .. } => Self::Node(name.clone()),
            Key::VirtualService { name, .. } => Self::Service(name.clone()),
            Key::VirtualRouter { name, .. } | Key::Route { router: name, .. } => Self::Router(name.clone()),
            Key::VirtualGateway { name, .. } | Key::GatewayRoute { gateway: name, .. } => {
                Self::Gateway(name.clone())
            }
        })
    }

    /// The part that is this workload itself.
    pub(crate) fn own(workload: &Workload) -> Self {
        match workload.kind {
            WorkloadKind::VirtualNode => Self::Node(workload.name.clone()),
            WorkloadKind::VirtualGateway => Self::Gateway(workload.name.clone()),
        }
    }
}

/// The parts of its mesh that a workload's proxies depend on, whether or not they exist.
pub(crate) fn reach(mesh: &Mesh, workload: &Workload) -> BTreeSet<Part> {
    let mut parts = BTreeSet::from([Part::own(workload)]);
    let name = &workload.name;
    match workload.kind {
        WorkloadKind::VirtualNode => {
            let backends = mesh.virtual_nodes.get(name).map_or(&[][..], |node| &node.backends[..]);
            backends.iter().for_each(|backend| follow(mesh, &backend.virtual_service, &mut parts));
        }
        WorkloadKind::VirtualGateway => {
            let routes =
                mesh.virtual_gateways.get(name).into_iter().flat_map(|gateway| gateway.routes.values());
            routes.for_each(|route| follow(mesh, &route.virtual_service, &mut parts));
        }
    }
    parts
}

fn follow(mesh: &Mesh, service: &ServiceName, parts: &mut BTreeSet<Part>) {
    parts.insert(Part::Service(service.clone()));
    let provider = mesh.virtual_services.get(service.as_str()).and_then(|service| service.provider.as_ref());
    match provider {
        None => {}
        Some(Provider::VirtualNode(node)) => drop(parts.insert(Part::Node(node.clone()))),
        Some(Provider::VirtualRouter(name)) => {
            parts.insert(Part::Router(name.clone()));
            let routes = mesh.virtual_routers.get(name).into_iter().flat_map(|router| router.routes.values());
            let targets = routes.flat_map(|route| &route.targets);
            parts.extend(targets.map(|target| Part::Node(target.virtual_node.clone())));
        }
    }
}
