//! Whom a proxy calls, and how: the mesh's services, routers and routes seen from one proxy, before any protobuf.
//!
//! ```text
//!  Backend (a service) ──▶ BackendPort ──▶ BackendRoute (first match wins) ──▶ Destination (a port of a node)
//! ```
//!
//! On a port of the HTTP family many services are told apart by Host. On a TCP port there is nothing to tell them
//! apart by, so one service has it: see [`claims`].

pub(super) mod order;

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU16,
};

use signet_policies::identity::ResourceName;

use super::naming;
use crate::model::{
    ClientPolicy, ClientTls, Discovery, GrpcMatch, HttpMatch, Listener, Mesh, PortMapping, Protocol,
    Provider, RetryPolicy, Route, RouteRule, Timeout, VirtualGateway, VirtualNode, VirtualRouter,
    WeightedTarget,
};

/// A virtual service that the proxy calls.
#[derive(Debug, PartialEq)]
pub(super) struct Backend<'a> {
    /// What applications write into the Host header.
    pub(super) name: &'a str,
    /// What callers dial, in the provider's order; none where the service has no provider.
    pub(super) ports: Vec<BackendPort<'a>>,
}

/// One port of a virtual service.
#[derive(Debug, PartialEq)]
pub(super) struct BackendPort<'a> {
    /// The router's, or the node's own where the provider is a node.
    pub(super) mapping: PortMapping,
    /// In the order in which they are tried; at most one on a TCP port, and it takes every connection.
    pub(super) routes: Vec<BackendRoute<'a>>,
}

/// One rule and where it leads.
#[derive(Debug, PartialEq)]
pub(super) struct BackendRoute<'a> {
    pub(super) rule: Rule<'a>,
    pub(super) timeout: Timeout,
    pub(super) retry: Option<&'a RetryPolicy>,
    /// With their weights, of any sum, zeroes among them.
    pub(super) targets: Vec<(Destination<'a>, u32)>,
}

/// What a route takes of the traffic to its port.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Rule<'a> {
    /// All of it: a TCP route, or a node as provider.
    Everything,
    /// `httpRoute` and `http2Route`.
    Http(&'a HttpMatch),
    /// `grpcRoute`.
    Grpc(&'a GrpcMatch),
}

/// A port of a node. Calls to one that does not exist fail.
#[derive(Clone, Debug)]
pub(super) struct Destination<'a> {
    pub(super) node: &'a ResourceName,
    pub(super) mapping: PortMapping,
    /// Absent where there is no such node, or it has no such listener.
    pub(super) found: Option<(&'a Listener, &'a Discovery)>,
    /// How the client wants to be called to this port, where it says so.
    pub(super) policy: Option<&'a ClientTls>,
    /// The service that it is called for, where others call the same port in another way.
    pub(super) service: Option<&'a str>,
}

/// As routes and listeners see it: what the node that was found is like shows in its cluster and endpoints alone.
impl PartialEq for Destination<'_> {
    fn eq(&self, other: &Self) -> bool {
        let Self { node, mapping, found, policy, service } = self;
        let is_found = found.is_some() == other.found.is_some();
        is_found
            && (node, mapping, policy, service)
                == (&other.node, &other.mapping, &other.policy, &other.service)
    }
}

impl Destination<'_> {
    /// The cluster that leads here: the node's, or one beside it that has another client policy.
    pub(super) fn cluster(&self, mesh: &ResourceName) -> String {
        let name = naming::target_cluster(mesh, self.node, self.mapping);
        self.service.map_or(name.clone(), |service| naming::of_service(&name, service))
    }

    /// What its counters are under, where the name will not do.
    pub(super) fn stat_name(&self, mesh: &ResourceName) -> String {
        self.service.map_or_else(String::new, |_| self.cluster(mesh).replace('.', "_"))
    }
}

/// Who has a port, where callers are told apart by nothing but the port and what they say.
#[derive(Debug)]
pub(super) enum Claim<'b, 'a> {
    /// Any number of services, by Host.
    Http(Vec<(&'b Backend<'a>, &'b BackendPort<'a>)>),
    /// One service, with everything.
    Tcp(&'b BackendPort<'a>),
}

impl Protocol {
    /// Whether a Host header tells services apart.
    pub(super) fn is_http(self) -> bool {
        match self {
            Self::Http | Self::Http2 | Self::Grpc => true,
            Self::Tcp => false,
        }
    }
}

/// The services that `node` calls, in order of their names; those that do not exist are left out.
pub(super) fn of_node<'a>(mesh: &'a Mesh, node: &'a VirtualNode) -> Vec<Backend<'a>> {
    let policies: BTreeMap<&'a str, Option<&'a ClientPolicy>> = node
        .backends
        .iter()
        .map(|backend| {
            let policy = backend.client_policy.as_ref().or(node.client_policy.as_ref());
            (backend.virtual_service.as_str(), policy)
        })
        .collect();
    let mut backends =
        policies.into_iter().filter_map(|(name, policy)| service(mesh, name, policy)).collect();
    distinguish(&mut backends);
    backends
}

/// A port that services lead to with different client policies needs a cluster for each of them. The first by name
/// has the node's own.
fn distinguish(backends: &mut Vec<Backend<'_>>) {
    let mut first = BTreeMap::new();
    for Backend { name, ports } in backends {
        let routes = ports.iter_mut().flat_map(|port| &mut port.routes);
        for (destination, _) in routes.flat_map(|route| &mut route.targets) {
            let policy = *first.entry((destination.node, destination.mapping)).or_insert(destination.policy);
            destination.service = (policy != destination.policy).then_some(*name);
        }
    }
}

