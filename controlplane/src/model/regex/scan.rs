//! Groups, alternatives and repetitions.

use super::{InvalidRegex, MAX_REPEAT, class, escape, shown};

/// A reader of one pattern.
pub(super) struct Scan<'a> {
    pattern: &'a [u8],
    at: usize,
    flags: Flags,
}

/// What may be switched inside a pattern and bears on its size.
#[derive(Clone, Copy, Default)]
struct Flags {
    ignores_case: bool,
    dot_is_all: bool,
}

/// Something that can be repeated.
#[derive(Clone, Copy)]
struct Part {
    /// Steps of its program, at most.
    steps: usize,
    /// The product of the counts nested in it.
    repeats: usize,
}

impl Part {
    fn of(steps: usize) -> Self {
        Self { steps, repeats: 1 }
    }
}

impl<'a> Scan<'a> {
    pub(super) fn new(pattern: &'a [u8]) -> Self {
        Self { pattern, at: 0, flags: Flags::default() }
    }

    /// The steps of the whole pattern's program, at most.
    pub(super) fn all(mut self) -> Result<usize, InvalidRegex> {
        let part = self.alternatives()?;
        match self.at < self.pattern.len() {
            true => Err(InvalidRegex::Unopened),
            false => Ok(part.steps),
        }
    }

    fn rest(&self) -> &'a [u8] {
        self.pattern.get(self.at..).unwrap_or_default()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.rest().first().copied();
        self.at += usize::from(byte.is_some());
        byte
    }

    fn takes(&mut self, text: &[u8]) -> bool {
        let is_next = self.rest().starts_with(text);
        self.at += if is_next { text.len() } else { 0 };
        is_next
    }

    /// Up to a closing parenthesis or the end, which is left.
    fn alternatives(&mut self) -> Result<Part, InvalidRegex> {
        let mut all = self.sequence()?;
        while self.takes(b"|") {
            let more = self.sequence()?;
            all.steps = all.steps.saturating_add(more.steps).saturating_add(1);
            all.repeats = all.repeats.max(more.repeats);
        }
        Ok(all)
    }

    fn sequence(&mut self) -> Result<Part, InvalidRegex> {
        let mut all = Part::of(0);
        let add = |all: &mut Part, part: Option<Part>| {
            if let Some(Part { steps, repeats }) = part {
                all.steps = all.steps.saturating_add(steps);
                all.repeats = all.repeats.max(repeats);
            }
        };
        let (mut last, mut is_repeated): (Option<Part>, bool) = (None, false);
        while !matches!(self.rest().first(), None | Some(b'|' | b')')) {
            let start = self.at;
            match self.repetition()? {
                Some(repetition) => {
                    let sign = || shown(&self.pattern[start..self.at]);
                    let part = last.ok_or_else(|| InvalidRegex::Nothing(sign()))?;
                    if is_repeated {
                        return Err(InvalidRegex::Stacked(sign()));
                    }
                    let part = repetition.of(part).ok_or_else(|| InvalidRegex::Repeat(sign()))?;
                    (last, is_repeated) = (Some(part), true);
                }
                // Flags switch something and are nothing: what comes next repeats what was before them.
                None => match self.atom()? {
                    Some(part) => {
                        add(&mut all, last.replace(part));
                        is_repeated = false;
                    }
                    None => is_repeated = false,
                },
            }
        }
        add(&mut all, last);
        Ok(all)
    }

    /// One of anything but a repetition; nothing where flags were switched.
    fn atom(&mut self) -> Result<Option<Part>, InvalidRegex> {
        let start = self.at;
        let steps = match self.next() {
            None => 0,
            Some(b'(') => return self.group(start),
            Some(b'[') => {
                let class = class::read(self.pattern, &mut self.at)?;
                class.folded(self.flags.ignores_case).steps()
            }
            Some(b'.') => {
                if self.flags.dot_is_all {
                    1
                } else {
                    2
                }
            }
            Some(b'\\') if self.takes(b"Q") => {
                let steps = self.quotation();
                return Ok((steps > 0).then_some(Part::of(steps)));
            }
            Some(b'\\') => {
                self.at = start;
                escape::outside(self.pattern, &mut self.at)?
            }
            Some(_) => 1,
        };
        Ok(Some(Part::of(steps)))
    }

    /// From behind `\Q` to behind `\E`, or the end.
    fn quotation(&mut self) -> usize {
        let rest = self.rest();
        let end = rest.windows(2).position(|two| two == b"\\E");
        self.at += end.map_or(rest.len(), |end| end + 2);
        end.unwrap_or(rest.len())
    }

    fn group(&mut self, start: usize) -> Result<Option<Part>, InvalidRegex> {
        let before = self.flags;
        let captures = match self.takes(b"?") {
            false => true,
            true => match self.opening(start)? {
                Opening::Flags => return Ok(None),
                Opening::Captures => true,
                Opening::Groups => false,
            },
        };
        let inside = self.alternatives()?;
        if !self.takes(b")") {
            return Err(InvalidRegex::Unclosed);
        }
        self.flags = before;
        let steps = inside.steps.saturating_add(if captures { 2 } else { 0 });
        Ok(Some(Part { steps, ..inside }))
    }

    /// From behind `(?`.
    fn opening(&mut self, start: usize) -> Result<Opening, InvalidRegex> {
        if [b"=".as_slice(), b"!", b"<=", b"<!"].iter().any(|look| self.rest().starts_with(look)) {
            return Err(InvalidRegex::Lookaround(shown(&self.pattern[start..])));
        }
        if self.rest().starts_with(b"P=") {
            return Err(InvalidRegex::Backreference(shown(&self.pattern[start..])));
        }
        if self.takes(b"P<") || self.takes(b"<") {
            let length = self.rest().iter().position(|byte| *byte == b'>');
            let name = length.map_or(self.rest(), |length| &self.rest()[..length]);
            let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
            if length.is_none() || name.is_empty() || !name.iter().all(is_word) {
                return Err(InvalidRegex::GroupName(shown(name)));
            }
            self.at += name.len() + 1;
            return Ok(Opening::Captures);
        }
        let (mut is_off, mut any) = (false, false);
        loop {
            match self.next() {
                Some(b'i') => self.flags.ignores_case = !is_off,
                Some(b's') => self.flags.dot_is_all = !is_off,
                Some(b'm' | b'U') => {}
                Some(b'-') if !is_off => {
                    (is_off, any) = (true, false);
                    continue;
                }
                Some(b':') if any || !is_off => return Ok(Opening::Groups),
                Some(b')') if any || !is_off => return Ok(Opening::Flags),
                _ => return Err(InvalidRegex::Group(shown(&self.pattern[start..self.at]))),
            }
            any = true;
        }
    }

    /// A repetition sign, with the question mark that makes it lazy.
    fn repetition(&mut self) -> Result<Option<Repetition>, InvalidRegex> {
        let found = match self.rest().first() {
            Some(b'*' | b'?' | b'+') => {
                self.at += 1;
                Repetition { least: 0, most: None, is_counted: false }
            }
            Some(b'{') => match counts(self.rest()) {
                // Braces that hold no counts are characters, as in a path's `{id}`.
                None => return Ok(None),
                Some((repetition, length)) => {
                    self.at += length;
                    repetition
                }
            },
            _ => return Ok(None),
        };
        self.takes(b"?");
        Ok(Some(found))
    }
}

