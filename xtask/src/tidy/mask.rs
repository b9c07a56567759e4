//! Blanks out comments, strings and characters, so that what remains is code.

/// The same text with every comment and literal replaced by spaces; line breaks stay where they are.
pub(crate) fn mask(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    let mut in_word = false;
    while let Some(next) = rest.chars().next() {
        if let Some(length) = opaque(rest, in_word) {
            let (blanked, after) = rest.split_at(length);
            masked.extend(blanked.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = after;
            in_word = false;
        } else {
            masked.push(next);
            in_word = next.is_alphanumeric() || next == '_';
            rest = &rest[next.len_utf8()..];
        }
    }
    masked
}

/// Length in bytes of the comment or literal that `rest` begins with.
fn opaque(rest: &str, in_word: bool) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment(rest));
    }
    if let Some(length) = quoted(rest, 0) {
        return Some(length);
    }
    if in_word {
        return None;
    }
    ["br", "cr", "r", "b", "c"].iter().filter(|prefix| rest.starts_with(**prefix)).find_map(|prefix| {
        if prefix.ends_with('r') { raw_string(rest, prefix.len()) } else { quoted(rest, prefix.len()) }
    })
}

/// Comments nest. One that never ends takes the rest.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        if here.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// A string or a character whose quote stands at `start`.
fn quoted(rest: &str, start: usize) -> Option<usize> {
    let body = &rest[start..];
    let mut inside = body.char_indices().skip(1).peekable();
    match body.chars().next()? {
        '"' => {}
        '\'' => {
            // A lifetime has no closing quote after one character.
            let (_, first) = inside.next()?;
            if first == '\\' {
                inside.next();
                let (end, _) = inside.find(|(_, c)| *c == '\'')?;
                return Some(start + end + 1);
            }
            return inside.next().filter(|(_, c)| *c == '\'').map(|(end, _)| start + end + 1);
        }
        _ => return None,
    }
    while let Some((at, c)) = inside.next() {
        match c {
            '\\' => {
                inside.next();
            }
            '"' => return Some(start + at + 1),
            _ => {}
        }
    }
    Some(rest.len())
}

/// `r"…"`, `r#"…"#` and so on; `r#name` is a name, not a string.
fn raw_string(rest: &str, prefix: usize) -> Option<usize> {
    let body = &rest[prefix..];
    let hashes = body.len() - body.trim_start_matches('#').len();
    let inside = body[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let start = prefix + hashes + 1;
    Some(inside.find(&close).map_or(rest.len(), |end| start + end + close.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        mask(text).split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn comments_and_literals_are_blanked_and_code_stays() {
        let table: [(&str, &[&str]); 14] = [
            ("a // b {\nc", &["a", "c"]),
            ("a /* b /* c */ { */ d", &["a", "d"]),
            ("a \"b { \\\" }\" d", &["a", "d"]),
            ("a r\"b\\\" d", &["a", "d"]),
            ("a r#\"b \" { \"# d", &["a", "d"]),
            ("a br##\"b \"# { \"## d", &["a", "d"]),
            ("a b\"{\" c\"{\" d", &["a", "d"]),
            ("a '{' b'}' '\\'' '\\u{7b}' '\"' d", &["a", "d"]),
            ("fn a<'x>(y: &'x str)", &["fn", "a<'x>(y:", "&'x", "str)"]),
            ("r#type x", &["r#type", "x"]),
            ("\"\\\\\" d", &["d"]),
            ("'\\\\' d", &["d"]),
            ("'ä' d", &["d"]),
            ("a \"never ends {", &["a"]),
        ];
        for (text, code) in table {
            assert_eq!(words(text), code, "{text}");
        }
    }

    #[test]
    fn lines_keep_their_numbers() {
        let text = "a\n\"b\nc\"\n/* d\n*/ e\n";
        let masked = mask(text);
        assert_eq!(masked.lines().count(), text.lines().count());
        assert_eq!(masked.lines().nth(4).map(str::trim), Some("e"));
    }
}
