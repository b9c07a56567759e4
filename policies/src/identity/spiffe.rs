//! SPIFFE IDs as the SPIFFE-ID specification, section 2, defines them.

use std::{fmt, str::FromStr, sync::Arc};

use thiserror::Error;

/// Longest trust domain, in bytes (SPIFFE-ID, section 2.1).
const MAX_TRUST_DOMAIN: usize = 255;
/// Longest SPIFFE ID, in bytes (SPIFFE-ID, section 2.3).
const MAX_ID: usize = 2048;
const SCHEME: &str = "spiffe://";

/// A trust domain: 1 to 255 of `a-z 0-9 . - _`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(Arc<str>);

/// Why a text is no trust domain.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidTrustDomain {
    /// Nothing before the first slash.
    #[error("the trust domain is empty")]
    Empty,
    /// Longer than 255 bytes.
    #[error("the trust domain is {0} bytes long, at most {MAX_TRUST_DOMAIN} are allowed")]
    TooLong(usize),
    /// A character outside the alphabet, upper case, ports and user names included.
    #[error("the trust domain holds {0:?}; only a-z, 0-9, '.', '-' and '_' are allowed")]
    Character(char),
}

impl TrustDomain {
    /// The trust domain as text, without scheme.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The SPIFFE ID of the trust domain itself: `spiffe://<trust-domain>`, with no path.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{SCHEME}{}", self.0)
    }

    /// The identity of the Signet server: `spiffe://<trust-domain>/signet/server`.
    #[must_use]
    pub fn server_id(&self) -> SpiffeId {
        SpiffeId::of_valid_segments(self, ["signet", "server"])
    }
}

impl FromStr for TrustDomain {
    type Err = InvalidTrustDomain;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(InvalidTrustDomain::Empty);
        }
        if text.len() > MAX_TRUST_DOMAIN {
            return Err(InvalidTrustDomain::TooLong(text.len()));
        }
        let stranger = |c: &char| !matches!(c, 'a'..='z' | '0'..='9' | '.' | '-' | '_');
        match text.chars().find(stranger) {
            Some(c) => Err(InvalidTrustDomain::Character(c)),
            None => Ok(Self(text.into())),
        }
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrustDomain({})", self.0)
    }
}

/// A SPIFFE ID of a workload: `spiffe://<trust-domain>/<path>`, at most 2048 bytes, the path never empty.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    trust_domain: TrustDomain,
    /// The whole of it.
    text: Arc<str>,
}

/// Why a text is no SPIFFE ID.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidSpiffeId {
    /// Another scheme, or `spiffe` in capitals.
    #[error("a SPIFFE ID starts with \"spiffe://\", in lower case")]
    Scheme,
    /// Longer than 2048 bytes.
    #[error("the SPIFFE ID is {0} bytes long, at most {MAX_ID} are allowed")]
    TooLong(usize),
    /// The part before the path.
    #[error(transparent)]
    TrustDomain(#[from] InvalidTrustDomain),
    /// A trust domain without a path names no workload.
    #[error("the SPIFFE ID has no path")]
    NoPath,
    /// `//`, or a slash at the end.
    #[error("the path holds an empty segment")]
    EmptySegment,
    /// `.` or `..`.
    #[error("the path holds the segment {0:?}, which paths may not")]
    DotSegment(String),
    /// A character outside the alphabet: percent signs, queries and fragments included.
    #[error("the path holds {0:?}; only letters, digits, '.', '-' and '_' are allowed")]
    Character(char),
}

impl SpiffeId {
    /// The trust domain.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The path, with its leading slash.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.text[SCHEME.len() + self.trust_domain.as_str().len()..]
    }

    /// The whole ID as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Joins segments of a path that are known to be valid.
    pub(super) fn of_valid_segments<const N: usize>(trust_domain: &TrustDomain, segments: [&str; N]) -> Self {
        let mut text = trust_domain.id();
        for segment in segments {
            text.extend(["/", segment]);
        }
        Self { trust_domain: trust_domain.clone(), text: text.into() }
    }
}

impl FromStr for SpiffeId {
    type Err = InvalidSpiffeId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_ID {
            return Err(InvalidSpiffeId::TooLong(text.len()));
        }
        let rest = text.strip_prefix(SCHEME).ok_or(InvalidSpiffeId::Scheme)?;
        let (domain, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        let trust_domain = domain.parse()?;
        check_path(path)?;
        Ok(Self { trust_domain, text: text.into() })
    }
}

