//! Manifests.

use std::collections::BTreeMap;

use serde_json::json;

use crate::{bundle, bundle_with, refused, settings, specs};

const COLOUR: &str = include_str!("../files/colour.yaml");

#[test]
fn manifests_come_to_what_the_controller_would_have_made() {
    let bundle = bundle(COLOUR);
    let found = json!(specs(&bundle));
    let route = json!({"priority": 1, "httpRoute": {
        "match": {"prefix": "/"},
        "action": {"weightedTargets": [
            {"virtualNode": "red_paint", "weight": 1}, {"virtualNode": "azure", "weight": 1},
        ]},
    }});
    let port = |port: u16| json!([{"portMapping": {"port": port, "protocol": "http"}}]);
    let service = |name: &str| json!({"virtualService": {"virtualServiceName": name}});
    let expected = json!({
        "mesh/colours": {"egressFilter": {"type": "ALLOW_ALL"}, "serviceDiscovery": {"ipPreference": "IPv4_ONLY"}},
        "mesh/grey-shades": {},
        "mesh/colours/virtualNode/azure": {
            "listeners": port(8080),
            "serviceDiscovery": {"dns": {"hostname": "blue.paint.svc.cluster.local"}},
            "backends": [],
        },
        "mesh/colours/virtualNode/red_paint": {
            "listeners": [{
                "portMapping": {"port": 8080, "protocol": "http"},
                "tls": {
                    "mode": "STRICT",
                    "certificate": {"acm": {"certificateArn": "arn:aws:acm:us-east-1:000000000000:certificate/red"}},
                },
            }],
            "serviceDiscovery": {"dns": {"hostname": "red.paint.svc.cluster.local"}},
            "backendDefaults": {"clientPolicy": {"tls": {"validation": {"trust": {"acm": {
                "certificateAuthorityArns": ["arn:aws:acm-pca:us-east-1:000000000000:certificate-authority/one"],
            }}}}}},
            "backends": [
                service("mixer.paint.svc.cluster.local"), service("foreign.local"), service("frame.other"),
            ],
        },
        "mesh/colours/virtualRouter/mixer_paint": {"listeners": port(8080)},
        "mesh/colours/virtualRouter/mixer_paint/route/half": route,
        "mesh/colours/virtualService/mixer.paint.svc.cluster.local": {
            "provider": {"virtualRouter": {"virtualRouterName": "mixer_paint"}},
        },
        "mesh/colours/virtualService/plain.paint": {"provider": {"virtualNode": {"virtualNodeName": "azure"}}},
        "mesh/colours/virtualGateway/door_paint": {"listeners": port(8088)},
        "mesh/colours/virtualGateway/door_paint/gatewayRoute/all_paint": {"httpRoute": {
            "match": {"prefix": "/"},
            "action": {"target": {"virtualService": {"virtualServiceName": "mixer.paint.svc.cluster.local"}}},
        }},
    });
    assert_eq!(found, expected);
    let plain = "mesh/colours/virtualService/plain.paint".parse().unwrap();
    assert_eq!(json!(bundle.resources[&plain].tags), json!({"team": "paint"}));
    let notes: Vec<String> = bundle.notes.iter().map(ToString::to_string).collect();
    assert!(notes.iter().any(|note| note.contains("Deployment (apps/v1) is left out")), "{notes:?}");
    assert!(notes.iter().any(|note| note.contains("VirtualNode red: podSelector is left out")), "{notes:?}");
}

fn object(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: appmesh.k8s.aws/v1beta2\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n---\n"
    )
}

#[test]
fn the_mesh_is_the_one_named_or_selected_or_the_only_one_or_that_of_the_flag() {
    let node = |spec: &str| object("VirtualNode", "n", spec);
    let (one, two) = (object("Mesh", "one", "{}"), object("Mesh", "two", "{awsName: zwei}"));
    let key = |text: &str, flag: Option<&str>| {
        let mut settings = settings();
        settings.mesh = flag.map(|mesh| mesh.parse().unwrap());
        let found = specs(&bundle_with(text, &settings));
        found.keys().find(|key| key.contains("virtualNode")).unwrap().clone()
    };
    assert_eq!(key(&format!("{one}{}", node("{}")), None), "mesh/one/virtualNode/n_default");
    assert_eq!(key(&node("{}"), Some("flagged")), "mesh/flagged/virtualNode/n_default");
    assert_eq!(
        key(&node("{meshRef: {name: elsewhere, uid: x}}"), None),
        "mesh/elsewhere/virtualNode/n_default"
    );
    let named = format!("{one}{two}{}", node("{meshRef: {name: two}}"));
    assert_eq!(key(&named, None), "mesh/zwei/virtualNode/n_default");
    let open = object("Mesh", "open", "{namespaceSelector: {}}");
    assert_eq!(key(&format!("{one}{open}{}", node("{}")), None), "mesh/open/virtualNode/n_default");
    let torn = format!("{one}{two}{}", node("{}"));
    let expected =
        "f:11: VirtualNode n could be in any of 2 meshes; say spec.meshRef.name, or give --mesh NAME";
    assert_eq!(refused(&torn, &settings()), expected);
    let expected =
        "f:1: VirtualNode n names no mesh and the input has none; say spec.meshRef.name, or give --mesh NAME";
    assert_eq!(refused(&node("{}"), &settings()), expected);
}

