//! The mesh of the walkthrough: `service-a` calls `service-b`, which is two nodes behind a router.

use std::{sync::Arc, time::Duration};

use signet_controlplane::{
    discovery::Instances,
    model::{
        Backend, Certificate, Discovery, DnsResponseType, Document, HttpMatch, HttpRetryEvent, Listener,
        ListenerTls, Mesh, Model, PathMatch, PortMapping, Protocol, Provider, RetryPolicy, Route, RouteRule,
        Spec, Trust, Validation, VirtualNode, VirtualRouter, VirtualService, WeightedTarget,
    },
    translate::{self, InForce, Interception, Proxy},
};
use signet_policies::{
    identity::{TrustDomain, Workload, WorkloadKind},
    mtls::Mode,
};
use signet_xds::Snapshot;

pub(crate) const CLIENT: &str = "service-a-node";
pub(crate) const GATEWAY: &str = "gateway";
pub(crate) const SERVER: &str = "service-b-v1";

pub(crate) fn trust_domain() -> TrustDomain {
    "signet.internal".parse().unwrap()
}

pub(crate) fn http(port: u16) -> PortMapping {
    PortMapping { port: port.try_into().unwrap(), protocol: Protocol::Http }
}

pub(crate) fn dns(hostname: &str, response_type: DnsResponseType) -> Option<Discovery> {
    Some(Discovery::Dns { hostname: hostname.into(), response_type, ip_preference: None })
}

pub(crate) fn node(listeners: &[Listener], hostname: &str) -> VirtualNode {
    VirtualNode {
        listeners: listeners.to_vec(),
        discovery: dns(hostname, DnsResponseType::LoadBalancer),
        ..VirtualNode::default()
    }
}

pub(crate) fn listener(port: u16, tls: Option<ListenerTls>) -> Listener {
    Listener { tls, ..Listener::new(http(port)) }
}

/// TLS with the node's own certificate; clients are verified where they are `Some`.
pub(crate) fn tls(mode: Mode, clients: Option<&[&str]>) -> Option<ListenerTls> {
    let validation = clients.map(|names| Validation {
        trust: Trust::Sds { secret_name: "ROOTCA".into() },
        subject_alternative_names: names.iter().map(|name| (*name).to_owned()).collect(),
    });
    let certificate = Certificate::Acm { arn: "arn:aws:acm:us-east-1:000000000000:certificate/1".into() };
    Some(ListenerTls { mode, certificate, validation })
}

pub(crate) fn target(node: &str, weight: u8, port: Option<u16>) -> WeightedTarget {
    WeightedTarget {
        virtual_node: node.parse().unwrap(),
        weight,
        port: port.map(|port| port.try_into().unwrap()),
    }
}

pub(crate) fn route(prefix: &str, targets: &[WeightedTarget]) -> Route {
    Route::new(RouteRule::Http(HttpMatch::new(PathMatch::Prefix(prefix.into()))), targets.to_vec())
}

/// As the walkthrough's `create-route` has it.
pub(crate) fn canary() -> Route {
    Route {
        retry: Some(RetryPolicy {
            max_retries: 3,
            per_retry_timeout: Duration::from_millis(2000),
            http_events: vec![HttpRetryEvent::ServerError, HttpRetryEvent::GatewayError],
            grpc_events: Vec::new(),
            on_connection_error: true,
        }),
        ..route("/", &[target("service-b-v1", 90, None), target("service-b-v2", 10, None)])
    }
}

pub(crate) fn router(ports: &[u16], routes: &[(&str, Route)]) -> VirtualRouter {
    VirtualRouter {
        listeners: ports.iter().map(|port| http(*port)).collect(),
        routes: routes.iter().map(|(name, route)| (name.parse().unwrap(), Arc::new(route.clone()))).collect(),
    }
}

