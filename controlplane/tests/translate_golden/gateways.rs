//! Virtual gateways: their ports, their routes, and the services behind them.

use std::{sync::Arc, time::Duration};

use signet_controlplane::model::{
    GatewayRoute, GatewayRule, GrpcMatch, HostnameMatch, HttpMatch, Listener, Mesh, Method, PathMatch,
    PathRewrite, PortMapping, Protocol, Provider, Route, Timeout, VirtualGateway,
};
use signet_policies::mtls::Mode;
use signet_xds::ResourceType;

use super::{check, check_kinds, fixture::*};

fn to(service: &str, rule: GatewayRule) -> GatewayRoute {
    GatewayRoute {
        priority: None,
        port: None,
        hostname: None,
        rule,
        virtual_service: service.parse().unwrap(),
        target_port: None,
        rewrites_hostname: true,
    }
}

fn http(path: PathMatch, rewrite: PathRewrite) -> GatewayRule {
    GatewayRule::Http(HttpMatch::new(path), rewrite)
}

fn prefix(prefix: &str) -> GatewayRule {
    http(PathMatch::Prefix(prefix.into()), PathRewrite::DefaultPrefix)
}

fn exact(name: &str) -> Option<HostnameMatch> {
    Some(HostnameMatch::Exact(name.into()))
}

fn on(port: u16, protocol: Protocol) -> Listener {
    Listener::new(PortMapping { port: port.try_into().unwrap(), protocol })
}

/// The walkthrough's mesh with a gateway before it.
fn with_gateway(listeners: Vec<Listener>, routes: &[(&str, GatewayRoute)]) -> Mesh {
    let mut mesh = walkthrough(None);
    add_gateway(&mut mesh, listeners, routes);
    mesh
}

fn add_gateway(mesh: &mut Mesh, listeners: Vec<Listener>, routes: &[(&str, GatewayRoute)]) {
    let routes = routes.iter().map(|(name, route)| (name.parse().unwrap(), Arc::new(route.clone())));
    let gateway = VirtualGateway { listeners, routes: routes.collect(), ..VirtualGateway::default() };
    mesh.virtual_gateways.insert(GATEWAY.parse().unwrap(), gateway.into());
}

fn check_routes(case: &str, mesh: &Mesh) {
    check_kinds(case, &gateway_snapshot(mesh), &[ResourceType::Route]);
}

const B: &str = "service-b.apps.local";

#[test]
fn a_gateway_with_a_route_to_a_service() {
    let mesh = with_gateway(vec![on(8088, Protocol::Http)], &[("b", to(B, prefix("/b")))]);
    check("gateway", &gateway_snapshot(&mesh));
}

#[test]
fn a_gateway_with_several_ports_of_which_one_speaks_tls() {
    let secure = Listener { tls: tls(Mode::Strict, None), ..on(8443, Protocol::Grpc) };
    let grpc = |service: &str| {
        GatewayRule::Grpc(GrpcMatch { service_name: Some(service.into()), ..GrpcMatch::default() })
    };
    let routes = [
        ("http", GatewayRoute { port: 8088.try_into().ok(), ..to(B, prefix("/")) }),
        ("grpc", GatewayRoute { port: 8443.try_into().ok(), ..to(B, grpc("pkg.Shop")) }),
    ];
    let mesh = with_gateway(vec![on(8088, Protocol::Http), secure], &routes);
    check("gateway_ports", &gateway_snapshot(&mesh));
}

#[test]
fn every_rewrite_of_a_path() {
    let path = |path: &str| PathMatch::Exact(path.into());
    let regex = || PathMatch::Regex("/re/.*".into());
    let start = |prefix: &str| PathMatch::Prefix(prefix.into());
    let value = |value: &str| PathRewrite::Prefix(value.into());
    let whole = |path: &str| PathRewrite::Exact(path.into());
    let mut conditions = HttpMatch::new(start("/conditions"));
    conditions.method = Some(Method::Get);
    let routes = [
        ("a-default", prefix("/default")),
        ("b-folder", prefix("/folder/")),
        ("c-kept", http(start("/kept/"), PathRewrite::Keep)),
        ("d-value", http(start("/value/"), value("/new/"))),
        ("e-value-pair", http(start("/pair"), value("/new/"))),
        ("f-exact", http(path("/exact"), whole("/one"))),
        ("g-exact-kept", http(path("/exact/kept"), PathRewrite::Keep)),
        ("h-regex", http(regex(), whole(r"/back\1slash"))),
        ("i-prefix-whole", http(start("/whole"), whole("/one"))),
        ("j-root", prefix("/")),
        ("k-both-routes-ask-the-same", GatewayRule::Http2(conditions, PathRewrite::DefaultPrefix)),
    ];
    let routes = routes.map(|(name, rule)| (name, to(B, rule)));
    check_routes("gateway_rewrites", &with_gateway(vec![on(80, Protocol::Http)], &routes));
}