/// Checks a path by SPIFFE-ID, section 2.2.
fn check_path(path: &str) -> Result<(), InvalidSpiffeId> {
    let segments = path.strip_prefix('/').ok_or(InvalidSpiffeId::NoPath)?;
    if segments.is_empty() {
        return Err(InvalidSpiffeId::NoPath);
    }
    for segment in segments.split('/') {
        match segment {
            "" => return Err(InvalidSpiffeId::EmptySegment),
            "." | ".." => return Err(InvalidSpiffeId::DotSegment(segment.to_owned())),
            _ => {}
        }
        let stranger = |c: &char| !matches!(c, 'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' | '_');
        if let Some(c) = segment.chars().find(stranger) {
            return Err(InvalidSpiffeId::Character(c));
        }
    }
    Ok(())
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpiffeId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_and_friendly_ids_are_told_apart_by_the_rule_they_break() {
        use InvalidSpiffeId as E;
        use InvalidTrustDomain as D;
        let long_domain = "a".repeat(256);
        let long_path = "a".repeat(2048);
        let cases: Vec<(String, Result<(), E>)> = vec![
            ("spiffe://signet.internal/mesh/m/virtual-node/a".into(), Ok(())),
            ("spiffe://a/b".into(), Ok(())),
            ("spiffe://a_b-c.9/B/c.d_e-f/...".into(), Ok(())),
            (String::new(), Err(E::Scheme)),
            ("spiffe:/a/b".into(), Err(E::Scheme)),
            ("SPIFFE://a/b".into(), Err(E::Scheme)),
            ("http://a/b".into(), Err(E::Scheme)),
            (" spiffe://a/b".into(), Err(E::Scheme)),
            ("spiffe://".into(), Err(D::Empty.into())),
            ("spiffe:///b".into(), Err(D::Empty.into())),
            ("spiffe://A/b".into(), Err(D::Character('A').into())),
            ("spiffe://a:80/b".into(), Err(D::Character(':').into())),
            ("spiffe://u@a/b".into(), Err(D::Character('@').into())),
            ("spiffe://a%2fb/c".into(), Err(D::Character('%').into())),
            ("spiffe://bücher/c".into(), Err(D::Character('ü').into())),
            ("spiffe://a?x/b".into(), Err(D::Character('?').into())),
            (format!("spiffe://{long_domain}/b"), Err(D::TooLong(256).into())),
            ("spiffe://a".into(), Err(E::NoPath)),
            ("spiffe://a/".into(), Err(E::NoPath)),
            ("spiffe://a//b".into(), Err(E::EmptySegment)),
            ("spiffe://a/b/".into(), Err(E::EmptySegment)),
            ("spiffe://a/b//c".into(), Err(E::EmptySegment)),
            ("spiffe://a/./b".into(), Err(E::DotSegment(".".into()))),
            ("spiffe://a/b/../c".into(), Err(E::DotSegment("..".into()))),
            ("spiffe://a/%2e%2e/b".into(), Err(E::Character('%'))),
            ("spiffe://a/b?c=d".into(), Err(E::Character('?'))),
            ("spiffe://a/b#c".into(), Err(E::Character('#'))),
            ("spiffe://a/b c".into(), Err(E::Character(' '))),
            ("spiffe://a/b\0".into(), Err(E::Character('\0'))),
            ("spiffe://a/b\n".into(), Err(E::Character('\n'))),
            ("spiffe://a/b,URI:spiffe://a/c".into(), Err(E::Character(','))),
            (format!("spiffe://a/{long_path}"), Err(E::TooLong(2059))),
        ];
        for (text, expected) in cases {
            let parsed = text.parse::<SpiffeId>();
            assert_eq!(parsed.clone().map(|_| ()), expected, "{text:?}");
            if let Ok(id) = parsed {
                assert_eq!(id.to_string(), text, "Display gives back what was parsed");
            }
        }
    }

    #[test]
    fn the_servers_own_id_parses_as_itself() {
        let domain: TrustDomain = "signet.internal".parse().unwrap();
        let id = domain.server_id();
        assert_eq!(id.to_string(), "spiffe://signet.internal/signet/server");
        assert_eq!(id.to_string().parse::<SpiffeId>(), Ok(id));
        assert_eq!(domain.id(), "spiffe://signet.internal");
    }
}
