use std::num::NonZeroU16;

use super::*;
use crate::model::Protocol;

on_every_back_end! {
    several_listeners_make_ports_required
    a_route_names_ports_that_its_targets_listen_on_and_keep
    several_listeners_of_a_gateway_make_match_ports_required
    several_listeners_of_a_provider_make_target_ports_required
    a_tcp_route_is_for_a_tcp_listener_and_no_other_is
}

const A: &str = "mesh/m/virtualNode/a";
const ROUTER: &str = "mesh/m/virtualRouter/r";
const ROUTE: &str = "mesh/m/virtualRouter/r/route/x";
const GATEWAY_ROUTE: &str = "mesh/m/virtualGateway/g/gatewayRoute/x";
const SERVICE: &str = "mesh/m/virtualService/s.local";

fn disagreement(at_key: &str, at: &str, what: Fault, with: &[&str]) -> Refusal {
    let with = with.iter().map(|with| key(with)).collect();
    Disagreement { key: key(at_key), at: at.to_owned(), what, with }.into()
}

fn port(port: u16) -> NonZeroU16 {
    port.try_into().unwrap()
}

async fn several_listeners_make_ports_required(store: AnyStore) {
    furnish(&store).await;
    let with_ports = |matched: u16, target: u16| {
        let mut route = route("a");
        route["httpRoute"]["match"]["port"] = matched.into();
        route["httpRoute"]["action"]["weightedTargets"][0]["port"] = target.into();
        route
    };
    let on_listeners = |of, what| disagreement(of, "spec.listeners", what, &[ROUTE]);
    let matched = |what| disagreement(ROUTE, "spec.httpRoute.match.port", what, &[ROUTER]);
    let blocked = refusal(&store, update(ROUTER, router(&[80, 81]))).await;
    assert_eq!(blocked, on_listeners(ROUTER, Fault::MatchNeedsPort));
    let blocked = refusal(&store, update(A, node(&[80, 81]))).await;
    assert_eq!(blocked, on_listeners(A, Fault::TargetNeedsPort));
    let nowhere = refusal(&store, update(ROUTE, with_ports(81, 80))).await;
    assert_eq!(nowhere, matched(Fault::NoSuchListener(port(81))));
    store.write(update(ROUTE, with_ports(80, 80))).await.unwrap();
    store.write(update(ROUTER, router(&[80, 81]))).await.unwrap();
    store.write(update(A, node(&[80, 81]))).await.unwrap();
    assert_eq!(refusal(&store, update(ROUTE, route("b"))).await, matched(Fault::MatchNeedsPort));
    let mut without_target_port = with_ports(80, 80);
    without_target_port["httpRoute"]["action"]["weightedTargets"][0]["port"].take();
    let open = refusal(&store, update(ROUTE, without_target_port)).await;
    let at = "spec.httpRoute.action.weightedTargets[0].port";
    assert_eq!(open, disagreement(ROUTE, at, Fault::TargetNeedsPort, &[A]));
    let gone = refusal(&store, update(ROUTER, router(&[81, 82]))).await;
    assert_eq!(gone, on_listeners(ROUTER, Fault::NoSuchListener(port(80))));
}

async fn a_route_names_ports_that_its_targets_listen_on_and_keep(store: AnyStore) {
    furnish(&store).await;
    let to_port = |port: u16| {
        let mut route = route("a");
        let other = json!({"virtualNode": "b", "weight": 1});
        let target = json!({"virtualNode": "a", "weight": 1, "port": port});
        route["httpRoute"]["action"]["weightedTargets"] = json!([other, target]);
        route
    };
    let missing = |at_key, number| {
        let at = "spec.httpRoute.action.weightedTargets[1].port";
        disagreement(at_key, at, Fault::NoSuchTargetPort(port(number)), &[A])
    };
    assert_eq!(refusal(&store, update(ROUTE, to_port(81))).await, missing(ROUTE, 81));
    let another = "mesh/m/virtualRouter/r/route/y";
    assert_eq!(refusal(&store, creation(another, to_port(82))).await, missing(another, 82));
    store.write(update(ROUTE, to_port(80))).await.unwrap();
    let gone = disagreement(A, "spec.listeners", Fault::NoSuchTargetPort(port(80)), &[ROUTE]);
    assert_eq!(refusal(&store, update(A, node(&[81]))).await, gone);
    store.write(update(A, node(&[80, 81]))).await.unwrap();
    store.write(update(ROUTE, to_port(81))).await.unwrap();
    store.write(update(A, node(&[81]))).await.unwrap();
}

fn gateway_route_at(matched: Option<u16>, target: Option<u16>) -> Value {
    let mut route = gateway_route("s.local");
    if let Some(port) = matched {
        route["httpRoute"]["match"]["port"] = port.into();
    }
    if let Some(port) = target {
        route["httpRoute"]["action"]["target"]["port"] = port.into();
    }
    route
}

