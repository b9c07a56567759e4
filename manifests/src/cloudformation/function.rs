//! The intrinsic functions, in their short forms (`!Sub`) and long ones (`Fn::Sub`).

use std::borrow::Cow;

use super::Evaluator;
use crate::{
    node::{Content, Node},
    place::Fault,
};

/// Longest text that functions may make.
const MAX_TEXT: usize = 64 << 10;

/// The function that a value calls, and its argument.
pub(super) fn of(node: &Node) -> Option<(String, Cow<'_, Node>)> {
    if let Some(tag) = &node.tag {
        return Some((tag.to_string(), Cow::Owned(Node { tag: None, ..node.clone() })));
    }
    let Content::Map(entries) = &node.content else { return None };
    let [only] = entries.as_slice() else { return None };
    let name = match only.key.as_str() {
        "Ref" => "Ref",
        long => long.strip_prefix("Fn::")?,
    };
    Some((name.to_owned(), Cow::Borrowed(&only.value)))
}

impl Evaluator<'_> {
    pub(super) fn call(&self, name: &str, argument: &Node, whole: &Node) -> Result<Option<Node>, Fault> {
        let text = |text: String| Some(Node::text_at(&whole.place, text));
        match name {
            "Ref" => self.reference(argument.text()?, whole),
            "Sub" => self.sub(argument).and_then(|made| bounded(made, whole)).map(text),
            "GetAtt" => self.get_att(argument).map(Some),
            "Join" => self.join(argument).and_then(|made| bounded(made, whole)).map(text),
            "Select" => self.select(argument),
            "Split" => self.split(argument).map(Some),
            "FindInMap" => self.find_in_map(argument).map(Some),
            "If" => {
                let [condition, yes, no] = arguments("If", argument)?;
                let holds = self.condition(condition.text()?, condition)?;
                self.value(if holds { yes } else { no })
            }
            "ImportValue" => {
                let export = self.text(argument)?;
                match self.settings.imports.get(&export) {
                    Some(value) => Ok(text(value.clone())),
                    None => {
                        let what = format!(
                            "{export:?} is exported by a stack; give its value with --import {export}=VALUE"
                        );
                        Err(whole.fault(what))
                    }
                }
            }
            "Equals" | "And" | "Or" | "Not" | "Condition" => {
                Err(whole.fault(format!("Fn::{name} belongs into Conditions")))
            }
            other => Err(whole.fault(format!("the function {other} is not one that Signet can evaluate"))),
        }
    }

    fn sub(&self, argument: &Node) -> Result<String, Fault> {
        let (template, variables) = match &argument.content {
            Content::List(_) => {
                let [template, variables] = arguments("Sub", argument)?;
                variables.entries()?;
                (template, Some(variables))
            }
            Content::Scalar(_) | Content::Map(_) => (argument, None),
        };
        let mut rest = template.text()?;
        let mut made = String::new();
        while let Some((before, after)) = rest.split_once("${") {
            made.push_str(before);
            let Some((name, after)) = after.split_once('}') else {
                return Err(template.fault("a ${ has no }"));
            };
            rest = after;
            match (name.strip_prefix('!'), variables.and_then(|variables| variables.get(name.trim()))) {
                (Some(literal), _) => {
                    made.push_str("${");
                    made.push_str(literal);
                    made.push('}');
                }
                (None, Some(value)) => made.push_str(&self.text(value)?),
                (None, None) => made.push_str(&self.variable(name.trim(), template)?),
            }
            if made.len() > MAX_TEXT {
                break;
            }
        }
        made.push_str(rest);
        Ok(made)
    }

    /// `${Name}` or `${Name.Attribute}`.
    fn variable(&self, name: &str, at: &Node) -> Result<String, Fault> {
        let value = match name.split_once('.') {
            Some((id, attribute)) => Some(self.attribute(id, attribute, at)?),
            None => self.reference(name, at)?,
        };
        let value = value.ok_or_else(|| at.fault(format!("${{{name}}} has no value")))?;
        value.text_or_empty().map_err(|_| at.fault(format!("${{{name}}} is a list, which no text can hold")))
    }

    fn get_att(&self, argument: &Node) -> Result<Node, Fault> {
        let (id, attribute) = match &argument.content {
            Content::List(_) => {
                let [id, attribute] = arguments("GetAtt", argument)?;
                (id.text()?.to_owned(), self.text(attribute)?)
            }
            Content::Scalar(_) | Content::Map(_) => match argument.text()?.split_once('.') {
                Some((id, attribute)) => (id.to_owned(), attribute.to_owned()),
                None => return Err(argument.fault("GetAtt has the form LogicalId.Attribute")),
            },
        };
        self.attribute(&id, &attribute, argument)
    }

    fn join(&self, argument: &Node) -> Result<String, Fault> {
        let [separator, list] = arguments("Join", argument)?;
        let list = self.list("Join", list)?;
        let texts = list.items()?.iter().map(Node::text_or_empty).collect::<Result<Vec<_>, _>>()?;
        Ok(texts.join(&separator.text_or_empty()?))
    }

    fn select(&self, argument: &Node) -> Result<Option<Node>, Fault> {
        let [index, list] = arguments("Select", argument)?;
        let at = self.text(index)?;
        let list = self.list("Select", list)?;
        let items = list.items()?;
        let found = at.parse().ok().and_then(|at: usize| items.get(at)).cloned();
        found.map(Some).ok_or_else(|| {
            argument.fault(format!("Select asks for item {at} of a list of {} (counted from 0)", items.len()))
        })
    }

    fn split(&self, argument: &Node) -> Result<Node, Fault> {
        let [separator, source] = arguments("Split", argument)?;
        let separator = separator.text()?;
        let source = self.text(source)?;
        let items = match separator.is_empty() {
            true => return Err(argument.fault("Split needs a separator")),
            false => source.split(separator).map(|item| Node::text_at(&argument.place, item)),
        };
        Ok(Node { place: argument.place.clone(), tag: None, content: Content::List(items.collect()) })
    }

    fn find_in_map(&self, argument: &Node) -> Result<Node, Fault> {
        let [map, first, second] = arguments("FindInMap", argument)?;
        let (map, first, second) = (self.text(map)?, self.text(first)?, self.text(second)?);
        let found = self.template.mappings.get(map.as_str()).and_then(|map| map.get(&first)?.get(&second));
        found.cloned().ok_or_else(|| argument.fault(format!("Mappings has no {map}.{first}.{second}")))
    }

    fn list(&self, function: &str, node: &Node) -> Result<Node, Fault> {
        let value = self.value(node)?;
        let value = value.ok_or_else(|| node.fault(format!("{function} needs a list, not AWS::NoValue")))?;
        match &value.content {
            Content::List(_) => Ok(value),
            Content::Scalar(_) | Content::Map(_) => Err(node.fault(format!("{function} needs a list"))),
        }
    }
}

/// The arguments of a function that takes so many.
pub(super) fn arguments<'n, const N: usize>(name: &str, node: &'n Node) -> Result<&'n [Node; N], Fault> {
    let Content::List(items) = &node.content else {
        return Err(node.fault(format!("{name} takes a list of {N}")));
    };
    items
        .as_slice()
        .try_into()
        .map_err(|_| node.fault(format!("{name} takes {N} arguments, not {}", items.len())))
}

fn bounded(made: String, at: &Node) -> Result<String, Fault> {
    match made.len() > MAX_TEXT {
        true => Err(at.fault(format!("makes a text longer than {} KiB", MAX_TEXT >> 10))),
        false => Ok(made),
    }
}
