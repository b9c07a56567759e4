//! Whatever is sent, the parser keeps its word.

use proptest::{prelude::*, sample::Index};
use serde_json::{Value, json};

use super::{check_taken, legal::resource, parse, shown};

/// What is done to one value of a legal spec.
#[derive(Clone, Debug)]
enum Mutation {
    /// It goes.
    Drop,
    /// Something else takes its place.
    Replace(Value),
    /// It gets a member or an item that it did not have.
    Add(String, Value),
    /// It is wrapped into so many lists or objects.
    Nest(usize, bool),
    /// It comes twice.
    Double,
}

fn strangers() -> impl Strategy<Value = Value> {
    let numbers =
        [json!(0), json!(-1), json!(i64::MIN), json!(i64::MAX), json!(u64::MAX), json!(1e300), json!(-0.0)];
    let texts =
        ["", " ", "a", "\0", "*", "..", "/", "é", "arn:aws:appmesh:::mesh/m@000000000000/virtualService/s"];
    let words =
        ["http", "grpc", "ENABLED", "STRICT", "default", "ROOTCA", "spiffe://a/mesh/m/virtual-node/b"];
    let texts = texts.into_iter().chain(words).map(Value::from).chain([json!("a".repeat(3000))]);
    let others = [json!(null), json!(true), json!([]), json!({}), json!([null]), json!({"": {"": []}})];
    prop::sample::select(numbers.into_iter().chain(texts).chain(others).collect::<Vec<_>>())
}

fn mutations() -> impl Strategy<Value = Mutation> {
    // Every member of some union or other, and names that are none.
    let names = [
        "acm", "file", "sds", "dns", "http", "grpc", "tcp", "exact", "regex", "text", "prefix", "path",
        "unknown", "",
    ];
    prop_oneof![
        Just(Mutation::Drop),
        strangers().prop_map(Mutation::Replace),
        (prop::sample::select(names.to_vec()), strangers())
            .prop_map(|(name, value)| Mutation::Add(name.into(), value)),
        (1..300_usize, any::<bool>()).prop_map(|(depth, lists)| Mutation::Nest(depth, lists)),
        Just(Mutation::Double),
    ]
}

/// How many values there are in a value, itself included.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(members) => members.values().map(count).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// Changes the value that comes `nth` in the order of the text, and says what is left to count off.
fn mutate(value: &mut Value, nth: usize, mutation: &Mutation) -> Option<usize> {
    let Some(mut left) = nth.checked_sub(1) else {
        match (mutation, &mut *value) {
            (Mutation::Replace(stranger), _) => *value = stranger.clone(),
            (Mutation::Add(name, stranger), Value::Object(members)) => {
                drop(members.insert(name.clone(), stranger.clone()))
            }
            (Mutation::Add(_, stranger), Value::Array(items)) => items.push(stranger.clone()),
            (Mutation::Nest(depth, lists), _) => {
                for _ in 0..*depth {
                    let inner = value.take();
                    *value = if *lists { json!([inner]) } else { json!({"a": inner}) };
                }
            }
            (Mutation::Drop, Value::Object(members)) => members.clear(),
            (Mutation::Drop, Value::Array(items)) => items.clear(),
            (Mutation::Drop, _) => *value = Value::Null,
            (Mutation::Double, Value::Array(items)) => items.extend(items.clone()),
            (Mutation::Double | Mutation::Add(..), _) => {}
        }
        return None;
    };
    match value {
        Value::Array(items) => {
            for item in items {
                left = mutate(item, left, mutation)?;
            }
        }
        Value::Object(members) => {
            for member in members.values_mut() {
                left = mutate(member, left, mutation)?;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    Some(left)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_legal_spec_comes_back_as_it_was_sent_and_means_the_same((key, root, spec) in resource().unwrap()) {
        let taken = check_taken(key, root, &spec);
        prop_assert!(taken.is_ok(), "{}: {:#}", spec, taken.unwrap_err());
    }

    #[test]
    fn a_mutated_spec_is_refused_by_a_path_or_comes_back_as_it_was_sent(
        (key, root, mut spec) in resource().unwrap(), changes in prop::collection::vec((any::<Index>(), mutations()), 1..3),
    ) {
        for (index, mutation) in &changes {
            let nth = index.index(count(&spec));
            mutate(&mut spec, nth, mutation);
        }
        match parse(key, spec.clone()) {
            Ok(document) => {
                let back: Value = serde_json::from_str(document.text().get()).unwrap();
                prop_assert_eq!(&back, &shown(root, spec.clone()));
                let taken = check_taken(key, root, &back);
                prop_assert!(taken.is_ok(), "{}: {:#}", spec, taken.unwrap_err());
            }
            Err(error) => {
                let path = error.path.as_str();
                prop_assert!(path == "spec" || path.starts_with("spec.") || path.starts_with("spec["), "{}", error);
                prop_assert!(!error.rule.to_string().is_empty());
            }
        }
    }
}
