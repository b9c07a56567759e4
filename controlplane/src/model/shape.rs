//! Reads JSON by App Mesh's shapes: every refusal names the member by its path and says what is allowed.
//!
//! `null` is the same as an absent member, as it is for AWS, and members that nobody asks for are ignored.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};
use thiserror::Error;

/// Longest piece of the caller's text that is shown back.
const MAX_SHOWN: usize = 64;

/// Why a document is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{path}: {rule}")]
pub struct Invalid {
    /// Where: `spec.listeners[0].portMapping.port`.
    pub path: String,
    /// Which rule it breaks.
    pub rule: Rule,
}

/// The rules that a member can break.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Rule {
    /// The member is not there.
    #[error("is required")]
    Required,
    /// The member is of another JSON type.
    #[error("must be {expected}, not {found}")]
    Type {
        /// What it must be, with an article.
        expected: &'static str,
        /// What it is, with an article.
        found: &'static str,
    },
    /// A text is too short or too long.
    #[error("must have {} characters; this one has {found}", bounds(*min, *max))]
    Length {
        /// Fewest characters.
        min: usize,
        /// Most characters.
        max: usize,
        /// How many there are.
        found: usize,
    },
    /// A list is too short or too long.
    #[error("must have {} items; this one has {found}", bounds(*min, *max))]
    Items {
        /// Fewest items.
        min: usize,
        /// Most items.
        max: usize,
        /// How many there are.
        found: usize,
    },
    /// A number is out of bounds.
    #[error("must be {min} to {max}; it is {found}")]
    Range {
        /// The least.
        min: i64,
        /// The most.
        max: i64,
        /// What it is.
        found: String,
    },
    /// A text is none of the known ones.
    #[error("must be one of {allowed}; it is {found:?}")]
    OneOf {
        /// The known ones.
        allowed: String,
        /// What it is, cut short.
        found: String,
    },
    /// A union has no member, or several.
    #[error("must have exactly one of {allowed}; it has {found}")]
    ExactlyOne {
        /// The members of the union.
        allowed: String,
        /// Those that are set.
        found: String,
    },
    /// App Mesh knows it, and this version does not honour it.
    #[error("is not supported by this version of Signet, so it is refused rather than ignored")]
    Unsupported,
    /// The value is known to App Mesh, and this version does not honour it.
    #[error("{found:?} is not supported by this version of Signet; it must be {allowed}")]
    UnsupportedValue {
        /// What this version honours.
        allowed: &'static str,
        /// What it is.
        found: String,
    },
    /// A rule of its own.
    #[error("{0}")]
    Other(String),
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Field<'a> {
    value: &'a Value,
    path: String,
}

/// An object and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Object<'a> {
    members: &'a Map<String, Value>,
    path: String,
}

impl<'a> Field<'a> {
    /// The whole document. `path` is what its members' paths start with, and may be empty.
    pub(crate) fn root(path: &str, value: &'a Value) -> Self {
        Self { value, path: path.to_owned() }
    }

    /// A refusal of this member.
    pub(crate) fn invalid(&self, rule: Rule) -> Invalid {
        // The document itself has no name of its own.
        let path = if self.path.is_empty() { "the request body" } else { &self.path };
        Invalid { path: path.to_owned(), rule }
    }

    fn wrong_type(&self, expected: &'static str) -> Invalid {
        self.invalid(Rule::Type { expected, found: type_of(self.value) })
    }

