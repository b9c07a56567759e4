//! The last look at a certificate before it leaves: does it say what was granted, and nothing more?
//!
//! It is read with another parser than wrote it, and than looked at it before it was signed: one that accounts for every
//! byte and copies none.

use time::{Date, Month, Time};

use crate::{
    Serial,
    profile::{Leaf, Template},
    strict::{self, Element, Malformed, tag},
};

/// ecdsa-with-SHA256 (RFC 5758, section 3.2), as AlgorithmIdentifier.
const ECDSA_SHA256: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";
/// `[0] EXPLICIT INTEGER 2`, which is version 3.
const VERSION_3: &[u8] = b"\xa0\x03\x02\x01\x02";
/// A name without any part.
const NO_NAME: &[u8] = b"\x30\x00";
/// critical: BOOLEAN TRUE; FALSE is the default, which DER leaves out.
const CRITICAL: &[u8] = b"\x01\x01\xff";
/// KeyUsage: digitalSignature alone.
const DIGITAL_SIGNATURE: &[u8] = b"\x03\x02\x07\x80";
/// KeyPurposeIds (RFC 5280, section 4.2.1.12).
const SERVER_AUTH: &[u8] = b"\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x01";
const CLIENT_AUTH: &[u8] = b"\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x02";
/// Extensions (RFC 5280, section 4.2.1).
const AUTHORITY_KEY_ID: &[u8] = b"\x06\x03\x55\x1d\x23";
const ALTERNATIVE_NAME: &[u8] = b"\x06\x03\x55\x1d\x11";
const KEY_USAGE: &[u8] = b"\x06\x03\x55\x1d\x0f";
const EXTENDED_KEY_USAGE: &[u8] = b"\x06\x03\x55\x1d\x25";
const SUBJECT_KEY_ID: &[u8] = b"\x06\x03\x55\x1d\x0e";

/// The part that differs.
type Part = &'static str;

/// Compares a certificate with what it was made of. The error names the first part that differs.
pub(super) fn says(der: &[u8], leaf: &Leaf<'_>, template: &Template) -> Result<(), Part> {
    let [tbs, algorithm, signature] =
        strict::only(der, tag::SEQUENCE).and_then(|all| all.fields()).map_err(unreadable)?;
    let [version, serial, inner, issuer, life, subject, key, extensions] =
        tbs.expect(tag::SEQUENCE).and_then(|tbs| tbs.fields()).map_err(unreadable)?;
    let [start, end] = life.expect(tag::SEQUENCE).and_then(|life| life.fields()).map_err(unreadable)?;
    let is_signature = signature.tag == tag::BIT_STRING && signature.content.first() == Some(&0);
    let parts = [
        ("encoding", version.raw == VERSION_3 && is_signature),
        ("signature algorithm", inner.raw == ECDSA_SHA256 && algorithm.raw == ECDSA_SHA256),
        ("serial", number(&serial) == Some(leaf.serial)),
        ("issuer", issuer.raw == template.issuer),
        ("start", moment(&start) == Some(leaf.life.not_before().unix())),
        ("end", moment(&end) == Some(leaf.life.not_after().unix())),
        ("subject", subject.raw == NO_NAME),
        ("key", key.raw == leaf.key.spki()),
    ];
    match parts.into_iter().find(|(_, is_equal)| !is_equal) {
        Some((part, _)) => Err(part),
        None => extensions_say(&extensions, leaf, template),
    }
}

/// All five extensions, once each, and no other.
fn extensions_say(extensions: &Element<'_>, leaf: &Leaf<'_>, template: &Template) -> Result<(), Part> {
    let [all] = extensions.expect(tag::EXTENSIONS).and_then(|all| all.fields()).map_err(unreadable)?;
    let mut seen = [false; 5];
    for extension in all.expect(tag::SEQUENCE).map_err(unreadable)?.children() {
        let (id, is_critical, value) = extension.and_then(|found| parts(&found)).map_err(unreadable)?;
        let (place, part, is_equal) = match id {
            AUTHORITY_KEY_ID => {
                let is_equal = !is_critical && is_key_id(value, &template.issuer_key_id);
                (0, "authority key identifier", is_equal)
            }
            ALTERNATIVE_NAME => (1, "names", is_critical && names_say(value, leaf) == Ok(true)),
            KEY_USAGE => (2, "key usage", is_critical && value == DIGITAL_SIGNATURE),
            EXTENDED_KEY_USAGE => (3, "extended key usage", !is_critical && are_purposes(value)),
            SUBJECT_KEY_ID => {
                let id = strict::only(value, tag::OCTET_STRING).map(|id| id.content);
                (4, "subject key identifier", !is_critical && id == Ok(leaf.key.id().as_slice()))
            }
            _ => return Err("extensions"),
        };
        if !is_equal {
            return Err(part);
        }
        if std::mem::replace(&mut seen[place], true) {
            return Err("extensions");
        }
    }
    if seen == [true; 5] { Ok(()) } else { Err("extensions") }
}

/// Its identifier, whether it is critical, and its value.
fn parts<'a>(extension: &Element<'a>) -> Result<(&'a [u8], bool, &'a [u8]), Malformed> {
    let extension = extension.expect(tag::SEQUENCE)?;
    let (id, is_critical, value) = match extension.fields() {
        Ok([id, value]) => (id, false, value),
        Err(_) => {
            let [id, critical, value] = extension.fields()?;
            (id, critical.raw == CRITICAL, value)
        }
    };
    Ok((id.raw, is_critical, value.expect(tag::OCTET_STRING)?.content))
}

