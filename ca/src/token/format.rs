//! How a token is written to disk: JSON with a version. Old versions are read forever.

use serde::{Deserialize, Serialize};
use signet_policies::{identity::Workload, time::Timestamp};

use super::TokenError;

/// What is kept of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) workload: Workload,
    pub(super) expires_at: Timestamp,
    pub(super) used_at: Option<Timestamp>,
    /// SHA-256 of the key that it was used for, its `SubjectPublicKeyInfo`, in hexadecimal; `None` where an earlier version
    /// used it up.
    pub(super) used_for: Option<String>,
    /// The name of a key pair.
    pub(super) made_by: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "version")]
enum Format {
    #[serde(rename = "1")]
    V1(V1),
}

/// Moments in seconds since the epoch.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct V1 {
    workload: String,
    expires_at: i64,
    used_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    used_for: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    made_by: Option<String>,
}

impl Stored {
    pub(super) fn write(&self) -> Result<Vec<u8>, TokenError> {
        let Self { workload, expires_at, used_at, used_for, made_by } = self;
        let stored = Format::V1(V1 {
            workload: workload.to_string(),
            expires_at: expires_at.unix(),
            used_at: used_at.map(Timestamp::unix),
            used_for: used_for.clone(),
            made_by: made_by.clone(),
        });
        serde_json::to_vec(&stored).map_err(|error| TokenError::Unavailable(error.to_string()))
    }

    pub(super) fn read(text: &[u8]) -> Result<Self, TokenError> {
        let damaged = |reason: String| TokenError::Unavailable(format!("a record cannot be read: {reason}"));
        let Format::V1(stored) = serde_json::from_slice(text).map_err(|error| damaged(error.to_string()))?;
        Ok(Self {
            workload: stored.workload.parse().map_err(|_| damaged("it names no workload".to_owned()))?,
            expires_at: Timestamp::from_unix(stored.expires_at),
            used_at: stored.used_at.map(Timestamp::from_unix),
            used_for: stored.used_for,
            made_by: stored.made_by,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_that_was_ever_written_is_read_as_what_it_was() {
        let unused =
            r#"{"version":"1","workload":"mesh/m/virtualNode/a","expiresAt":1795392600,"usedAt":null}"#;
        let used = r#"{"version":"1","workload":"mesh/m/virtualGateway/g","expiresAt":1,"usedAt":2}"#;
        let made_by = r#"{"version":"1","workload":"mesh/m/virtualNode/a","expiresAt":1,"usedAt":null,"madeBy":"AKIA1"}"#;
        let used_for = r#"{"version":"1","workload":"mesh/m/virtualNode/a","expiresAt":3,"usedAt":2,"usedFor":"0a","madeBy":"AKIA1"}"#;
        let text = |text: &str| Some(text.to_owned());
        let cases = [
            (unused, "mesh/m/virtualNode/a", 1_795_392_600, None, None, None),
            (used, "mesh/m/virtualGateway/g", 1, Some(2), None, None),
            (made_by, "mesh/m/virtualNode/a", 1, None, None, text("AKIA1")),
            (used_for, "mesh/m/virtualNode/a", 3, Some(2), text("0a"), text("AKIA1")),
        ];
        for (text, workload, expires_at, used_at, used_for, made_by) in cases {
            let stored = Stored {
                workload: workload.parse().unwrap(),
                expires_at: Timestamp::from_unix(expires_at),
                used_at: used_at.map(Timestamp::from_unix),
                used_for,
                made_by,
            };
            assert_eq!(Stored::read(text.as_bytes()), Ok(stored.clone()));
            assert_eq!(stored.write().unwrap(), text.as_bytes());
        }
        assert!(Stored::read(b"{}").is_err());
    }
}
