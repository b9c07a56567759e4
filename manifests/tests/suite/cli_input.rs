//! Input of the AWS CLI.

use serde_json::json;

use crate::{bundle, bundle_with, refused, settings, specs};

#[test]
fn the_kind_is_told_by_the_members() {
    let text = r#"[
        {"meshName": "m", "clientToken": "t"},
        {"meshName": "m", "virtualNodeName": "n", "spec": {}},
        {"meshName": "m", "virtualRouterName": "r", "spec": {"listeners": [{"portMapping": {"port": 1, "protocol": "http"}}]}},
        {"meshName": "m", "virtualRouterName": "r", "routeName": "x", "spec":
            {"httpRoute": {"match": {"prefix": "/"}, "action": {"weightedTargets": [{"virtualNode": "n", "weight": 1}]}}}},
        {"meshName": "m", "virtualServiceName": "s.local", "spec": {}}
    ]"#;
    let keys: Vec<String> = specs(&bundle(text)).into_keys().collect();
    let expected = [
        "mesh/m",
        "mesh/m/virtualNode/n",
        "mesh/m/virtualRouter/r",
        "mesh/m/virtualRouter/r/route/x",
        "mesh/m/virtualService/s.local",
    ];
    assert_eq!(keys, expected);
}

#[test]
fn what_a_description_printed_can_be_applied() {
    let printed = r#"{"virtualNode": {
        "meshName": "m", "metadata": {"arn": "a", "version": 3}, "spec": {"backends": []},
        "status": {"status": "ACTIVE"}, "virtualNodeName": "n"
    }}"#;
    assert_eq!(json!(specs(&bundle(printed))), json!({"mesh/m/virtualNode/n": {"backends": []}}));
}

#[test]
fn a_mesh_that_a_flag_names_is_taken_where_the_file_names_none() {
    let mut named = settings();
    named.mesh = Some("m".parse().unwrap());
    let found = specs(&bundle_with("virtualNodeName: n\nspec: {}\n", &named));
    assert!(found.contains_key("mesh/m/virtualNode/n"));
}

#[test]
fn inputs_that_are_wrong_are_named_by_their_line() {
    let rows = [
        ("virtualNodeName: n\nspec: {}\n", "f:1: meshName is required; or give it with --mesh NAME"),
        ("meshName: m\nvirtualNodeName: n\n", "f:1: spec is required"),
        ("meshName: m\nrouteName: n\nspec: {}\n", "f:1: virtualRouterName is required"),
        (
            "meshName: m\nspecs: {}\n",
            "f:2: there is no member \"specs\"; known here are meshName, meshOwner, spec, tags",
        ),
        (
            "meshName: m\nvirtualNodeName: n\nspec:\n  listeners:\n  - portMapping:\n      port: \"80\"\n      protocol: http\n",
            "f:6: mesh/m/virtualNode/n: spec.listeners[0].portMapping.port: must be a whole number, not a string",
        ),
        (
            "meshName: m\nvirtualNodeName: n\nspec:\n  serviceDiscovery:\n    dns:\n      hostname: 10\n",
            "f:6: mesh/m/virtualNode/n: spec.serviceDiscovery.dns.hostname: must be a string, not a number",
        ),
        (
            "meshName: m\nvirtualNodeName: n\nspec:\n  backends: !Sub x\n",
            "f:4: the tag !Sub has no meaning here",
        ),
        ("meshName: m\n---\nmeshName: m\n", "f:3: mesh/m is declared at f:1 already"),
        ("meshName: m\ntags: [{key: '', value: x}]\n", "f:2: a tag's key has 1 to 128 characters, not 0"),
    ];
    for (text, expected) in rows {
        assert_eq!(refused(text, &settings()), expected, "{text}");
    }
}
