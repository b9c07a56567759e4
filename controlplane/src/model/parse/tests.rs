use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::super::{
    Certificate, Discovery, DnsResponseType, Document, EgressFilter, HttpMatch, HttpRetryEvent, MeshSettings,
    PathMatch, Provider, RetryPolicy, Route, RouteRule, Trust, WeightedTarget,
};
use super::*;

mod gateway;
mod node;
mod node_rules;
mod route;

const NODE: &str = "mesh/m/virtualNode/a";
const SERVICE: &str = "mesh/m/virtualService/s";
const ROUTER: &str = "mesh/m/virtualRouter/r";
const ROUTE: &str = "mesh/m/virtualRouter/r/route/x";
const GATEWAY: &str = "mesh/m/virtualGateway/g";
const GATEWAY_ROUTE: &str = "mesh/m/virtualGateway/g/gatewayRoute/x";

fn parsed(key: &str, spec: Value) -> Spec {
    match Document::parse(key.parse().unwrap(), spec) {
        Ok(document) => document.spec().clone(),
        Err(error) => panic!("{error}"),
    }
}

fn refused(key: &str, spec: &Value) -> String {
    match Document::parse(key.parse().unwrap(), spec.clone()) {
        Ok(_) => panic!("{spec} was accepted"),
        Err(error) => error.to_string(),
    }
}

/// Every row: a kind of resource, a spec, and the refusal.
fn check(key: &str, cases: &[(Value, &str)]) {
    for (spec, expected) in cases {
        assert_eq!(refused(key, spec), *expected, "{spec}");
    }
}

fn with_listener(listener: Value) -> Value {
    json!({"listeners": [listener], "serviceDiscovery": {"dns": {"hostname": "a"}}})
}

fn with_tls(tls: Value) -> Value {
    with_listener(json!({"portMapping": {"port": 80, "protocol": "http"}, "tls": tls}))
}

fn with_route(route: Value) -> Value {
    let mut whole = json!({"match": {}, "action": {"weightedTargets": [{"virtualNode": "a", "weight": 1}]}});
    for (member, value) in route.as_object().unwrap() {
        whole[member] = value.clone();
    }
    json!({"httpRoute": whole})
}

fn with_targets(targets: Value) -> Value {
    with_route(json!({"action": {"weightedTargets": targets}}))
}

fn with_retry(policy: Value) -> Value {
    let mut whole = json!({"maxRetries": 1, "perRetryTimeout": {"unit": "s", "value": 1}});
    for (member, value) in policy.as_object().unwrap() {
        whole[member] = value.clone();
    }
    with_route(json!({"retryPolicy": whole}))
}

fn filter(egress_filter: EgressFilter) -> Spec {
    Spec::Mesh(MeshSettings { egress_filter, ip_preference: None })
}

#[test]
fn a_mesh_says_what_traffic_to_unknown_destinations_meets() {
    assert_eq!(parsed("mesh/m", json!({})), filter(EgressFilter::DropAll));
    assert_eq!(parsed("mesh/m", json!({"egressFilter": null})), filter(EgressFilter::DropAll));
    let drop = json!({"egressFilter": {"type": "DROP_ALL"}});
    assert_eq!(parsed("mesh/m", drop), filter(EgressFilter::DropAll));
    let allow = json!({"egressFilter": {"type": "ALLOW_ALL"}, "unknownToAppMesh": [{}]});
    assert_eq!(parsed("mesh/m", allow), filter(EgressFilter::AllowAll));
    check(
        "mesh/m",
        &[
            (json!([]), "spec: must be an object, not a list"),
            (json!({"egressFilter": true}), "spec.egressFilter: must be an object, not a boolean"),
            (json!({"egressFilter": {}}), "spec.egressFilter.type: is required"),
            (json!({"egressFilter": {"type": 1}}), "spec.egressFilter.type: must be a string, not a number"),
            (
                json!({"egressFilter": {"type": "allow_all"}}),
                "spec.egressFilter.type: must be one of ALLOW_ALL, DROP_ALL; it is \"allow_all\"",
            ),
            (
                json!({"serviceDiscovery": {"ipPreference": "IPV4_ONLY"}}),
                "spec.serviceDiscovery.ipPreference: must be one of IPv6_PREFERRED, IPv4_PREFERRED, IPv4_ONLY, \
                 IPv6_ONLY; it is \"IPV4_ONLY\"",
            ),
        ],
    );
}

#[test]
fn a_mesh_says_which_addresses_its_nodes_prefer() {
    use crate::model::IpPreference::{Ipv4Only, Ipv4Preferred, Ipv6Only, Ipv6Preferred};
    let preferences = [
        ("IPv4_PREFERRED", Ipv4Preferred),
        ("IPv6_PREFERRED", Ipv6Preferred),
        ("IPv4_ONLY", Ipv4Only),
        ("IPv6_ONLY", Ipv6Only),
    ];
    for (name, preference) in preferences {
        let settings = MeshSettings { ip_preference: Some(preference), ..MeshSettings::default() };
        let spec = json!({"serviceDiscovery": {"ipPreference": name}});
        assert_eq!(parsed("mesh/m", spec), Spec::Mesh(settings));
    }
}

