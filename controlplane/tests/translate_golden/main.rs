//! What proxies are told, case by case, against the files in `controlplane/golden`.
//!
//! A golden is protobuf's canonical JSON: what stands in it can be put into a bootstrap as it is.
//! After a change that is meant, `INSTA_UPDATE=always cargo test -p signet-controlplane` writes them anew.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy knows a test function, not a test's own modules"
)]

mod fixture;
mod gateways;
mod json;
mod nodes;
mod routing;

use std::collections::BTreeSet;

use fixture::*;
use prost_reflect::{ReflectMessage, Value};
use signet_controlplane::{
    model::{
        Backend, DnsResponseType, HttpRetryEvent, ListenerTls, Mesh, Provider, RetryPolicy, Route,
        VirtualNode,
    },
    translate::{Dial, InForce, Offer, PortId, Standing},
};
use signet_policies::mtls::Mode;
use signet_xds::{ResourceType, Snapshot};

/// Compares with the golden of this name, and holds every snapshot to what must always be so.
fn check(case: &str, snapshot: &Snapshot) {
    check_kinds(case, snapshot, &ResourceType::ALL);
}

/// The same of resources of these kinds alone.
fn check_kinds(case: &str, snapshot: &Snapshot, kinds: &[ResourceType]) {
    nothing_deprecated_and_no_map_of_two(snapshot);
    every_server_is_verified_and_every_secret_has_one_source(snapshot);
    listeners_ask_for_every_route_table_and_no_other(snapshot);
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../golden");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(case, json::canonical_kinds(snapshot, kinds)));
}

fn nothing_deprecated_and_no_map_of_two(snapshot: &Snapshot) {
    json::visit(snapshot, &mut |message| {
        for (field, value) in message.fields() {
            let options = field.field_descriptor_proto().options.clone().unwrap_or_default();
            assert!(!options.deprecated(), "{} is deprecated", field.full_name());
            // An access log's members, which are written as a list; see `signet_xds::ordered`.
            let is_log = field.full_name() == "google.protobuf.Struct.fields";
            if let Value::Map(entries) = value
                && !is_log
            {
                assert!(entries.len() < 2, "the bytes of {} have no fixed order", field.full_name());
            }
            if let (Value::EnumNumber(number), Some(kind)) = (value, field.kind().as_enum()) {
                assert!(kind.get_value(*number).is_some(), "{} has no value {number}", kind.full_name());
            }
        }
    });
}

fn every_server_is_verified_and_every_secret_has_one_source(snapshot: &Snapshot) {
    let mut sources = BTreeSet::new();
    json::visit(snapshot, &mut |message| match message.descriptor().name() {
        "UpstreamTlsContext" => {
            let text = serde_json::to_value(message).unwrap();
            let common = &text["commonTlsContext"];
            if common["validationContext"]["trustChainVerification"] == "ACCEPT_UNTRUSTED" {
                return;
            }
            let validation = &common["combinedValidationContext"];
            let sans = &validation["defaultValidationContext"]["matchTypedSubjectAltNames"];
            assert!(!sans.as_array().unwrap().is_empty(), "{text}");
            let trust = validation["validationContextSdsSecretConfig"]["name"].as_str().unwrap();
            assert!(trust == "ROOTCA" || trust.starts_with("file_"), "{trust}");
        }
        "SdsSecretConfig" => {
            let secret = serde_json::to_value(message).unwrap();
            if !secret["name"].as_str().unwrap().starts_with("file_") {
                sources.insert(secret["sdsConfig"].to_string());
            }
        }
        _ => {}
    });
    assert!(sources.len() < 2, "{sources:?}");
}

fn listeners_ask_for_every_route_table_and_no_other(snapshot: &Snapshot) {
    let mut asked = BTreeSet::new();
    json::visit(snapshot, &mut |message| {
        if message.descriptor().full_name().ends_with("http_connection_manager.v3.Rds") {
            let rds = serde_json::to_value(message).unwrap();
            asked.insert(rds["routeConfigName"].as_str().unwrap().to_owned());
        }
    });
    let told: BTreeSet<String> =
        snapshot.resources(ResourceType::Route).map(|table| table.name().to_owned()).collect();
    assert_eq!(told, asked);
}

fn server(tls: Option<&ListenerTls>) -> Snapshot {
    snapshot_of(SERVER, &walkthrough(tls), &InForce::default())
}