fn is_key_id(value: &[u8], expected: &[u8]) -> bool {
    let id = strict::only(value, tag::SEQUENCE).and_then(|value| value.fields());
    id.is_ok_and(|[id]| id.tag == tag::KEY_IDENTIFIER && id.content == expected)
}

fn are_purposes(value: &[u8]) -> bool {
    let purposes = strict::only(value, tag::SEQUENCE).and_then(|value| value.fields());
    purposes.is_ok_and(|[first, second]| first.raw == SERVER_AUTH && second.raw == CLIENT_AUTH)
}

/// The one SPIFFE ID, then the DNS names.
fn names_say(value: &[u8], leaf: &Leaf<'_>) -> Result<bool, Malformed> {
    let mut names = strict::only(value, tag::SEQUENCE)?.children();
    let id = names.next().transpose()?;
    let is_id = |id: Element<'_>| id.tag == tag::URI && id.content == leaf.spiffe_id.as_str().as_bytes();
    if !id.is_some_and(is_id) {
        return Ok(false);
    }
    for granted in leaf.dns_names {
        let name = names.next().transpose()?;
        if !name.is_some_and(|name| name.tag == tag::DNS_NAME && name.content == granted.as_str().as_bytes())
        {
            return Ok(false);
        }
    }
    Ok(names.next().is_none())
}

/// A positive number in as few bytes as can be.
fn number(serial: &Element<'_>) -> Option<Serial> {
    let is_minimal = match *serial.content {
        [0, next, ..] => next >= 0x80,
        [first, ..] => first < 0x80,
        [] => false,
    };
    Serial::from_be_bytes(serial.content).filter(|_| serial.tag == tag::INTEGER && is_minimal)
}

/// Seconds since the epoch, of a moment as RFC 5280, section 4.1.2.5, has it: UTCTime up to 2049, GeneralizedTime from
/// then on.
fn moment(element: &Element<'_>) -> Option<i64> {
    let (digits, []) = element.content.strip_suffix(b"Z")?.as_chunks::<2>() else {
        return None;
    };
    let mut fields = [0; 7];
    let fields = fields.get_mut(..digits.len())?;
    for (field, digits) in fields.iter_mut().zip(digits) {
        let [tens, ones] = digits.map(|digit| digit.wrapping_sub(b'0'));
        *field = (tens <= 9 && ones <= 9).then(|| 10 * tens + ones)?;
    }
    let (year, rest) = match (element.tag, &*fields) {
        (tag::UTC_TIME, [year @ 0..=49, rest @ ..]) => (2000 + i32::from(*year), rest),
        (tag::UTC_TIME, [year, rest @ ..]) => (1900 + i32::from(*year), rest),
        (tag::GENERALIZED_TIME, [century, year, rest @ ..]) => {
            (100 * i32::from(*century) + i32::from(*year), rest)
        }
        _ => return None,
    };
    let is_in_its_form = element.tag == tag::UTC_TIME || year >= 2050;
    let [month, day, hour, minute, second] = *rest else {
        return None;
    };
    let date = Date::from_calendar_date(year, Month::try_from(month).ok()?, day).ok()?;
    let time = Time::from_hms(hour, minute, second).ok()?;
    is_in_its_form.then(|| date.with_time(time).assume_utc().unix_timestamp())
}

fn unreadable(_: Malformed) -> Part {
    "encoding"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_in_the_one_form_that_its_year_has() {
        let read = |tag: u8, text: &str| {
            let der = [&[tag, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
            moment(&strict::only(&der, tag).unwrap())
        };
        let (short, long) = (tag::UTC_TIME, tag::GENERALIZED_TIME);
        for (tag, text, expected) in [
            (short, "700101000000Z", Some(0)),
            (short, "500101000000Z", Some(-631_152_000)),
            (short, "491231235959Z", Some(2_524_607_999)),
            (short, "261123000000Z", Some(1_795_392_000)),
            (long, "20500101000000Z", Some(2_524_608_000)),
            (long, "99991231235959Z", Some(253_402_300_799)),
            (long, "20491231235959Z", None),
            (short, "20500101000000Z", None),
            (long, "500101000000Z", None),
            (short, "2611230000Z", None),
            (short, "261123000000", None),
            (short, "2611230000 0Z", None),
            (short, "26112300000:Z", None),
            (short, "261323000000Z", None),
            (short, "260229000000Z", None),
            (short, "261123240000Z", None),
            (short, "261123000060Z", None),
            (tag::OCTET_STRING, "261123000000Z", None),
        ] {
            assert_eq!(read(tag, text), expected, "{tag:#x} {text}");
        }
    }

    #[test]
    fn a_number_is_read_in_as_few_bytes_as_can_be() {
        let read = |der: &[u8]| number(&strict::only(der, der[0]).unwrap()).is_some();
        for (der, is_one) in [
            (&[2, 1, 1][..], true),
            (&[2, 2, 0, 0x80], true),
            (&[2, 1, 0], false),
            (&[2, 1, 0x80], false),
            (&[2, 2, 0, 1], false),
            (&[2, 0], false),
            (&[4, 1, 1], false),
        ] {
            assert_eq!(read(der), is_one, "{der:02x?}");
        }
    }
}
