//! Conditions: `Equals`, `And`, `Or`, `Not`, and one another.

use super::{Evaluator, function};
use crate::{
    node::{Content, Node},
    place::Fault,
};

impl Evaluator<'_> {
    /// Whether a named condition holds.
    pub(super) fn condition(&self, name: &str, at: &Node) -> Result<bool, Fault> {
        let Some(condition) = self.template.conditions.get(name) else {
            return Err(at.fault(format!("there is no condition {name:?}")));
        };
        self.holds(condition)
    }

    fn holds(&self, node: &Node) -> Result<bool, Fault> {
        self.guarded(node, || {
            let named = node.get("Condition").filter(|_| node.tag.is_none());
            let (name, argument) = match (named, function::of(node)) {
                (Some(condition), _) => return self.condition(condition.text()?, condition),
                (None, Some(call)) => call,
                (None, None) => {
                    return Err(node.fault("a condition is Equals, And, Or, Not or the name of another one"));
                }
            };
            let argument = argument.as_ref();
            match name.as_str() {
                "Condition" => self.condition(argument.text()?, argument),
                "Equals" => {
                    let [left, right] = function::arguments("Equals", argument)?;
                    Ok(self.text(left)? == self.text(right)?)
                }
                "Not" => {
                    let [inner] = function::arguments("Not", argument)?;
                    Ok(!self.holds(inner)?)
                }
                "And" => {
                    self.several(argument)?.into_iter().try_fold(true, |all, one| Ok(self.holds(one)? && all))
                }
                "Or" => self
                    .several(argument)?
                    .into_iter()
                    .try_fold(false, |any, one| Ok(self.holds(one)? || any)),
                other => Err(node.fault(format!("{other} is no condition"))),
            }
        })
    }

    /// And and Or take 2 to 10.
    fn several<'n>(&self, node: &'n Node) -> Result<Vec<&'n Node>, Fault> {
        match &node.content {
            Content::List(items) if (2..=10).contains(&items.len()) => Ok(items.iter().collect()),
            Content::List(_) | Content::Scalar(_) | Content::Map(_) => {
                Err(node.fault("And and Or take a list of 2 to 10 conditions"))
            }
        }
    }
}
