//! How a key pair is written to disk: JSON with a version. Old versions are read forever.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::KeyringError;

/// What is kept of a key pair, under its access key id.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stored {
    pub(super) name: String,
    /// Nonce, sealed secret, tag.
    pub(super) sealed: Vec<u8>,
    /// IAM's JSON.
    pub(super) policy: Value,
    pub(super) is_enabled: bool,
    /// Seconds since the epoch.
    pub(super) created_at: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "version")]
enum Format {
    #[serde(rename = "1")]
    V1(V1),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct V1 {
    name: String,
    sealed_secret: String,
    policy: Value,
    enabled: bool,
    created_at: i64,
}

impl Stored {
    pub(super) fn write(&self) -> Result<Vec<u8>, KeyringError> {
        let Self { name, sealed, policy, is_enabled, created_at } = self.clone();
        let sealed_secret = hex::encode(sealed);
        let stored = Format::V1(V1 { name, sealed_secret, policy, enabled: is_enabled, created_at });
        serde_json::to_vec(&stored).map_err(|error| KeyringError::Unavailable(error.to_string()))
    }

    pub(super) fn read(text: &[u8]) -> Result<Self, KeyringError> {
        let damaged =
            |reason: String| KeyringError::Unavailable(format!("a record cannot be read: {reason}"));
        let Format::V1(stored) = serde_json::from_slice(text).map_err(|error| damaged(error.to_string()))?;
        let V1 { name, sealed_secret, policy, enabled, created_at } = stored;
        let sealed = hex::decode(sealed_secret).map_err(|error| damaged(error.to_string()))?;
        Ok(Self { name, sealed, policy, is_enabled: enabled, created_at })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_key_pair_that_was_ever_written_is_read_as_what_it_was() {
        let stored = Stored {
            name: "ci".into(),
            sealed: vec![1, 255],
            policy: json!({"Statement": []}),
            is_enabled: false,
            created_at: 1_764_000_000,
        };
        let text = br#"{"version":"1","name":"ci","sealedSecret":"01ff","policy":{"Statement":[]},"enabled":false,"createdAt":1764000000}"#;
        assert_eq!(Stored::read(text), Ok(stored.clone()));
        assert_eq!(stored.write().unwrap(), text);
        assert!(Stored::read(br#"{"version":"2"}"#).is_err());
    }
}