enum Opening {
    /// `(?i)`: it is closed already.
    Flags,
    Captures,
    Groups,
}

struct Repetition {
    least: usize,
    most: Option<usize>,
    /// By counts in braces, of which RE2 makes copies.
    is_counted: bool,
}

impl Repetition {
    /// The part so repeated; nothing where that is too often.
    fn of(&self, part: Part) -> Option<Part> {
        let Self { least, most, is_counted } = *self;
        if !is_counted {
            // Behind a plus, the way on is written twice.
            return Some(Part { steps: part.steps.saturating_add(2), ..part });
        }
        let times = most.unwrap_or(least);
        let repeats = part.repeats.saturating_mul(times.max(1));
        if times < least || repeats.max(least) > MAX_REPEAT {
            return None;
        }
        // Each copy beyond the least may be left out, and the last of no end repeats.
        let copies = times.max(1);
        let optional = most.map_or(2, |most| most - least);
        let steps = part.steps.saturating_mul(copies).saturating_add(optional).saturating_add(1);
        Some(Part { steps, repeats })
    }
}

/// `{2}`, `{2,}` or `{2,5}` and its length.
fn counts(text: &[u8]) -> Option<(Repetition, usize)> {
    let end = text.iter().position(|byte| *byte == b'}')?;
    let inside = std::str::from_utf8(&text[1..end]).ok()?;
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // Zeros before a number make the braces characters.
        let is_plain = is_number && (text.len() == 1 || !text.starts_with('0'));
        is_plain.then(|| text.parse().unwrap_or(usize::MAX))
    };
    let (least, most) = match inside.split_once(',') {
        None => {
            let count = number(inside)?;
            (count, Some(count))
        }
        Some((least, "")) => (number(least)?, None),
        Some((least, most)) => (number(least)?, Some(number(most)?)),
    };
    Some((Repetition { least, most, is_counted: true }, end + 1))
}
