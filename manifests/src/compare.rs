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

/// A spec as it is compared and exported: without what says nothing, and with what the server adds on its own
/// (a health check's port, a virtual node's empty list of backends), so that a spec that was sent and the same
/// spec described are equal.
#[must_use]
pub fn spec(document: &Document) -> Value {
    let mut value: Value = serde_json::from_str(document.text().get()).unwrap_or(Value::Null);
    without_nulls(&mut value);
    if let Some(listeners) = value.get_mut("listeners").and_then(Value::as_array_mut) {
        listeners.iter_mut().for_each(with_health_check_port);
    }
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

fn with_health_check_port(listener: &mut Value) {
    let port = listener.pointer("/portMapping/port").cloned();
    if let (Some(port), Some(check)) = (port, listener.get_mut("healthCheck").and_then(Value::as_object_mut))
    {
        check.entry("port").or_insert(port);
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
