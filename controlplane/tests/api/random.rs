//! Requests that nobody thought of.

use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::client::{Api, node, route};

/// A legal request of every kind of write: method, path, body.
fn legal() -> Vec<(&'static str, &'static str, Value)> {
    let listener = json!({"portMapping": {"port": 80, "protocol": "http"}});
    let target = json!({"virtualService": {"virtualServiceName": "s.local"}});
    vec![
        (
            "PUT",
            "/meshes",
            json!({"meshName": "n", "clientToken": "t", "tags": [{"key": "k", "value": "v"}]}),
        ),
        ("PUT", "/meshes/m", json!({"spec": {"egressFilter": {"type": "ALLOW_ALL"}}})),
        ("PUT", "/meshes/m/virtualNodes", json!({"virtualNodeName": "c", "spec": node(80)})),
        ("PUT", "/meshes/m/virtualNodes/a", json!({"spec": node(80)})),
        ("PUT", "/meshes/m/virtualRouter/r/routes", json!({"routeName": "x", "spec": route("a")})),
        (
            "PUT",
            "/meshes/m/virtualServices",
            json!({"virtualServiceName": "s.local", "spec": {"provider": {"virtualNode": {"virtualNodeName": "a"}}}}),
        ),
        (
            "PUT",
            "/meshes/m/virtualGateways",
            json!({"virtualGatewayName": "g", "spec": {"listeners": [listener]}}),
        ),
        (
            "PUT",
            "/meshes/m/virtualGateway/g/gatewayRoutes",
            json!({"gatewayRouteName": "y", "spec": {"httpRoute": {"match": {"prefix": "/"}, "action": {"target": target}}}}),
        ),
        (
            "PUT",
            "/tag?resourceArn=arn:aws:appmesh:us-east-1:000000000000:mesh/m",
            json!({"tags": [{"key": "k", "value": "v"}]}),
        ),
        (
            "PUT",
            "/untag?resourceArn=arn:aws:appmesh:us-east-1:000000000000:mesh/m",
            json!({"tagKeys": ["k"]}),
        ),
    ]
}

/// What may stand where something else was.
fn other_value() -> impl Strategy<Value = Value> {
    let values = [
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(65536),
        json!(1.5),
        json!(u64::MAX),
        json!(""),
        json!("http"),
        json!("../m"),
        json!("x".repeat(300)),
        json!("\u{0}\u{202e}é"),
        json!([]),
        json!([[], {}]),
        json!({}),
        json!({"exact": "a", "regex": "("}),
        json!({"unit": "s", "value": i64::MAX}),
    ];
    prop::sample::select(values.to_vec())
}

/// The places of a value, itself among them, as JSON pointers.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, member)| places(member, &format!("{at}/{name}"), found))
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| places(item, &format!("{at}/{index}"), found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_body_that_was_changed_anywhere_is_refused_without_a_trace_or_taken_and_never_a_fault_of_ours(
        which in 0..10_usize, place in any::<prop::sample::Index>(), value in other_value(),
    ) {
        let (method, path, mut body) = legal().swap_remove(which);
        let mut found = Vec::new();
        places(&body, "", &mut found);
        *body.pointer_mut(place.get(&found).as_str()).unwrap() = value;
        Runtime::new().unwrap().block_on(async {
            let api = Api::new();
            api.furnish().await;
            let revision = || api.store.subscribe().borrow().revision;
            let before = revision();
            let answer = api.call(method, path, Some(&body)).await;
            match answer.status.as_u16() {
                200 => {}
                status => {
                    assert!((400..500).contains(&status), "{body}: {answer:?}");
                    assert!(!answer.error().2.is_empty() && revision() == before, "{body}: {answer:?}");
                }
            }
        });
    }

    #[test]
    fn a_body_of_any_bytes_and_a_path_of_any_text_are_never_a_fault_of_ours(
        body in prop::collection::vec(any::<u8>(), 0..200), path in "(/[a-zA-Z0-9%._~-]{0,12}){0,6}(\\?[a-zA-Z0-9%&=]{0,20})?",
    ) {
        Runtime::new().unwrap().block_on(async {
            let api = Api::new();
            api.furnish().await;
            for method in ["GET", "PUT", "DELETE", "POST"] {
                for path in [format!("/v20190125{path}"), "/v20190125/meshes".to_owned()] {
                    let answer = api.call_raw(method, &path, &body).await;
                    assert!(answer.status.as_u16() < 500, "{method} {path}: {answer:?}");
                }
            }
        });
    }
}