#[test]
fn a_gateway_route_belongs_to_the_gateway_that_is_named_or_selects_it_or_is_the_only_one() {
    let gateway = |name: &str, rule: &str| {
        object(
            "VirtualGateway",
            name,
            &format!("{{listeners: [{{portMapping: {{port: 1, protocol: http}}}}]{rule}}}"),
        )
    };
    let mesh = object("Mesh", "m", "{}");
    let route = |labels: &str, rule: &str| {
        let spec = format!(
            "{{httpRoute: {{match: {{prefix: /}}, action: {{target: {{virtualService: {{virtualServiceRef: {{name: s}}}}}}}}}}{rule}}}"
        );
        object("GatewayRoute", "r", &spec)
            .replace("metadata: {name: r}", &format!("metadata: {{name: r, labels: {{{labels}}}}}"))
    };
    let parent = |text: &str| {
        let found = specs(&bundle(text));
        let key = found.keys().find(|key| key.contains("gatewayRoute")).unwrap();
        key.split('/').nth(3).unwrap().to_owned()
    };
    let (a, b) = (gateway("a", ""), gateway("b", ""));
    assert_eq!(parent(&format!("{mesh}{a}{}", route("", ""))), "a_default");
    assert_eq!(parent(&format!("{mesh}{a}{b}{}", route("", ", virtualGatewayRef: {name: b}"))), "b_default");
    let (a, b) = (
        gateway("a", ", namespaceSelector: {}, gatewayRouteSelector: {matchLabels: {to: a}}"),
        gateway(
            "b",
            ", namespaceSelector: {}, gatewayRouteSelector: {matchExpressions: [{key: to, operator: NotIn, values: [a]}]}",
        ),
    );
    assert_eq!(parent(&format!("{mesh}{a}{b}{}", route("to: a", ""))), "a_default");
    assert_eq!(parent(&format!("{mesh}{a}{b}{}", route("to: c", ""))), "b_default");
    let faults = refused(&format!("{mesh}{}", route("", "")), &settings());
    assert!(
        faults.contains("GatewayRoute r names no gateway and the input has none in its mesh"),
        "{faults}"
    );
}

/// A router with one route, `x`, and this annotation.
fn tagged_routes(annotation: &str) -> String {
    let target = "{weightedTargets: [{virtualNodeRef: {name: a}, weight: 1}]}";
    let spec = format!("{{routes: [{{name: x, httpRoute: {{match: {{prefix: /}}, action: {target}}}}}]}}");
    let annotated = format!("{{name: r, annotations: {{signet/route-tags: '{annotation}'}}}}");
    object("VirtualRouter", "r", &spec).replace("{name: r}", &annotated)
}

fn many_tags(count: usize) -> String {
    let tags: BTreeMap<String, &str> = (0..count).map(|number| (format!("k{number}"), "v")).collect();
    json!(tags).to_string()
}

#[test]
fn what_yaml_1_1_takes_for_a_boolean_is_one_where_a_boolean_is_asked_for() {
    let policy = |enforce: &str| {
        let policy =
            format!("{{enforce: {enforce}, validation: {{trust: {{sds: {{secretName: ROOTCA}}}}}}}}");
        let node = format!("{{backendDefaults: {{clientPolicy: {{tls: {policy}}}}}}}");
        format!("{}{}", object("Mesh", "m", "{}"), object("VirtualNode", "n", &node))
    };
    for (said, meant) in [("yes", true), ("On", true), ("True", true), ("no", false), ("OFF", false)] {
        let found = specs(&bundle(&policy(said)));
        let tls = &found["mesh/m/virtualNode/n_default"]["backendDefaults"]["clientPolicy"]["tls"];
        assert_eq!(tls["enforce"], json!(meant), "{said}");
    }
    for text in ["'yes'", "y", "1"] {
        assert!(refused(&policy(text), &settings()).contains("enforce: must be a boolean"), "{text}");
    }
    let named = object("Mesh", "m", "{awsName: yes}");
    assert!(
        bundle(&named).resources.keys().any(|key| key.to_string() == "mesh/yes"),
        "elsewhere it is a text"
    );
}

