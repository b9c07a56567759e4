//! One PEM block (RFC 7468), in buffers that are wiped: the block may be a key.

use base64::{Engine, engine::general_purpose::STANDARD};
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
}
