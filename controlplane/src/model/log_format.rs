//! Whether Envoy takes an access log's format, told before it is stored: a caller hears what is wrong with it at
//! once, where a fleet would refuse its listeners.
//!
//! The formats are those of Envoy 1.40; the tests hold the judgement against its own.

mod operators;

use thiserror::Error;

use self::operators::Takes;

/// The kinds of metadata that `%METADATA(…)%` knows.
const METADATA: [&str; 7] =
    ["DYNAMIC", "CLUSTER", "ROUTE", "UPSTREAM_HOST", "LISTENER", "VIRTUAL_HOST", "LISTENER_FILTER_CHAIN"];

/// Why Envoy refuses a format.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum InvalidFormat {
    #[error(
        "{0:?} starts no operator of the form %NAME%, %NAME(…)% or %NAME(…):LENGTH%; write %% for a percent sign"
    )]
    Malformed(String),
    #[error("%{0}% is no operator that Envoy 1.40 knows")]
    Unknown(String),
    #[error("%{0}% is an operator whose own language Signet cannot check, so it is refused")]
    Unchecked(String),
    #[error("%{0}% needs something in parentheses")]
    Needed(String),
    #[error("%{0}% takes nothing in parentheses")]
    Unneeded(String),
    #[error("%{0}% takes no length")]
    Length(String),
    #[error("%{0}% has a length that is too large for any number")]
    HugeLength(String),
    #[error("%{name}({found})%: {expected}")]
    Parameter { name: String, found: String, expected: String },
}

/// An operator as it is written.
struct Operator<'a> {
    name: &'a str,
    parameter: &'a str,
    /// Digits, at least one.
    length: Option<&'a str>,
}

/// Reads a format as Envoy's formatter does.
///
/// # Errors
/// The first operator that Envoy refuses.
pub(crate) fn check(format: &str) -> Result<(), InvalidFormat> {
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        let (_, from) = rest.split_at(at);
        rest = match from.strip_prefix("%%") {
            Some(behind) => behind,
            None => {
                let malformed = || InvalidFormat::Malformed(from.chars().take(40).collect());
                let (operator, behind) = read(from).ok_or_else(malformed)?;
                operator.check()?;
                behind
            }
        };
    }
    Ok(())
}

/// Reads the operator that `text` starts with, and gives what is behind it.
fn read(text: &str) -> Option<(Operator<'_>, &str)> {
    let text = text.strip_prefix('%')?;
    let is_name = |char: char| char.is_ascii_uppercase() || char.is_ascii_digit() || char == '_';
    let (name, behind) = text.split_at(text.find(|char| !is_name(char))?);
    if name.is_empty() {
        return None;
    }
    let operator = |parameter, (length, behind)| (Operator { name, parameter, length }, behind);
    let Some(inside) = behind.strip_prefix('(') else {
        return end(behind).map(|end| operator("", end));
    };
    // Up to the first parenthesis that ends the operator: what is inside may hold others, and percent signs.
    let line = inside.split('\n').next().unwrap_or_default();
    let mut closing = line.match_indices(')');
    closing.find_map(|(at, _)| {
        let (parameter, behind) = inside.split_at(at);
        end(behind.strip_prefix(')')?).map(|end| operator(parameter, end))
    })
}

/// `%` or `:LENGTH%`, and what is behind it.
fn end(text: &str) -> Option<(Option<&str>, &str)> {
    let Some(length) = text.strip_prefix(':') else {
        return Some((None, text.strip_prefix('%')?));
    };
    let (digits, behind) = length.split_once('%')?;
    let is_length = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_length.then_some((Some(digits), behind))
}