#[test]
fn manifests_that_are_wrong_are_named_by_their_line() {
    let mesh = object("Mesh", "m", "{}");
    let router = "{listeners: [{portMapping: {port: 1, protocol: http}}], routes: [{name: x, httpRoute: {match: {prefix: a}, action: {weightedTargets: [{virtualNodeRef: {name: n}, weight: 1}]}}}]}";
    let rows = [
        (object("VirtualNod", "n", "{}"), "f:1: appmesh.k8s.aws/v1beta2 has no kind VirtualNod"),
        (
            object("Mesh", "m", "{}").replace("v1beta2", "v1beta1"),
            "f:1: appmesh.k8s.aws/v1beta1 is not known; it must be appmesh.k8s.aws/v1beta2",
        ),
        (
            format!("{mesh}{}", object("VirtualNode", "n", "{listenrs: []}")),
            "f:9: VirtualNode n: there is no member \"listenrs\"; known here are listeners, serviceDiscovery, backends, backendDefaults, logging",
        ),
        (
            format!(
                "{mesh}{}",
                object("VirtualNode", "n", "{backends: [{virtualService: {virtualServiceName: a}}]}")
            ),
            "f:9: VirtualNode n: there is no member \"virtualServiceName\"; known here are virtualServiceRef, virtualServiceARN, clientPolicy",
        ),
        (
            format!(
                "{mesh}{}",
                object("VirtualNode", "n", "{backends: [{virtualService: {virtualServiceARN: a}}]}")
            ),
            "f:9: VirtualNode n: \"a\" is no ARN of a VirtualService",
        ),
        (
            format!("{mesh}{}", object("VirtualNode", "n", "{backendGroups: [{name: g}]}")),
            "f:9: VirtualNode n: the input has no BackendGroup default/g",
        ),
        (
            format!("{mesh}{}", object("VirtualRouter", "r", router)),
            "f:9: VirtualRouter r: mesh/m/virtualRouter/r_default/route/x: spec.httpRoute.match.prefix: must start with '/'; it is \"a\"",
        ),
        (
            format!("{mesh}{mesh}"),
            "f:6: Mesh m is at f:1 already\nf:6: Mesh m: mesh/m is declared at f:1 already",
        ),
        ("apiVersion: appmesh.k8s.aws/v1beta2\nkind: Mesh\n".to_owned(), "f:1: metadata.name is required"),
        (
            format!(
                "{mesh}{}",
                object("VirtualService", "s", "{provider: {virtualNode: {virtualNodeRef: {nam: n}}}}")
            ),
            "f:9: VirtualService s: there is no member \"nam\"; known here are name, namespace, uid",
        ),
        (
            object("Mesh", "m", "{}").replace("{name: m}", "{name: m, annotations: {signet/tags: nonsense}}"),
            "f:3: Mesh m: the annotation signet/tags holds JSON such as {\"key\": \"value\"}",
        ),
        (
            object("Mesh", "m", "{}").replace(
                "{name: m}",
                &format!("{{name: m, annotations: {{signet/tags: '{}'}}}}", many_tags(51)),
            ),
            "f:3: Mesh m: a resource has at most 50 tags, not 51",
        ),
        (
            format!("{mesh}{}", tagged_routes(r#"{"x": {"": "v"}}"#)),
            "f:8: VirtualRouter r: a tag's key has 1 to 128 characters, not 0",
        ),
        (
            format!("{mesh}{}", tagged_routes(&format!(r#"{{"x": {}}}"#, many_tags(51)))),
            "f:8: VirtualRouter r: a resource has at most 50 tags, not 51",
        ),
        (
            format!("{mesh}{}", tagged_routes(r#"{"y": {"k": "v"}}"#)),
            "f:8: VirtualRouter r: the annotation signet/route-tags has tags for \"y\", which is none of the routes",
        ),
    ];
    for (text, expected) in rows {
        assert_eq!(refused(&text, &settings()), expected, "{text}");
    }
}
