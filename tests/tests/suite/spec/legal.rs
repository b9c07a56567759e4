//! Random legal specs, made from the shapes.

use anyhow::Result;
use proptest::{option, prelude::*, sample::select, strategy::Union};
use serde_json::{Map, Value, json};

use super::{
    KINDS,
    mend::mend,
    sample::{Step, path, text},
    shapes::{Shape, Shapes},
};

/// Texts that free members may have.
const TEXTS: [&str; 6] = ["a", "B-1_c", "%PROTOCOL% x", "é\u{1F600}", "\"\\", "x.y"];

/// Texts that RE2 expressions may have.
const EXPRESSIONS: [&str; 4] = ["/v[12]/.*", "(?i)a|b{2,3}", "\\d+\\.", "a"];
/// What stands for the longest text where there is no bound: a host name has no longer label.
const MAX_LABEL: usize = 63;

/// A key, the shape of its spec, and a legal spec.
pub(super) fn resource() -> Result<BoxedStrategy<(&'static str, &'static str, Value)>> {
    let shapes = Shapes::installed()?;
    Ok(Union::new(KINDS.map(|(key, root)| {
        let spec = value(shapes, root, &[]).prop_map(move |mut spec| {
            mend(root, &mut spec);
            (key, root, spec)
        });
        spec.boxed()
    }))
    .boxed())
}

/// A member that may be there.
type Part = BoxedStrategy<Option<(String, Value)>>;

fn value(shapes: &Shapes, name: &str, at: &[Step]) -> BoxedStrategy<Value> {
    let shape = shapes.get(name);
    match shape {
        Shape::Structure { .. } => structure(shapes, name, at),
        Shape::List { item, min, max } => {
            let min = min.unwrap_or(0);
            let most = max.unwrap_or(usize::MAX).min(min + 2);
            // C17 and C31: names that a peer must prove, and a gateway's listeners, are not none.
            let here = path(at);
            let min =
                if here.ends_with("match.exact") || here == "spec.listeners" { min.max(1) } else { min };
            let item = value(shapes, item, &[at, &[Step::Item]].concat());
            prop::collection::vec(item, min..=most).prop_map(Value::from).boxed()
        }
        Shape::Text { min, max, allowed, .. } if allowed.is_empty() => texts(&path(at), *min, *max),
        Shape::Text { allowed, .. } => select(allowed.clone()).prop_map(Value::from).boxed(),
        Shape::Number { min, max } => {
            let (min, max) = (min.unwrap_or(i64::MIN), max.unwrap_or(i64::MAX));
            // A proxy counts nanoseconds in the end.
            let max = if path(at).ends_with(".value") { max.min(9_223_372_035) } else { max };
            let near = min..=min.saturating_add(9).min(max);
            prop_oneof![near, min..=max, Just(max)].prop_map(Value::from).boxed()
        }
        Shape::Flag => any::<bool>().prop_map(Value::from).boxed(),
    }
}

fn structure(shapes: &Shapes, name: &str, at: &[Step]) -> BoxedStrategy<Value> {
    let shape = shapes.get(name);
    let exclusive = shape.exclusive(name);
    let is_exclusive = |member: &str| exclusive.as_ref().is_some_and(|(among, _)| among.contains(&member));
    let (mut parts, mut alternatives): (Vec<Part>, Vec<Part>) = (Vec::new(), Vec::new());
    for (member, part) in shape.parts() {
        let Some(member) = member.map(str::to_owned) else { continue };
        let at = [at, &[Step::Member(member.clone())]].concat();
        let value = value(shapes, part, &at);
        let (is_alternative, is_needed) = (is_exclusive(&member), shape.needs(name, &member));
        let some = value.prop_map(move |value| Some((member.clone(), value)));
        match (is_alternative, is_needed) {
            (true, _) => alternatives.push(some.boxed()),
            (false, true) => parts.push(some.boxed()),
            (false, false) => parts.push(option::of(some).prop_map(Option::flatten).boxed()),
        }
    }
    if let Some((_, must)) = exclusive {
        let one = Union::new(alternatives);
        parts.push(if must { one.boxed() } else { option::of(one).prop_map(Option::flatten).boxed() });
    }
    parts.prop_map(|parts| Value::Object(parts.into_iter().flatten().collect::<Map<_, _>>())).boxed()
}

/// Of the member at a path: its shortest text, its longest, and free ones where it may have them.
fn texts(path: &str, min: Option<usize>, max: Option<usize>) -> BoxedStrategy<Value> {
    let (min, max) = (min.unwrap_or(1).max(1), max.unwrap_or(MAX_LABEL));
    let sized = prop_oneof![Just(min), Just(max), min..=max];
    let path = path.to_owned();
    if path.ends_with(".regex") {
        return prop_oneof![Just(json!("a".repeat(max))), select(&EXPRESSIONS[..]).prop_map(Value::from)]
            .boxed();
    }
    let is_free =
        ["headers[0].match", "metadata[0].match", "format.text", "json[0].value", "queryParameters[0].match"]
            .iter()
            .any(|free| path.contains(free));
    let sized = sized.prop_map(move |length| json!(text(&path, length)));
    match is_free {
        true => prop_oneof![sized, select(&TEXTS[..]).prop_map(Value::from)].boxed(),
        false => sized.boxed(),
    }
}
