use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{export, node, shape};

/// References both ways: every name is an object of its own.
struct Objects;

impl References for Objects {
    fn resolve(&self, _: Kind, reference: &Node) -> Result<String, Fault> {
        reference.get("name").ok_or_else(|| reference.fault("no name"))?.text().map(str::to_owned)
    }
}

impl Referrer for Objects {
    fn refer(&self, kind: Kind, name: &str) -> (String, Value) {
        let (by_object, by_arn) = reference(kind);
        match name.contains('.') {
            true => (by_arn, json!(format!("arn:aws:appmesh:r:1:mesh/m/{}/{name}", kind.arn_segment()))),
            false => (by_object, json!({"name": name})),
        }
    }
}

/// Any JSON of a shape, whether or not App Mesh would take it.
fn any_value(shape: Shape) -> BoxedStrategy<Value> {
    match shape {
        Shape::Text => prop_oneof![
            "\\PC{1,12}",
            "[ -~\\n\\t]{1,20}",
            prop::sample::select(vec![
                "true", "null", "~", "1", "1.0", "- a", "a: b", "#", "yes", "!x", "&x", "*x", "{", "é\u{85}"
            ])
            .prop_map(str::to_owned),
        ]
        .prop_map(Value::from)
        .boxed(),
        Shape::Name(_) => "[a-z]{1,5}(\\.[a-z]{1,5})?".prop_map(Value::from).boxed(),
        Shape::Integer => any::<i64>().prop_map(Value::from).boxed(),
        Shape::Boolean => any::<bool>().prop_map(Value::from).boxed(),
        Shape::List(item) => prop::collection::vec(any_value(*item), 0..3).prop_map(Value::from).boxed(),
        Shape::Object(members) => {
            let members: Vec<_> = members
                .iter()
                .map(|(name, shape)| {
                    prop::option::weighted(0.7, any_value(*shape))
                        .prop_map(|value| ((*name).to_owned(), value))
                })
                .collect();
            let object = |members: Vec<(String, Option<Value>)>| {
                let set = members.into_iter().filter_map(|(name, value)| Some((name, value?)));
                Value::Object(set.collect())
            };
            members.prop_map(object).boxed()
        }
    }
}

fn any_spec() -> impl Strategy<Value = (Kind, Value)> {
    prop::sample::select(Kind::ALL.to_vec()).prop_flat_map(|kind| (Just(kind), any_value(shape::spec(kind))))
}

fn read(text: &str, shape: &Shape, spelling: Spelling) -> Result<Option<Value>, Fault> {
    let documents = node::documents(&"f".into(), text)?;
    let references = (spelling == Spelling::Kubernetes).then_some(&Objects as &dyn References);
    match documents.first() {
        Some(document) => Reader { spelling, references }.json(document, shape),
        None => Ok(None),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_spelling_and_syntax_gives_back_what_was_written((kind, value) in any_spec()) {
        let shape = shape::spec(kind);
        for spelling in [Spelling::Api, Spelling::CloudFormation, Spelling::Kubernetes] {
            let referrer = (spelling == Spelling::Kubernetes).then_some(&Objects as &dyn Referrer);
            let written = spelled(&value, &shape, spelling, referrer);
            for syntax in [export::Syntax::Yaml, export::Syntax::Json] {
                let text = export::document(&written, syntax).unwrap();
                let read = read(&text, &shape, spelling).unwrap_or_else(|fault| panic!("{fault}\n{text}"));
                prop_assert_eq!(read.unwrap_or_else(|| json!({})), value.clone(), "{:?} {}", spelling, text);
            }
        }
    }

    #[test]
    fn any_yaml_is_read_or_refused(text in "[-a-c:#&*!|>'\"{}\\[\\], \n]{0,80}") {
        let _ = read(&text, &shape::spec(Kind::VirtualNode), Spelling::CloudFormation);
        let _ = crate::read(&[crate::Source { name: "f".into(), text }], &crate::Settings::new("1", "r"));
    }
}

#[test]
fn a_member_is_found_by_the_apis_path() {
    let text = "Listeners:\n  - PortMapping:\n      Port: 1\n      Protocol: http\n    TLS:\n      Mode: x\n";
    let document = node::documents(&"f".into(), text).unwrap().remove(0);
    let reader = Reader { spelling: Spelling::CloudFormation, references: None };
    let shape = shape::spec(Kind::VirtualNode);
    let lines: BTreeMap<&str, usize> = [
        "listeners",
        "listeners[0].portMapping.port",
        "listeners[0].tls.mode",
        "listeners[0].tls.certificate",
        "listeners[7].tls",
        "serviceDiscovery",
        "",
    ]
    .into_iter()
    .map(|path| (path, reader.locate(&document, &shape, path).line))
    .collect();
    let expected = [
        ("", 1),
        ("listeners", 1),
        ("listeners[0].portMapping.port", 3),
        ("listeners[0].tls.certificate", 5),
        ("listeners[0].tls.mode", 6),
        ("listeners[7].tls", 1),
        ("serviceDiscovery", 1),
    ];
    assert_eq!(lines.into_iter().collect::<Vec<_>>(), expected);
}