    pub(crate) fn object(&self) -> Result<Object<'a>, Invalid> {
        let members = self.value.as_object().ok_or_else(|| self.wrong_type("an object"))?;
        Ok(Object { members, path: self.path.clone() })
    }

    /// A text without control characters, of so many characters.
    pub(crate) fn text(&self, length: RangeInclusive<usize>) -> Result<&'a str, Invalid> {
        let text = self.value.as_str().ok_or_else(|| self.wrong_type("a string"))?;
        let found = text.chars().count();
        if !length.contains(&found) {
            return Err(self.invalid(Rule::Length { min: *length.start(), max: *length.end(), found }));
        }
        match text.chars().any(char::is_control) {
            true => Err(self.invalid(Rule::Other("must not hold control characters".into()))),
            false => Ok(text),
        }
    }

    /// A whole number within bounds, as the type that holds them.
    pub(crate) fn integer<T: TryFrom<i64>>(&self, range: RangeInclusive<i64>) -> Result<T, Invalid> {
        let out_of_range =
            |found: String| self.invalid(Rule::Range { min: *range.start(), max: *range.end(), found });
        let Value::Number(number) = self.value else {
            return Err(self.wrong_type("a whole number"));
        };
        let Some(integer) = number.as_i64() else {
            return Err(match number.is_u64() {
                true => out_of_range(number.to_string()),
                false => self.wrong_type("a whole number"),
            });
        };
        let within = range.contains(&integer).then_some(integer);
        within.and_then(|integer| T::try_from(integer).ok()).ok_or_else(|| out_of_range(integer.to_string()))
    }

    pub(crate) fn items(&self, length: RangeInclusive<usize>) -> Result<Vec<Field<'a>>, Invalid> {
        let items = self.value.as_array().ok_or_else(|| self.wrong_type("a list"))?;
        if !length.contains(&items.len()) {
            let (min, max) = (*length.start(), *length.end());
            return Err(self.invalid(Rule::Items { min, max, found: items.len() }));
        }
        let item = |(index, value)| Field { value, path: format!("{}[{index}]", self.path) };
        Ok(items.iter().enumerate().map(item).collect())
    }

    /// One of a table of texts.
    pub(crate) fn one_of<T: Copy>(&self, table: &[(&str, T)]) -> Result<T, Invalid> {
        let text = self.value.as_str().ok_or_else(|| self.wrong_type("a string"))?;
        let known = table.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        known.ok_or_else(|| {
            let names: Vec<&str> = table.iter().map(|(name, _)| *name).collect();
            self.invalid(Rule::OneOf { allowed: names.join(", "), found: shown(text) })
        })
    }
}

impl<'a> Object<'a> {
    fn path_of(&self, name: &str) -> String {
        match self.path.is_empty() {
            true => name.to_owned(),
            false => format!("{}.{name}", self.path),
        }
    }

    /// A refusal of a member, there or not.
    pub(crate) fn invalid(&self, name: &str, rule: Rule) -> Invalid {
        Invalid { path: self.path_of(name), rule }
    }

    pub(crate) fn optional(&self, name: &str) -> Option<Field<'a>> {
        let value = self.members.get(name).filter(|value| !value.is_null())?;
        Some(Field { value, path: self.path_of(name) })
    }

    pub(crate) fn required(&self, name: &str) -> Result<Field<'a>, Invalid> {
        self.optional(name).ok_or_else(|| self.invalid(name, Rule::Required))
    }

    /// The items of a list that may be absent.
    pub(crate) fn list(&self, name: &str) -> Result<Vec<Field<'a>>, Invalid> {
        self.optional(name).map_or_else(|| Ok(Vec::new()), |field| field.items(0..=usize::MAX))
    }

    /// Refuses members that App Mesh knows and this version does not honour.
    pub(crate) fn refuse(&self, names: &[&str]) -> Result<(), Invalid> {
        let found = names.iter().find(|name| self.optional(name).is_some());
        found.map_or(Ok(()), |name| Err(self.invalid(name, Rule::Unsupported)))
    }

    /// As [`Object::refuse`], but lets members pass that say nothing: App Mesh took `"logging": {}`.
    pub(crate) fn refuse_unless_empty(&self, names: &[&str]) -> Result<(), Invalid> {
        let found = names.iter().find(|name| self.members.get(**name).is_some_and(|value| !is_empty(value)));
        found.map_or(Ok(()), |name| Err(self.invalid(name, Rule::Unsupported)))
    }

    /// The one member of a union that is set. `unsupported` are its members that this version refuses.
    pub(crate) fn union(
        &self,
        supported: &[&'static str],
        unsupported: &[&'static str],
    ) -> Result<(&'static str, Field<'a>), Invalid> {
        let all = || supported.iter().chain(unsupported).copied();
        let set: Vec<(&'static str, Field<'a>)> =
            all().filter_map(|name| Some((name, self.optional(name)?))).collect();
        match <[_; 1]>::try_from(set) {
            Ok([(name, field)]) if unsupported.contains(&name) => Err(field.invalid(Rule::Unsupported)),
            Ok([one]) => Ok(one),
            Err(set) => {
                let found = set.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
                let found = if found.is_empty() { "none".to_owned() } else { found };
                let rule = Rule::ExactlyOne { allowed: all().collect::<Vec<_>>().join(", "), found };
                Err(Invalid { path: self.path.clone(), rule })
            }
        }
    }
}

fn bounds(min: usize, max: usize) -> String {
    match max {
        usize::MAX => format!("{min} or more"),
        _ => format!("{min} to {max}"),
    }
}

/// What a caller sent, cut to a length that can be shown.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(MAX_SHOWN).collect()
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a fraction",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Null, or an object that holds nothing but such.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(members) => members.values().all(is_empty),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => false,
    }
}
