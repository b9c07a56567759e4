//! The little of DER (X.690) that a leaf needs.

use signet_policies::time::Timestamp;
use time::OffsetDateTime;

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;

/// Appends an element whose content `write` appends.
pub(super) fn nested(out: &mut Vec<u8>, tag: u8, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    let start = out.len();
    write(out);
    let length = (out.len() - start).to_be_bytes();
    let significant = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    match *significant {
        [] => out.push(0),
        [short @ 0..=0x7f] => out.insert(start, short),
        _ => {
            // As many length bytes as there are, which is at most eight.
            let count = u8::try_from(significant.len()).unwrap_or_default();
            out.splice(start..start, std::iter::once(0x80 | count).chain(significant.iter().copied()));
        }
    }
}

/// Appends an element with this content.
pub(super) fn element(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    nested(out, tag, |out| out.extend_from_slice(content));
}

/// Appends a BIT STRING of whole bytes.
pub(super) fn bits(out: &mut Vec<u8>, content: &[u8]) {
    nested(out, BIT_STRING, |out| {
        out.push(0);
        out.extend_from_slice(content);
    });
}

/// Appends a positive INTEGER, given most significant byte first.
pub(super) fn integer(out: &mut Vec<u8>, number: &[u8]) {
    let significant = &number[number.iter().take_while(|byte| **byte == 0).count()..];
    nested(out, INTEGER, |out| {
        // Without the zero, a set top bit would make it negative.
        if significant.first().is_none_or(|byte| *byte >= 0x80) {
            out.push(0);
        }
        out.extend_from_slice(significant);
    });
}

/// Appends a moment as RFC 5280, section 4.1.2.5, has it: UTCTime up to 2049, GeneralizedTime from then on.
/// `None` when it lies outside the years 1950 to 9999.
pub(super) fn moment(out: &mut Vec<u8>, moment: Timestamp) -> Option<()> {
    let date = OffsetDateTime::from_unix_timestamp(moment.unix()).ok()?;
    let year = u32::try_from(date.year()).ok().filter(|year| (1950..=9999).contains(year))?;
    let is_short = year < 2050;
    nested(out, if is_short { UTC_TIME } else { GENERALIZED_TIME }, |out| {
        if !is_short {
            two_digits(out, year / 100);
        }
        two_digits(out, year % 100);
        let fields = [u8::from(date.month()), date.day(), date.hour(), date.minute(), date.second()];
        fields.into_iter().for_each(|field| two_digits(out, field.into()));
        out.push(b'Z');
    });
    Some(())
}

fn two_digits(out: &mut Vec<u8>, number: u32) {
    out.extend([number / 10, number % 10].map(|digit| b'0' + u8::try_from(digit).unwrap_or_default()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out);
        out
    }

    #[test]
    fn lengths_take_as_few_bytes_as_can_be() {
        for (length, header) in [
            (0, vec![4, 0]),
            (0x7f, vec![4, 0x7f]),
            (0x80, vec![4, 0x81, 0x80]),
            (0xff, vec![4, 0x81, 0xff]),
            (0x100, vec![4, 0x82, 1, 0]),
            (0x1_0000, vec![4, 0x83, 1, 0, 0]),
        ] {
            let out = written(|out| element(out, OCTET_STRING, &vec![7; length]));
            assert_eq!(out[..header.len()], header);
            assert_eq!(out[header.len()..], vec![7; length]);
        }
    }

    #[test]
    fn integers_are_positive_and_minimal() {
        for (number, encoded) in [
            (&[0x7f][..], &[2, 1, 0x7f][..]),
            (&[0x80], &[2, 2, 0, 0x80]),
            (&[0, 0, 1], &[2, 1, 1]),
            (&[0, 0x80], &[2, 2, 0, 0x80]),
            (&[0], &[2, 1, 0]),
        ] {
            assert_eq!(written(|out| integer(out, number)), encoded);
        }
    }

    #[test]
    fn years_from_2050_on_have_four_digits() {
        let text = |unix| {
            let mut out = Vec::new();
            moment(&mut out, Timestamp::from_unix(unix))
                .map(|()| String::from_utf8(out.split_off(2)).unwrap())
        };
        assert_eq!(text(0).as_deref(), Some("700101000000Z"));
        assert_eq!(text(2_524_607_999).as_deref(), Some("491231235959Z"));
        assert_eq!(text(2_524_608_000).as_deref(), Some("20500101000000Z"));
        assert_eq!(text(253_402_300_799).as_deref(), Some("99991231235959Z"));
        assert_eq!(text(253_402_300_800), None);
        assert_eq!(text(-700_000_000_000), None);
        assert_eq!(text(i64::MAX), None);
    }
}
