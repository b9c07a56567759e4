//! What the members of routes mean, and the rules that several of them break together.

use std::num::NonZeroU16;

use super::*;
use crate::model::{
    GrpcMatch, GrpcRetryEvent, HeaderMatch, Method, QueryMatch, RouteRule, Scheme, Timeout, ValueMatch,
};

fn route(spec: Value) -> Route {
    let Spec::Route(route) = parsed(ROUTE, spec) else { panic!() };
    (*route).clone()
}

fn action() -> Value {
    json!({"weightedTargets": [{"virtualNode": "a", "weight": 1, "port": 9}]})
}

fn targets() -> Vec<WeightedTarget> {
    vec![WeightedTarget { virtual_node: "a".parse().unwrap(), weight: 1, port: NonZeroU16::new(9) }]
}

fn header(name: &str, value: ValueMatch, invert: bool) -> HeaderMatch {
    HeaderMatch { name: name.into(), value, invert }
}

#[test]
fn everything_about_an_http2_route_is_understood() {
    let spec = json!({
        "priority": 0,
        "http2Route": {
            "match": {
                "path": {"regex": "/a.*"}, "method": "PATCH", "scheme": "https", "port": 8080,
                "headers": [
                    {"name": "Present"}, {"name": "absent", "invert": true},
                    {"name": "e", "match": {"exact": "x"}}, {"name": "p", "match": {"prefix": "x"}},
                    {"name": "s", "match": {"suffix": "x"}}, {"name": "r", "match": {"regex": "x+"}, "invert": false},
                    {"name": "n", "match": {"range": {"start": -5, "end": 6}}, "invert": true},
                ],
                "queryParameters": [
                    {"name": "q", "match": {"exact": "v"}}, {"name": "any", "match": {}}, {"name": "none"},
                ],
            },
            "action": action(),
            "timeout": {"perRequest": {"unit": "ms", "value": 5}, "idle": {"unit": "s", "value": 0}},
        },
    });
    let text = |text: &str| text.to_owned();
    let query =
        |name: &str, exact: Option<&str>| QueryMatch { name: name.into(), exact: exact.map(str::to_owned) };
    let rule = RouteRule::Http2(HttpMatch {
        path: PathMatch::Regex("/a.*".into()),
        method: Some(Method::Patch),
        scheme: Some(Scheme::Https),
        headers: vec![
            header("Present", ValueMatch::Present, false),
            header("absent", ValueMatch::Present, true),
            header("e", ValueMatch::Exact(text("x")), false),
            header("p", ValueMatch::Prefix(text("x")), false),
            header("s", ValueMatch::Suffix(text("x")), false),
            header("r", ValueMatch::Regex(text("x+")), false),
            header("n", ValueMatch::Range { start: -5, end: 6 }, true),
        ],
        query_parameters: vec![query("q", Some("v")), query("any", None), query("none", None)],
    });
    let expected = Route {
        priority: Some(0),
        port: NonZeroU16::new(8080),
        timeout: Timeout { per_request: Some(Duration::from_millis(5)), idle: Some(Duration::ZERO) },
        ..Route::new(rule, targets())
    };
    assert_eq!(route(spec), expected);
}

#[test]
fn everything_about_a_grpc_route_is_understood() {
    let spec = json!({"grpcRoute": {
        "match": {
            "serviceName": "pkg.Service", "methodName": "Get", "port": 8080,
            "metadata": [{"name": "k", "match": {"exact": "v"}, "invert": true}],
        },
        "action": action(),
        "timeout": {"perRequest": {"unit": "s", "value": 5}},
        "retryPolicy": {
            "maxRetries": i64::MAX, "perRetryTimeout": {"unit": "s", "value": 0},
            "grpcRetryEvents": ["cancelled", "unavailable", "internal", "deadline-exceeded", "resource-exhausted"],
            "httpRetryEvents": ["client-error", "stream-error", "stream-error"],
        },
    }});
    let expected = Route {
        port: NonZeroU16::new(8080),
        timeout: Timeout { per_request: Some(Duration::from_secs(5)), idle: None },
        retry: Some(RetryPolicy {
            max_retries: u32::MAX,
            per_retry_timeout: Duration::ZERO,
            http_events: vec![
                HttpRetryEvent::ClientError,
                HttpRetryEvent::StreamError,
                HttpRetryEvent::StreamError,
            ],
            grpc_events: vec![
                GrpcRetryEvent::Cancelled,
                GrpcRetryEvent::Unavailable,
                GrpcRetryEvent::Internal,
                GrpcRetryEvent::DeadlineExceeded,
                GrpcRetryEvent::ResourceExhausted,
            ],
            on_connection_error: false,
        }),
        ..Route::new(
            RouteRule::Grpc(GrpcMatch {
                service_name: Some("pkg.Service".into()),
                method_name: Some("Get".into()),
                metadata: vec![header("k", ValueMatch::Exact("v".into()), true)],
            }),
            targets(),
        )
    };
    assert_eq!(route(spec), expected);
    let empty = json!({"grpcRoute": {"match": {}, "action": action()}});
    assert_eq!(route(empty), Route::new(RouteRule::Grpc(GrpcMatch::default()), targets()));
}

