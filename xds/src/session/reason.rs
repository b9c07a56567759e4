//! What a client says of a rejection: whom it blames, and what of its words may be kept.
//!
//! The text is a stranger's. Envoy quotes the configuration that it refuses, inline private keys included, so
//! nothing of it is stored, shown or logged that looks like key material, and no more than a few lines.

use std::{borrow::Cow, sync::Arc};

use crate::resource::Resource;

/// How much of a text is looked at, in bytes.
const MAX_READ: usize = 8 << 10;

/// How much of a text is kept, in bytes.
const MAX_KEPT: usize = 512;

/// The shortest unbroken run of base64 characters that is taken for key material. Envoy's type names have
/// dots and underscores in between.
const LONGEST_WORD: usize = 40;

const REDACTED: &str = "[redacted]";

/// How the resources of a refused response are judged.
#[derive(Debug)]
pub(super) struct Blame {
    /// Named in the text, or the only one that it can be about.
    pub(super) guilty: Vec<Resource>,
    /// Any of these may be to blame.
    pub(super) suspects: Vec<Resource>,
    /// Not named, though another one was; or in force before.
    pub(super) innocent: Vec<Resource>,
}

/// Finds out which resources of a response a NACK is about. `in_force` says which of them the client runs
/// already at this version: they are to blame only when there is nobody else.
pub(super) fn blame(text: &str, resources: Vec<Resource>, in_force: impl Fn(&Resource) -> bool) -> Blame {
    let text = head(text, MAX_READ);
    let (mut innocent, mut candidates): (Vec<_>, Vec<_>) = resources.into_iter().partition(in_force);
    if candidates.is_empty() {
        std::mem::swap(&mut innocent, &mut candidates);
    }
    if candidates.len() == 1 {
        return Blame { guilty: candidates, suspects: Vec::new(), innocent };
    }
    for is_named in [stands_out as fn(&str, &str) -> bool, is_word] {
        if candidates.iter().any(|it| is_named(text, it.name())) {
            let (guilty, others): (_, Vec<_>) =
                candidates.into_iter().partition(|it| is_named(text, it.name()));
            innocent.extend(others);
            return Blame { guilty, suspects: Vec::new(), innocent };
        }
    }
    Blame { guilty: Vec::new(), suspects: candidates, innocent }
}

/// `name: why`, `'name'` or `"name"`, which is how Envoy speaks of the resource that is bad; other names may
/// occur in the reasons.
fn stands_out(text: &str, name: &str) -> bool {
    occurrences(text, name).any(|(before, after)| {
        matches!((before, after), (Some('\''), Some('\'')) | (Some('"'), Some('"')) | (_, Some(':')))
    })
}

fn is_word(text: &str, name: &str) -> bool {
    occurrences(text, name).next().is_some()
}

/// Where a name occurs as a whole, with the characters before and after it.
fn occurrences<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = (Option<char>, Option<char>)> + 'a {
    let in_name = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || "_-./".contains(c));
    text.match_indices(name).filter_map(move |(start, found)| {
        let before = text.get(..start)?.chars().next_back();
        let mut rest = text.get(start + found.len()..)?.chars();
        let after = rest.next();
        // A full stop may end the sentence and need not go on with the name.
        let goes_on = in_name(after) && (after != Some('.') || in_name(rest.next()));
        (!in_name(before) && !goes_on).then_some((before, after))
    })
}

/// The text as it may be kept: one short line without anything that looks like key material.
pub(super) fn clean(text: &str) -> Arc<str> {
    let text = without_pem(head(text, MAX_READ));
    let text = without_inline_data(&text);
    let text = without_long_words(&text);
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    head(text.trim(), MAX_KEPT).into()
}

/// Cuts out PEM blocks; one whose begin or end was cut off takes everything on that side with it.
fn without_pem(text: &str) -> Cow<'_, str> {
    const BEGIN: &str = "-----BEGIN";
    const END: &str = "-----END";
    if !text.contains(BEGIN) && !text.contains(END) {
        return Cow::Borrowed(text);
    }
    let mut kept = String::new();
    let mut rest = text;
    loop {
        let begin = rest.find(BEGIN);
        let end = rest.find(END);
        let Some(cut) = begin.into_iter().chain(end).min() else {
            kept.push_str(rest);
            return Cow::Owned(kept);
        };
        if begin == Some(cut) {
            kept.push_str(rest.get(..cut).unwrap_or_default());
        } else {
            kept.clear();
        }
        kept.push_str(REDACTED);
        // Past the dashes that close the END line.
        let after_end = end.and_then(|end| rest.get(end + END.len()..));
        rest = after_end.and_then(|it| it.split_once("-----")).map_or("", |(_, rest)| rest);
    }
}

/// Cuts out what stands in quotes after the name of a field that carries data inline.
fn without_inline_data(text: &str) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some((field, at)) = ["inline_string", "inline_bytes", "inlineString", "inlineBytes"]
        .into_iter()
        .filter_map(|field| Some((field, rest.find(field)?)))
        .min_by_key(|(_, at)| *at)
    {
        let (before, after) = rest.split_at(at + field.len());
        kept.push_str(before);
        // JSON closes the quotes of the field's own name first.
        let value = after.strip_prefix('"').unwrap_or(after);
        rest = value.split_once('"').map_or("", |(_, quoted)| after_quote(quoted));
        kept.push_str(REDACTED);
    }
    kept.push_str(rest);
    kept
}

/// What follows the quote that closes `quoted`.
fn after_quote(quoted: &str) -> &str {
    let mut escaped = false;
    for (at, c) in quoted.char_indices() {
        match c {
            '"' if !escaped => return quoted.get(at + 1..).unwrap_or_default(),
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    ""
}

fn without_long_words(text: &str) -> String {
    let in_key = |c: char| c.is_ascii_alphanumeric() || "+/=\\".contains(c);
    let mut kept = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(in_key) {
        let (before, word) = rest.split_at(start);
        let (word, after) = word.split_at(word.find(|c| !in_key(c)).unwrap_or(word.len()));
        kept.push_str(before);
        kept.push_str(if word.len() < LONGEST_WORD { word } else { REDACTED });
        rest = after;
    }
    kept.push_str(rest);
    kept
}

fn head(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or(text)
}

#[cfg(test)]
mod tests;