#[test]
fn host_names_are_tables_of_their_own() {
    let suffix = |suffix: &str| Some(HostnameMatch::Suffix(suffix.into()));
    let routes = [
        ("a-any", to(B, prefix("/any"))),
        ("b-exact", GatewayRoute { hostname: exact("www.Example.com"), ..to(B, prefix("/b")) }),
        ("c-same", GatewayRoute { hostname: exact("www.example.com"), ..to(B, prefix("/c/longer")) }),
        ("d-suffix", GatewayRoute { hostname: suffix(".example.com"), ..to(B, prefix("/")) }),
        ("e-no-host", GatewayRoute { hostname: exact("*"), ..to(B, prefix("/")) }),
        ("f-first", GatewayRoute { priority: Some(0), ..to(B, prefix("/first")) }),
    ];
    check_routes("gateway_hosts", &with_gateway(vec![on(80, Protocol::Http)], &routes));
}

/// A service that is called by the Host of the request and one that is not; the latter has two ports.
#[test]
fn requests_that_keep_their_host_go_by_a_header() {
    let mut mesh = walkthrough(None);
    let two = [listener(8080, None), listener(9090, None)];
    add_node(&mut mesh, "two", node(&two, "two.apps.local"));
    add_service(&mut mesh, "two.svc", Some(Provider::VirtualNode("two".parse().unwrap())));
    add_service(&mut mesh, "nobody.svc", None);
    let kept = |route| GatewayRoute { rewrites_hostname: false, ..route };
    let target = |port: u16, route| GatewayRoute { target_port: port.try_into().ok(), ..route };
    let routes = [
        ("a-first", kept(target(8080, to("two.svc", prefix("/first"))))),
        ("b-second", kept(target(9090, to("two.svc", prefix("/second"))))),
        ("c-second-too", kept(target(9090, to("two.svc", prefix("/again"))))),
        ("d-rewritten", target(9090, to("two.svc", prefix("/rewritten")))),
        ("e-no-port", kept(target(1, to("two.svc", prefix("/gone"))))),
        ("f-no-provider", kept(to("nobody.svc", prefix("/nobody")))),
        ("g-no-service", to("gone.svc", prefix("/none"))),
        ("h-by-host", to(B, prefix("/"))),
    ];
    add_gateway(&mut mesh, vec![on(80, Protocol::Http)], &routes);
    check_routes("gateway_keeps_host", &mesh);
}

#[test]
fn a_gateway_bears_the_longest_of_its_targets_timeouts() {
    let mut mesh = walkthrough(None);
    let bounded = |per_request: Option<u64>, idle: Option<u64>| Route {
        timeout: Timeout {
            per_request: per_request.map(Duration::from_secs),
            idle: idle.map(Duration::from_secs),
        },
        ..route("/", &[target("service-b-v1", 1, None)])
    };
    let cases = [
        ("none", vec![]),
        ("unset", vec![("a", bounded(None, None))]),
        ("shorter", vec![("a", bounded(Some(1), Some(2)))]),
        (
            "longest",
            vec![
                ("a", bounded(Some(60), Some(600))),
                ("b", bounded(None, None)),
                ("c", bounded(Some(1), None)),
            ],
        ),
        ("endless", vec![("a", bounded(Some(60), Some(0))), ("b", bounded(Some(0), Some(600)))]),
    ];
    let mut routes = Vec::new();
    for (name, of_router) in &cases {
        let service = format!("{name}.svc");
        add_routed(&mut mesh, &service, &[8080], of_router);
        routes.push((*name, to(&service, prefix(&format!("/{name}/")))));
    }
    add_gateway(&mut mesh, vec![on(80, Protocol::Http)], &routes);
    check_routes("gateway_timeouts", &mesh);
}

/// Of a service with two ports the gateway knows the one of HTTP; to the other it opens no way in.
#[test]
fn a_gateway_has_nothing_to_do_with_tcp() {
    let mut mesh = walkthrough(None);
    let tcp = PortMapping { port: 3306.try_into().unwrap(), protocol: Protocol::Tcp };
    let listeners = [Listener::new(tcp), listener(8080, None)];
    add_node(&mut mesh, "both", node(&listeners, "both.apps.local"));
    add_service(&mut mesh, "both.svc", Some(Provider::VirtualNode("both".parse().unwrap())));
    add_gateway(&mut mesh, vec![on(80, Protocol::Http)], &[("r", to("both.svc", prefix("/")))]);
    let snapshot = gateway_snapshot(&mesh);
    assert_eq!(snapshot.resources(ResourceType::Listener).count(), 2);
    let names: Vec<&str> = snapshot.resources(ResourceType::Cluster).map(|cluster| cluster.name()).collect();
    assert_eq!(
        names,
        ["cds_egress_my-mesh_both_http_8080", "cds_ingress_my-mesh_gateway_self_redirect_http_15001"]
    );
}
