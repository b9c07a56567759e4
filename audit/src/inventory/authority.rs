//! Roots and issuers, and the bundles that nodes trust.

use serde::{Deserialize, Serialize};

use super::{Der, Revoked};

/// A certificate of the CA itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Authority {
    /// `root`, `intermediate`, `mesh/M` or `server`.
    pub name: String,
    /// Where it stands in the hierarchy.
    pub place: Place,
    /// How far it is in its life.
    pub standing: Standing,
    /// Since when it stands there.
    pub since: i64,
    /// The certificate.
    pub der: Der,
    /// Where it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Revoked>,
}

/// Where an authority stands in the hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// Signs issuers, or intermediates.
    Root,
    /// Signs issuers, and stands below the root.
    Intermediate,
    /// Signs leaves.
    Issuer,
}

/// How far an authority is in its life. It only ever goes down this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Made, and known to nobody.
    Prepared,
    /// On its way into every bundle.
    Distributed,
    /// Signs.
    Active,
    /// Signs no more, and is still trusted until nothing that it signed is in use.
    Retiring,
    /// Trusted no more.
    Retired,
}

/// A set of roots that nodes trust.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bundle {
    /// Its version, as nodes report it.
    pub version: String,
    /// The roots.
    pub roots: Vec<Der>,
    /// Whether it is the one that nodes are told to trust now.
    pub is_current: bool,
    /// Since when it is the one; of use where it is.
    pub since: i64,
    /// The serial numbers on the lists of what is revoked that come with it; only where an Envoy took this version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoked: Vec<String>,
}

impl Standing {
    /// As the inventory spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Distributed => "distributed",
            Self::Active => "active",
            Self::Retiring => "retiring",
            Self::Retired => "retired",
        }
    }
}
