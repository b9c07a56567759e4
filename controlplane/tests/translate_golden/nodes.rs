//! Nodes by their specs, each with a part of what a spec can say.

use serde_json::{Value, json};
use signet_controlplane::{
    model::{EgressFilter, IpPreference, Mesh, Provider, VirtualNode},
    translate::InForce,
};
use signet_xds::{Resource, ResourceType};

use crate::{
    check, client,
    fixture::{
        CLIENT, add_node, add_routed, add_service, node_of, redirected_snapshot, route, snapshot_of, target,
        walkthrough,
    },
};

fn listener(port: u16, protocol: &str, more: &Value) -> Value {
    let mut listener = json!({"portMapping": {"port": port, "protocol": protocol}});
    if let (Value::Object(listener), Value::Object(more)) = (&mut listener, more) {
        listener.extend(more.clone());
    }
    listener
}

fn named(hostname: &str, listeners: &[Value]) -> VirtualNode {
    node_of(json!({"listeners": listeners, "serviceDiscovery": {"dns": {"hostname": hostname}}}))
}

/// A mesh in which the client calls one node, that is its own service's provider.
fn one(node: VirtualNode) -> Mesh {
    let mut mesh = Mesh::default();
    add_node(&mut mesh, "one", node);
    add_service(&mut mesh, "one.svc", Some(Provider::VirtualNode("one".parse().unwrap())));
    add_node(&mut mesh, CLIENT, calling(&json!({})));
    mesh
}

fn calling(more: &Value) -> VirtualNode {
    let mut spec = json!({"backends": [{"virtualService": {"virtualServiceName": "one.svc"}}]});
    if let (Value::Object(spec), Value::Object(more)) = (&mut spec, more) {
        spec.extend(more.clone());
    }
    node_of(spec)
}

/// Every protocol, each with its pool and its timeouts, and the node as its clients see it.
#[test]
fn every_protocol_with_its_pool_and_its_timeouts() {
    let idle = json!({"unit": "s", "value": 60});
    let both = json!({"idle": idle, "perRequest": {"unit": "s", "value": 0}});
    let listeners = [
        listener(
            8080,
            "http",
            &json!({"connectionPool": {"http": {"maxConnections": 3, "maxPendingRequests": 4}}, "timeout": {"http": both}}),
        ),
        listener(
            8081,
            "http2",
            &json!({"connectionPool": {"http2": {"maxRequests": 5}}, "timeout": {"http2": both}}),
        ),
        listener(
            8082,
            "grpc",
            &json!({"connectionPool": {"grpc": {"maxRequests": 6}}, "timeout": {"grpc": both}}),
        ),
        listener(
            8083,
            "tcp",
            &json!({"connectionPool": {"tcp": {"maxConnections": 7}}, "timeout": {"tcp": {"idle": idle}}}),
        ),
    ];
    let mesh = one(named("one.apps.local", &listeners));
    check("node_protocols", &snapshot_of("one", &mesh, &InForce::default()));
    check("node_protocols_client", &client(&mesh));
    check("node_protocols_redirected", &redirected_snapshot("one", &mesh));
}

#[test]
fn health_checks_and_outliers_are_the_clients_to_look_for() {
    let health = |protocol: &str, path: Option<&str>| {
        let mut check = json!({"protocol": protocol, "healthyThreshold": 2, "unhealthyThreshold": 3,
            "intervalMillis": 5000, "timeoutMillis": 2000});
        if let Some(path) = path {
            check["path"] = path.into();
        }
        let outliers = json!({"maxServerErrors": 5, "interval": {"unit": "s", "value": 10},
            "baseEjectionDuration": {"unit": "s", "value": 30}, "maxEjectionPercent": 50});
        json!({"healthCheck": check, "outlierDetection": outliers})
    };
    let listeners = [
        listener(8080, "http", &health("http", Some("/ping"))),
        listener(8081, "http2", &health("http2", Some("/ping"))),
        listener(8082, "grpc", &health("grpc", None)),
        listener(8083, "tcp", &health("tcp", None)),
    ];
    check("client_health", &client(&one(named("one.apps.local", &listeners))));
}

#[test]
fn logs_in_each_format() {
    let log = |format: &Value| {
        let mut file = json!({"path": "/dev/stdout"});
        if !format.is_null() {
            file["format"] = format.clone();
        }
        named_with_log(&json!({"accessLog": {"file": file}}))
    };
    check("node_log_default", &snapshot_of("one", &one(log(&Value::Null)), &InForce::default()));
    let text = json!({"text": "%START_TIME% %RESPONSE_CODE%\n"});
    check("node_log_text", &snapshot_of("one", &one(log(&text)), &InForce::default()));
    let member = |key: &str, value: &str| json!({"key": key, "value": value});
    let members =
        json!({"json": [member("z", "%PROTOCOL%"), member("a", "%RESPONSE_CODE%"), member("m", "text")]});
    let mesh = one(log(&members));
    let first = snapshot_of("one", &mesh, &InForce::default());
    check("node_log_json", &first);
    for _ in 0..64 {
        assert_eq!(snapshot_of("one", &mesh, &InForce::default()), first, "members have an order");
    }
}

