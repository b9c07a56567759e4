//! What the members of a virtual node mean, and the rules that several of them break together.

use std::{num::NonZeroU16, time::Duration};

use super::*;
use crate::model::{
    AccessLog, Backend, ClientPolicy, ClientTls, ConnectionPool, HealthCheck, IpPreference, Listener,
    ListenerTls, LogFormat, OutlierDetection, PortMapping, Protocol, Timeout, Validation, VirtualNode,
};
use signet_policies::mtls::Mode;

fn node(spec: Value) -> VirtualNode {
    let Spec::VirtualNode(node) = parsed(NODE, spec) else { panic!() };
    (*node).clone()
}

fn port(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap()
}

fn listener(protocol: &str, members: Value) -> Value {
    let mut whole = json!({"portMapping": {"port": 80, "protocol": protocol}});
    for (name, value) in members.as_object().unwrap() {
        whole[name] = value.clone();
    }
    with_listener(whole)
}

fn health_check(changes: Value) -> Value {
    let mut check = json!({
        "protocol": "http", "path": "/up", "healthyThreshold": 2, "unhealthyThreshold": 3,
        "intervalMillis": 5000, "timeoutMillis": 2000,
    });
    for (name, value) in changes.as_object().unwrap() {
        check[name] = value.clone();
    }
    json!({"healthCheck": check})
}

#[test]
fn everything_about_a_listener_is_understood() {
    let spec = json!({
        "portMapping": {"port": 80, "protocol": "http"},
        "connectionPool": {"http": {"maxConnections": 7, "maxPendingRequests": 8}},
        "healthCheck": {
            "protocol": "http2", "path": "/up", "healthyThreshold": 2, "unhealthyThreshold": 3,
            "intervalMillis": 5000, "timeoutMillis": 2000,
        },
        "outlierDetection": {
            "maxServerErrors": 5, "maxEjectionPercent": 50,
            "interval": {"unit": "s", "value": 10}, "baseEjectionDuration": {"unit": "ms", "value": 30},
        },
        "timeout": {"http": {"perRequest": {"unit": "s", "value": 0}, "idle": {"unit": "ms", "value": 1500}}},
        "tls": {
            "mode": "STRICT",
            "certificate": {"file": {"certificateChain": "/chain", "privateKey": "/key"}},
            "validation": {"trust": {"file": {"certificateChain": "/roots"}}},
        },
    });
    let mapping = PortMapping { port: port(80), protocol: Protocol::Http };
    let expected = Listener {
        tls: Some(ListenerTls {
            mode: Mode::Strict,
            certificate: Certificate::File { certificate_chain: "/chain".into(), private_key: "/key".into() },
            validation: Some(Validation {
                trust: Trust::File { certificate_chain: "/roots".into() },
                subject_alternative_names: Vec::new(),
            }),
        }),
        connection_pool: Some(ConnectionPool::Http { max_connections: 7, max_pending_requests: Some(8) }),
        health_check: Some(HealthCheck {
            protocol: Protocol::Http2,
            path: Some("/up".into()),
            port: port(80),
            healthy_threshold: 2,
            unhealthy_threshold: 3,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
        }),
        outlier_detection: Some(OutlierDetection {
            max_server_errors: 5,
            interval: Duration::from_secs(10),
            base_ejection_duration: Duration::from_millis(30),
            max_ejection_percent: 50,
        }),
        timeout: Timeout { per_request: Some(Duration::ZERO), idle: Some(Duration::from_millis(1500)) },
        ..Listener::new(mapping)
    };
    assert_eq!(node(with_listener(spec)).listeners, [expected]);
}

