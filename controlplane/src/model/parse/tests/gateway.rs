//! What the members of gateways and their routes mean, and the rules that several of them break together.

use std::num::NonZeroU16;

use super::*;
use crate::model::{
    ClientPolicy, ConnectionPool, GatewayRoute, GatewayRule, GrpcMatch, HostnameMatch, Method, PathRewrite,
    Protocol,
};

fn route(spec: Value) -> GatewayRoute {
    let Spec::GatewayRoute(route) = parsed(GATEWAY_ROUTE, spec) else { panic!() };
    (*route).clone()
}

fn target() -> Value {
    json!({"virtualService": {"virtualServiceName": "s.local"}})
}

fn http(matched: Value, rewrite: Value) -> Value {
    json!({"httpRoute": {"match": matched, "action": {"target": target(), "rewrite": rewrite}}})
}

/// A route to the service of the tests, with everything else as it is where nothing is said.
fn plain(rule: GatewayRule) -> GatewayRoute {
    GatewayRoute {
        priority: None,
        port: None,
        hostname: None,
        rule,
        virtual_service: "s.local".parse().unwrap(),
        target_port: None,
        rewrites_hostname: true,
    }
}

fn prefix(prefix: &str) -> HttpMatch {
    HttpMatch::new(PathMatch::Prefix(prefix.into()))
}

#[test]
fn everything_about_a_gateway_is_understood() {
    let spec = json!({
        "listeners": [
            {"portMapping": {"port": 80, "protocol": "http2"}, "connectionPool": {"http2": {"maxRequests": 5}}},
            {"portMapping": {"port": 81, "protocol": "grpc"}, "healthCheck": {
                "protocol": "grpc", "healthyThreshold": 2, "unhealthyThreshold": 2,
                "intervalMillis": 5000, "timeoutMillis": 2000, "path": "ignored",
            }},
            // None of the shape's, and ignored.
            {"portMapping": {"port": 82, "protocol": "http"}, "outlierDetection": {}, "timeout": {}},
        ],
        "backendDefaults": {"clientPolicy": {}},
        "logging": {"accessLog": {"file": {"path": "/log"}}},
    });
    let Spec::VirtualGateway(gateway) = parsed(GATEWAY, spec) else { panic!() };
    let [first, second, third] = &gateway.listeners[..] else { panic!() };
    assert_eq!(first.connection_pool, Some(ConnectionPool::Http2 { max_requests: 5 }));
    let check = second.health_check.clone().unwrap();
    assert_eq!((check.protocol, check.path, check.port.get()), (Protocol::Grpc, None, 81));
    assert_eq!((third.outlier_detection, third.timeout), (None, Default::default()));
    assert_eq!(gateway.client_policy, Some(ClientPolicy::default()));
    assert_eq!(gateway.access_log.as_ref().unwrap().format, None);
}

#[test]
fn a_gateway_serves_at_least_one_port_and_never_tcp() {
    let port = |protocol: &str| json!({"listeners": [{"portMapping": {"port": 80, "protocol": protocol}}]});
    check(
        GATEWAY,
        &[
            (json!({}), "spec.listeners: is required"),
            (json!({"listeners": []}), "spec.listeners: must have 1 or more items; this one has 0"),
            (
                port("tcp"),
                "spec.listeners[0].portMapping.protocol: must be one of http, http2, grpc; it is \"tcp\"",
            ),
            (
                json!({"listeners": [
                    {"portMapping": {"port": 80, "protocol": "http"}}, {"portMapping": {"port": 80, "protocol": "grpc"}},
                ]}),
                "spec.listeners[1]: another listener has port 80 already",
            ),
        ],
    );
}

#[test]
fn everything_about_a_gateway_route_is_understood() {
    let spec = json!({
        "priority": 1000,
        "http2Route": {
            "match": {
                "prefix": "/p/", "port": 8080, "method": "GET", "hostname": {"suffix": ".example.com"},
                // None of the shape's, and ignored.
                "scheme": "gopher",
            },
            "action": {
                "target": {"virtualService": {"virtualServiceName": "s.local"}, "port": 9},
                "rewrite": {"hostname": {"defaultTargetHostname": "DISABLED"}, "prefix": {"value": "/q/"}},
            },
        },
    });
    let matched = HttpMatch { method: Some(Method::Get), ..prefix("/p/") };
    let expected = GatewayRoute {
        priority: Some(1000),
        port: NonZeroU16::new(8080),
        hostname: Some(HostnameMatch::Suffix(".example.com".into())),
        target_port: NonZeroU16::new(9),
        rewrites_hostname: false,
        ..plain(GatewayRule::Http2(matched, PathRewrite::Prefix("/q/".into())))
    };
    assert_eq!(route(spec), expected);
}

