//! One PEM block (RFC 7468), in buffers that are wiped: the block may be a key.

use base64::{Engine, engine::general_purpose::STANDARD};
use thiserror::Error;
use zeroize::Zeroizing;

/// Characters per line of base64 (RFC 7468, section 2).
const LINE: usize = 64;

/// Writes one block.
pub(crate) fn encode(label: &str, der: &[u8]) -> Zeroizing<String> {
    // Large enough at once: growing would leave copies behind that nobody wipes.
    let mut base64 = Zeroizing::new(String::with_capacity(der.len() * 2 + 8));
    STANDARD.encode_string(der, &mut base64);
    let mut text = Zeroizing::new(String::with_capacity(base64.len() * 2 + 2 * label.len() + 64));
    text.push_str(&format!("-----BEGIN {label}-----\n"));
    for (position, character) in base64.chars().enumerate() {
        if position > 0 && position % LINE == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text.push_str(&format!("\n-----END {label}-----\n"));
    text
}

/// Reads the one block of a text, with white space around and inside it. `None` when there is another
/// number of blocks, another label, or anything beside it.
pub(crate) fn decode(label: &str, text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let body = text.trim().strip_prefix(&format!("-----BEGIN {label}-----"))?;
    let body = body.strip_suffix(&format!("-----END {label}-----"))?;
    let mut base64 = Zeroizing::new(String::with_capacity(body.len()));
    base64.extend(body.chars().filter(|character| !character.is_ascii_whitespace()));
    let mut der = Zeroizing::new(Vec::with_capacity(base64.len()));
    STANDARD.decode_vec(base64.as_bytes(), &mut der).ok()?;
    Some(der)
}

/// Why a text does not hold certificates alone.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidPem {
    /// No block at all.
    #[error("no PEM block \"-----BEGIN CERTIFICATE-----\" is in it")]
    Empty,
    /// More than any chain has.
    #[error("it is longer than {MAX_TEXT} bytes, which no chain of certificates is")]
    Long,
    /// A block with another label; its content is not shown, since it may be a key.
    #[error("PEM block {position} is a {label}, not a CERTIFICATE")]
    Label {
        /// Counted from 1.
        position: usize,
        /// What it says it is.
        label: String,
    },
    /// A block that does not end, or is no Base64.
    #[error("PEM block {0} is damaged: it does not end, or its lines are no Base64")]
    Damaged(usize),
}

/// Longest text that is read for certificates, in bytes.
const MAX_TEXT: usize = 64 * 1024;

/// The certificates of a text in their order, each DER, of which there is at least one. Between blocks there may be
/// anything, as tools write it there (RFC 7468, section 2).
pub(crate) fn certificates(text: &str) -> Result<Vec<Vec<u8>>, InvalidPem> {
    if text.len() > MAX_TEXT {
        return Err(InvalidPem::Long);
    }
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("-----BEGIN ") {
        let position = found.len() + 1;
        let (label, body) = after.split_once("-----").ok_or(InvalidPem::Damaged(position))?;
        if label != "CERTIFICATE" {
            let label = label.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(40).collect();
            return Err(InvalidPem::Label { position, label });
        }
        let end = "-----END CERTIFICATE-----";
        let (body, after) = body.split_once(end).ok_or(InvalidPem::Damaged(position))?;
        let block = format!("-----BEGIN CERTIFICATE-----{body}{end}");
        found.push(decode(label, &block).ok_or(InvalidPem::Damaged(position))?.to_vec());
        rest = after;
    }
    if found.is_empty() { Err(InvalidPem::Empty) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_reads_back_whatever_white_space_an_editor_added() {
        for length in [0, 1, 47, 48, 49, 138, 500] {
            let der: Vec<u8> = (0..=255).cycle().take(length).collect();
            let text = encode("CERTIFICATE", &der);
            assert!(text.lines().all(|line| line.len() <= LINE));
            for variant in [text.to_string(), format!("\n\n{}\n \n", *text), text.replace('\n', "\r\n")] {
                assert_eq!(decode("CERTIFICATE", &variant).unwrap().as_slice(), der);
            }
        }
    }

    #[test]
    fn two_blocks_or_another_label_are_not_read() {
        let text = encode("CERTIFICATE", b"one");
        assert!(decode("PRIVATE KEY", &text).is_none());
        assert!(decode("CERTIFICATE", &format!("{0}{0}", *text)).is_none());
        assert!(decode("CERTIFICATE", &format!("{}junk", *text)).is_none());
        assert!(decode("CERTIFICATE", "").is_none());
    }

    #[test]
    fn certificates_are_read_in_their_order_whatever_tools_write_around_them() {
        let [one, two] = [&b"one"[..], b"two"].map(|der| encode("CERTIFICATE", der).to_string());
        for text in [
            format!("{one}{two}"),
            format!("\n\n{one}\n\n\n{two}\n\n"),
            format!("{one}{two}").replace('\n', "\r\n"),
            format!("Certificate:\n    Data:\n{one}\nsubject=CN = two\n{two}"),
        ] {
            assert_eq!(certificates(&text).unwrap(), [b"one".to_vec(), b"two".to_vec()], "{text}");
        }
        let key = encode("PRIVATE KEY", b"one").to_string();
        let label = InvalidPem::Label { position: 2, label: "PRIVATE KEY".to_owned() };
        for (text, refused) in [
            (String::new(), InvalidPem::Empty),
            ("junk\n".to_owned(), InvalidPem::Empty),
            (format!("{one}{key}"), label),
            (format!("{one}-----BEGIN CERTIFICATE-----\nAAAA"), InvalidPem::Damaged(2)),
            (format!("{one}-----BEGIN "), InvalidPem::Damaged(2)),
            (two.replace("d", "*"), InvalidPem::Damaged(1)),
        ] {
            assert_eq!(certificates(&text), Err(refused), "{text}");
        }
    }

    #[test]
    fn texts_that_would_take_long_are_refused_by_their_length() {
        let started = tokio::time::Instant::now();
        for text in ["-----BEGIN CERTIFICATE-----".repeat(40_000), "-----BEGIN ".repeat(95_000)] {
            assert_eq!(certificates(&text), Err(InvalidPem::Long));
            assert!(certificates(&text[..MAX_TEXT]).is_err());
        }
        assert!(started.elapsed() < std::time::Duration::from_millis(50), "{:?}", started.elapsed());
    }
}