fn named_with_log(logging: &Value) -> VirtualNode {
    node_of(json!({
        "listeners": [listener(8080, "http", &json!({})), listener(8083, "tcp", &json!({}))],
        "serviceDiscovery": {"dns": {"hostname": "one.apps.local"}}, "logging": logging
    }))
}

/// A listener that cannot be bound would be refused, and one of the application's own ports is none to call others on.
#[test]
fn a_tcp_service_on_a_port_that_is_taken_on_loopback_gets_no_listener_there() {
    let mut mesh = walkthrough(None);
    let tcp = |port| listener(port, "tcp", &json!({}));
    add_node(&mut mesh, "db", named("db.apps.local", &[tcp(3306), tcp(3307), tcp(15_001)]));
    add_service(&mut mesh, "db.svc", Some(Provider::VirtualNode("db".parse().unwrap())));
    let caller = json!({
        "listeners": [tcp(3306)], "serviceDiscovery": {"dns": {"hostname": "client.apps.local"}},
        "backends": [{"virtualService": {"virtualServiceName": "db.svc"}}]
    });
    add_node(&mut mesh, CLIENT, node_of(caller));
    let snapshot = snapshot_of(CLIENT, &mesh, &InForce::default());
    let names = snapshot.resources(ResourceType::Listener).map(Resource::name);
    let outward: Vec<&str> = names.filter(|name| name.starts_with("lds_egress")).collect();
    assert_eq!(outward, ["lds_egress_127.0.0.1_15001", "lds_egress_127.0.0.1_3307"]);
}

#[test]
fn a_redirected_client_in_both_egress_filters_and_each_ip_preference() {
    let mut mesh = walkthrough(None);
    add_node(
        &mut mesh,
        "db",
        named("db.apps.local", &[listener(3306, "tcp", &json!({})), listener(443, "tcp", &json!({}))]),
    );
    add_service(&mut mesh, "db.svc", Some(Provider::VirtualNode("db".parse().unwrap())));
    add_routed(&mut mesh, "other.svc", &[8080, 80], &[("r", route("/", &[target("service-b-v1", 1, None)]))]);
    let names = ["service-b.apps.local", "db.svc", "other.svc"];
    let backends = names.map(|name| json!({"virtualService": {"virtualServiceName": name}}));
    add_node(&mut mesh, CLIENT, node_of(json!({"backends": backends})));
    check("redirected_drop_all", &redirected_snapshot(CLIENT, &mesh));
    mesh.settings.egress_filter = EgressFilter::AllowAll;
    mesh.settings.ip_preference = Some(IpPreference::Ipv6Preferred);
    check("redirected_allow_all", &redirected_snapshot(CLIENT, &mesh));
    check("redirected_ipv6_server", &redirected_snapshot("service-b-v1", &mesh));
}

#[test]
fn files_and_client_policies() {
    let pair = |name: &str| json!({"file": {"certificateChain": format!("/certs/{name}.pem"), "privateKey": format!("/certs/{name}.key")}});
    let roots = json!({"file": {"certificateChain": "/certs/ca.pem"}});
    let tls = json!({"tls": {"mode": "STRICT", "certificate": pair("one"), "validation": {"trust": roots}}});
    let mut mesh = one(named("one.apps.local", &[listener(8080, "http", &tls), listener(8083, "tcp", &tls)]));
    check("server_files", &snapshot_of("one", &mesh, &InForce::default()));
    check("client_unverified", &client(&mesh));
    let arns = json!({"acm": {"certificateAuthorityArns": ["arn:aws:acm-pca:us-east-1:000000000000:certificate-authority/1"]}});
    let by_file =
        json!({"tls": {"ports": [8080], "certificate": pair("client"), "validation": {"trust": roots}}});
    let names = json!({"match": {"exact": ["*.apps.local", "spiffe://td/x", "10.0.0.7"]}});
    let by_names =
        json!({"tls": {"enforce": false, "validation": {"trust": arns, "subjectAlternativeNames": names}}});
    add_service(&mut mesh, "two.svc", Some(Provider::VirtualNode("one".parse().unwrap())));
    let backends = [("one.svc", &by_file), ("two.svc", &by_names)];
    let backends = backends.map(
        |(name, policy)| json!({"virtualService": {"virtualServiceName": name, "clientPolicy": policy}}),
    );
    add_node(&mut mesh, CLIENT, calling(&json!({"backends": backends})));
    check("client_policies", &client(&mesh));
}
