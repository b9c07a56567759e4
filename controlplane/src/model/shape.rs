//! Reads JSON by App Mesh's shapes: every refusal names the member by its path and says what is allowed.
//!
//! `null` is the same as an absent member, as it is for AWS, and members that nobody asks for are ignored.

use std::{borrow::Cow, ops::RangeInclusive};

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
    #[error("must be {}; it is {found}", range(*min, *max))]
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
    /// A rule of its own.
    #[error("{0}")]
    Other(String),
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Field<'a> {
    value: &'a Value,
    root: Root<'a>,
}

/// What makes a value of a member.
pub(crate) type Reader<'r, 'a, T> = &'r dyn Fn(&Field<'a>) -> Result<T, Invalid>;

/// An object and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Object<'a> {
    members: &'a Map<String, Value>,
    root: Root<'a>,
}

/// The document that a value is part of. Where in it is found out when somebody must be told.
#[derive(Clone, Debug)]
struct Root<'a> {
    name: Cow<'a, str>,
    value: &'a Value,
    /// It was accepted once, so that only what has no meaning at all is refused.
    is_held: bool,
}

impl Root<'_> {
    fn path(&self, is_it: impl Fn(&Value) -> bool) -> String {
        let mut path = self.name.clone().into_owned();
        find(self.value, &mut path, &is_it);
        path
    }
}