#[test]
fn pools_and_timeouts_are_those_of_the_protocol() {
    let requests = json!({"maxRequests": 3});
    let idle = json!({"idle": {"unit": "s", "value": 1}});
    let timeout = Timeout { per_request: None, idle: Some(Duration::from_secs(1)) };
    let cases = [
        ("http2", requests.clone(), Protocol::Http2, ConnectionPool::Http2 { max_requests: 3 }),
        ("grpc", requests, Protocol::Grpc, ConnectionPool::Http2 { max_requests: 3 }),
        ("tcp", json!({"maxConnections": 3}), Protocol::Tcp, ConnectionPool::Tcp { max_connections: 3 }),
    ];
    for (name, pool, protocol, expected) in cases {
        let spec = listener(name, json!({"connectionPool": {name: pool}, "timeout": {name: idle}}));
        let listener = &node(spec).listeners[0];
        assert_eq!(listener.port_mapping.protocol, protocol);
        assert_eq!((listener.connection_pool, listener.timeout), (Some(expected), timeout), "{name}");
    }
    // A TCP connection has no requests: the member is none of its shape's, and ignored like any other stranger.
    let per_request = json!({"tcp": {"perRequest": {"unit": "s", "value": 1}}});
    assert_eq!(
        node(listener("tcp", json!({"timeout": per_request}))).listeners[0].timeout,
        Timeout::default()
    );
}

#[test]
fn discovery_logs_backends_and_their_policies_are_understood() {
    let policy = json!({"tls": {
        "enforce": false, "ports": [443, 443],
        "certificate": {"sds": {"secretName": "spiffe://td/mesh/m/virtual-node/a"}},
        "validation": {
            "trust": {"acm": {"certificateAuthorityArns": ["arn:1", "arn:2"]}},
            "subjectAlternativeNames": {"match": {"exact": ["*.b.local"]}},
        },
    }});
    let spec = json!({
        "serviceDiscovery": {"awsCloudMap": {
            "namespaceName": "ns", "serviceName": "s", "ipPreference": "IPv4_ONLY",
            "attributes": [{"key": "k", "value": "v w"}, {"key": "k", "value": "v w"}],
        }},
        "backends": [{"virtualService": {"virtualServiceName": "b.local", "clientPolicy": policy}}],
        "backendDefaults": {"clientPolicy": {"tls": {"validation": {"trust": {"sds": {"secretName": "ALL"}}}}}},
        "logging": {"accessLog": {"file": {
            "path": "/dev/stdout", "format": {"json": [{"key": "k", "value": "%PROTOCOL%\n"}]},
        }}},
    });
    let expected = VirtualNode {
        listeners: Vec::new(),
        discovery: Some(Discovery::CloudMap {
            namespace: "ns".into(),
            service: "s".into(),
            attributes: [("k".into(), "v w".into())].into(),
            ip_preference: Some(IpPreference::Ipv4Only),
        }),
        backends: vec![Backend {
            virtual_service: "b.local".parse().unwrap(),
            client_policy: Some(ClientPolicy {
                tls: Some(ClientTls {
                    enforce: false,
                    ports: vec![port(443), port(443)],
                    certificate: Some(Certificate::Sds {
                        secret_name: "spiffe://td/mesh/m/virtual-node/a".into(),
                    }),
                    validation: Validation {
                        trust: Trust::Acm { arns: vec!["arn:1".into(), "arn:2".into()] },
                        subject_alternative_names: vec!["*.b.local".into()],
                    },
                }),
            }),
        }],
        client_policy: Some(ClientPolicy {
            tls: Some(ClientTls {
                enforce: true,
                ports: Vec::new(),
                certificate: None,
                validation: Validation {
                    trust: Trust::Sds { secret_name: "ALL".into() },
                    subject_alternative_names: Vec::new(),
                },
            }),
        }),
        access_log: Some(AccessLog {
            path: "/dev/stdout".into(),
            format: Some(LogFormat::Json(vec![("k".into(), "%PROTOCOL%\n".into())])),
        }),
    };
    assert_eq!(node(spec), expected);
}

#[test]
fn what_app_mesh_took_as_empty_is_empty() {
    let spec = json!({
        "backends": [{"virtualService": {"virtualServiceName": "b", "clientPolicy": {}}}],
        "backendDefaults": {"clientPolicy": {}},
        "logging": {},
    });
    let node = node(spec);
    assert_eq!((node.client_policy, node.access_log), (Some(ClientPolicy::default()), None));
    assert_eq!(node.backends[0].client_policy, Some(ClientPolicy::default()));
}