fn client(mesh: &Mesh) -> Snapshot {
    snapshot_of(CLIENT, mesh, &InForce::default())
}

#[test]
fn a_server_in_each_mode() {
    check("server_disabled", &server(None));
    check("server_permissive", &server(tls(Mode::Permissive, Some(&[])).as_ref()));
    check("server_strict", &server(tls(Mode::Strict, None).as_ref()));
    check("server_strict_mtls", &server(tls(Mode::Strict, Some(&[])).as_ref()));
}

#[test]
fn a_server_that_names_its_clients() {
    let names = ["spiffe://signet.internal/mesh/my-mesh/virtual-node/service-a-node", "service-a.apps.local"];
    check("server_named", &server(tls(Mode::Strict, Some(&names)).as_ref()));
}

#[test]
fn a_client_in_each_way_of_dialing() {
    check("client_plaintext", &client(&walkthrough(None)));
    check("client_tls", &client(&walkthrough(tls(Mode::Permissive, None).as_ref())));
}

#[test]
fn a_port_on_its_way_to_strict_is_what_is_in_force_not_what_is_asked() {
    let strict = tls(Mode::Strict, Some(&[]));
    let mesh = walkthrough(strict.as_ref());
    let workload = workload(SERVER);
    let asked = Standing::asked_for(&workload, &listener(8080, strict), &trust_domain());
    let standing = Standing { offer: Offer { plaintext: true, ..asked.offer }, dial: Dial::Plaintext };
    let id = PortId { workload, port: 8080.try_into().unwrap() };
    let in_force: InForce = [(id, standing)].into_iter().collect();
    check("server_on_its_way", &snapshot_of(SERVER, &mesh, &in_force));
    check("client_on_its_way", &snapshot_of(CLIENT, &mesh, &in_force));
}

#[test]
fn discovery_by_name_by_every_address_and_by_a_literal() {
    let mut mesh = Mesh::default();
    let discoveries = [
        ("one", dns("one.apps.local", DnsResponseType::LoadBalancer)),
        ("all", dns("all.apps.local.", DnsResponseType::Endpoints)),
        ("label", dns("localhost", DnsResponseType::LoadBalancer)),
        ("v4", dns("10.0.0.7", DnsResponseType::Endpoints)),
        ("v6", dns("fd00::7", DnsResponseType::LoadBalancer)),
    ];
    let backends = discoveries.iter().map(|(name, _)| backend(&format!("{name}.svc"))).collect();
    for (name, discovery) in discoveries {
        let listeners = vec![listener(8080, tls(Mode::Strict, None))];
        add_node(&mut mesh, name, VirtualNode { listeners, discovery, ..VirtualNode::default() });
        add_service(&mut mesh, &format!("{name}.svc"), Some(Provider::VirtualNode(name.parse().unwrap())));
    }
    add_node(&mut mesh, CLIENT, VirtualNode { backends, ..VirtualNode::default() });
    check("client_discovery", &client(&mesh));
}

#[test]
fn routes_in_the_order_in_which_they_are_tried() {
    let to = |weight: u8| [target("service-b-v1", weight, None)];
    let with = |priority: Option<u16>, prefix: &str| Route { priority, ..route(prefix, &to(1)) };
    let mut mesh = walkthrough(None);
    let routes = [
        ("a-last", with(None, "/")),
        ("b-long", with(None, "/long/er")),
        ("c-first", with(Some(0), "/first")),
        ("d-second", with(Some(1), "/second")),
        ("e-same", with(Some(1), "/samesi")),
        ("f-drained", Route { priority: Some(2), ..route("/drained", &to(0)) }),
    ];
    add_routed(&mut mesh, "service-b.apps.local", &[8080], &routes);
    check("client_route_order", &client(&mesh));
}

#[test]
fn every_retry_event_by_itself_and_all_at_once() {
    use HttpRetryEvent::*;
    let mut mesh = walkthrough(None);
    let cases: [(&str, &[HttpRetryEvent], bool); 6] = [
        ("all", &[StreamError, ClientError, GatewayError, ServerError], true),
        ("client", &[ClientError], false),
        ("gateway", &[GatewayError], false),
        ("server", &[ServerError], false),
        ("stream", &[StreamError], false),
        ("tcp", &[], true),
    ];
    let routes = cases.map(|(name, events, on_connection_error)| {
        let retry = RetryPolicy {
            max_retries: 1,
            per_retry_timeout: std::time::Duration::from_millis(1500),
            http_events: events.to_vec(),
            grpc_events: Vec::new(),
            on_connection_error,
        };
        let prefix = format!("/{name}");
        (name, Route { retry: Some(retry), ..route(&prefix, &[target("service-b-v1", 1, None)]) })
    });
    add_routed(&mut mesh, "service-b.apps.local", &[8080], &routes);
    check("client_retries", &client(&mesh));
}