/// The services behind `gateway`, in order of their names; those that do not exist are left out, and so are TCP
/// ports, to which no gateway route leads.
pub(super) fn of_gateway<'a>(mesh: &'a Mesh, gateway: &'a VirtualGateway) -> Vec<Backend<'a>> {
    let names: BTreeSet<&'a str> =
        gateway.routes.values().map(|route| route.virtual_service.as_str()).collect();
    let service = |name| {
        let mut backend = service(mesh, name, gateway.client_policy.as_ref())?;
        backend.ports.retain(|port| port.mapping.protocol.is_http());
        Some(backend)
    };
    names.into_iter().filter_map(service).collect()
}

fn service<'a>(
    mesh: &'a Mesh,
    name: &'a str,
    client_policy: Option<&'a ClientPolicy>,
) -> Option<Backend<'a>> {
    let mut ports = match &mesh.virtual_services.get(name)?.provider {
        None => Vec::new(),
        Some(Provider::VirtualNode(provider)) => by_node(mesh, provider),
        Some(Provider::VirtualRouter(router)) => {
            mesh.virtual_routers.get(router).map_or_else(Vec::new, |router| by_router(mesh, router))
        }
    };
    let tls = client_policy.and_then(|policy| policy.tls.as_ref());
    let routes = ports.iter_mut().flat_map(|port| &mut port.routes);
    for (destination, _) in routes.flat_map(|route| &mut route.targets) {
        let port = destination.mapping.port;
        destination.policy = tls.filter(|tls| tls.ports.is_empty() || tls.ports.contains(&port));
    }
    Some(Backend { name, ports })
}

/// Shares the ports out. A port that HTTP services and TCP services both ask for goes to the HTTP ones, which
/// can be told apart; of TCP services the first by name has it. The others cannot be called there.
pub(super) fn claims<'b, 'a>(backends: &'b [Backend<'a>]) -> BTreeMap<NonZeroU16, Claim<'b, 'a>> {
    let mut claims = BTreeMap::new();
    let asked = || backends.iter().flat_map(|backend| backend.ports.iter().map(move |port| (backend, port)));
    for (backend, port) in asked().filter(|(_, port)| port.mapping.protocol.is_http()) {
        let claim = claims.entry(port.mapping.port).or_insert_with(|| Claim::Http(Vec::new()));
        if let Claim::Http(services) = claim {
            services.push((backend, port));
        }
    }
    for (_, port) in asked().filter(|(_, port)| !port.mapping.protocol.is_http()) {
        claims.entry(port.mapping.port).or_insert(Claim::Tcp(port));
    }
    claims
}

/// What services that share a port speak: the one protocol of all, else HTTP.
pub(super) fn family(services: &[(&Backend<'_>, &BackendPort<'_>)]) -> Protocol {
    let mut protocols: Vec<_> = services.iter().map(|(_, port)| port.mapping.protocol).collect();
    protocols.dedup();
    match protocols[..] {
        [protocol] => protocol,
        _ => Protocol::Http,
    }
}

/// A node as provider: everything to it, on each of its ports.
fn by_node<'a>(mesh: &'a Mesh, name: &'a ResourceName) -> Vec<BackendPort<'a>> {
    let listeners = mesh.virtual_nodes.get(name).map_or(&[][..], |node| &node.listeners[..]);
    let port = |listener: &'a Listener| {
        let mapping = listener.port_mapping;
        let destination = destination(mesh, name, Some(mapping.port), mapping);
        let route = BackendRoute {
            rule: Rule::Everything,
            timeout: Timeout::default(),
            retry: None,
            targets: vec![(destination, 1)],
        };
        BackendPort { mapping, routes: vec![route] }
    };
    listeners.iter().map(port).collect()
}

fn by_router<'a>(mesh: &'a Mesh, router: &'a VirtualRouter) -> Vec<BackendPort<'a>> {
    let routes = order::of_router(&router.routes);
    let port = |mapping: &PortMapping| {
        let is_for_port = |route: &&Route| {
            route.port.is_none_or(|port| port == mapping.port)
                && mapping.protocol.is_http() == !matches!(route.rule, RouteRule::Tcp)
        };
        let most = if mapping.protocol.is_http() { usize::MAX } else { 1 };
        let routes = routes.iter().copied().filter(is_for_port).take(most);
        BackendPort {
            mapping: *mapping,
            routes: routes.map(|route| by_route(mesh, route, *mapping)).collect(),
        }
    };
    router.listeners.iter().map(port).collect()
}

fn by_route<'a>(mesh: &'a Mesh, route: &'a Route, dialed: PortMapping) -> BackendRoute<'a> {
    let Route { priority: _, port: _, rule, targets, timeout, retry } = route;
    let target = |target: &'a WeightedTarget| {
        let WeightedTarget { virtual_node, weight, port } = target;
        (destination(mesh, virtual_node, *port, dialed), u32::from(*weight))
    };
    let rule = match rule {
        RouteRule::Http(rule) | RouteRule::Http2(rule) => Rule::Http(rule),
        RouteRule::Grpc(rule) => Rule::Grpc(rule),
        RouteRule::Tcp => Rule::Everything,
    };
    let targets = targets.iter().map(target).collect();
    BackendRoute { rule, timeout: *timeout, retry: retry.as_ref(), targets }
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
    let missing = PortMapping { port: port.unwrap_or(dialed.port), ..dialed };
    Destination {
        node,
        mapping: listener.map_or(missing, |listener| listener.port_mapping),
        found: listener.zip(target.and_then(|target| target.discovery.as_ref())),
        policy: None,
        service: None,
    }
}
