//! What names without a dot stand for: parameters, pseudo parameters, resources.

use super::Evaluator;
use crate::{
    node::{Content, Node},
    place::{Fault, Place},
};

impl Evaluator<'_> {
    /// `Ref`, `None` for `AWS::NoValue`.
    pub(super) fn reference(&self, name: &str, at: &Node) -> Result<Option<Node>, Fault> {
        if let Some(pseudo) = name.strip_prefix("AWS::") {
            return self.pseudo(pseudo, at);
        }
        match self.template.parameters.get(name) {
            Some(declaration) => self.parameter(name, declaration, at).map(Some),
            None => self.resource_reference(name, at).map(Some),
        }
    }

    fn pseudo(&self, name: &str, at: &Node) -> Result<Option<Node>, Fault> {
        let settings = self.settings;
        let partition = match &settings.region {
            region if region.starts_with("cn-") => "aws-cn",
            region if region.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        };
        let suffix = if partition == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" };
        let text = match name {
            "NoValue" => return Ok(None),
            "Region" => settings.region.clone(),
            "AccountId" => settings.account_id.clone(),
            "Partition" => partition.to_owned(),
            "URLSuffix" => suffix.to_owned(),
            "StackName" => match &settings.stack_name {
                Some(name) => name.clone(),
                None => return Err(at.fault("AWS::StackName is not known; give it with --stack-name")),
            },
            other => return Err(at.fault(format!("AWS::{other} is known to a stack in AWS alone"))),
        };
        Ok(Some(Node::text_at(&at.place, text)))
    }

    fn parameter(&self, name: &str, declaration: &Node, at: &Node) -> Result<Node, Fault> {
        let type_name = declaration.get("Type").map_or(Ok("String"), Node::text)?;
        let given = self.settings.parameters.get(name);
        if given.is_none() && type_name.starts_with("AWS::SSM::Parameter::Value") {
            let what =
                format!("the parameter {name} is kept in SSM; give its value with --parameter {name}=VALUE");
            return Err(at.fault(what));
        }
        let default = || declaration.get("Default").map(Node::text_or_empty);
        // A default of "" is one as well.
        let empty = || {
            let Content::Map(entries) = &declaration.content else { return None };
            entries.iter().any(|entry| entry.key == "Default").then(|| Ok(String::new()))
        };
        let Some(value) = given.cloned().map(Ok).or_else(default).or_else(empty).transpose()? else {
            let what = format!("the parameter {name} has no default; give it with --parameter {name}=VALUE");
            return Err(at.fault(what));
        };
        check(name, &value, type_name, declaration, &at.place)?;
        Ok(match type_name.contains("List") {
            true => {
                let items = value.split(',').map(|item| Node::text_at(&at.place, item.trim()));
                Node { place: at.place.clone(), tag: None, content: Content::List(items.collect()) }
            }
            false => Node::text_at(&at.place, value),
        })
    }
}

/// The constraints of a parameter; its patterns are left to CloudFormation.
fn check(name: &str, value: &str, type_name: &str, declaration: &Node, at: &Place) -> Result<(), Fault> {
    let refuse = |what: String| Err(at.fault(format!("the parameter {name} is {value:?}, which {what}")));
    if let Some(allowed) = declaration.get("AllowedValues") {
        let allowed = allowed.items()?.iter().map(Node::text_or_empty).collect::<Result<Vec<_>, _>>()?;
        if !allowed.iter().any(|one| one == value) {
            return refuse(format!("is none of {}", allowed.join(", ")));
        }
    }
    if type_name == "Number" && value.parse::<f64>().is_err() {
        return refuse("is no number".into());
    }
    let bound = |member: &str| {
        let bound = declaration.get(member).map(|node| node.text()).transpose()?;
        Ok(bound.and_then(|text| text.parse::<f64>().ok()))
    };
    let length = u32::try_from(value.chars().count()).map_or(f64::MAX, f64::from);
    let number = value.parse::<f64>().ok();
    for (member, found, is_least) in [
        ("MinLength", Some(length), true),
        ("MaxLength", Some(length), false),
        ("MinValue", number, true),
        ("MaxValue", number, false),
    ] {
        let (Some(bound), Some(found)) = (bound(member)?, found) else { continue };
        if if is_least { found < bound } else { found > bound } {
            return refuse(format!("breaks {member} {bound}"));
        }
    }
    Ok(())
}
