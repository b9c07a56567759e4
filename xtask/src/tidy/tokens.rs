//! Words and signs of masked code, each with its line.

/// A name, a number, `::`, or one other sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) text: &'a str,
    /// Counted from 1.
    pub(crate) line: usize,
}

impl Token<'_> {
    pub(crate) fn is(&self, text: &str) -> bool {
        self.text == text
    }

    /// A name or keyword.
    pub(crate) fn is_word(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

/// Splits code that has been masked.
pub(crate) fn split(masked: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    for (index, text) in masked.lines().enumerate() {
        let line = index + 1;
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let (text, after) = rest.split_at(length(rest));
            tokens.push(Token { text, line });
            rest = after.trim_start();
        }
    }
    tokens
}

fn length(rest: &str) -> usize {
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    if rest.starts_with(in_word) {
        return rest.find(|c| !in_word(c)).unwrap_or(rest.len());
    }
    if rest.starts_with("::") {
        return 2;
    }
    rest.chars().next().map_or(0, char::len_utf8)
}

/// Index of the sign that closes the bracket at `open`; the last token when it is never closed.
pub(crate) fn closing(tokens: &[Token<'_>], open: usize) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        match token.text {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth = depth.saturating_sub(1),
            _ => continue,
        }
        if depth == 0 {
            return index;
        }
    }
    tokens.len().saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_paths_and_signs_are_told_apart_and_keep_their_lines() {
        let tokens = split("use a_1::b;\n  x=>0u8");
        let shown: Vec<_> = tokens.iter().map(|token| (token.text, token.line)).collect();
        assert_eq!(
            shown,
            [("use", 1), ("a_1", 1), ("::", 1), ("b", 1), (";", 1), ("x", 2), ("=", 2), (">", 2), ("0u8", 2)]
        );
    }

    #[test]
    fn brackets_close_where_they_balance() {
        let tokens = split("{ ( [ ] ) { } } x");
        assert_eq!(closing(&tokens, 0), 7);
        assert_eq!(closing(&tokens, 1), 4);
        assert_eq!(closing(&split("{ {"), 0), 1);
    }
}
