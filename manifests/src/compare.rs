//! Whether two specs are the same, and where they differ.

use serde_json::Value;
use signet_controlplane::model::Document;

/// A member that differs. Absent on one side is `None`.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// `spec.listeners[0].portMapping.port`.
    pub path: String,
    /// What is there.
    pub before: Option<Value>,
    /// What is asked for.
    pub after: Option<Value>,
}

/// A spec as it is compared and exported: without what says nothing, and with names where ARNs say the same. What
/// the server adds on its own (a health check's port, an empty list of backends) every [`Document`] has already.
#[must_use]
pub fn spec(document: &Document) -> Value {
    let mut value: Value = serde_json::from_str(document.text().get()).unwrap_or(Value::Null);
    without_nulls(&mut value);
    names_for_arns(&mut value);
    value
}

/// Every member in which `after` differs from `before`.
#[must_use]
pub fn differences(before: &Value, after: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    collect("spec", before, after, &mut found);
    found
}

fn collect(path: &str, before: &Value, after: &Value, found: &mut Vec<Difference>) {
    match (before, after) {
        (Value::Object(left), Value::Object(right)) => {
            let added = right.keys().filter(|key| !left.contains_key(*key));
            for key in left.keys().chain(added) {
                pair(&format!("{path}.{key}"), left.get(key), right.get(key), found);
            }
        }
        (Value::Array(left), Value::Array(right)) => {
            for index in 0..left.len().max(right.len()) {
                pair(&format!("{path}[{index}]"), left.get(index), right.get(index), found);
            }
        }
        (left, right) if left == right => {}
        (left, right) => pair(path, Some(left), Some(right), found),
    }
}

fn pair(path: &str, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<Difference>) {
    match (before, after) {
        (
            Some(before @ (Value::Object(_) | Value::Array(_))),
            Some(after @ (Value::Object(_) | Value::Array(_))),
        ) if before.is_array() == after.is_array() => {
            collect(path, before, after, found);
        }
        (before, after) if before == after => {}
        (before, after) => {
            found.push(Difference { path: path.to_owned(), before: before.cloned(), after: after.cloned() });
        }
    }
}

fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A virtual service may be named by its ARN; the name alone says the same.
fn names_for_arns(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (key, member) in members.iter_mut() {
                let arn =
                    member.as_str().filter(|text| key == "virtualServiceName" && text.starts_with("arn:"));
                match arn.and_then(|arn| arn.split_once("/virtualService/")) {
                    Some((_, name)) => *member = name.into(),
                    None => names_for_arns(member),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(names_for_arns),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_says_nothing_and_what_says_the_same_is_no_difference() {
        let node = |spec: Value| spec_of("mesh/m/virtualNode/n", spec);
        let sent = json!({
            "logging": null,
            "listeners": [{
                "portMapping": {"port": 80, "protocol": "http"},
                "tls": null,
                "healthCheck": {
                    "protocol": "http", "path": "/", "healthyThreshold": 2, "unhealthyThreshold": 2,
                    "timeoutMillis": 2000, "intervalMillis": 5000,
                },
            }],
            "serviceDiscovery": {"dns": {"hostname": "n", "responseType": null}},
            "backends": [{"virtualService": {"virtualServiceName": "arn:aws:appmesh:r:1:mesh/m/virtualService/s"}}],
        });
        let mut described = sent.clone();
        described["listeners"][0]["healthCheck"]["port"] = 80.into();
        described["backends"][0]["virtualService"]["virtualServiceName"] = "s".into();
        assert_eq!(differences(&node(sent), &node(described)), []);
        assert_eq!(differences(&node(json!({})), &node(json!({"backends": null}))), []);
    }

    #[test]
    fn what_comes_and_goes_is_named_as_a_whole() {
        let (before, after) = (json!({"a": [1, {"b": 2}], "c": {}}), json!({"a": [1, {"b": 3}, 4], "d": []}));
        let found = differences(&before, &after);
        let paths: Vec<&str> = found.iter().map(|difference| difference.path.as_str()).collect();
        assert_eq!(paths, ["spec.a[1].b", "spec.a[2]", "spec.c", "spec.d"]);
        assert_eq!((&found[1].before, &found[1].after), (&None, &Some(json!(4))));
        assert_eq!((&found[2].before, &found[2].after), (&Some(json!({})), &None));
    }

    fn spec_of(key: &str, value: Value) -> Value {
        spec(&Document::parse(key.parse().unwrap(), value).unwrap_or_else(|invalid| panic!("{invalid}")))
    }
}