#[test]
fn a_service_has_one_provider_or_none() {
    let Spec::VirtualService(service) = parsed(SERVICE, json!({})) else { panic!() };
    assert_eq!(service.provider, None);
    let spec = json!({"provider": {"virtualRouter": {"virtualRouterName": "r"}}});
    let Spec::VirtualService(service) = parsed(SERVICE, spec) else { panic!() };
    assert_eq!(service.provider, Some(Provider::VirtualRouter("r".parse().unwrap())));
    check(
        SERVICE,
        &[
            (
                json!({"provider": {}}),
                "spec.provider: must have exactly one of virtualNode, virtualRouter; it has none",
            ),
            (
                json!({"provider": {"virtualNode": {}}}),
                "spec.provider.virtualNode.virtualNodeName: is required",
            ),
            (
                json!({"provider": {"virtualNode": {"virtualNodeName": "a.b"}}}),
                "spec.provider.virtualNode.virtualNodeName: the resource name holds '.'; only letters, digits, '-' \
                 and '_' are allowed",
            ),
        ],
    );
}

#[test]
fn a_router_has_listeners_on_distinct_ports() {
    let listener = |port: u16| json!({"portMapping": {"port": port, "protocol": "http"}});
    let Spec::VirtualRouter(router) = parsed(ROUTER, json!({"listeners": [listener(1), listener(2)]})) else {
        panic!()
    };
    assert_eq!(router.listeners.len(), 2);
    check(
        ROUTER,
        &[(
            json!({"listeners": [listener(1), listener(1)]}),
            "spec.listeners[1]: another listener has port 1 already",
        )],
    );
}

#[test]
fn the_canary_route_of_the_documentation_is_understood_whole() {
    let text = r#"{"httpRoute":{"match":{"prefix":"/"},"action":{"weightedTargets":[{"virtualNode":"service-a-v1-node","weight":90},{"virtualNode":"service-a-v2-node","weight":10}]},"retryPolicy":{"maxRetries":3,"perRetryTimeout":{"unit":"ms","value":2000},"httpRetryEvents":["server-error","gateway-error"],"tcpRetryEvents":["connection-error"]}}}"#;
    let document = Document::parse(ROUTE.parse().unwrap(), serde_json::from_str(text).unwrap()).unwrap();
    assert_eq!(document.text().get(), text);
    let target =
        |name: &str, weight| WeightedTarget { virtual_node: name.parse().unwrap(), weight, port: None };
    let rule = RouteRule::Http(HttpMatch::new(PathMatch::Prefix("/".into())));
    let expected = Route {
        retry: Some(RetryPolicy {
            max_retries: 3,
            per_retry_timeout: Duration::from_secs(2),
            http_events: vec![HttpRetryEvent::ServerError, HttpRetryEvent::GatewayError],
            grpc_events: Vec::new(),
            on_connection_error: true,
        }),
        ..Route::new(rule, vec![target("service-a-v1-node", 90), target("service-a-v2-node", 10)])
    };
    assert_eq!(*document.spec(), Spec::Route(expected.into()));
}

#[test]
fn a_route_that_breaks_a_rule_is_refused_by_the_members_path() {
    let one = |weight: u16| json!({"virtualNode": "a", "weight": weight});
    let (route, matched) = ("spec.httpRoute", "spec.httpRoute.match");
    let targets = "spec.httpRoute.action.weightedTargets";
    let types = "httpRoute, http2Route, tcpRoute, grpcRoute";
    let mut with_priority = with_route(json!({}));
    with_priority["priority"] = json!(1001);
    let rows = [
        (json!({}), format!("spec: must have exactly one of {types}; it has none")),
        (
            json!({"httpRoute": {}, "tcpRoute": {}}),
            format!("spec: must have exactly one of {types}; it has httpRoute, tcpRoute"),
        ),
        (json!({"tcpRoute": {}}), "spec.tcpRoute.action: is required".into()),
        (json!({"httpRoute": {}}), format!("{matched}: is required")),
        (with_priority, "spec.priority: must be 0 to 1000; it is 1001".into()),
        (with_route(json!({"timeout": {"idle": {}}})), format!("{route}.timeout.idle.unit: is required")),
        (
            with_route(json!({"match": {"prefix": "a"}})),
            format!("{matched}.prefix: must start with '/'; it is \"a\""),
        ),
        (with_route(json!({"match": {"port": 0}})), format!("{matched}.port: must be 1 to 65535; it is 0")),
        (with_route(json!({"action": {}})), format!("{targets}: is required")),
        (with_targets(json!([])), format!("{targets}: must have 1 to 10 items; this one has 0")),
        (
            with_targets(json!(vec![one(1); 11])),
            format!("{targets}: must have 1 to 10 items; this one has 11"),
        ),
        (with_targets(json!([one(101)])), format!("{targets}[0].weight: must be 0 to 100; it is 101")),
        (
            with_targets(json!([one(0)])),
            format!("{targets}: the weights must add up to 1 to 100; their sum is 0"),
        ),
        (
            with_targets(json!([one(100), one(1)])),
            format!("{targets}: the weights must add up to 1 to 100; their sum is 101"),
        ),
        (with_targets(json!([{"weight": 1}])), format!("{targets}[0].virtualNode: is required")),
        (with_targets(json!([{"virtualNode": "a"}])), format!("{targets}[0].weight: is required")),
    ];
    for (spec, expected) in rows {
        assert_eq!(refused(ROUTE, &spec), expected, "{spec}");
    }
}

