//! Routes: which requests they take, in which order, where to, and how.

use std::time::Duration;

use signet_controlplane::model::{
    GrpcMatch, GrpcRetryEvent, HeaderMatch, HttpMatch, HttpRetryEvent, Mesh, Method, PathMatch, PortMapping,
    Protocol, QueryMatch, RetryPolicy, Route, RouteRule, Scheme, Timeout, ValueMatch, VirtualNode,
    VirtualRouter,
};
use signet_xds::ResourceType;

use super::{check_kinds, client, fixture::*};

/// Compares the client's route tables with the golden of this name.
fn check(case: &str, mesh: &Mesh) {
    check_kinds(case, &client(mesh), &[ResourceType::Route]);
}

fn mapping(port: u16, protocol: Protocol) -> PortMapping {
    PortMapping { protocol, ..http(port) }
}

fn to_v1(rule: RouteRule) -> Route {
    Route::new(rule, vec![target("service-b-v1", 1, None)])
}

fn on(path: PathMatch) -> HttpMatch {
    HttpMatch::new(path)
}

fn prefix(prefix: &str) -> HttpMatch {
    on(PathMatch::Prefix(prefix.into()))
}

fn header(name: &str, value: ValueMatch, invert: bool) -> HeaderMatch {
    HeaderMatch { name: name.into(), value, invert }
}

/// Every way to look at a value, and one of them the other way round.
fn headers() -> Vec<HeaderMatch> {
    vec![
        header("x-present", ValueMatch::Present, false),
        header("x-absent", ValueMatch::Present, true),
        header("x-exact", ValueMatch::Exact("a".into()), false),
        header("x-not", ValueMatch::Exact("a".into()), true),
        header("x-prefix", ValueMatch::Prefix("b".into()), false),
        header("x-suffix", ValueMatch::Suffix("c".into()), false),
        header("x-regex", ValueMatch::Regex("d+".into()), false),
        header("x-range", ValueMatch::Range { start: -1, end: 10 }, false),
    ]
}

#[test]
fn every_kind_of_match() {
    let everything = HttpMatch {
        path: PathMatch::Prefix("/all".into()),
        method: Some(Method::Post),
        scheme: Some(Scheme::Https),
        headers: headers(),
        query_parameters: vec![
            QueryMatch { name: "p".into(), exact: None },
            QueryMatch { name: "q".into(), exact: Some("v".into()) },
        ],
    };
    let grpc = |service: Option<&str>, method: Option<&str>, metadata| {
        to_v1(RouteRule::Grpc(GrpcMatch {
            service_name: service.map(Into::into),
            method_name: method.map(Into::into),
            metadata,
        }))
    };
    let routes = [
        ("all", to_v1(RouteRule::Http2(everything))),
        ("exact", to_v1(RouteRule::Http(on(PathMatch::Exact("/exact".into()))))),
        ("regex", to_v1(RouteRule::Http(on(PathMatch::Regex("/re/[0-9]+".into()))))),
        ("method", grpc(Some("pkg.Shop"), Some("Buy"), Vec::new())),
        ("service", grpc(Some("pkg.Shop"), None, Vec::new())),
        ("metadata", grpc(None, None, headers())),
    ];
    let mut mesh = walkthrough(None);
    add_routed(&mut mesh, "service-b.apps.local", &[8080], &routes);
    check("client_matchers", &mesh);
}

#[test]
fn narrower_routes_are_tried_before_wider_ones() {
    let mut with_method = prefix("/p");
    with_method.method = Some(Method::Get);
    let first = Route { priority: Some(0), ..to_v1(RouteRule::Http(prefix("/"))) };
    let routes = [
        ("a-wide", to_v1(RouteRule::Http(prefix("/p")))),
        ("b-method", to_v1(RouteRule::Http(with_method))),
        ("c-longer", to_v1(RouteRule::Http(prefix("/pq")))),
        ("d-regex", to_v1(RouteRule::Http(on(PathMatch::Regex("/p.*".into()))))),
        ("e-exact", to_v1(RouteRule::Http(on(PathMatch::Exact("/p".into()))))),
        ("f-first", first),
        ("g-same", to_v1(RouteRule::Http(prefix("/p")))),
    ];
    let mut mesh = walkthrough(None);
    add_routed(&mut mesh, "service-b.apps.local", &[8080], &routes);
    check("client_route_ranks", &mesh);
}

#[test]
fn timeouts_and_retries_of_each_kind_of_route() {
    let bounded = |per_request: Option<u64>, idle: Option<u64>| Timeout {
        per_request: per_request.map(Duration::from_secs),
        idle: idle.map(Duration::from_secs),
    };
    let retry = RetryPolicy {
        max_retries: 4,
        per_retry_timeout: Duration::ZERO,
        http_events: vec![HttpRetryEvent::StreamError],
        grpc_events: vec![GrpcRetryEvent::Unavailable, GrpcRetryEvent::Cancelled],
        on_connection_error: false,
    };
    let all = RetryPolicy {
        per_retry_timeout: Duration::from_secs(2),
        http_events: Vec::new(),
        grpc_events: vec![
            GrpcRetryEvent::ResourceExhausted,
            GrpcRetryEvent::Internal,
            GrpcRetryEvent::DeadlineExceeded,
            GrpcRetryEvent::Unavailable,
            GrpcRetryEvent::Cancelled,
        ],
        ..retry.clone()
    };
    let grpc =
        |name: &str| RouteRule::Grpc(GrpcMatch { service_name: Some(name.into()), ..GrpcMatch::default() });
    let routes = [
        ("set", Route { timeout: bounded(Some(60), Some(30)), ..to_v1(RouteRule::Http2(prefix("/set"))) }),
        ("none", Route { timeout: bounded(Some(0), Some(0)), ..to_v1(RouteRule::Http(prefix("/none"))) }),
        ("two", Route { retry: Some(retry), ..to_v1(grpc("two")) }),
        ("all", Route { retry: Some(all), ..to_v1(grpc("all")) }),
    ];
    let mut mesh = walkthrough(None);
    add_routed(&mut mesh, "service-b.apps.local", &[8080], &routes);
    check("client_route_bounds", &mesh);
}

/// TCP ports have one route, whatever else is asked for; HTTP ports have no TCP routes.
#[test]
fn routes_are_kept_on_ports_that_can_carry_them() {
    let mut mesh = walkthrough(None);
    let listeners = vec![mapping(8080, Protocol::Http2), mapping(3306, Protocol::Tcp)];
    let on = |port: u16, priority: Option<u16>, rule| Route {
        port: Some(port.try_into().unwrap()),
        priority,
        ..to_v1(rule)
    };
    let routes = [
        ("a-late", on(3306, None, RouteRule::Tcp)),
        ("b-first", on(3306, Some(1), RouteRule::Tcp)),
        ("c-http-on-tcp", on(3306, Some(0), RouteRule::Http(prefix("/c")))),
        ("d-tcp-on-http", on(8080, Some(0), RouteRule::Tcp)),
        ("e-http", on(8080, None, RouteRule::Http(prefix("/e")))),
    ];
    let router = VirtualRouter { listeners, ..router(&[], &routes) };
    mesh.virtual_routers.insert("service-b-apps-local-router".parse().unwrap(), router.into());
    let backends = vec![backend("service-b.apps.local")];
    add_node(&mut mesh, CLIENT, VirtualNode { backends, ..VirtualNode::default() });
    check("client_route_kinds", &mesh);
}
