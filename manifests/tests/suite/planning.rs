//! Plans: what differs, and in which order it can be put right.

use futures::executor::block_on;
use signet_manifests::plan::Action;

use crate::{bundle, server::Server};

/// A router with ports and a route; the route has a port where `matched` says so.
fn router(ports: &[u16], matched: Option<u16>) -> String {
    let listeners: Vec<String> =
        ports.iter().map(|port| format!("{{portMapping: {{port: {port}, protocol: http}}}}")).collect();
    let port = matched.map_or(String::new(), |port| format!(", port: {port}"));
    format!(
        "- {{meshName: m, spec: {{}}}}\n\
         - {{meshName: m, virtualNodeName: n, spec: {{}}}}\n\
         - {{meshName: m, virtualRouterName: r, spec: {{listeners: [{}]}}}}\n\
         - {{meshName: m, virtualRouterName: r, routeName: x, spec: {{httpRoute: {{match: {{prefix: /{port}}}, \
           action: {{weightedTargets: [{{virtualNode: n, weight: 1}}]}}}}}}}}\n",
        listeners.join(", ")
    )
}

const ROUTER: &str = "mesh/m/virtualRouter/r";
const ROUTE: &str = "mesh/m/virtualRouter/r/route/x";

#[test]
fn a_routers_ports_change_however_its_routes_match_them() {
    let rows: &[(&str, &str, &[String])] = &[
        // What changes alone.
        (&router(&[80], None), &router(&[90], None), &[format!("update {ROUTER}")]),
        // The route learns its port first.
        (
            &router(&[80], None),
            &router(&[80, 90], Some(80)),
            &[format!("update {ROUTE}"), format!("update {ROUTER}")],
        ),
        // Each waits for the other, so both ports are open for a while.
        (
            &router(&[80], Some(80)),
            &router(&[90], Some(90)),
            &[format!("update {ROUTER}"), format!("update {ROUTE}"), format!("update {ROUTER}")],
        ),
        // One port stays all the time.
        (
            &router(&[80, 90], Some(90)),
            &router(&[80, 91], Some(91)),
            &[format!("update {ROUTER}"), format!("update {ROUTE}"), format!("update {ROUTER}")],
        ),
        // Neither can go first, so the route goes and comes back.
        (
            &router(&[80], None),
            &router(&[80, 90], Some(90)),
            &[format!("delete {ROUTE}"), format!("update {ROUTER}"), format!("create {ROUTE}")],
        ),
        (
            &router(&[80, 90], Some(90)),
            &router(&[80], None),
            &[format!("delete {ROUTE}"), format!("update {ROUTER}"), format!("create {ROUTE}")],
        ),
    ];
    for (before, after, expected) in rows {
        let server = Server::default();
        block_on(server.apply(&bundle(before), false)).unwrap();
        let written =
            block_on(server.apply(&bundle(after), false)).unwrap_or_else(|stopped| panic!("{stopped}"));
        assert_eq!(written, *expected, "{before}\n{after}");
        let again = block_on(server.plan(&bundle(after), true)).unwrap();
        assert!(again.steps.is_empty(), "{:?}", again.steps);
    }
}

#[test]
fn a_route_that_goes_and_comes_back_keeps_its_tags() {
    let server = Server::default();
    let tagged = router(&[80], None).replace("routeName: x,", "routeName: x, tags: [{key: a, value: b}],");
    block_on(server.apply(&bundle(&tagged), false)).unwrap();
    block_on(server.apply(&bundle(&router(&[80, 90], Some(90))), false)).unwrap();
    // What the input says nothing about is as it was, so the tagged input has no tags to set.
    let same =
        router(&[80, 90], Some(90)).replace("routeName: x,", "routeName: x, tags: [{key: a, value: b}],");
    assert!(block_on(server.plan(&bundle(&same), false)).unwrap().steps.is_empty());
}

