use std::collections::BTreeSet;

use serde_json::Value;
use signet_controlplane::model::key::{Key, Kind};

use super::*;
use crate::{Source, compare, read, resource::Tags, shape, shape::Shape};

const EVERY_FIELD: &str = include_str!("../../tests/files/every-field.yaml");

fn settings() -> Settings {
    Settings::new("000000000000", "us-east-1")
}

fn bundle(text: &str) -> Bundle {
    let source = Source { name: "every-field.yaml".into(), text: text.into() };
    read(&[source], &settings()).unwrap_or_else(|faults| panic!("{faults}"))
}

/// What counts of a bundle.
fn content(bundle: &Bundle) -> Vec<(Key, Value, Tags)> {
    let resources = bundle.resources.values();
    resources
        .map(|resource| {
            let tags = resource.tags.clone().unwrap_or_default();
            (resource.document.key().clone(), compare::spec(&resource.document), tags)
        })
        .collect()
}

fn leaves(path: &str, shape: &Shape, found: &mut BTreeSet<String>) {
    match shape {
        Shape::List(item) => leaves(&format!("{path}[]"), item, found),
        Shape::Object(members) => {
            members.iter().for_each(|(name, shape)| leaves(&format!("{path}.{name}"), shape, found));
        }
        Shape::Text | Shape::Name(_) | Shape::Integer | Shape::Boolean => {
            found.insert(path.to_owned());
        }
    }
}

fn leaves_of(path: &str, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| leaves_of(&format!("{path}[]"), item, found)),
        Value::Object(members) => {
            members.iter().for_each(|(name, value)| leaves_of(&format!("{path}.{name}"), value, found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            found.insert(path.to_owned());
        }
    }
}

const FORMS: [Form; 3] = [Form::CloudFormation, Form::Kubernetes, Form::CliInput];

#[test]
fn the_fixture_has_every_field_of_the_model() {
    let (mut expected, mut found) = (BTreeSet::new(), BTreeSet::new());
    Kind::ALL.into_iter().for_each(|kind| leaves(kind.as_str(), &shape::spec(kind), &mut expected));
    for resource in bundle(EVERY_FIELD).resources.values() {
        let kind = resource.document.key().kind();
        leaves_of(kind.as_str(), &compare::spec(&resource.document), &mut found);
    }
    let missing: Vec<_> = expected.difference(&found).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_field_survives_every_form_and_syntax() {
    let original = bundle(EVERY_FIELD);
    assert!(original.resources.len() > 25);
    for form in FORMS {
        for syntax in [Syntax::Yaml, Syntax::Json] {
            let written = text(&original, form, syntax, &settings(), "shop").unwrap();
            let again = bundle(&written);
            assert_eq!(content(&again), content(&original), "{form:?} {syntax:?}");
            assert_eq!(text(&again, form, syntax, &settings(), "shop").unwrap(), written);
        }
    }
}

#[test]
fn a_chain_through_all_forms_loses_nothing() {
    let original = bundle(EVERY_FIELD);
    let through = FORMS.into_iter().fold(original.clone(), |bundle_so_far, form| {
        bundle(&text(&bundle_so_far, form, Syntax::Yaml, &settings(), "default").unwrap())
    });
    assert_eq!(content(&through), content(&original));
}

#[test]
fn names_that_kubernetes_would_not_take_or_not_tell_apart_survive() {
    let node = |name: &str| format!("- {{meshName: M_1, virtualNodeName: {name}, spec: {{}}}}\n");
    let names = ["a_b", "a-b", "A-B", "_", "-x-", "x"].map(node).concat();
    let input = format!(
        "- meshName: M_1\n{names}- {{meshName: M_1, virtualServiceName: A..b_, spec: {{provider: {{virtualNode: {{virtualNodeName: A-B}}}}}}}}\n"
    );
    let original = bundle(&input);
    let written = text(&original, Form::Kubernetes, Syntax::Yaml, &settings(), "default").unwrap();
    assert_eq!(content(&bundle(&written)), content(&original), "{written}");
    let written = text(&original, Form::CloudFormation, Syntax::Yaml, &settings(), "default").unwrap();
    assert_eq!(content(&bundle(&written)), content(&original), "{written}");
}
