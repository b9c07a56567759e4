//! What tells responses apart.

use std::fmt::{self, Display, Formatter, Write};

/// One response of one stream: `<stream>-<response>`, in hex. It is written out where it is sent, and nowhere kept as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Nonce {
    pub(super) stream: u64,
    pub(super) response: u64,
}

impl Display for Nonce {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}", self.stream, self.response)
    }
}

impl PartialEq<str> for Nonce {
    /// Whether it is written so, to the letter.
    fn eq(&self, text: &str) -> bool {
        let mut rest = Rest(text);
        write!(rest, "{self}").is_ok() && rest.0.is_empty()
    }
}

/// What is left of a text when what is written is taken off its beginning.
struct Rest<'a>(&'a str);

impl Write for Rest<'_> {
    fn write_str(&mut self, written: &str) -> fmt::Result {
        self.0 = self.0.strip_prefix(written).ok_or(fmt::Error)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_its_own_text_and_no_other() {
        let nonce = Nonce { stream: 0xab, response: 1 };
        assert_eq!(nonce.to_string(), "ab-1");
        assert!(nonce == *"ab-1");
        for other in
            ["", "a", "ab", "ab-", "ab-2", "ab-12", "ab-01", "AB-1", "0ab-1", "+ab-1", " ab-1", "ab-1 "]
        {
            assert!(nonce != *other, "{other}");
        }
    }
}