#[test]
fn everything_about_a_tcp_route_is_understood() {
    let spec = json!({"tcpRoute": {
        "match": {"port": 3306}, "action": action(), "timeout": {"idle": {"unit": "s", "value": 7}},
        // None of the shape's, and ignored.
        "retryPolicy": {},
    }});
    let expected = Route {
        port: NonZeroU16::new(3306),
        timeout: Timeout { per_request: None, idle: Some(Duration::from_secs(7)) },
        ..Route::new(RouteRule::Tcp, targets())
    };
    assert_eq!(route(spec), expected);
    assert_eq!(route(json!({"tcpRoute": {"action": action()}})), Route::new(RouteRule::Tcp, targets()));
}

#[test]
fn methods_and_schemes_are_the_ones_named() {
    for name in ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"] {
        let RouteRule::Http(found) = route(with_route(json!({"match": {"method": name}}))).rule else {
            panic!()
        };
        assert_eq!(format!("{:?}", found.method.unwrap()).to_uppercase(), name);
    }
    for (name, scheme) in [("http", Scheme::Http), ("https", Scheme::Https)] {
        let RouteRule::Http(found) = route(with_route(json!({"match": {"scheme": name}}))).rule else {
            panic!()
        };
        assert_eq!(found.scheme, Some(scheme));
    }
}

#[test]
fn a_match_by_port_alone_is_one_of_every_path() {
    for matched in [json!({}), json!({"port": 80})] {
        let route = route(with_route(json!({"match": matched})));
        assert_eq!(route.rule, RouteRule::Http(HttpMatch::new(PathMatch::Prefix("/".into()))));
    }
}

#[test]
fn weights_are_relative_and_targets_may_be_named_twice() {
    let one = |weight: u8| json!({"virtualNode": "a", "weight": weight});
    for weights in [json!([one(1), one(1), one(1)]), json!([one(0), one(1)]), json!([one(100)])] {
        parsed(ROUTE, with_targets(weights));
    }
}

#[test]
fn a_match_whose_parts_do_not_fit_each_other_is_refused() {
    let matched = "spec.httpRoute.match";
    let header = |header: Value| with_route(json!({"match": {"headers": [header]}}));
    let rows = [
        (
            with_route(json!({"match": {"prefix": "/", "path": {"exact": "/"}}})),
            format!("{matched}.path: must not be there, because there is a prefix"),
        ),
        (
            with_route(json!({"match": {"prefix": ""}})),
            format!("{matched}.prefix: must start with '/'; it is \"\""),
        ),
        (
            with_route(json!({"match": {"path": {"exact": "/", "regex": "/"}}})),
            format!("{matched}.path: must have exactly one of exact, regex; it has exact, regex"),
        ),
        (
            header(json!({"name": ":path"})),
            format!("{matched}.headers[0].name: must be of visible ASCII characters other than ':'"),
        ),
        (
            header(json!({"name": "a b"})),
            format!("{matched}.headers[0].name: must be of visible ASCII characters other than ':'"),
        ),
        (
            header(json!({"name": "a", "match": {"range": {"start": 1, "end": 1}}})),
            format!("{matched}.headers[0].match.range: start must be less than end; they are 1 and 1"),
        ),
        (
            with_route(json!({"match": {"queryParameters": [{"name": "é".repeat(513)}]}})),
            format!("{matched}.queryParameters[0].name: must have at most 1024 bytes; it has 1026"),
        ),
        (
            json!({"grpcRoute": {"match": {"methodName": "Get"}, "action": action()}}),
            "spec.grpcRoute.match.serviceName: is required, because there is a methodName".into(),
        ),
        (
            json!({"grpcRoute": {"match": {}, "action": action(), "retryPolicy": {
                "maxRetries": 1, "perRetryTimeout": {"unit": "s", "value": 1},
            }}}),
            "spec.grpcRoute.retryPolicy: must name at least one event, in grpcRetryEvents, httpRetryEvents or \
             tcpRetryEvents"
                .into(),
        ),
    ];
    for (spec, expected) in rows {
        assert_eq!(refused(ROUTE, &spec), expected, "{spec}");
    }
}
