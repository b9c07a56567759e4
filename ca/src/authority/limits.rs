//! Name constraints (RFC 5280, section 4.2.1.10) of the authorities above a leaf.

use signet_policies::identity::DnsName;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName};

use crate::Unfit;

/// Which DNS names an authority may have certified below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NameLimits {
    /// Empty: all that are not excluded.
    permitted: Vec<String>,
    excluded: Vec<String>,
}

impl NameLimits {
    /// What a certificate says.
    pub(super) fn of(certificate: &X509Certificate<'_>) -> Result<Self, Unfit> {
        let Some(found) = certificate.name_constraints().map_err(|_| Unfit::Unreadable)? else {
            return Ok(Self::default());
        };
        let mut limits = Self::default();
        let permitted = found.value.permitted_subtrees.iter().flatten().map(|subtree| (true, &subtree.base));
        let excluded = found.value.excluded_subtrees.iter().flatten().map(|subtree| (false, &subtree.base));
        for (is_permitted, name) in permitted.chain(excluded) {
            #[expect(clippy::wildcard_enum_match_arm, reason = "our certificates have no other names")]
            match name {
                GeneralName::DNSName(name) if is_permitted => {
                    limits.permitted.push(name.to_ascii_lowercase())
                }
                GeneralName::DNSName(name) => limits.excluded.push(name.to_ascii_lowercase()),
                GeneralName::URI(_) => return Err(Unfit::NameConstraint("URI")),
                GeneralName::DirectoryName(_) => return Err(Unfit::NameConstraint("directoryName")),
                _ => {}
            }
        }
        Ok(limits)
    }

    /// Whether a name may be certified.
    pub(super) fn allow(&self, name: &DnsName) -> bool {
        let within = |subtree: &String| is_within(name.as_str(), subtree);
        (self.permitted.is_empty() || self.permitted.iter().any(within)) && !self.excluded.iter().any(within)
    }
}

/// `a.b.c` is within `b.c`, `.b.c` and itself; everything is within the empty name.
fn is_within(name: &str, subtree: &str) -> bool {
    let Some(rest) = name.to_ascii_lowercase().strip_suffix(subtree).map(str::to_owned) else { return false };
    match subtree.strip_prefix('.') {
        Some(_) => !rest.is_empty(),
        None => subtree.is_empty() || rest.is_empty() || rest.ends_with('.'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_within_what_it_ends_with_label_by_label() {
        for (name, subtree, expected) in [
            ("a.example.com", "example.com", true),
            ("example.com", "example.com", true),
            ("A.example.com", "example.com", true),
            ("badexample.com", "example.com", false),
            ("a.example.com", ".example.com", true),
            ("example.com", ".example.com", false),
            ("example.com", "", true),
            ("example.org", "example.com", false),
            ("com", "example.com", false),
        ] {
            assert_eq!(is_within(name, subtree), expected, "{name} within {subtree:?}");
        }
    }
}