impl Operator<'_> {
    fn check(&self) -> Result<(), InvalidFormat> {
        let name = || self.name.chars().take(64).collect::<String>();
        let takes = operators::find(self.name).ok_or_else(|| InvalidFormat::Unknown(name()))?;
        let may_have_length = match takes {
            Takes::Headers | Takes::Text | Takes::Metadata | Takes::FilterState => true,
            Takes::Options(_, length) => length,
            Takes::Nothing | Takes::Format | Takes::TextAlone | Takes::Moments | Takes::Language => false,
        };
        let needs_parameter = match takes {
            Takes::Headers
            | Takes::Text
            | Takes::TextAlone
            | Takes::Metadata
            | Takes::FilterState
            | Takes::Moments => true,
            Takes::Nothing | Takes::Format | Takes::Options(..) | Takes::Language => false,
        };
        let expected = match takes {
            Takes::Language => return Err(InvalidFormat::Unchecked(name())),
            _ if self.length.is_some_and(|digits| digits.parse::<u64>().is_err()) => {
                return Err(InvalidFormat::HugeLength(name()));
            }
            _ if needs_parameter && self.parameter.is_empty() => return Err(InvalidFormat::Needed(name())),
            _ if self.length.is_some() && !may_have_length => return Err(InvalidFormat::Length(name())),
            Takes::Nothing if !self.parameter.is_empty() => return Err(InvalidFormat::Unneeded(name())),
            Takes::Nothing | Takes::Format | Takes::Text | Takes::TextAlone => None,
            Takes::Headers => headers(self.parameter),
            Takes::Metadata => metadata(self.parameter),
            Takes::FilterState => filter_state(self.parameter),
            Takes::Moments => moments(self.parameter),
            Takes::Options(places, _) => options(self.parameter, places),
        };
        let found = || self.parameter.chars().take(64).collect();
        expected.map_or(Ok(()), |expected| {
            Err(InvalidFormat::Parameter { name: name(), found: found(), expected })
        })
    }
}

/// Each of these says what must be there where something else is.
fn headers(parameter: &str) -> Option<String> {
    let names: Vec<&str> = parameter.split('?').collect();
    if names.len() > 2 {
        return Some("there may be one alternative, as in %REQ(FIRST?OTHER)%".to_owned());
    }
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let is_name = |name: &&str| {
        let text = name.strip_prefix(':').unwrap_or(name);
        text.bytes().all(is_token) && (name.is_empty() || !text.is_empty())
    };
    let is_legal = names.iter().all(is_name);
    (!is_legal).then(|| "a header's name has letters, digits and any of !#$%&'*+-.^_`|~ only".to_owned())
}

fn metadata(parameter: &str) -> Option<String> {
    let kind = parameter.split(':').next().unwrap_or_default();
    (!METADATA.contains(&kind)).then(|| format!("it must start with one of {}", METADATA.join(", ")))
}

fn filter_state(parameter: &str) -> Option<String> {
    let parts: Vec<&str> = parameter.split(':').collect();
    let is_legal = match parts[..] {
        ["", ..] => false,
        [_] | [_, "PLAIN" | "TYPED"] => true,
        [_, "FIELD", field, ..] => !field.is_empty(),
        _ => false,
    };
    (!is_legal).then(|| "it must be KEY, KEY:PLAIN, KEY:TYPED or KEY:FIELD:NAME".to_owned())
}

fn moments(parameter: &str) -> Option<String> {
    let parts: Vec<&str> = parameter.split(':').collect();
    let is_legal = matches!(parts[..], [_, _] | [_, _, "ms" | "us" | "ns"]);
    (!is_legal).then(|| "it must be START:END, or START:END: and one of ms, us and ns".to_owned())
}

fn options(parameter: &str, places: &[&[&str]]) -> Option<String> {
    // Where one word is asked for, a colon is part of it.
    let most = if places.len() == 1 { 1 } else { usize::MAX };
    let parts = parameter.splitn(most, ':').zip(places);
    let mut wrong = parts.filter(|(part, allowed)| !part.is_empty() && !allowed.contains(part));
    wrong.next().map(|(_, allowed)| format!("it may be one of {}", allowed.join(", ")))
}

#[cfg(test)]
mod tests;