#[test]
fn a_grpc_gateway_route_is_by_service_host_and_metadata() {
    let spec = json!({"grpcRoute": {
        "match": {"serviceName": "pkg.Service", "hostname": {"exact": "example.com"}},
        "action": {"target": target()},
    }});
    let grpc = GrpcMatch { service_name: Some("pkg.Service".into()), ..GrpcMatch::default() };
    let expected = GatewayRoute {
        hostname: Some(HostnameMatch::Exact("example.com".into())),
        ..plain(GatewayRule::Grpc(grpc))
    };
    assert_eq!(route(spec), expected);
}

#[test]
fn paths_are_rewritten_as_app_mesh_rewrote_them() {
    let by_port = json!({"port": 80});
    let path = json!({"path": {"exact": "/a"}});
    let cases = [
        (json!({"prefix": "/p"}), json!(null), PathRewrite::DefaultPrefix),
        (by_port, json!({}), PathRewrite::DefaultPrefix),
        (json!({"prefix": "/p"}), json!({"prefix": {}}), PathRewrite::DefaultPrefix),
        (
            json!({"prefix": "/p"}),
            json!({"prefix": {"defaultPrefix": "ENABLED"}}),
            PathRewrite::DefaultPrefix,
        ),
        (json!({"prefix": "/p"}), json!({"prefix": {"defaultPrefix": "DISABLED"}}), PathRewrite::Keep),
        (path.clone(), json!({"hostname": {}}), PathRewrite::Keep),
        (path.clone(), json!({"path": {}}), PathRewrite::Keep),
        (path, json!({"path": {"exact": "/b"}}), PathRewrite::Exact("/b".into())),
    ];
    for (matched, rewrite, expected) in cases {
        let GatewayRule::Http(_, found) = route(http(matched.clone(), rewrite.clone())).rule else {
            panic!()
        };
        assert_eq!(found, expected, "{matched} {rewrite}");
    }
}

#[test]
fn a_gateway_route_whose_parts_do_not_fit_each_other_is_refused() {
    let (matched, rewrite) = ("spec.httpRoute.match", "spec.httpRoute.action.rewrite");
    let prefix = json!({"prefix": "/p"});
    let path = json!({"path": {"regex": "/a"}});
    let none = json!({});
    let host = "must be a host name without port, such as example.com, and a suffix one that starts with a dot, such \
                as .example.com";
    let hosts = [
        ("exact", "example.com:80"),
        ("exact", "*"),
        ("exact", ".example.com"),
        ("exact", "a b"),
        ("suffix", "example.com"),
        ("suffix", "."),
        ("suffix", "*.example.com"),
    ];
    for (kind, name) in hosts {
        let expected = format!("{matched}.hostname.{kind}: {host}; it is {name:?}");
        assert_eq!(refused(GATEWAY_ROUTE, &http(json!({"hostname": {kind: name}}), none.clone())), expected);
    }
    let rows = [
        (
            http(json!({"prefix": "/aws-appmesh/x"}), none.clone()),
            format!("{matched}.prefix: must not start with any of /aws-appmesh, /aws-app-mesh, which are reserved"),
        ),
        (
            json!({"grpcRoute": {"match": {"serviceName": "aws.app-mesh.X"}, "action": {"target": target()}}}),
            "spec.grpcRoute.match.serviceName: must not start with any of aws.appmesh, aws.app-mesh, which are reserved"
                .into(),
        ),
        (
            http(json!({"hostname": {}}), none),
            format!("{matched}.hostname: must have exactly one of exact, suffix; it has none"),
        ),
        (
            http(prefix.clone(), json!({"path": {"exact": "/b"}})),
            format!("{rewrite}.path: must not be there, because the match is by prefix"),
        ),
        (
            http(path.clone(), json!({"prefix": {"defaultPrefix": "DISABLED"}})),
            format!("{rewrite}.prefix: must not be there, because the match is by path"),
        ),
        (
            http(prefix.clone(), json!({"prefix": {"defaultPrefix": "DISABLED", "value": "/"}})),
            format!(
                "{rewrite}.prefix: must have exactly one of defaultPrefix, value; it has defaultPrefix, value"
            ),
        ),
        (
            http(prefix.clone(), json!({"prefix": {"value": "/q"}})),
            format!("{rewrite}.prefix.value: must start and end with '/'; it is \"/q\""),
        ),
        (
            http(prefix, json!({"prefix": {"value": "q/"}})),
            format!("{rewrite}.prefix.value: must start with '/'; it is \"q/\""),
        ),
        (
            http(path, json!({"path": {"exact": "b"}})),
            format!("{rewrite}.path.exact: must start with '/'; it is \"b\""),
        ),
        (
            json!({"tcpRoute": {}}),
            "spec: must have exactly one of httpRoute, http2Route, grpcRoute; it has none".into(),
        ),
    ];
    for (spec, expected) in rows {
        assert_eq!(refused(GATEWAY_ROUTE, &spec), expected, "{spec}");
    }
}