/// A service behind the router `<name>-router`.
pub(crate) fn add_routed(mesh: &mut Mesh, service: &str, ports: &[u16], routes: &[(&str, Route)]) {
    let name = format!("{}-router", service.replace('.', "-"));
    mesh.virtual_routers.insert(name.parse().unwrap(), Arc::new(router(ports, routes)));
    add_service(mesh, service, Some(Provider::VirtualRouter(name.parse().unwrap())));
}

pub(crate) fn add_service(mesh: &mut Mesh, service: &str, provider: Option<Provider>) {
    mesh.virtual_services.insert(service.parse().unwrap(), Arc::new(VirtualService { provider }));
}

pub(crate) fn backend(service: &str) -> Backend {
    Backend { virtual_service: service.parse().unwrap(), client_policy: None }
}

pub(crate) fn add_node(mesh: &mut Mesh, name: &str, node: VirtualNode) {
    mesh.virtual_nodes.insert(name.parse().unwrap(), Arc::new(node));
}

/// `service-a` calls `service-b.apps.local`; both of its nodes listen with `tls`.
pub(crate) fn walkthrough(tls: Option<&ListenerTls>) -> Mesh {
    let mut mesh = Mesh::default();
    for name in ["service-b-v1", "service-b-v2"] {
        add_node(&mut mesh, name, node(&[listener(8080, tls.cloned())], &format!("{name}.apps.local")));
    }
    add_routed(&mut mesh, "service-b.apps.local", &[8080], &[("canary-route", canary())]);
    let backends = vec![backend("service-b.apps.local")];
    add_node(
        &mut mesh,
        CLIENT,
        VirtualNode { backends, ..node(&[listener(9080, None)], "service-a.apps.local") },
    );
    mesh
}

pub(crate) fn workload(name: &str) -> Workload {
    Workload::virtual_node("my-mesh", name).unwrap()
}

/// What the proxy of a node is told.
pub(crate) fn snapshot_of(name: &str, mesh: &Mesh, in_force: &InForce) -> Snapshot {
    snapshot(workload(name), mesh, in_force)
}

/// What the proxy of the gateway [`GATEWAY`] is told.
pub(crate) fn gateway_snapshot(mesh: &Mesh) -> Snapshot {
    let gateway = Workload { kind: WorkloadKind::VirtualGateway, ..workload(GATEWAY) };
    snapshot(gateway, mesh, &InForce::default())
}

/// What the proxy of a node is told that traffic is redirected to.
pub(crate) fn redirected_snapshot(name: &str, mesh: &Mesh) -> Snapshot {
    let proxy = Proxy {
        workload: workload(name),
        interception: Interception::Redirected { ingress_port: 15000.try_into().unwrap() },
        ingress_address: "0.0.0.0".parse().unwrap(),
        egress_port: 15001.try_into().unwrap(),
    };
    snapshot_for(&proxy, mesh, &InForce::default())
}

/// A node by its spec, as the API takes it.
pub(crate) fn node_of(spec: serde_json::Value) -> VirtualNode {
    let document = Document::parse("mesh/my-mesh/virtualNode/a".parse().unwrap(), spec).unwrap();
    let Spec::VirtualNode(node) = document.spec() else { panic!("{document:?}") };
    (**node).clone()
}

fn snapshot(workload: Workload, mesh: &Mesh, in_force: &InForce) -> Snapshot {
    let proxy = Proxy {
        workload,
        interception: Interception::None,
        ingress_address: "127.0.0.11".parse().unwrap(),
        egress_port: 15001.try_into().unwrap(),
    };
    snapshot_for(&proxy, mesh, in_force)
}

fn snapshot_for(proxy: &Proxy, mesh: &Mesh, in_force: &InForce) -> Snapshot {
    let meshes = [("my-mesh".parse().unwrap(), Arc::new(mesh.clone()))].into();
    let model = Model { revision: 1, meshes, ..Model::default() };
    translate::snapshot(&model, proxy, in_force, &Instances::default(), &trust_domain())
}
