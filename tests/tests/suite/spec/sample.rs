//! Values that a member may have, and the smallest spec that holds a given member.

use serde_json::{Map, Value, json};

use super::shapes::{Shape, Shapes};

/// One step into a spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Member(String),
    /// The first item of a list.
    Item,
}

/// `listeners[0].tls`, as refusals spell it.
pub(super) fn path(steps: &[Step]) -> String {
    steps.iter().fold("spec".to_owned(), |path, step| match step {
        Step::Member(name) => format!("{path}.{name}"),
        Step::Item => format!("{path}[0]"),
    })
}

/// The smallest value of a shape that holds what the steps lead to.
pub(super) fn build(shapes: &Shapes, name: &str, focus: &[Step], at: &[Step]) -> Value {
    let shape = shapes.get(name);
    let (next, rest) = focus.split_first().map_or((None, focus), |(next, rest)| (Some(next), rest));
    match shape {
        Shape::Structure { members, .. } => {
            let focused = |member: &str| next == Some(&Step::Member(member.to_owned()));
            let exclusive = shape.exclusive(name);
            let chosen = |member: &str| match &exclusive {
                Some((among, must)) if among.contains(&member) => {
                    let other = among.iter().any(|other| focused(other));
                    focused(member) || (*must && !other && among[0] == member)
                }
                Some(_) | None => focused(member) || shape.needs(name, member),
            };
            let built = members.iter().filter(|(member, _)| chosen(member)).map(|(member, part)| {
                let rest = if focused(member) { rest } else { &[] };
                let at = [at, &[Step::Member(member.clone())]].concat();
                (member.clone(), build(shapes, part, rest, &at))
            });
            Value::Object(built.collect::<Map<_, _>>())
        }
        Shape::List { item, min, .. } => {
            let at = [at, &[Step::Item]].concat();
            let rest = if next == Some(&Step::Item) { rest } else { &[] };
            let one = |index| build(shapes, item, if index == 0 { rest } else { &[] }, &at);
            Value::Array((0..min.unwrap_or(1).max(1)).map(one).collect())
        }
        Shape::Text { allowed, min, .. } => match allowed.first() {
            Some(first) => json!(first),
            None => json!(text(&path(at), min.unwrap_or(1).max(1))),
        },
        Shape::Number { min, .. } => json!(min.unwrap_or(1).max(1)),
        Shape::Flag => json!(true),
    }
}

/// A text of so many characters that the member at a path may have; where the documentation asks for more than the
/// model, the shortest such text if it is longer.
pub(super) fn text(path: &str, length: usize) -> String {
    let names: Vec<&str> = path.rsplit('.').map(|name| name.trim_end_matches("[0]")).collect();
    let filled = |start: &str, end: &str| {
        let middle = length.saturating_sub(start.len() + end.len());
        let text = format!("{start}{}{end}", "a".repeat(middle));
        if text.len() > length && start == end { start.to_owned() } else { text }
    };
    match names.as_slice() {
        ["secretName", "sds", "certificate", ..] => "default".to_owned(),
        ["secretName", ..] => "ROOTCA".to_owned(),
        ["httpRetryEvents", ..] => "gateway-error".to_owned(),
        ["value", "prefix", ..] => filled("/", "/"),
        ["prefix", "match", owner, ..] if owner.ends_with("Route") => filled("/", ""),
        ["exact", "path", "rewrite", ..] | ["path", "healthCheck", ..] => filled("/", ""),
        ["suffix", "hostname", ..] => format!(".{}", "a".repeat(length.saturating_sub(1).max(1))),
        _ => "a".repeat(length),
    }
}
