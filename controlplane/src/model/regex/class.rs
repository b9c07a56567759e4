//! Bracketed classes, as sets of bytes.

use super::{InvalidRegex, escape, shown};

/// Bytes that match.
#[derive(Clone)]
pub(super) struct Class([bool; 256]);

impl Class {
    pub(super) const EMPTY: Self = Self([false; 256]);

    pub(super) fn add(&mut self, from: u8, to: u8) {
        for byte in from..=to {
            self.0[usize::from(byte)] = true;
        }
    }

    pub(super) fn add_all(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine |= theirs;
        }
    }

    pub(super) fn negated(mut self) -> Self {
        self.0.iter_mut().for_each(|byte| *byte = !*byte);
        self
    }

    /// With both cases of every letter, if that is asked for.
    pub(super) fn folded(mut self, is_asked: bool) -> Self {
        for upper in (b'A'..=b'Z').filter(|_| is_asked) {
            let (upper, lower) = (usize::from(upper), usize::from(upper.to_ascii_lowercase()));
            let any = self.0[upper] || self.0[lower];
            (self.0[upper], self.0[lower]) = (any, any);
        }
        self
    }

    /// At most one step for each range of bytes; where both cases of every letter match, one step sees both.
    pub(super) fn steps(&self) -> usize {
        let sees_both =
            self.0[usize::from(b'A')..=usize::from(b'Z')] == self.0[usize::from(b'a')..=usize::from(b'z')];
        let is_counted =
            |from: usize, to: usize| !sees_both || from < usize::from(b'A') || to > usize::from(b'Z');
        let (mut steps, mut from) = (0_usize, None);
        for (byte, matches) in self.0.iter().copied().chain([false]).enumerate() {
            match (from, matches) {
                (None, true) => from = Some(byte),
                (Some(start), false) => {
                    steps += usize::from(is_counted(start, byte - 1));
                    from = None;
                }
                (None, false) | (Some(_), true) => {}
            }
        }
        steps.max(1)
    }

    /// Of `[:name:]`.
    fn posix(name: &[u8]) -> Option<Self> {
        let is_in: fn(u8) -> bool = match name {
            b"alnum" => |byte| byte.is_ascii_alphanumeric(),
            b"alpha" => |byte| byte.is_ascii_alphabetic(),
            b"ascii" => |byte| byte.is_ascii(),
            b"blank" => |byte| byte == b' ' || byte == b'\t',
            b"cntrl" => |byte| byte.is_ascii_control(),
            b"digit" => |byte| byte.is_ascii_digit(),
            b"graph" => |byte| byte.is_ascii_graphic(),
            b"lower" => |byte| byte.is_ascii_lowercase(),
            b"print" => |byte| byte.is_ascii_graphic() || byte == b' ',
            b"punct" => |byte| byte.is_ascii_punctuation(),
            b"space" => |byte| byte.is_ascii_whitespace() || byte == 0x0b,
            b"upper" => |byte| byte.is_ascii_uppercase(),
            b"word" => |byte| byte.is_ascii_alphanumeric() || byte == b'_',
            b"xdigit" => |byte| byte.is_ascii_hexdigit(),
            _ => return None,
        };
        let mut class = Self::EMPTY;
        (0..=u8::MAX).filter(|byte| is_in(*byte)).for_each(|byte| class.add(byte, byte));
        Some(class)
    }
}

/// Reads from behind the opening bracket to behind the closing one.
pub(super) fn read(pattern: &[u8], at: &mut usize) -> Result<Class, InvalidRegex> {
    let rest = |at: usize| pattern.get(at..).unwrap_or_default();
    let is_negated = rest(*at).starts_with(b"^");
    *at += usize::from(is_negated);
    let mut class = Class::EMPTY;
    let first = *at;
    loop {
        let start = *at;
        match rest(*at) {
            [] => return Err(InvalidRegex::OpenClass),
            // In the first place it is a character.
            [b']', ..] if start > first => {
                *at += 1;
                return Ok(if is_negated { class.negated() } else { class });
            }
            [b'[', b':', named @ ..] if named.windows(2).any(|two| two == b":]") => {
                let end = named.windows(2).position(|two| two == b":]").unwrap_or_default();
                *at += end + 4;
                let (is_negated, name) = match &named[..end] {
                    [b'^', name @ ..] => (true, name),
                    name => (false, name),
                };
                let unknown = || InvalidRegex::Class(shown(&pattern[start..*at]));
                let posix = Class::posix(name).ok_or_else(unknown)?;
                class.add_all(&if is_negated { posix.negated() } else { posix });
            }
            [b'\\', ..] if let Some(named) = escape::class(pattern, at)? => class.add_all(&named),
            _ => {
                let from = escape::byte(pattern, at)?;
                let is_range = matches!(rest(*at), [b'-', after, ..] if *after != b']');
                let to = if is_range {
                    *at += 1;
                    escape::byte(pattern, at)?
                } else {
                    from
                };
                if to < from {
                    return Err(InvalidRegex::Range(shown(&pattern[start..*at])));
                }
                class.add(from, to);
            }
        }
    }
}