#[test]
fn a_retry_policy_that_breaks_a_rule_is_refused_by_the_members_path() {
    let retry = "spec.httpRoute.retryPolicy";
    let events = json!(["server-error"]);
    let timeout = |timeout: Value| with_retry(json!({"perRetryTimeout": timeout, "httpRetryEvents": events}));
    let rows = [
        (
            with_retry(json!({})),
            format!("{retry}: must name at least one event, in httpRetryEvents or tcpRetryEvents"),
        ),
        (with_retry(json!({"maxRetries": null})), format!("{retry}.maxRetries: is required")),
        (with_retry(json!({"maxRetries": -1})), format!("{retry}.maxRetries: must be 0 or more; it is -1")),
        (with_retry(json!({"perRetryTimeout": null})), format!("{retry}.perRetryTimeout: is required")),
        (timeout(json!({"value": 1})), format!("{retry}.perRetryTimeout.unit: is required")),
        (timeout(json!({"unit": "s"})), format!("{retry}.perRetryTimeout.value: is required")),
        (
            timeout(json!({"unit": "m", "value": 1})),
            format!("{retry}.perRetryTimeout.unit: must be one of s, ms; it is \"m\""),
        ),
        (
            timeout(json!({"unit": "s", "value": i64::MAX})),
            format!("{retry}.perRetryTimeout.value: must be 0 to 9223372035; it is {}", i64::MAX),
        ),
        (
            with_retry(json!({"httpRetryEvents": []})),
            format!("{retry}.httpRetryEvents: must have 1 to 25 items; this one has 0"),
        ),
        (
            with_retry(json!({"httpRetryEvents": ["server-error", "5xx"]})),
            format!(
                "{retry}.httpRetryEvents[1]: must be one of server-error, gateway-error, client-error, \
                 stream-error; it is \"5xx\""
            ),
        ),
        (
            with_retry(json!({"tcpRetryEvents": ["reset"]})),
            format!("{retry}.tcpRetryEvents[0]: must be one of connection-error; it is \"reset\""),
        ),
    ];
    for (spec, expected) in rows {
        assert_eq!(refused(ROUTE, &spec), expected, "{spec}");
    }
}

#[test]
fn a_spec_is_kept_as_it_was_sent_but_for_a_node_without_backends() {
    let kept = [
        ("mesh/m", r#"{"x":1.5,"egressFilter":null,"a":{"z":[1,"é"],"b":true}}"#),
        (NODE, r#"{"serviceDiscovery":{"dns":{"hostname":"a"}},"backends":[],"listeners":[]}"#),
    ];
    for (key, text) in kept {
        let document = Document::parse(key.parse().unwrap(), serde_json::from_str(text).unwrap()).unwrap();
        assert_eq!(document.text().get(), text);
    }
    for without in [json!({}), json!({"backends": null})] {
        let document = Document::parse(NODE.parse().unwrap(), without).unwrap();
        assert_eq!(document.text().get(), r#"{"backends":[]}"#);
    }
}

/// JSON made of the words of App Mesh, so that much of it is nearly right.
fn any_json() -> impl Strategy<Value = Value> {
    let words = vec![
        "listeners",
        "portMapping",
        "port",
        "protocol",
        "http",
        "tls",
        "mode",
        "STRICT",
        "certificate",
        "sds",
        "secretName",
        "acm",
        "validation",
        "trust",
        "serviceDiscovery",
        "dns",
        "hostname",
        "backends",
        "virtualService",
        "virtualServiceName",
        "httpRoute",
        "match",
        "prefix",
        "/",
        "action",
        "weightedTargets",
        "virtualNode",
        "weight",
        "retryPolicy",
        "maxRetries",
        "provider",
        "virtualNodeName",
        "egressFilter",
        "type",
    ];
    let word = prop::sample::select(words);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0..200_i64).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((word.clone(), inner), 0..6).prop_map(|members| members
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect()),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_refused_with_a_path_or_reads_the_same_from_its_stored_text(spec in any_json()) {
        for key in ["mesh/m", NODE, SERVICE, ROUTER, ROUTE, GATEWAY, GATEWAY_ROUTE] {
            let key: Key = key.parse().unwrap();
            match Document::parse(key.clone(), spec.clone()) {
                Ok(document) => {
                    let restored = Document::restore(key, document.text().to_owned()).unwrap();
                    prop_assert_eq!(restored.spec(), document.spec());
                    prop_assert_eq!(restored.text().get(), document.text().get());
                }
                Err(error) => prop_assert!(error.path.starts_with("spec")),
            }
        }
    }
}
