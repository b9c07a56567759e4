//! Attributes, functions and test code, found among tokens.

use std::ops::RangeInclusive;

use super::tokens::{Token, closing};

/// `#[…]` or `#![…]`.
#[derive(Debug)]
pub(crate) struct Attribute {
    pub(crate) line: usize,
    /// What stands between the brackets.
    pub(crate) words: Vec<String>,
    /// Whether it speaks about what encloses it (`#![…]`).
    inner: bool,
    /// Index of the token after it.
    after: usize,
}

impl Attribute {
    /// Code under it is compiled for tests only.
    fn is_test_only(&self) -> bool {
        let words: Vec<_> = self.words.iter().map(String::as_str).collect();
        words.starts_with(&["cfg", "(", "test", ")"]) || words.starts_with(&["cfg", "(", "all", "(", "test"])
    }
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) lines: RangeInclusive<usize>,
}

/// What is compiled for tests only.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct TestCode {
    pub(crate) lines: Vec<RangeInclusive<usize>>,
    /// Modules that live in files of their own.
    pub(crate) modules: Vec<String>,
    pub(crate) whole_file: bool,
}

pub(crate) fn attributes(tokens: &[Token<'_>]) -> Vec<Attribute> {
    let mut found = Vec::new();
    for (index, token) in tokens.iter().enumerate().filter(|(_, token)| token.is("#")) {
        let inner = tokens.get(index + 1).is_some_and(|token| token.is("!"));
        let open = index + 1 + usize::from(inner);
        if !tokens.get(open).is_some_and(|token| token.is("[")) {
            continue;
        }
        let close = closing(tokens, open);
        let words = tokens[open + 1..close].iter().map(|token| token.text.to_owned()).collect();
        found.push(Attribute { line: token.line, words, inner, after: close + 1 });
    }
    found
}

pub(crate) fn functions(tokens: &[Token<'_>]) -> Vec<Function> {
    let mut found = Vec::new();
    for (index, token) in tokens.iter().enumerate().filter(|(_, token)| token.is("fn")) {
        // `fn(u8) -> u8` is a type.
        let Some(name) = tokens.get(index + 1).filter(|next| next.is_word()) else {
            continue;
        };
        if let Some(end) = end_of_item(tokens, index).filter(|end| tokens[*end].is("}")) {
            let lines = token.line..=tokens[end].line;
            found.push(Function { name: name.text.to_owned(), lines });
        }
    }
    found
}

pub(crate) fn test_code(tokens: &[Token<'_>], attributes: &[Attribute]) -> TestCode {
    let mut code = TestCode::default();
    for attribute in attributes.iter().filter(|attribute| attribute.is_test_only()) {
        if attribute.inner {
            code.whole_file = true;
            continue;
        }
        let start = after_attributes(attributes, attribute);
        let Some(end) = end_of_item(tokens, start) else {
            continue;
        };
        code.lines.push(attribute.line..=tokens[end].line);
        if let [.., keyword, name, last] = &tokens[start..=end]
            && keyword.is("mod")
            && last.is(";")
        {
            code.modules.push(name.text.to_owned());
        }
    }
    code
}

/// An item may have more attributes below the one at hand.
fn after_attributes(attributes: &[Attribute], first: &Attribute) -> usize {
    attributes.iter().fold(first.after, |after, next| {
        // The next attribute's `#[` is two tokens, and its words and bracket follow.
        if next.after == after + next.words.len() + 3 { next.after } else { after }
    })
}

/// Whether an item, after its visibility, is a `use`: its braces do not end it.
fn begins_with_use(tokens: &[Token<'_>]) -> bool {
    match tokens {
        [public, open, ..] if public.is("pub") && open.is("(") => {
            tokens.get(closing(tokens, 1) + 1).is_some_and(|token| token.is("use"))
        }
        [public, next, ..] if public.is("pub") => next.is("use"),
        [first, ..] => first.is("use"),
        [] => false,
    }
}

/// Index of the `;` or `}` that ends the item starting at `start`.
fn end_of_item(tokens: &[Token<'_>], start: usize) -> Option<usize> {
    let is_use = begins_with_use(&tokens[start..]);
    let mut index = start;
    while let Some(token) = tokens.get(index) {
        match token.text {
            "{" if !is_use => return Some(closing(tokens, index)),
            ";" => return Some(index),
            "(" | "[" | "{" => index = closing(tokens, index),
            _ => {}
        }
        index += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::{mask::mask, tokens::split};
    use super::*;

    fn with<T>(text: &str, see: impl FnOnce(&[Token<'_>]) -> T) -> T {
        see(&split(&mask(text)))
    }

    #[test]
    fn a_function_reaches_from_its_keyword_to_its_last_brace() {
        let text =
            "fn a(x: [u8; 2]) -> fn(u8) -> u8\nwhere\n{\n  \"}\";\n  { }\n}\ntrait T { fn b(); fn c() {} }";
        let found = with(text, functions);
        let shown: Vec<_> = found.iter().map(|f| (f.name.as_str(), f.lines.clone())).collect();
        assert_eq!(shown, [("a", 1..=6), ("c", 7..=7)]);
    }

    #[test]
    fn test_code_is_what_cfg_test_covers_and_no_more() {
        let text = "fn a() {}\n#[cfg(test)]\n#[path = \"x\"]\nmod tests {\n fn b() {}\n}\nfn c() {}\n\
                    #[cfg(test)]\npub(in a) use x::{y, z}\n;\n#[cfg(test)]\npub(crate) mod suite;\n#[cfg(not(test))]\nfn d() {}";
        let code = with(text, |tokens| test_code(tokens, &attributes(tokens)));
        assert_eq!(code.lines, [2..=6, 8..=10, 11..=12]);
        assert_eq!(code.modules, ["suite"]);
        assert!(!code.whole_file);
    }

    #[test]
    fn a_file_may_be_test_code_as_a_whole() {
        assert!(with("#![cfg(test)]\nfn a() {}", |tokens| test_code(tokens, &attributes(tokens)).whole_file));
    }
}
