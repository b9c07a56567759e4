//! Paths that code names: every `use` spelled out, and every `a::b` elsewhere.

use super::tokens::Token;

/// A path as written, from its first name to its last.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
}

impl Named {
    /// Spells out `crate`, `self` and `super` for code in `module`; other paths stay as they are.
    pub(crate) fn resolved(&self, module: &[String]) -> Vec<String> {
        let mut rest = self.segments.as_slice();
        let mut base = match rest.first().map(String::as_str) {
            Some("self" | "super") => module.to_vec(),
            _ => return self.segments.clone(),
        };
        while let Some((first, after)) = rest.split_first() {
            match first.as_str() {
                "self" => {}
                "super" => {
                    base.pop();
                }
                _ => break,
            }
            rest = after;
        }
        base.insert(0, "crate".to_owned());
        base.extend_from_slice(rest);
        base
    }
}

pub(crate) fn named(tokens: &[Token<'_>]) -> Vec<Named> {
    let mut reader = Reader { tokens, at: 0, found: Vec::new() };
    while let Some(token) = reader.tokens.get(reader.at) {
        if token.is("use") {
            reader.at += 1;
            reader.tree(&[]);
        } else if token.is_word() {
            reader.expression();
        } else {
            reader.at += 1;
        }
    }
    reader.found
}

struct Reader<'a> {
    tokens: &'a [Token<'a>],
    at: usize,
    found: Vec<Named>,
}

impl Reader<'_> {
    /// One branch of a `use`; stops before the `,`, `}` or `;` that ends it.
    fn tree(&mut self, prefix: &[String]) {
        let mut segments = prefix.to_vec();
        let line = self.tokens.get(self.at).map_or(0, |token| token.line);
        while let Some(token) = self.tokens.get(self.at) {
            match token.text {
                "," | "}" | ";" => break,
                "{" => return self.group(&segments),
                "as" => self.at += 1,
                // `a::{self}` names `a`.
                "self" if !segments.is_empty() => {}
                text if token.is_word() => segments.push(text.to_owned()),
                _ => {}
            }
            self.at += 1;
        }
        self.found.push(Named { segments, line });
    }

    fn group(&mut self, prefix: &[String]) {
        while let Some(token) = self.tokens.get(self.at) {
            if token.is(";") {
                return;
            }
            self.at += 1;
            if token.is("}") {
                return;
            }
            if !self.tokens.get(self.at).is_some_and(|next| next.is("}")) {
                self.tree(prefix);
            }
        }
    }

    /// `a::b::c` where it is used; a lone name is no path.
    fn expression(&mut self) {
        let line = self.tokens[self.at].line;
        let mut segments = vec![self.tokens[self.at].text.to_owned()];
        self.at += 1;
        while let [sign, next, ..] = &self.tokens[self.at..]
            && sign.is("::")
            && next.is_word()
        {
            segments.push(next.text.to_owned());
            self.at += 2;
        }
        if segments.len() > 1 {
            self.found.push(Named { segments, line });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{mask::mask, tokens::split};
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        named(&split(&mask(text))).iter().map(|named| named.segments.join("::")).collect()
    }

    #[test]
    fn a_use_is_spelled_out_branch_by_branch() {
        let text = "use a::{self, b::{c, d as e}, f::*,}; pub use ::g::h as i; use j;";
        assert_eq!(paths(text), ["a", "a::b::c", "a::b::d", "a::f", "g::h", "j"]);
    }

    #[test]
    fn paths_in_expressions_types_and_attributes_are_found() {
        let text = "#[tokio::main] fn a(x: b::C) { d::e(); x.f::<u8>(); Vec::<g::H>::new(); } // i::j";
        assert_eq!(paths(text), ["tokio::main", "b::C", "d::e", "g::H"]);
    }

    #[test]
    fn relative_paths_are_seen_from_the_root_of_the_crate() {
        let module = ["translate".to_owned(), "tls".to_owned()];
        let table = [
            ("use super::super::store::Store;", "crate::store::Store"),
            ("use super::naming;", "crate::translate::naming"),
            ("use self::inner;", "crate::translate::tls::inner"),
            ("use crate::api;", "crate::api"),
            ("use tokio::sync;", "tokio::sync"),
        ];
        for (text, expected) in table {
            let found = named(&split(text));
            assert_eq!(found[0].resolved(&module).join("::"), expected, "{text}");
        }
    }
}
