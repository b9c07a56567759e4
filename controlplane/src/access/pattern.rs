//! Texts with wildcards: `*` is any characters, `?` is one.

use crate::model::shape::{Field, Invalid, Rule};

/// Longest pattern, in characters; AWS's longest ARN.
const MAX_PATTERN: usize = 2048;
/// Parts of an ARN, between colons; the last may hold more of them.
const ARN_PARTS: usize = 6;

/// One pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob(String);

/// Which actions: `*`, or `appmesh:Describe*`. Case does not matter, as in IAM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ActionPattern(Glob);

/// Which resources: `*`, or an ARN whose parts are patterns of their own, so that no wildcard reaches over a colon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ResourcePattern {
    Any,
    Arn(Box<[Glob; ARN_PARTS]>),
}

impl Glob {
    /// Goes back to the last `*` only, so the time is the product of the two lengths at worst.
    fn matches(&self, text: &str) -> bool {
        let (pattern, text) = (self.0.as_bytes(), text.as_bytes());
        let (mut at, mut read) = (0, 0);
        // After the last `*`, and what it has taken so far.
        let mut star: Option<(usize, usize)> = None;
        while let Some(byte) = text.get(read) {
            match pattern.get(at) {
                Some(b'*') => {
                    at += 1;
                    star = Some((at, read));
                }
                Some(b'?') => (at, read) = (at + 1, read + 1),
                Some(wanted) if wanted == byte => (at, read) = (at + 1, read + 1),
                Some(_) | None => match star {
                    Some((after, taken)) => {
                        star = Some((after, taken + 1));
                        (at, read) = (after, taken + 1);
                    }
                    None => return false,
                },
            }
        }
        pattern.iter().skip(at).all(|byte| *byte == b'*')
    }
}

impl ActionPattern {
    pub(super) fn parse(
        field: &Field<'_>,
        known: &dyn Fn(&str) -> Option<Vec<String>>,
    ) -> Result<Self, Invalid> {
        let text = field.text(1..=MAX_PATTERN)?;
        let pattern = Self(Glob(text.to_ascii_lowercase()));
        let other = |why: String| Err(field.invalid(Rule::Other(why)));
        if text == "*" {
            return Ok(pattern);
        }
        let Some((service, _)) = text.split_once(':') else {
            return other(format!(
                "{text:?} must be \"*\" or have the form service:Action, such as \"appmesh:Describe*\""
            ));
        };
        match known(&service.to_ascii_lowercase()) {
            // A typing error would otherwise allow nothing, or deny nothing.
            Some(actions) if !actions.iter().any(|action| pattern.matches(action)) => {
                other(format!("{text:?} is no action of {service}, and fits none"))
            }
            Some(_) | None => Ok(pattern),
        }
    }

    /// `action` is in lower case.
    pub(super) fn matches(&self, action: &str) -> bool {
        self.0.matches(action)
    }
}

impl ResourcePattern {
    pub(super) fn parse(field: &Field<'_>) -> Result<Self, Invalid> {
        let text = field.text(1..=MAX_PATTERN)?;
        if text == "*" {
            return Ok(Self::Any);
        }
        let other = |why: &str| Err(field.invalid(Rule::Other(why.to_owned())));
        if text.contains("${") {
            return other("policy variables (${…}) are not supported; write the names out, or use wildcards");
        }
        let parts: Vec<Glob> = text.splitn(ARN_PARTS, ':').map(|part| Glob(part.to_owned())).collect();
        match <[Glob; ARN_PARTS]>::try_from(parts) {
            Ok(parts) if parts[0].0 == "arn" => Ok(Self::Arn(Box::new(parts))),
            Ok(_) | Err(_) => {
                other("must be \"*\" or an ARN of six parts, such as \"arn:aws:appmesh:*:*:mesh/my-mesh/*\"")
            }
        }
    }

    /// `resource` is an ARN, or `*` for actions that are about no resource: those only `*` allows.
    pub(super) fn matches(&self, resource: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Arn(parts) => {
                let mut found = resource.splitn(ARN_PARTS, ':');
                parts.iter().all(|part| found.next().is_some_and(|text| part.matches(text)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn simple(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => {
                simple(rest, text) || text.split_first().is_some_and(|(_, text)| simple(pattern, text))
            }
            (Some((b'?', rest)), Some((_, text))) => simple(rest, text),
            (Some((wanted, rest)), Some((found, text))) => wanted == found && simple(rest, text),
            (None, Some(_)) | (Some(_), None) => false,
        }
    }

    proptest! {
        #[test]
        fn a_pattern_matches_what_its_definition_says(pattern in "[ab*?]{0,7}", text in "[ab]{0,9}") {
            prop_assert_eq!(Glob(pattern.clone()).matches(&text), simple(pattern.as_bytes(), text.as_bytes()));
        }
    }

    #[test]
    fn a_pattern_of_many_stars_takes_no_time_to_speak_of() {
        let hostile = Glob(format!("{}b", "*a".repeat(1000)));
        assert!(!hostile.matches(&"a".repeat(20_000)));
    }
}
