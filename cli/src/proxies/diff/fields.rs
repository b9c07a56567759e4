//! Where two JSON trees differ.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Map, Value};

/// What Envoy writes in the place of what it does not show.
const WITHHELD: &str = "[redacted]";

/// One place in which they differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Field {
    /// `virtual_hosts["shop"].routes[0].route.timeout`; empty for the whole.
    pub(super) path: String,
    /// What the server sent there; absent where it sent nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sent: Option<Value>,
    /// What Envoy runs there; absent where it has nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) runs: Option<Value>,
}

/// Every place in which what was sent differs from what runs, in the order of what was sent.
pub(super) fn differences(sent: &Value, runs: &Value) -> Vec<Field> {
    let mut found = Vec::new();
    compare(&mut String::new(), Some(sent), Some(runs), &mut found);
    found
}

fn compare(path: &mut String, sent: Option<&Value>, runs: Option<&Value>, found: &mut Vec<Field>) {
    match (sent, runs) {
        (Some(sent), Some(runs)) if sent == runs || runs == WITHHELD => {}
        (Some(Value::Object(sent)), Some(Value::Object(runs))) => {
            let only_there = runs.keys().filter(|name| !sent.contains_key(*name));
            for name in sent.keys().chain(only_there) {
                let dot = if path.is_empty() { "" } else { "." };
                within(path, &format!("{dot}{name}"), sent.get(name), runs.get(name), found);
            }
        }
        (Some(Value::Array(sent)), Some(Value::Array(runs))) => items(path, sent, runs, found),
        (sent, runs) => {
            found.push(Field { path: path.clone(), sent: sent.cloned(), runs: runs.cloned() });
        }
    }
}

fn within(path: &mut String, step: &str, sent: Option<&Value>, runs: Option<&Value>, found: &mut Vec<Field>) {
    let length = path.len();
    path.push_str(step);
    compare(path, sent, runs, found);
    path.truncate(length);
}

/// By their names where all have one of their own, else by their places.
fn items(path: &mut String, sent: &[Value], runs: &[Value], found: &mut Vec<Field>) {
    let (Some(sent_by_name), Some(runs_by_name)) = (by_name(sent), by_name(runs)) else {
        for place in 0..sent.len().max(runs.len()) {
            within(path, &format!("[{place}]"), sent.get(place), runs.get(place), found);
        }
        return;
    };
    let before = found.len();
    let only_there = runs_by_name.keys().filter(|name| !sent_by_name.contains_key(*name));
    for name in sent_by_name.keys().chain(only_there) {
        within(path, &format!("[{name:?}]"), sent_by_name.get(name), runs_by_name.get(name), found);
    }
    // The same items in another order: the first that fits wins, so that is another meaning.
    let order = |items: &Map<String, Value>| items.keys().cloned().map(Value::from).collect::<Vec<_>>();
    let (sent, runs) = (order(&sent_by_name), order(&runs_by_name));
    if found.len() == before && sent != runs {
        found.push(Field { path: path.clone(), sent: Some(sent.into()), runs: Some(runs.into()) });
    }
}

/// In the order of the items; `None` where one has no name, or two have the same.
fn by_name(items: &[Value]) -> Option<Map<String, Value>> {
    let names: BTreeSet<&str> = items.iter().map(|item| item["name"].as_str()).collect::<Option<_>>()?;
    let named = items.iter().filter_map(|item| Some((item["name"].as_str()?.to_owned(), item.clone())));
    (names.len() == items.len()).then(|| named.collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(path: &str, sent: Value, runs: Value) -> Field {
        let there = |value: Value| (!value.is_null()).then_some(value);
        Field { path: path.to_owned(), sent: there(sent), runs: there(runs) }
    }

    #[test]
    fn each_difference_is_named_by_its_path_and_nothing_else_is() {
        let sent = json!({"name": "r", "hosts": [
            {"name": "a", "routes": [{"route": {"timeout": "15s"}}, {"route": {"cluster": "c"}}]},
            {"name": "b", "domains": ["b.test"]}
        ], "only_sent": 1, "secret": "x"});
        let runs = json!({"name": "r", "hosts": [
            {"name": "b", "domains": ["b.test", "c.test"]},
            {"name": "a", "routes": [{"route": {"timeout": "20s"}}]}
        ], "only_run": {"deep": true}, "secret": "[redacted]"});
        let expected = [
            at("hosts[\"a\"].routes[0].route.timeout", json!("15s"), json!("20s")),
            at("hosts[\"a\"].routes[1]", json!({"route": {"cluster": "c"}}), Value::Null),
            at("hosts[\"b\"].domains[1]", Value::Null, json!("c.test")),
            at("only_sent", json!(1), Value::Null),
            at("only_run", Value::Null, json!({"deep": true})),
        ];
        assert_eq!(differences(&sent, &runs), expected);
        assert_eq!(differences(&sent, &sent), []);
    }

    #[test]
    fn another_order_of_the_same_items_is_a_difference() {
        let list = |names: [&str; 2]| json!({"routes": names.map(|name| json!({"name": name}))});
        let found = differences(&list(["a", "b"]), &list(["b", "a"]));
        assert_eq!(found, [at("routes", json!(["a", "b"]), json!(["b", "a"]))]);
    }

    #[test]
    fn items_without_names_of_their_own_are_compared_by_place() {
        let found =
            differences(&json!([{"name": "a"}, {"name": "a"}]), &json!([{"name": "a"}, {"name": "b"}]));
        assert_eq!(found, [at("[1].name", json!("a"), json!("b"))]);
    }
}