#[test]
fn what_the_input_does_not_hold_goes_only_when_asked_and_only_from_declared_meshes() {
    let server = Server::default();
    let both =
        format!("{}{}", router(&[80], None), router(&[80], None).replace("meshName: m", "meshName: o"));
    block_on(server.apply(&bundle(&both), false)).unwrap();
    let only_mesh = bundle("- {meshName: m, spec: {}}\n- {meshName: o, virtualNodeName: new, spec: {}}\n");
    let kept = block_on(server.plan(&only_mesh, false)).unwrap();
    assert_eq!(kept.deletions(), 0);
    let written = block_on(server.apply(&only_mesh, true)).unwrap();
    let expected = [
        "create mesh/o/virtualNode/new".to_owned(),
        format!("delete {ROUTE}"),
        format!("delete {ROUTER}"),
        "delete mesh/m/virtualNode/n".to_owned(),
    ];
    assert_eq!(written, expected);
}

#[test]
fn a_reference_to_nothing_is_found_before_anything_is_sent() {
    let server = Server::default();
    let dangling = router(&[80], None).replace("virtualNode: n,", "virtualNode: absent,");
    let faults = block_on(server.plan(&bundle(&dangling), false)).unwrap_err();
    let expected = "file:4: cannot create mesh/m/virtualRouter/r/route/x: mesh/m/virtualNode/absent, which the \
                    spec refers to, does not exist";
    assert_eq!(faults.to_string(), expected);
    let homeless = "- {meshName: nowhere, virtualNodeName: n, spec: {}}";
    let faults = block_on(server.plan(&bundle(homeless), false)).unwrap_err();
    assert_eq!(
        faults.to_string(),
        "file:1: cannot create mesh/nowhere/virtualNode/n: mesh/nowhere does not exist"
    );
}

#[test]
fn pruning_what_the_input_refers_to_is_refused() {
    let server = Server::default();
    block_on(server.apply(&bundle(&router(&[80], None)), false)).unwrap();
    let without_node = router(&[80], None).replace("- {meshName: m, virtualNodeName: n, spec: {}}\n", "");
    let faults = block_on(server.plan(&bundle(&without_node), true)).unwrap_err();
    assert!(faults.to_string().starts_with("file:1: cannot delete mesh/m/virtualNode/n: "), "{faults}");
}

#[test]
fn what_the_server_adds_and_the_order_of_members_are_no_difference() {
    let server = Server::default();
    let node = "- {meshName: m}\n- meshName: m\n  virtualNodeName: n\n  spec:\n    listeners:\n    - portMapping: {port: 80, protocol: http}\n      healthCheck: {protocol: http, path: /, healthyThreshold: 2, unhealthyThreshold: 2, timeoutMillis: 2000, intervalMillis: 5000}\n    serviceDiscovery: {dns: {hostname: h}}\n";
    block_on(server.apply(&bundle(node), false)).unwrap();
    let described = block_on(server.spec("mesh/m/virtualNode/n"));
    assert_eq!(described["backends"], serde_json::json!([]), "{described}");
    let shuffled = "- {meshName: m}\n- meshName: m\n  virtualNodeName: n\n  spec:\n    logging: null\n    serviceDiscovery: {dns: {hostname: h}}\n    backends: []\n    listeners:\n    - healthCheck: {port: 80, protocol: http, path: /, healthyThreshold: 2, unhealthyThreshold: 2, timeoutMillis: 2000, intervalMillis: 5000}\n      portMapping: {protocol: http, port: 80}\n";
    for same in [node, shuffled] {
        let plan = block_on(server.plan(&bundle(same), true)).unwrap();
        assert!(plan.steps.is_empty() && plan.unchanged == 2, "{:?}", plan.steps);
    }
}

#[test]
fn every_difference_is_named_by_its_path() {
    let server = Server::default();
    block_on(server.apply(&bundle(&router(&[80], None)), false)).unwrap();
    let plan = block_on(server.plan(&bundle(&router(&[90], None)), false)).unwrap();
    let [step] = plan.steps.as_slice() else { panic!("{:?}", plan.steps) };
    assert_eq!(step.action, Action::Update);
    let [difference] = step.differences.as_slice() else { panic!("{:?}", step.differences) };
    assert_eq!(difference.path, "spec.listeners[0].portMapping.port");
    assert_eq!((&difference.before, &difference.after), (&Some(80.into()), &Some(90.into())));
}