async fn several_listeners_of_a_gateway_make_match_ports_required(store: AnyStore) {
    furnish(&store).await;
    store.write(creation(GATEWAY, gateway(&[80]))).await.unwrap();
    store.write(creation(GATEWAY_ROUTE, gateway_route_at(None, None))).await.unwrap();
    let on_listeners = |what| disagreement(GATEWAY, "spec.listeners", what, &[GATEWAY_ROUTE]);
    let matched = |what| disagreement(GATEWAY_ROUTE, "spec.httpRoute.match.port", what, &[GATEWAY]);
    let blocked = refusal(&store, update(GATEWAY, gateway(&[80, 81]))).await;
    assert_eq!(blocked, on_listeners(Fault::MatchNeedsPort));
    let nowhere = refusal(&store, update(GATEWAY_ROUTE, gateway_route_at(Some(81), None))).await;
    assert_eq!(nowhere, matched(Fault::NoSuchListener(port(81))));
    store.write(update(GATEWAY_ROUTE, gateway_route_at(Some(80), None))).await.unwrap();
    store.write(update(GATEWAY, gateway(&[80, 81]))).await.unwrap();
    let open = refusal(&store, update(GATEWAY_ROUTE, gateway_route_at(None, None))).await;
    assert_eq!(open, matched(Fault::MatchNeedsPort));
    let gone = refusal(&store, update(GATEWAY, gateway(&[81]))).await;
    assert_eq!(gone, on_listeners(Fault::NoSuchListener(port(80))));
}

async fn several_listeners_of_a_provider_make_target_ports_required(store: AnyStore) {
    furnish(&store).await;
    store.write(creation(GATEWAY, gateway(&[80]))).await.unwrap();
    store.write(creation(GATEWAY_ROUTE, gateway_route_at(None, None))).await.unwrap();
    store.write(deletion(ROUTE)).await.unwrap();
    let on_listeners = |of, what| disagreement(of, "spec.listeners", what, &[GATEWAY_ROUTE]);
    let target = |what, of| disagreement(GATEWAY_ROUTE, "spec.httpRoute.action.target.port", what, &[of]);
    // The router that provides the service.
    let blocked = refusal(&store, update(ROUTER, router(&[80, 81]))).await;
    assert_eq!(blocked, on_listeners(ROUTER, Fault::TargetNeedsPort));
    let nowhere = refusal(&store, update(GATEWAY_ROUTE, gateway_route_at(None, Some(81)))).await;
    assert_eq!(nowhere, target(Fault::NoSuchTargetPort(port(81)), ROUTER));
    store.write(update(GATEWAY_ROUTE, gateway_route_at(None, Some(80)))).await.unwrap();
    store.write(update(ROUTER, router(&[80, 81]))).await.unwrap();
    let open = refusal(&store, update(GATEWAY_ROUTE, gateway_route_at(None, None))).await;
    assert_eq!(open, target(Fault::TargetNeedsPort, ROUTER));
    let gone = refusal(&store, update(ROUTER, router(&[81]))).await;
    assert_eq!(gone, on_listeners(ROUTER, Fault::NoSuchTargetPort(port(80))));
    // Another provider: a node that does not listen there, then one that does.
    let by_node = json!({"provider": {"virtualNode": {"virtualNodeName": "a"}}});
    store.write(update(A, node(&[90]))).await.unwrap();
    let unfit = refusal(&store, update(SERVICE, by_node.clone())).await;
    let fault = Fault::NoSuchTargetPort(port(80));
    assert_eq!(unfit, disagreement(SERVICE, "spec.provider", fault, &[GATEWAY_ROUTE]));
    store.write(update(A, node(&[80, 90]))).await.unwrap();
    store.write(update(SERVICE, by_node)).await.unwrap();
    let gone = refusal(&store, update(A, node(&[90]))).await;
    assert_eq!(gone, on_listeners(A, Fault::NoSuchTargetPort(port(80))));
    // A service without provider has no ports to name.
    store.write(update(SERVICE, json!({}))).await.unwrap();
    store.write(update(GATEWAY_ROUTE, gateway_route_at(None, None))).await.unwrap();
    let provider = json!({"provider": {"virtualRouter": {"virtualRouterName": "r"}}});
    let unfit = refusal(&store, update(SERVICE, provider)).await;
    let fault = Fault::TargetNeedsPort;
    assert_eq!(unfit, disagreement(SERVICE, "spec.provider", fault, &[GATEWAY_ROUTE]));
}

async fn a_tcp_route_is_for_a_tcp_listener_and_no_other_is(store: AnyStore) {
    furnish(&store).await;
    let router_speaking =
        |protocol: &str| json!({"listeners": [{"portMapping": {"port": 80, "protocol": protocol}}]});
    let targets = json!({"weightedTargets": [{"virtualNode": "a", "weight": 1}]});
    let tcp = json!({"tcpRoute": {"action": targets}});
    let wrong =
        disagreement(ROUTE, "spec.tcpRoute.match.port", Fault::MatchedProtocol(Protocol::Http), &[ROUTER]);
    assert_eq!(refusal(&store, update(ROUTE, tcp.clone())).await, wrong);
    let fault = Fault::MatchedProtocol(Protocol::Tcp);
    let wrong = disagreement(ROUTER, "spec.listeners", fault, &[ROUTE]);
    assert_eq!(refusal(&store, update(ROUTER, router_speaking("tcp"))).await, wrong);
    // What all speaks HTTP has a meaning, and so has any node under any router.
    store.write(update(ROUTER, router_speaking("grpc"))).await.unwrap();
    store.write(deletion(ROUTE)).await.unwrap();
    store.write(update(ROUTER, router_speaking("tcp"))).await.unwrap();
    store.write(creation(ROUTE, tcp)).await.unwrap();
    let wrong = disagreement(ROUTE, "spec.httpRoute.match.port", fault, &[ROUTER]);
    assert_eq!(refusal(&store, update(ROUTE, route("a"))).await, wrong);
}
