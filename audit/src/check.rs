//! What a check is.

use crate::{
    evidence::Evidence,
    finding::{Fault, Severity},
    inventory::Need,
};

/// One of the forty checks: what it looks for, why that matters, and what to do.
pub struct Check {
    /// Its id, a letter for its group and two digits: `A01` to `E09`.
    pub id: &'static str,
    /// Its name, in words with hyphens.
    pub name: &'static str,
    /// What holds where it passes.
    pub title: &'static str,
    /// How bad a finding of it is at worst.
    pub severity: Severity,
    /// What it cannot do without.
    pub needs: &'static [Need],
    /// What may happen where it does not hold.
    pub why: &'static str,
    /// How it looks.
    pub how: &'static str,
    /// What to do about a finding.
    pub fix: &'static str,
    pub(crate) run: fn(&Evidence<'_>) -> Vec<Fault>,
}

impl Check {
    /// The page and section that tells of it.
    #[must_use]
    pub fn docs(&self) -> String {
        format!("docs/audit.md#{}", self.id.to_lowercase())
    }

    /// What its group is about.
    #[must_use]
    pub fn group(&self) -> &'static str {
        match self.id.as_bytes().first() {
            Some(b'A') => "issuance log and signer",
            Some(b'B') => "chain and trust",
            Some(b'C') => "cryptography",
            Some(b'D') => "identity and profile",
            _ => "live Envoys",
        }
    }

    /// Whether a pattern such as `B03`, `E*` or `issuer-expiry` means it.
    #[must_use]
    pub fn is_meant_by(&self, pattern: &str) -> bool {
        match pattern.strip_suffix('*') {
            Some(start) => {
                self.id.len() >= start.len()
                    && self.id.is_char_boundary(start.len())
                    && self.id[..start.len()].eq_ignore_ascii_case(start)
            }
            None => self.id.eq_ignore_ascii_case(pattern) || self.name == pattern,
        }
    }
}

impl std::fmt::Debug for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Check").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}