/// Makes `path` that of the value, if it is in here.
fn find(value: &Value, path: &mut String, is_it: &dyn Fn(&Value) -> bool) -> bool {
    if is_it(value) {
        return true;
    }
    let length = path.len();
    let mut look = |name: &str, part| {
        path.push_str(name);
        let is_found = find(part, path, is_it);
        if !is_found {
            path.truncate(length);
        }
        is_found
    };
    match value {
        Value::Array(items) => {
            items.iter().enumerate().any(|(index, item)| look(&format!("[{index}]"), item))
        }
        Value::Object(members) => {
            let dot = if length == 0 { "" } else { "." };
            members.iter().any(|(name, member)| look(&format!("{dot}{name}"), member))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

impl<'a> Field<'a> {
    /// The whole document. `path` is what its members' paths start with, and may be empty.
    pub(crate) fn root(path: impl Into<Cow<'a, str>>, value: &'a Value) -> Self {
        Self { value, root: Root { name: path.into(), value, is_held: false } }
    }

    /// A document that was accepted once, by rules that may have been fewer.
    pub(crate) fn held(path: &'a str, value: &'a Value) -> Self {
        Self { value, root: Root { name: path.into(), value, is_held: true } }
    }

    fn part(&self, value: &'a Value) -> Self {
        Self { value, root: self.root.clone() }
    }

    /// A refusal of this member.
    pub(crate) fn invalid(&self, rule: Rule) -> Invalid {
        let path = self.root.path(|value| std::ptr::eq(value, self.value));
        // The document itself has no name of its own.
        let path = if path.is_empty() { "the request body".to_owned() } else { path };
        Invalid { path, rule }
    }

    fn wrong_type(&self, expected: &'static str) -> Invalid {
        self.invalid(Rule::Type { expected, found: type_of(self.value) })
    }

    pub(crate) fn object(&self) -> Result<Object<'a>, Invalid> {
        let members = self.value.as_object().ok_or_else(|| self.wrong_type("an object"))?;
        Ok(Object { members, root: self.root.clone() })
    }

    /// A refusal of this member, of which nothing can be made, by a rule of its own.
    pub(crate) fn broken(&self, rule: impl Into<String>) -> Invalid {
        self.invalid(Rule::Other(rule.into()))
    }

    /// A rule that a member must keep when it is written. What was accepted before there was the rule is held.
    ///
    /// # Errors
    /// It is broken.
    pub(crate) fn check(&self, is_kept: bool, rule: impl FnOnce() -> String) -> Result<(), Invalid> {
        if is_kept || self.root.is_held { Ok(()) } else { Err(self.broken(rule())) }
    }

    /// A text of so many characters, whatever they are.
    pub(crate) fn any_text(&self, length: RangeInclusive<usize>) -> Result<&'a str, Invalid> {
        let text = self.value.as_str().ok_or_else(|| self.wrong_type("a string"))?;
        let found = text.chars().count();
        match length.contains(&found) || self.root.is_held {
            true => Ok(text),
            false => Err(self.invalid(Rule::Length { min: *length.start(), max: *length.end(), found })),
        }
    }

    /// A text without control characters, of so many characters.
    pub(crate) fn text(&self, length: RangeInclusive<usize>) -> Result<&'a str, Invalid> {
        let text = self.any_text(length)?;
        let is_kept = !text.chars().any(char::is_control);
        self.check(is_kept, || "must not hold control characters".to_owned())?;
        Ok(text)
    }

    pub(crate) fn boolean(&self) -> Result<bool, Invalid> {
        self.value.as_bool().ok_or_else(|| self.wrong_type("a boolean"))
    }

    /// A whole number of at least `min`; what the type cannot hold means the most that it can.
    pub(crate) fn count(&self, min: i64) -> Result<u32, Invalid> {
        let number: i64 = self.integer(min..=i64::MAX)?;
        Ok(u32::try_from(number).unwrap_or(u32::MAX))
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
        let within = (range.contains(&integer) || self.root.is_held).then_some(integer);
        within.and_then(|integer| T::try_from(integer).ok()).ok_or_else(|| out_of_range(integer.to_string()))
    }

    pub(crate) fn items(&self, length: RangeInclusive<usize>) -> Result<Vec<Field<'a>>, Invalid> {
        let items = self.value.as_array().ok_or_else(|| self.wrong_type("a list"))?;
        if !length.contains(&items.len()) && !self.root.is_held {
            let (min, max) = (*length.start(), *length.end());
            return Err(self.invalid(Rule::Items { min, max, found: items.len() }));
        }
        Ok(items.iter().map(|item| self.part(item)).collect())
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
    fn path(&self) -> String {
        let is_it =
            |value: &Value| value.as_object().is_some_and(|members| std::ptr::eq(members, self.members));
        self.root.path(is_it)
    }

    /// A refusal of a member, there or not.
    pub(crate) fn invalid(&self, name: &str, rule: Rule) -> Invalid {
        let path = self.path();
        Invalid { path: if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }, rule }
    }

    /// As [`Field::check`], of a member that is there or not.
    ///
    /// # Errors
    /// The rule is broken.
    pub(crate) fn check(
        &self,
        name: &str,
        is_kept: bool,
        rule: impl FnOnce() -> String,
    ) -> Result<(), Invalid> {
        let is_held = is_kept || self.root.is_held;
        if is_held { Ok(()) } else { Err(self.invalid(name, Rule::Other(rule()))) }
    }

    pub(crate) fn optional(&self, name: &str) -> Option<Field<'a>> {
        let value = self.members.get(name).filter(|value| !value.is_null())?;
        Some(Field { value, root: self.root.clone() })
    }

    pub(crate) fn required(&self, name: &str) -> Result<Field<'a>, Invalid> {
        self.optional(name).ok_or_else(|| self.invalid(name, Rule::Required))
    }

    /// What a reader makes of a member that may be absent.
    pub(crate) fn read<T>(
        &self,
        name: &str,
        reader: impl FnOnce(&Field<'a>) -> Result<T, Invalid>,
    ) -> Result<Option<T>, Invalid> {
        self.optional(name).map(|field| reader(&field)).transpose()
    }

    /// The items of a list that may be absent.
    pub(crate) fn list(&self, name: &str) -> Result<Vec<Field<'a>>, Invalid> {
        Ok(self.read(name, |field| field.items(0..=usize::MAX))?.unwrap_or_default())
    }

    /// What a reader makes of each item of a list that may be absent; if it is there, it has so many items.
    pub(crate) fn each<T>(
        &self,
        name: &str,
        length: RangeInclusive<usize>,
        reader: impl Fn(&Field<'a>) -> Result<T, Invalid>,
    ) -> Result<Vec<T>, Invalid> {
        let items = self.read(name, |field| field.items(length))?;
        items.iter().flatten().map(reader).collect()
    }

    /// What the reader of the one member that is set makes of it.
    pub(crate) fn union<T>(&self, members: &[(&str, Reader<'_, 'a, T>)]) -> Result<T, Invalid> {
        let is_set = |(name, reader): &(&str, _)| Some((self.optional(name)?, *reader));
        let set: Vec<(Field<'a>, Reader<'_, 'a, T>)> = members.iter().filter_map(is_set).collect();
        match &set[..] {
            [(field, reader)] => reader(field),
            // Once there was no such rule: a reader took the first.
            [(field, reader), ..] if self.root.is_held => reader(field),
            _ => {
                let names = |is_wanted: &dyn Fn(&str) -> bool| {
                    let names = members.iter().map(|(name, _)| *name).filter(|name| is_wanted(name));
                    names.collect::<Vec<_>>().join(", ")
                };
                let found = names(&|name| self.optional(name).is_some());
                let found = if found.is_empty() { "none".to_owned() } else { found };
                Err(Invalid {
                    path: self.path(),
                    rule: Rule::ExactlyOne { allowed: names(&|_| true), found },
                })
            }
        }
    }
}

fn range(min: i64, max: i64) -> String {
    match max {
        i64::MAX => format!("{min} or more"),
        _ => format!("{min} to {max}"),
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
