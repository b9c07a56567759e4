//! Whether Envoy takes a regular expression, told before it is stored: a caller hears what is wrong with it at once,
//! where a fleet would refuse its routes.
//!
//! Envoy hands expressions to RE2 as Latin-1, byte by byte, so this reads bytes. It judges syntax only, and bounds
//! the size of the program that RE2 makes, of which agents' bootstraps allow 1000 steps. Where RE2's exact number
//! is not known, it is taken to be larger than it is. The tests hold both against Envoy's own verdicts.

mod class;
mod escape;
mod scan;

use thiserror::Error;

use scan::Scan;

/// Steps of the largest program that proxies take (`re2.max_program_size.error_level` of App Mesh's bootstraps,
/// and of ours).
const MAX_STEPS: usize = 1000;
/// What RE2 adds to every program.
const FRAME: usize = 6;
/// RE2's largest count in braces, and the largest product of nested ones.
const MAX_REPEAT: usize = 1000;

/// Why RE2, as Envoy uses it, refuses an expression.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum InvalidRegex {
    #[error("{0:?} looks around, which RE2 cannot; match what is there instead")]
    Lookaround(String),
    #[error("{0:?} refers back to a group, which RE2 cannot")]
    Backreference(String),
    #[error(
        "{0:?} repeats a repetition; put what is repeated in parentheses, or leave one out (RE2 has no possessive ones)"
    )]
    Stacked(String),
    #[error("{0:?} repeats nothing; write a backslash before it for the character itself")]
    Nothing(String),
    #[error("{0:?} repeats more often than RE2's {MAX_REPEAT} times, or fewer times at most than at least")]
    Repeat(String),
    #[error("{0:?} is no escape that RE2 knows in Envoy, which matches bytes: \\xFF is the largest")]
    Escape(String),
    #[error("the backslash at the end escapes nothing; write \\\\ for the character itself")]
    Trailing,
    #[error(
        "{0:?} opens no group that RE2 knows: (…), (?:…), (?P<name>…), (?i), (?i:…) with the flags i, m, s and U"
    )]
    Group(String),
    #[error("the group name {0:?} is empty, or has other characters than letters, digits and _")]
    GroupName(String),
    #[error("a parenthesis is opened and not closed; write \\( for the character itself")]
    Unclosed,
    #[error("a parenthesis is closed that was not opened; write \\) for the character itself")]
    Unopened,
    #[error("a bracket is opened and not closed; write \\[ for the character itself")]
    OpenClass,
    #[error("{0:?} is no range of characters: it ends before it starts, or at a class")]
    Range(String),
    #[error("{0:?} is no class that RE2 knows, as [:alpha:] and \\pL are")]
    Class(String),
    #[error(
        "its program would have up to {0} steps and proxies take {MAX_STEPS}; repeat less, or match a prefix"
    )]
    Size(usize),
}

/// Reads an expression as RE2 does.
///
/// # Errors
/// RE2 refuses it, or Envoy finds its program too large.
pub(crate) fn check(pattern: &str) -> Result<(), InvalidRegex> {
    let steps = steps(pattern)?;
    if steps > MAX_STEPS { Err(InvalidRegex::Size(steps)) } else { Ok(()) }
}

/// Steps of the program, at most. Jumps between alternatives are counted at an eighth of all the rest.
fn steps(pattern: &str) -> Result<usize, InvalidRegex> {
    let steps = Scan::new(pattern.as_bytes()).all()?;
    Ok(steps.saturating_add(steps / 8).saturating_add(FRAME))
}

/// Bytes of the pattern as they are shown.
fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(64).collect()
}

#[cfg(test)]
mod tests;
