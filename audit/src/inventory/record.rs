//! What was issued, as the ledger remembers it.

use serde::{Deserialize, Serialize};

use super::Der;

/// One issued certificate. Serials and hashes are in lower-case hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Its serial number.
    pub serial: String,
    /// Its URI SAN.
    pub spiffe_id: String,
    /// Its DNS SANs.
    pub dns_names: Vec<String>,
    /// Whose it is, as `mesh/M/virtualNode/N`; absent for the server's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// Who signed it: `mesh/M` or `server`.
    pub issuer: String,
    /// The first valid second.
    pub not_before: i64,
    /// The last valid second.
    pub not_after: i64,
    /// When it was signed.
    pub issued_at: i64,
    /// SHA-256 of its DER.
    pub fingerprint: String,
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub key_hash: String,
    /// Who asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester: Option<String>,
    /// How they proved who they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attestation: Option<String>,
    /// What tells their join token from others, where one let them in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join_token: Option<String>,
    /// What decided that they may have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// The serial number of the certificate that it follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predecessor: Option<String>,
    /// The certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub der: Option<Der>,
    /// Where it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Revoked>,
    /// When a proxy was first seen to hold it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered_at: Option<i64>,
}

/// A revocation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Revoked {
    /// When.
    pub at: i64,
    /// Why, as RFC 5280, section 5.3.1, spells it.
    pub reason: String,
}

/// The log's own proof: a Merkle tree over its entries (RFC 6962, section 2.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Log {
    /// The hash of each entry, in the log's order; hexadecimal.
    pub hashes: Vec<String>,
    /// How many entries the checkpoint is about.
    pub size: u64,
    /// The tree's head by the checkpoint, hexadecimal.
    pub root: String,
    /// When the checkpoint was signed.
    pub signed_at: i64,
    /// What is wrong with the checkpoint's signature; absent where it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature_fault: Option<String>,
    /// What the server itself found broken when it checked entries against records.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
    /// Older heads that others kept: size, and the head in hexadecimal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub anchors: Vec<(u64, String)>,
}

impl Record {
    /// Whether it may be used at `now`, revocation aside.
    #[must_use]
    pub fn is_valid_at(&self, now: i64) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// Its whole life in seconds, at least one.
    #[must_use]
    pub fn life(&self) -> i64 {
        self.not_after.saturating_sub(self.not_before).max(1)
    }
}
