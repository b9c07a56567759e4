//! One statement of a policy.

use serde_json::{Map, Value};

use super::{
    action,
    pattern::{ActionPattern, ResourcePattern},
};
use crate::model::shape::{Field, Invalid, Rule};

/// Most patterns in one list.
const MAX_PATTERNS: usize = 100;
/// The members of a statement that are understood. `Sid` is a name for people.
const MEMBERS: [&str; 6] = ["Sid", "Effect", "Action", "NotAction", "Resource", "NotResource"];

/// What a statement says of the requests that it fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Allow,
    Deny,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) effect: Effect,
    actions: Choice<ActionPattern>,
    resources: Choice<ResourcePattern>,
}

/// Those that fit a pattern, or those that fit none.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Choice<P> {
    is_inverted: bool,
    patterns: Vec<P>,
}

impl Statement {
    /// Reads the statement at `path`.
    pub(super) fn parse(path: &str, value: &Value) -> Result<Self, Invalid> {
        let root = Field::root(path, value);
        root.object()?;
        let members = value.as_object().cloned().unwrap_or_default();
        check_members(path, &members, &MEMBERS)?;
        let effect = member(path, &members, "Effect")?;
        let effect = effect.one_of(&[("Allow", Effect::Allow), ("Deny", Effect::Deny)])?;
        let actions = choice(path, &members, ["Action", "NotAction"], &|field| {
            ActionPattern::parse(field, &action::of_service)
        })?;
        let resources = choice(path, &members, ["Resource", "NotResource"], &ResourcePattern::parse)?;
        Ok(Self { effect, actions, resources })
    }

    /// `action` is in lower case.
    pub(super) fn fits_action(&self, action: &str) -> bool {
        self.actions.fits(|pattern| pattern.matches(action))
    }

    /// `action` is in lower case.
    pub(super) fn fits(&self, action: &str, resource: &str) -> bool {
        self.fits_action(action) && self.resources.fits(|pattern| pattern.matches(resource))
    }
}

impl<P> Choice<P> {
    fn fits(&self, matches: impl Fn(&P) -> bool) -> bool {
        self.patterns.iter().any(matches) != self.is_inverted
    }
}

/// Refuses members that would be ignored: what they were meant to limit would not be limited.
pub(super) fn check_members(path: &str, members: &Map<String, Value>, known: &[&str]) -> Result<(), Invalid> {
    let Some(name) = members.keys().find(|name| !known.contains(&name.as_str())) else {
        return Ok(());
    };
    let why = match name.as_str() {
        "Condition" => "conditions are not supported; say it with actions and resources".to_owned(),
        "Principal" | "NotPrincipal" => {
            "a policy belongs to one key pair, so it names no principal".to_owned()
        }
        _ => format!("is not known; the members are {}", known.join(", ")),
    };
    let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    Err(Invalid { path: format!("{path}.{shown}"), rule: Rule::Other(why) })
}

pub(super) fn member<'a>(
    path: &str,
    members: &'a Map<String, Value>,
    name: &str,
) -> Result<Field<'a>, Invalid> {
    let path = format!("{path}.{name}");
    match members.get(name) {
        Some(value) => Ok(Field::root(path, value)),
        None => Err(Invalid { path, rule: Rule::Required }),
    }
}

/// Exactly one of a member and its inversion, which is one pattern or a list of them.
fn choice<P>(
    path: &str,
    members: &Map<String, Value>,
    names: [&str; 2],
    parse: &dyn Fn(&Field<'_>) -> Result<P, Invalid>,
) -> Result<Choice<P>, Invalid> {
    let [plain, inverted] = names;
    let name = match (members.contains_key(plain), members.contains_key(inverted)) {
        (true, false) => plain,
        (false, true) => inverted,
        (is_set, _) => {
            let found = if is_set { format!("{plain}, {inverted}") } else { "none".to_owned() };
            let rule = Rule::ExactlyOne { allowed: names.join(", "), found };
            return Err(Invalid { path: path.to_owned(), rule });
        }
    };
    let field = member(path, members, name)?;
    let items = match members.get(name) {
        Some(Value::String(_)) => vec![field],
        _ => field.items(1..=MAX_PATTERNS)?,
    };
    let patterns = items.iter().map(parse).collect::<Result<_, _>>()?;
    Ok(Choice { is_inverted: name == inverted, patterns })
}
