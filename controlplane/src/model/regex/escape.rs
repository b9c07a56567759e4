//! What a backslash may stand before.

use super::{InvalidRegex, class::Class, shown};

/// Two-letter categories and one-letter ones, by their first letters.
const CATEGORIES: [(u8, &[u8]); 7] = [
    (b'C', b"cfos"),
    (b'L', b"lmotu"),
    (b'M', b"cen"),
    (b'N', b"dlo"),
    (b'P', b"cdefios"),
    (b'S', b"ckmo"),
    (b'Z', b"lps"),
];
/// Scripts, of which RE2 knows more: whoever matches bytes has no use for them.
const SCRIPTS: [&[u8]; 14] = [
    b"Any",
    b"Arabic",
    b"Armenian",
    b"Common",
    b"Cyrillic",
    b"Devanagari",
    b"Greek",
    b"Han",
    b"Hangul",
    b"Hebrew",
    b"Hiragana",
    b"Katakana",
    b"Latin",
    b"Thai",
];
/// Ranges of bytes that are letters in Latin-1, at most.
const LETTERS: usize = 8;
/// Ranges of bytes of any other Unicode class in Latin-1, at most.
const SIGNS: usize = 17;

/// Reads an escape outside a class; returns its steps, at most.
pub(super) fn outside(pattern: &[u8], at: &mut usize) -> Result<usize, InvalidRegex> {
    match pattern.get(*at + 1) {
        None => Err(InvalidRegex::Trailing),
        Some(b'b' | b'B' | b'A' | b'z' | b'C') => {
            *at += 2;
            Ok(1)
        }
        Some(_) => match class(pattern, at)? {
            Some(class) => Ok(class.steps().max(1)),
            None => byte(pattern, at).map(|_| 1),
        },
    }
}

/// Reads `\d` and its like, and `\pL` and its like; nothing where there is another escape.
pub(super) fn class(pattern: &[u8], at: &mut usize) -> Result<Option<Class>, InvalidRegex> {
    let mut class = Class::EMPTY;
    let letter = pattern.get(*at + 1).copied().unwrap_or_default();
    match letter.to_ascii_lowercase() {
        b'd' => class.add(b'0', b'9'),
        b'w' => [(b'0', b'9'), (b'A', b'Z'), (b'_', b'_'), (b'a', b'z')]
            .iter()
            .for_each(|(a, z)| class.add(*a, *z)),
        b's' => [(b'\t', b'\n'), (0x0c, b'\r'), (b' ', b' ')].iter().for_each(|(a, z)| class.add(*a, *z)),
        b'p' => return unicode(pattern, at).map(Some),
        _ => return Ok(None),
    }
    *at += 2;
    Ok(Some(if letter.is_ascii_uppercase() { class.negated() } else { class }))
}

/// `\pL`, `\p{Lu}`, `\P{^Greek}`. What it matches is not known here, only how many
/// ranges of bytes it has at most.
fn unicode(pattern: &[u8], at: &mut usize) -> Result<Class, InvalidRegex> {
    let named = &pattern[*at + 2..];
    let (name, length) = match named {
        [b'{', inside @ ..] => {
            let end = inside.iter().position(|byte| *byte == b'}');
            let end = end.ok_or_else(|| InvalidRegex::Class(shown(&pattern[*at..])))?;
            (inside[..end].strip_prefix(b"^").unwrap_or(&inside[..end]), end + 2)
        }
        [letter, ..] => (std::slice::from_ref(letter), 1),
        [] => return Err(InvalidRegex::Class(shown(&pattern[*at..]))),
    };
    let is_category = match name {
        [major] => CATEGORIES.iter().any(|(known, _)| known == major),
        [major, minor] => CATEGORIES.iter().any(|(known, minors)| known == major && minors.contains(minor)),
        _ => false,
    };
    if !is_category && !SCRIPTS.contains(&name) {
        return Err(InvalidRegex::Class(shown(&pattern[*at..*at + 2 + length])));
    }
    *at += 2 + length;
    let ranges = if name.len() > 2 || name.starts_with(b"L") { LETTERS } else { SIGNS };
    let mut many = Class::EMPTY;
    (0..ranges).zip((0x80..=u8::MAX).step_by(2)).for_each(|(_, byte)| many.add(byte, byte));
    Ok(many)
}

/// Reads one character, escaped or not; in a class, where there is no other escape.
pub(super) fn byte(pattern: &[u8], at: &mut usize) -> Result<u8, InvalidRegex> {
    let rest = pattern.get(*at..).unwrap_or_default();
    let [b'\\', escaped @ ..] = rest else {
        *at += 1;
        return rest.first().copied().ok_or(InvalidRegex::OpenClass);
    };
    let Some(letter) = escaped.first() else {
        return Err(InvalidRegex::Trailing);
    };
    let known = match letter {
        b'0'..=b'7' => octal(escaped),
        b'x' => hexadecimal(escaped),
        b'n' => Some((b'\n', 1)),
        b'r' => Some((b'\r', 1)),
        b't' => Some((b'\t', 1)),
        b'a' => Some((0x07, 1)),
        b'f' => Some((0x0c, 1)),
        b'v' => Some((0x0b, 1)),
        sign if sign.is_ascii() && !sign.is_ascii_alphanumeric() => Some((*sign, 1)),
        _ => None,
    };
    let end = pattern.len().min(*at + 2);
    let Some((byte, length)) = known else {
        let escape = shown(&pattern[*at..end]);
        return Err(match letter {
            b'1'..=b'9' => InvalidRegex::Backreference(escape),
            _ => InvalidRegex::Escape(escape),
        });
    };
    *at += 1 + length;
    Ok(byte)
}

/// One to three digits; a single one that is not 0 would refer to a group.
fn octal(escaped: &[u8]) -> Option<(u8, usize)> {
    let length = escaped.iter().take(3).take_while(|digit| (b'0'..=b'7').contains(digit)).count();
    let text = std::str::from_utf8(escaped.get(..length)?).ok()?;
    let value = u8::from_str_radix(text, 8).ok()?;
    (length > 1 || value == 0).then_some((value, length))
}

/// `xFF`, or `x{ff}`.
fn hexadecimal(escaped: &[u8]) -> Option<(u8, usize)> {
    let (digits, length) = match escaped.get(1..)? {
        [b'{', inside @ ..] => {
            let end = inside.iter().position(|byte| *byte == b'}')?;
            (inside.get(..end)?, end + 3)
        }
        digits => (digits.get(..2)?, 3),
    };
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    let text = std::str::from_utf8(digits).ok().filter(|_| is_number)?;
    u8::from_str_radix(text, 16).ok().map(|value| (value, length))
}
