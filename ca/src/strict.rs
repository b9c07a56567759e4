//! A walk over DER that accounts for every byte.
//!
//! Parsers made for the certificates of the wild forgive trailing bytes and odd lengths. Here nothing is
//! forgiven: every length is definite and minimal, every constructed element is exactly filled.

/// Identifier octets (X.690, section 8.1.2) that requests and leaves are made of.
pub(crate) mod tag {
    pub(crate) const INTEGER: u8 = 0x02;
    pub(crate) const BIT_STRING: u8 = 0x03;
    pub(crate) const OCTET_STRING: u8 = 0x04;
    pub(crate) const UTC_TIME: u8 = 0x17;
    pub(crate) const GENERALIZED_TIME: u8 = 0x18;
    pub(crate) const SEQUENCE: u8 = 0x30;
    pub(crate) const SET: u8 = 0x31;
    /// The attributes of a request: `[0] IMPLICIT SET OF`.
    pub(crate) const ATTRIBUTES: u8 = 0xa0;
    /// The extensions of a certificate: `[3] EXPLICIT`.
    pub(crate) const EXTENSIONS: u8 = 0xa3;
    /// An AuthorityKeyIdentifier's `keyIdentifier [0]` (RFC 5280, section 4.2.1.1).
    pub(crate) const KEY_IDENTIFIER: u8 = 0x80;
    /// A GeneralName's `dNSName [2]` (RFC 5280, section 4.2.1.6).
    pub(crate) const DNS_NAME: u8 = 0x82;
    /// A GeneralName's `uniformResourceIdentifier [6]`.
    pub(crate) const URI: u8 = 0x86;
}

/// Deepest nesting of an extension's value; a well-formed one needs two levels.
const MAX_DEPTH: usize = 16;
const CONSTRUCTED: u8 = 0x20;
const LONG_TAG: u8 = 0x1f;

/// What the first rule broken is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

const CUT_SHORT: Malformed = Malformed("it is cut short");
const WRONG_SHAPE: Malformed = Malformed("it does not have the shape of a PKCS #10 request");

/// One element: identifier, length and content.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    /// The content alone.
    pub(crate) content: &'a [u8],
    /// The element with identifier and length.
    pub(crate) raw: &'a [u8],
}

impl<'a> Element<'a> {
    /// Itself, if it has this tag.
    pub(crate) fn expect(self, tag: u8) -> Result<Self, Malformed> {
        if self.tag == tag { Ok(self) } else { Err(WRONG_SHAPE) }
    }

    /// The elements inside.
    pub(crate) fn children(&self) -> impl Iterator<Item = Result<Element<'a>, Malformed>> + use<'a> {
        let mut rest = self.content;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let parsed = first(rest);
            rest = parsed.as_ref().map_or(&[], |(_, after)| after);
            Some(parsed.map(|(element, _)| element))
        })
    }

    /// The elements inside, where there must be exactly `N`.
    pub(crate) fn fields<const N: usize>(&self) -> Result<[Element<'a>; N], Malformed> {
        let mut children = self.children();
        let mut fields = [*self; N];
        for field in &mut fields {
            *field = children.next().ok_or(WRONG_SHAPE)??;
        }
        if children.next().is_some() { Err(WRONG_SHAPE) } else { Ok(fields) }
    }
}

/// The one element that `bytes` are.
pub(crate) fn only(bytes: &[u8], tag: u8) -> Result<Element<'_>, Malformed> {
    let (element, rest) = first(bytes)?;
    if rest.is_empty() { element.expect(tag) } else { Err(Malformed("bytes follow its end")) }
}

/// Checks one element down to its leaves.
pub(crate) fn check(bytes: &[u8]) -> Result<(), Malformed> {
    let (element, rest) = first(bytes)?;
    if !rest.is_empty() {
        return Err(Malformed("bytes follow its end"));
    }
    check_inside(&element, MAX_DEPTH)
}

fn check_inside(element: &Element<'_>, depth: usize) -> Result<(), Malformed> {
    if element.tag & CONSTRUCTED == 0 {
        return Ok(());
    }
    let depth = depth.checked_sub(1).ok_or(Malformed("it is nested too deeply"))?;
    element.children().try_for_each(|child| check_inside(&child?, depth))
}

fn first(bytes: &[u8]) -> Result<(Element<'_>, &[u8]), Malformed> {
    let (&tag, after_tag) = bytes.split_first().ok_or(CUT_SHORT)?;
    if tag & LONG_TAG == LONG_TAG {
        return Err(Malformed("it holds a tag of several bytes"));
    }
    let (length, after_length) = length(after_tag)?;
    let (content, rest) = after_length.split_at_checked(length).ok_or(CUT_SHORT)?;
    Ok((Element { tag, content, raw: &bytes[..bytes.len() - rest.len()] }, rest))
}

/// A definite length in as few bytes as can be (X.690, section 10.1). Three bytes count more than a request
/// or a leaf may have.
fn length(bytes: &[u8]) -> Result<(usize, &[u8]), Malformed> {
    const NOT_MINIMAL: Malformed = Malformed("it holds a length that is not DER");
    match *bytes {
        [short @ 0..=0x7f, ref rest @ ..] => Ok((short.into(), rest)),
        [0x81, length @ 0x80..=0xff, ref rest @ ..] => Ok((length.into(), rest)),
        [0x82, high @ 1..=0xff, low, ref rest @ ..] => Ok((u16::from_be_bytes([high, low]).into(), rest)),
        [] | [0x81] | [0x82] | [0x82, _] => Err(CUT_SHORT),
        _ => Err(NOT_MINIMAL),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_definite_minimal_lengths_that_are_filled_exactly_pass() {
        let cases: [(&[u8], bool); 14] = [
            (&[0x30, 0], true),
            (&[0x30, 2, 0x05, 0], true),
            (&[0x04, 3, 0xff, 0xff, 0xff], true),
            (&[], false),
            (&[0x30], false),
            (&[0x30, 1], false),
            (&[0x30, 0, 0], false),
            (&[0x30, 0x80, 0, 0], false),
            (&[0x30, 0x81, 2, 0x05, 0], false),
            (&[0x30, 0x82, 0, 2, 0x05, 0], false),
            (&[0x30, 0x83, 0, 0, 2, 0x05, 0], false),
            (&[0x30, 1, 0x05], false),
            (&[0x30, 3, 0x05, 0, 0], false),
            (&[0x1f, 0x81, 0x01, 0], false),
        ];
        for (bytes, fits) in cases {
            assert_eq!(check(bytes).is_ok(), fits, "{bytes:02x?}");
        }
        let mut long = vec![0x04, 0x81, 0x80];
        long.extend([0; 0x80]);
        assert!(check(&long).is_ok());
        let mut longer = vec![0x04, 0x82, 0x01, 0x00];
        longer.extend([0; 0x100]);
        assert!(check(&longer).is_ok());
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |levels: usize| {
            (0..levels).fold(vec![0x05, 0], |inner, _| {
                [vec![0x30, u8::try_from(inner.len()).unwrap()], inner].concat()
            })
        };
        assert!(check(&nested(MAX_DEPTH)).is_ok());
        assert!(check(&nested(MAX_DEPTH + 1)).is_err());
    }
}
