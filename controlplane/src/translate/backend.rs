//! Whom a node calls, and how: the mesh's services, routers and routes seen from one node, before any protobuf.

use std::{cmp::Reverse, collections::BTreeSet, num::NonZeroU16};

use signet_policies::identity::ResourceName;

use crate::model::{
    Discovery, HttpMatch, Listener, Mesh, PathMatch, PortMapping, Protocol, Provider, RetryPolicy, Route,
    RouteRule, VirtualNode, VirtualRouter, WeightedTarget,
};

/// A virtual service that the node calls.
#[derive(Debug)]
pub(super) struct Backend<'a> {
    /// What applications write into the Host header.
    pub(super) name: &'a str,
    /// What callers dial, in the provider's order; none where the service has no provider.
    pub(super) ports: Vec<BackendPort<'a>>,
}

/// One port of a virtual service.
#[derive(Debug)]
pub(super) struct BackendPort<'a> {
    pub(super) port: NonZeroU16,
    /// In the order in which they are tried.
    pub(super) routes: Vec<BackendRoute<'a>>,
}

/// One rule and where it leads.
#[derive(Debug)]
pub(super) struct BackendRoute<'a> {
    pub(super) prefix: &'a str,
    pub(super) retry: Option<&'a RetryPolicy>,
    /// With their weights.
    pub(super) targets: Vec<(Destination<'a>, u32)>,
}

/// A port of a node. Calls to one that does not exist fail.
#[derive(Clone, Debug)]
pub(super) struct Destination<'a> {
    pub(super) node: &'a ResourceName,
    pub(super) mapping: PortMapping,
    /// Absent where there is no such node, or it has no such listener.
    pub(super) found: Option<(&'a Listener, &'a Discovery)>,
}

/// The services that `node` calls, in order of their names; those that do not exist are left out.
pub(super) fn of<'a>(mesh: &'a Mesh, node: &'a VirtualNode) -> Vec<Backend<'a>> {
    let names: BTreeSet<&'a str> =
        node.backends.iter().map(|backend| backend.virtual_service.as_str()).collect();
    let service = |name: &'a str| {
        let ports = match &mesh.virtual_services.get(name)?.provider {
            None => Vec::new(),
            Some(Provider::VirtualNode(provider)) => by_node(mesh, provider),
            Some(Provider::VirtualRouter(router)) => {
                mesh.virtual_routers.get(router).map_or_else(Vec::new, |router| by_router(mesh, router))
            }
        };
        Some(Backend { name, ports })
    };
    names.into_iter().filter_map(service).collect()
}

/// A node as provider: everything to it, on each of its ports.
fn by_node<'a>(mesh: &'a Mesh, name: &'a ResourceName) -> Vec<BackendPort<'a>> {
    let listeners = mesh.virtual_nodes.get(name).map_or(&[][..], |node| &node.listeners[..]);
    let port = |listener: &'a Listener| {
        let port = listener.port_mapping.port;
        let destination = destination(mesh, name, Some(port), listener.port_mapping);
        BackendPort {
            port,
            routes: vec![BackendRoute { prefix: "/", retry: None, targets: vec![(destination, 1)] }],
        }
    };
    listeners.iter().map(port).collect()
}

fn by_router<'a>(mesh: &'a Mesh, router: &'a VirtualRouter) -> Vec<BackendPort<'a>> {
    let mut routes: Vec<(&ResourceName, &Route)> =
        router.routes.iter().map(|(name, route)| (name, &**route)).collect();
    // Envoy takes the first match. App Mesh promises the order of priorities only; the rest makes it total.
    routes.sort_by_key(|(name, route)| {
        (route.priority.map_or(u32::MAX, u32::from), Reverse(prefix(route).len()), *name)
    });
    let port = |mapping: &PortMapping| {
        let is_for_port = |route: &&Route| route.port.is_none_or(|port| port == mapping.port);
        let routes = routes.iter().map(|(_, route)| *route).filter(is_for_port);
        BackendPort {
            port: mapping.port,
            routes: routes.map(|route| by_route(mesh, route, *mapping)).collect(),
        }
    };
    router.listeners.iter().map(port).collect()
}

fn by_route<'a>(mesh: &'a Mesh, route: &'a Route, dialed: PortMapping) -> BackendRoute<'a> {
    let Route { priority: _, port: _, rule: _, targets, timeout: _, retry } = route;
    let target = |target: &'a WeightedTarget| {
        let WeightedTarget { virtual_node, weight, port } = target;
        (destination(mesh, virtual_node, *port, dialed), u32::from(*weight))
    };
    BackendRoute {
        prefix: prefix(route),
        retry: retry.as_ref(),
        targets: targets.iter().map(target).collect(),
    }
}

/// The one match that the API takes so far.
fn prefix(route: &Route) -> &str {
    match &route.rule {
        RouteRule::Http(HttpMatch { path: PathMatch::Prefix(prefix), .. }) => prefix,
        RouteRule::Http(_) | RouteRule::Http2(_) | RouteRule::Grpc(_) | RouteRule::Tcp => "/",
    }
}

/// Finds the listener that is called: the one named, else the one on the port dialed, else the node's first.
fn destination<'a>(
    mesh: &'a Mesh,
    node: &'a ResourceName,
    port: Option<NonZeroU16>,
    dialed: PortMapping,
) -> Destination<'a> {
    let target = mesh.virtual_nodes.get(node);
    let listeners = target.map_or(&[][..], |target| &target.listeners[..]);
    let on = |port: NonZeroU16| listeners.iter().find(|listener| listener.port_mapping.port == port);
    let listener = match port {
        Some(port) => on(port),
        None => on(dialed.port).or(listeners.first()),
    };
    let missing = PortMapping { port: port.unwrap_or(dialed.port), protocol: Protocol::Http };
    Destination {
        node,
        mapping: listener.map_or(missing, |listener| listener.port_mapping),
        found: listener.zip(target.and_then(|target| target.discovery.as_ref())),
    }
}