#[test]
fn a_listener_whose_parts_do_not_fit_each_other_is_refused() {
    let http = "spec.listeners[0]";
    let idle = json!({"idle": {"unit": "s", "value": 1}});
    let detection = |interval: i64, base: i64| {
        json!({"outlierDetection": {
            "maxServerErrors": 5, "maxEjectionPercent": 50,
            "interval": {"unit": "s", "value": interval}, "baseEjectionDuration": {"unit": "s", "value": base},
        }})
    };
    let rows = [
        (
            listener("http", json!({"connectionPool": {"grpc": {"maxRequests": 1}}})),
            format!("{http}.connectionPool: must have the member of the listener's protocol, http"),
        ),
        (
            listener("tcp", json!({"timeout": {"http": idle}})),
            format!("{http}.timeout: must have the member of the listener's protocol, tcp"),
        ),
        (
            listener("http", health_check(json!({"port": 81}))),
            format!("{http}.healthCheck.port: must be the listener's port, 80; it is 81"),
        ),
        (
            listener("http", health_check(json!({"path": null}))),
            format!("{http}.healthCheck.path: is required"),
        ),
        (
            listener("http2", health_check(json!({"protocol": "http2", "path": "up"}))),
            format!("{http}.healthCheck.path: must start with '/'"),
        ),
        (
            listener("http", health_check(json!({"protocol": "grpc"}))),
            format!("{http}.healthCheck.protocol: GRPC HealthCheck requires listener type of HTTP2 or GRPC."),
        ),
        (
            listener("http", detection(0, 1)),
            format!("{http}.outlierDetection.interval: must be longer than 0"),
        ),
        (
            listener("http", detection(1, 0)),
            format!("{http}.outlierDetection.baseEjectionDuration: must be longer than 0"),
        ),
    ];
    for (spec, expected) in rows {
        assert_eq!(refused(NODE, &spec), expected, "{spec}");
    }
    for (spoken, protocol) in [("http", "tcp"), ("http2", "grpc"), ("grpc", "grpc"), ("tcp", "http")] {
        parsed(NODE, listener(spoken, health_check(json!({"protocol": protocol}))));
    }
}

#[test]
fn backends_are_services_of_the_nodes_own_mesh_by_name_or_arn() {
    let backend = |name: &str| json!({"backends": [{"virtualService": {"virtualServiceName": name}}]});
    let arn =
        |mesh: &str| format!("arn:aws:appmesh:eu-west-1:111111111111:mesh/{mesh}/virtualService/b.local");
    for name in ["b.local".to_owned(), arn("m"), arn("m@222222222222")] {
        assert_eq!(node(backend(&name)).backends[0].virtual_service.as_str(), "b.local", "{name}");
    }
    let path = "spec.backends[0].virtualService.virtualServiceName";
    let elsewhere = format!("{path}: must be of the node's own mesh, m; it is of n");
    assert_eq!(refused(NODE, &backend(&arn("n"))), elsewhere);
    let no_name = format!("{path}: must be the name or the ARN of a virtual service");
    let arns = [
        arn("m@22"),
        arn("m@"),
        arn("@222222222222"),
        "arn:aws:appmesh:eu-west-1:111111111111:mesh/m/virtualNode/b".to_owned(),
        "arn:aws:appmesh:mesh/m/virtualService/b".to_owned(),
        "*.b.local".to_owned(),
    ];
    for name in arns {
        assert_eq!(refused(NODE, &backend(&name)), no_name, "{name}");
    }
}

#[test]
fn an_attribute_with_two_values_is_refused() {
    let attributes = json!([{"key": "k", "value": "v"}, {"key": "k", "value": "w"}]);
    let map = json!({"namespaceName": "n", "serviceName": "s", "attributes": attributes});
    assert_eq!(
        refused(NODE, &json!({"serviceDiscovery": {"awsCloudMap": map}})),
        "spec.serviceDiscovery.awsCloudMap.attributes[1]: no instance can match: \"k\" must be \"v\" already",
    );
}