#[test]
fn ports_of_a_service_have_tables_of_their_own() {
    let mut mesh = walkthrough(None);
    let two = [listener(8080, None), listener(9090, tls(Mode::Strict, None))];
    add_node(&mut mesh, "two", node(&two, "two.apps.local"));
    let on = |port: Option<u16>, prefix: &str, targets| Route {
        port: port.map(|port| port.try_into().unwrap()),
        ..route(prefix, targets)
    };
    let routes = [
        ("both", on(None, "/both", &[target("two", 1, None)])),
        ("first", on(Some(80), "/", &[target("two", 1, Some(9090))])),
        ("second", on(Some(9090), "/", &[target("two", 1, None), target("service-b-v1", 0, None)])),
    ];
    add_routed(&mut mesh, "service-b.apps.local", &[80, 9090], &routes);
    add_service(&mut mesh, "two.svc", Some(Provider::VirtualNode("two".parse().unwrap())));
    let backends = vec![backend("two.svc"), backend("service-b.apps.local")];
    add_node(&mut mesh, CLIENT, VirtualNode { backends, ..VirtualNode::default() });
    check("client_ports", &client(&mesh));
}

#[test]
fn what_dangles_or_clashes_takes_nothing_else_along() {
    let mut mesh = walkthrough(None);
    add_service(&mut mesh, "no-provider.svc", None);
    add_service(&mut mesh, "no-router.svc", Some(Provider::VirtualRouter("gone".parse().unwrap())));
    add_service(&mut mesh, "no-node.svc", Some(Provider::VirtualNode("gone".parse().unwrap())));
    add_service(&mut mesh, "NO-NODE.svc", Some(Provider::VirtualNode(SERVER.parse().unwrap())));
    let routes = [("r", route("/", &[target("gone", 1, None), target(SERVER, 1, Some(1))]))];
    add_routed(&mut mesh, "no-target.svc", &[8080], &routes);
    let mut backends: Vec<Backend> =
        mesh.virtual_services.keys().map(|name| backend(name.as_str())).collect();
    backends.extend(["no-service.svc", "service-b.apps.local"].map(backend));
    add_node(&mut mesh, CLIENT, VirtualNode { backends, ..VirtualNode::default() });
    check("client_dangling", &client(&mesh));
}

#[test]
fn a_node_that_does_not_exist_is_told_nothing() {
    assert!(snapshot_of("nobody", &walkthrough(None), &InForce::default()).is_empty());
}

#[test]
fn equal_input_gives_equal_bytes() {
    let mesh = walkthrough(tls(Mode::Permissive, Some(&[])).as_ref());
    let first = client(&mesh);
    for _ in 0..64 {
        assert_eq!(client(&mesh), first);
    }
    assert!(first.resources(ResourceType::Cluster).count() > 2);
}

/// Of two listeners only the filter chains may differ; else Envoy drains all connections of the port.
#[test]
fn a_mode_changes_nothing_of_a_listener_but_its_chains() {
    let frame = |tls: Option<ListenerTls>| {
        let snapshot = server(tls.as_ref());
        let dump: serde_json::Value = serde_json::from_str(&json::canonical(&snapshot)).unwrap();
        let listeners = dump["listener"].as_array().unwrap();
        let mut ingress =
            listeners.iter().find(|it| it["name"] == "lds_ingress_127.0.0.11_8080").unwrap().clone();
        let chains = ingress.as_object_mut().unwrap().remove("filter_chains").unwrap();
        (ingress, chains)
    };
    let (disabled, plaintext_alone) = frame(None);
    let (permissive, both) = frame(tls(Mode::Permissive, None));
    let (strict, tls_alone) = frame(tls(Mode::Strict, None));
    assert_eq!(disabled, permissive);
    assert_eq!(permissive, strict);
    assert_eq!(both[0], tls_alone[0]);
    assert_eq!(both[1], plaintext_alone[0]);
}
