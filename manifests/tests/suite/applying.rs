//! Plans carried out, and what comes between.

use futures::executor::block_on;
use serde_json::json;
use signet_manifests::{Api as _, State, apply::Cause, export, plan::meshes};

use crate::{bundle, bundle_with, server::Server, settings};

const MESH: &str = "- {meshName: m}\n- {meshName: m, virtualNodeName: a, spec: {}}\n- {meshName: m, virtualNodeName: b, spec: {}}\n";

#[test]
fn every_field_is_applied_once_and_exported_as_it_was() {
    let server = Server::default();
    let wanted = bundle(include_str!("../files/every-field.yaml"));
    let written = block_on(server.apply(&wanted, true)).unwrap();
    assert_eq!(written.len(), wanted.resources.len());
    assert!(block_on(server.apply(&wanted, true)).unwrap().is_empty());
    for form in [export::Form::CloudFormation, export::Form::Kubernetes, export::Form::CliInput] {
        let exported = |server: &Server| {
            let state = block_on(State::read(server, &meshes(&wanted), |_| true)).unwrap();
            export::text(&state.into_bundle(), form, export::Syntax::Yaml, &settings(), "default").unwrap()
        };
        let first = exported(&server);
        let other = Server::default();
        block_on(other.apply(&bundle(&first), true)).unwrap();
        assert_eq!(exported(&other), first, "{form:?}");
        assert!(block_on(other.apply(&wanted, true)).unwrap().is_empty(), "{form:?}");
    }
}

#[test]
fn tags_are_set_and_taken_away_and_left_alone_where_nothing_is_said() {
    let server = Server::default();
    let tagged = |tags: &str| bundle(&format!("- {{meshName: m, spec: {{}}{tags}}}"));
    let arn = "arn:aws:appmesh:us-east-1:000000000000:mesh/m";
    let tags = || json!(block_on(server.tags(arn)).unwrap());
    block_on(server.apply(&tagged(", tags: [{key: a, value: '1'}, {key: b, value: '2'}]"), false)).unwrap();
    assert_eq!(tags(), json!({"a": "1", "b": "2"}));
    let written =
        block_on(server.apply(&tagged(", tags: [{key: b, value: '3'}, {key: c, value: ''}]"), false))
            .unwrap();
    assert_eq!(written, ["untag mesh/m", "tag mesh/m"]);
    assert_eq!(tags(), json!({"b": "3", "c": ""}));
    assert!(block_on(server.apply(&tagged(""), false)).unwrap().is_empty());
    assert_eq!(block_on(server.apply(&tagged(", tags: []"), false)).unwrap(), ["untag mesh/m"]);
    assert_eq!(tags(), json!({}));
}

#[test]
fn a_change_of_somebody_else_is_seen_and_not_overwritten() {
    let listening = |port: u16| {
        format!(
            "- {{meshName: m}}\n- {{meshName: m, virtualRouterName: r, spec: {{listeners: [{{portMapping: {{port: {port}, protocol: http}}}}]}}}}"
        )
    };
    let server = Server::default();
    block_on(server.apply(&bundle(&listening(80)), false)).unwrap();
    let ours = block_on(server.plan(&bundle(&listening(81)), false)).unwrap();
    block_on(server.apply(&bundle(&listening(82)), false)).unwrap();
    let stopped = block_on(server.carry_out(&ours)).unwrap_err();
    assert!(matches!(stopped.cause, Cause::Changed { expected: 1, found: 2 }), "{stopped}");
    let expected = "cannot update mesh/m/virtualRouter/r (file:2): somebody else changed it since it was read (it is \
                    at version 2 now, not 1)\n0 of 1 changes were made and 1 were not";
    assert!(stopped.to_string().starts_with(expected), "{stopped}");
    assert_eq!(block_on(server.spec("mesh/m/virtualRouter/r"))["listeners"][0]["portMapping"]["port"], 82);

    let ours = block_on(server.plan(&bundle(&listening(81)), false)).unwrap();
    block_on(server.apply(&bundle("- {meshName: m}"), true)).unwrap();
    assert!(matches!(block_on(server.carry_out(&ours)).unwrap_err().cause, Cause::Gone));
    block_on(server.apply(&bundle(&listening(80)), false)).unwrap();
    assert!(
        matches!(block_on(server.carry_out(&ours)).unwrap_err().cause, Cause::Gone),
        "another life of the name"
    );
}

#[test]
fn a_change_between_the_look_and_the_write_is_refused_by_the_server() {
    let mesh = |filter: &str| bundle(&format!("{{meshName: m, spec: {{egressFilter: {{type: {filter}}}}}}}"));
    let server = Server::default();
    block_on(server.apply(&mesh("ALLOW_ALL"), false)).unwrap();
    let theirs = mesh("ALLOW_ALL").resources.into_values().next().unwrap().document;
    *server.meddling.lock().unwrap() = Some(theirs);
    let stopped = block_on(server.apply(&mesh("DROP_ALL"), false)).unwrap_err();
    assert!(stopped.to_string().contains("mesh/m is at version 2, not 1"), "{stopped}");
    assert_eq!(block_on(server.spec("mesh/m"))["egressFilter"]["type"], "ALLOW_ALL");
}

#[test]
fn a_failure_in_the_middle_says_what_was_done_and_the_same_command_makes_the_rest() {
    let server = Server::default();
    *server.failing.lock().unwrap() = Some("create mesh/m/virtualNode/b".to_owned());
    let stopped = block_on(server.apply(&bundle(MESH), false)).unwrap_err();
    assert_eq!((stopped.done, stopped.total), (2, 3));
    let expected = "cannot create mesh/m/virtualNode/b (file:3): the line is dead\n2 of 3 changes were made and 1 \
                    were not; once the reason is gone, the same command makes the rest";
    assert_eq!(stopped.to_string(), expected);
    *server.failing.lock().unwrap() = None;
    assert_eq!(block_on(server.apply(&bundle(MESH), false)).unwrap(), ["create mesh/m/virtualNode/b"]);
}

#[test]
fn a_stage_of_a_template_is_its_own_mesh() {
    let server = Server::default();
    let template = include_str!("../files/shop.yaml");
    let mut live = settings();
    live.parameters.insert("Stage".into(), "live".into());
    block_on(server.apply(&bundle(template), false)).unwrap();
    block_on(server.apply(&bundle_with(template, &live), true)).unwrap();
    assert_eq!(block_on(server.spec("mesh/shop-test"))["egressFilter"]["type"], "ALLOW_ALL");
    assert_eq!(block_on(server.spec("mesh/shop-live"))["egressFilter"]["type"], "DROP_ALL");
}
