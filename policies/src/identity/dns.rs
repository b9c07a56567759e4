//! DNS names as they may stand in a certificate.

use std::{fmt, str::FromStr, sync::Arc};

use thiserror::Error;

/// A host name of RFC 1123 labels, lower-cased: at most 253 bytes, each label 1 to 63 of `a-z 0-9 - _`.
///
/// An IP address is no DNS name, and neither is a wildcard.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsName(Arc<str>);

/// Why a text is no DNS name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidDnsName {
    /// Empty, or longer than 253 bytes.
    #[error("a DNS name has 1 to 253 bytes, this one has {0}")]
    Length(usize),
    /// An IPv4 or IPv6 address.
    #[error("{0} is an IP address, not a DNS name")]
    Address(std::net::IpAddr),
    /// A label that is empty, too long, or starts or ends with a hyphen.
    #[error("the label {0:?} is not 1 to 63 characters long, or starts or ends with '-'")]
    Label(String),
    /// A character outside the alphabet.
    #[error("the DNS name holds {0:?}; only letters, digits, '-' and '_' are allowed between dots")]
    Character(char),
}

impl DnsName {
    /// The name, lower-cased, without a trailing dot.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DnsName {
    type Err = InvalidDnsName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.is_empty() || name.len() > 253 {
            return Err(InvalidDnsName::Length(name.len()));
        }
        if let Ok(address) = name.parse() {
            return Err(InvalidDnsName::Address(address));
        }
        for label in name.split('.') {
            if let Some(c) = label.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_')) {
                return Err(InvalidDnsName::Character(c));
            }
            if label.is_empty() || label.len() > 63 || label.starts_with('-') || label.ends_with('-') {
                return Err(InvalidDnsName::Label(label.to_owned()));
            }
        }
        Ok(Self(name.to_ascii_lowercase().into()))
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DnsName({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_cased_and_hostile_ones_refused() {
        use InvalidDnsName as E;
        let long_label = "a".repeat(64);
        let cases: Vec<(&str, Result<&str, E>)> = vec![
            ("service-b.apps.local", Ok("service-b.apps.local")),
            ("Service-B.Apps.Local.", Ok("service-b.apps.local")),
            ("a_b", Ok("a_b")),
            ("", Err(E::Length(0))),
            (".", Err(E::Length(0))),
            ("a..b", Err(E::Label(String::new()))),
            (".a", Err(E::Label(String::new()))),
            ("-a", Err(E::Label("-a".into()))),
            ("a-.b", Err(E::Label("a-".into()))),
            (&long_label, Err(E::Label(long_label.clone()))),
            ("*.apps.local", Err(E::Character('*'))),
            ("a b", Err(E::Character(' '))),
            ("a/b", Err(E::Character('/'))),
            ("spiffe://a/b", Err(E::Character(':'))),
            ("a\0b", Err(E::Character('\0'))),
            ("127.0.0.1", Err(E::Address([127, 0, 0, 1].into()))),
            ("::1", Err(E::Address(std::net::Ipv6Addr::LOCALHOST.into()))),
        ];
        for (text, expected) in cases {
            let parsed = text.parse::<DnsName>();
            assert_eq!(parsed.as_ref().map(DnsName::as_str), expected.as_ref().copied(), "{text:?}");
        }
    }
}