#[test]
fn secrets_are_those_that_the_agent_of_this_very_workload_holds() {
    let ours = "td".parse().unwrap();
    let within = |spec: Value| Document::parse_within(NODE.parse().unwrap(), spec, Some(&ours));
    let presenting =
        |name: &str| with_tls(json!({"mode": "STRICT", "certificate": {"sds": {"secretName": name}}}));
    // The last is nobody's own: the agent gets it as the spec says that it may.
    for name in ["default", "spiffe://td/mesh/m/virtual-node/a", "spiffe://td/team/a"] {
        within(presenting(name)).unwrap();
    }
    // Whoever does not know the trust domain cannot tell.
    parsed(NODE, presenting("spiffe://elsewhere/mesh/m/virtual-node/a"));
    let strangers = [
        "spiffe://elsewhere/mesh/m/virtual-node/a",
        "spiffe://td/mesh/m/virtual-node/b",
        "spiffe://td/mesh/m/virtual-gateway/a",
        "spiffe://elsewhere/team/a",
        "spiffe://td/signet/server",
        "spiffe://td",
        "my-cert",
        "ROOTCA",
    ];
    for name in strangers {
        let expected = format!(
            "spec.listeners[0].tls.certificate.sds.secretName: must be \"default\", \
             \"spiffe://td/mesh/m/virtual-node/a\" or a SPIFFE ID of its trust domain that is nobody's own: the agent \
             holds no certificate {name:?}, and a proxy that waits for it turns every client away"
        );
        assert_eq!(within(presenting(name)).unwrap_err().to_string(), expected);
    }
    let trusting = |name: &str| {
        let validation = json!({"trust": {"sds": {"secretName": name}}});
        json!({"backendDefaults": {"clientPolicy": {"tls": {"validation": validation}}}})
    };
    for name in ["ROOTCA", "ALL", "spiffe://td"] {
        within(trusting(name)).unwrap();
    }
    parsed(NODE, trusting("spiffe://elsewhere"));
    for name in ["default", "roots", "spiffe://elsewhere", "spiffe://td/", "spiffe://td/team", "spiffe://"] {
        let expected = format!(
            "spec.backendDefaults.clientPolicy.tls.validation.trust.sds.secretName: must be \"ROOTCA\", \"ALL\" or \
             \"spiffe://td\": the agent holds no roots {name:?}, and a proxy that waits for them trusts nobody"
        );
        assert_eq!(within(trusting(name)).unwrap_err().to_string(), expected);
    }
}

#[test]
fn only_a_policy_that_is_not_enforced_may_name_a_wildcard() {
    let policy = |enforce: bool| {
        let names = json!({"match": {"exact": ["*.b.local"]}});
        let validation = json!({"trust": {"sds": {"secretName": "ALL"}}, "subjectAlternativeNames": names});
        json!({"backendDefaults": {"clientPolicy": {"tls": {"enforce": enforce, "validation": validation}}}})
    };
    parsed(NODE, policy(false));
    assert_eq!(
        refused(NODE, &policy(true)),
        "spec.backendDefaults.clientPolicy.tls.validation.subjectAlternativeNames.match.exact[0]: \"*.b.local\" is \
         matched exactly, so it must be a domain name or a URI without wildcard",
    );
}

#[test]
fn a_health_check_without_port_is_shown_with_its_listeners() {
    let without = listener("http", health_check(json!({"port": null})));
    for key in [NODE, GATEWAY] {
        let document = Document::parse(key.parse().unwrap(), without.clone()).unwrap();
        let shown: Value = serde_json::from_str(document.text().get()).unwrap();
        assert_eq!(shown["listeners"][0]["healthCheck"]["port"], 80, "{key}");
    }
}

#[test]
fn a_spec_that_could_not_be_read_again_for_its_depth_is_refused() {
    let nested = |depth: usize| {
        let inner = (0..depth).fold(json!(1), |inner, _| json!([inner]));
        json!({"unknown": inner})
    };
    parsed(NODE, nested(99));
    assert_eq!(refused(NODE, &nested(100)), "spec: must not be nested deeper than 100 levels");
}
