//! Trees to and from the API's JSON, in a spelling.

use serde_json::{Map, Value};
use signet_controlplane::model::key::Kind;

use crate::{
    node::{Content, Entry, Node, Scalar},
    place::{Fault, Place},
    shape::{Shape, Spelling, reference},
};

/// Turns a reference of Kubernetes into the API's name.
pub(crate) trait References {
    /// The name of what an object such as `{name, namespace}` refers to.
    fn resolve(&self, kind: Kind, reference: &Node) -> Result<String, Fault>;
}

/// How a tree is read.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub(crate) spelling: Spelling,
    /// Of Kubernetes only.
    pub(crate) references: Option<&'a dyn References>,
}

impl Reader<'_> {
    /// The JSON of a value, `None` where it says nothing.
    pub(crate) fn json(&self, node: &Node, shape: &Shape) -> Result<Option<Value>, Fault> {
        if let Some(tag) = &node.tag {
            return Err(node.fault(format!("the tag !{tag} has no meaning here")));
        }
        if node.is_null() {
            return match self.spelling {
                Spelling::CloudFormation => Err(node.fault("CloudFormation takes no null; use AWS::NoValue")),
                Spelling::Api | Spelling::Kubernetes => Ok(None),
            };
        }
        match (shape, &node.content) {
            (Shape::Object(members), _) => self.object(node, members).map(Some),
            (Shape::List(item), _) => {
                let items = node.items()?.iter();
                let items = items.map(|one| Ok(self.json(one, item)?.unwrap_or(Value::Null)));
                items.collect::<Result<_, _>>().map(Some)
            }
            (Shape::Text | Shape::Integer | Shape::Boolean | Shape::Name(_), Content::Scalar(scalar)) => {
                Ok(Some(self.scalar(scalar, shape)))
            }
            (Shape::Text | Shape::Name(_), _) => {
                Err(node.fault(format!("must be a text, not {}", node.kind())))
            }
            (Shape::Integer, _) => Err(node.fault(format!("must be a whole number, not {}", node.kind()))),
            (Shape::Boolean, _) => Err(node.fault(format!("must be a boolean, not {}", node.kind()))),
        }
    }

    fn object(&self, node: &Node, members: &[(&'static str, Shape)]) -> Result<Value, Fault> {
        let mut object = Map::new();
        for entry in node.entries()? {
            let Some((name, shape)) = self.find(&entry.key, members) else {
                return Err(self.unknown(entry, members));
            };
            let value = match (shape, self.references) {
                (Shape::Name(kind), Some(references)) => {
                    Some(Value::from(self.referred(*kind, entry, references)?))
                }
                _ => self.json(&entry.value, shape)?,
            };
            let Some(value) = value else { continue };
            if object.insert(name.to_owned(), value).is_some() {
                return Err(entry
                    .place
                    .fault(format!("{:?} says again what another member says", entry.key)));
            }
        }
        Ok(Value::Object(object))
    }

    fn find<'m>(&self, key: &str, members: &'m [(&'static str, Shape)]) -> Option<(&'static str, &'m Shape)> {
        members
            .iter()
            .find(|(name, shape)| self.is_called(key, name, shape))
            .map(|(name, shape)| (*name, shape))
    }

    fn is_called(&self, key: &str, name: &'static str, shape: &Shape) -> bool {
        match (shape, self.spelling) {
            (Shape::Name(kind), Spelling::Kubernetes) => {
                let (by_object, by_arn) = reference(*kind);
                key == by_object || key == by_arn
            }
            _ => self.spelling.member(name) == key,
        }
    }

    fn referred(&self, kind: Kind, entry: &Entry, references: &dyn References) -> Result<String, Fault> {
        let (by_object, _) = reference(kind);
        if entry.key == by_object {
            return references.resolve(kind, &entry.value);
        }
        let arn = entry.value.text()?;
        let marker = format!("/{}/", kind.arn_segment());
        let name = arn.starts_with("arn:").then(|| arn.split_once(&marker)).flatten().map(|(_, name)| name);
        name.map(str::to_owned).ok_or_else(|| entry.value.fault(format!("{arn:?} is no ARN of a {kind}")))
    }

    fn unknown(&self, entry: &Entry, members: &[(&'static str, Shape)]) -> Fault {
        let known: Vec<String> = members
            .iter()
            .flat_map(|(name, shape)| match (shape, self.spelling) {
                (Shape::Name(kind), Spelling::Kubernetes) => {
                    let (by_object, by_arn) = reference(*kind);
                    vec![by_object, by_arn]
                }
                _ => vec![self.spelling.member(name).into_owned()],
            })
            .collect();
        unknown_member(entry, &known)
    }

    /// CloudFormation's values are texts wherever they come from parameters, so there a text that looks like a
    /// number is one. Elsewhere the API's own types are asked for, but that whatever read these files for App Mesh
    /// read YAML 1.1, where `yes` is a boolean.
    fn scalar(&self, scalar: &Scalar, shape: &Shape) -> Value {
        let is_lenient = self.spelling == Spelling::CloudFormation;
        let text = || Value::from(scalar.text.as_str());
        match shape {
            Shape::Integer if is_lenient => scalar.text.parse::<i64>().map_or_else(|_| text(), Value::from),
            Shape::Boolean if is_lenient || !scalar.is_quoted => match scalar.text.as_str() {
                "true" | "True" | "TRUE" => Value::Bool(true),
                "false" | "False" | "FALSE" => Value::Bool(false),
                "yes" | "Yes" | "YES" | "on" | "On" | "ON" if !scalar.is_quoted => Value::Bool(true),
                "no" | "No" | "NO" | "off" | "Off" | "OFF" if !scalar.is_quoted => Value::Bool(false),
                _ if is_lenient => text(),
                _ => scalar.json(),
            },
            Shape::Text | Shape::Name(_) if is_lenient => text(),
            Shape::Integer
            | Shape::Boolean
            | Shape::Text
            | Shape::Name(_)
            | Shape::List(_)
            | Shape::Object(_) => scalar.json(),
        }
    }

    /// Where the member stands that a path such as `listeners[0].portMapping` names, or the nearest to it.
    pub(crate) fn locate(&self, node: &Node, shape: &Shape, path: &str) -> Place {
        let mut at = (node, *shape);
        let mut place = node.place.clone();
        for step in path.split(['.', '[']).filter(|step| !step.is_empty()) {
            let next = match (at.1, &at.0.content, step.strip_suffix(']')) {
                (Shape::List(item), Content::List(items), Some(index)) => {
                    let found = index.parse().ok().and_then(|index: usize| items.get(index));
                    found.map(|found| (found, *item, found.place.clone()))
                }
                (Shape::Object(members), Content::Map(entries), None) => {
                    let member = members.iter().find(|(name, _)| *name == step);
                    member.and_then(|(name, shape)| {
                        let found = entries.iter().find(|entry| self.is_called(&entry.key, name, shape))?;
                        Some((&found.value, *shape, found.place.clone()))
                    })
                }
                _ => None,
            };
            let Some((value, shape, found)) = next else { break };
            (at, place) = ((value, shape), found);
        }
        place
    }
}

/// A refusal of a member that nobody knows, with the one that may be meant.
pub(crate) fn unknown_member(entry: &Entry, known: &[String]) -> Fault {
    let same = |name: &&String| name.eq_ignore_ascii_case(&entry.key);
    let hint = match known.iter().find(same) {
        Some(meant) => format!("it is spelled {meant:?} here"),
        None => format!("known here are {}", known.join(", ")),
    };
    entry.place.fault(format!("there is no member {:?}; {hint}", entry.key))
}

/// Writes a name of another resource as Kubernetes has it: a member and its value.
pub(crate) trait Referrer {
    /// `virtualNodeRef: {name: …}`, or `virtualNodeARN: …`.
    fn refer(&self, kind: Kind, name: &str) -> (String, Value);
}

/// The API's JSON in another spelling. What the shape does not know is left out.
pub(crate) fn spelled(
    value: &Value,
    shape: &Shape,
    spelling: Spelling,
    referrer: Option<&dyn Referrer>,
) -> Value {
    match (shape, value) {
        (Shape::List(item), Value::Array(items)) => {
            items.iter().map(|one| spelled(one, item, spelling, referrer)).collect()
        }
        (Shape::Object(members), Value::Object(object)) => {
            let mut written = Map::new();
            for (name, value) in object.iter().filter(|(_, value)| !value.is_null()) {
                let Some((name, shape)) = members.iter().find(|(known, _)| known == name) else { continue };
                let (key, value) = match (shape, referrer, value) {
                    (Shape::Name(kind), Some(referrer), Value::String(target)) => {
                        referrer.refer(*kind, target)
                    }
                    _ => (spelling.member(name).into_owned(), spelled(value, shape, spelling, referrer)),
                };
                written.insert(key, value);
            }
            Value::Object(written)
        }
        _ => value.clone(),
    }
}

#[cfg(test)]
mod tests;
