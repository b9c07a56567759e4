//! What is on disk of an instance. A record's form never changes once written by a release: a new form is a new
//! variant, and old ones stay readable.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;
use signet_durable::CommitError;
use thiserror::Error;

use super::{Attributes, Health, Instance, InstanceKey, InvalidAttributes, InvalidName};

/// An instance on disk: `{"v1":{…}}`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Record {
    V1(RecordV1),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RecordV1 {
    attributes: BTreeMap<String, String>,
    health: Health,
    registered_at_millis: u64,
}

/// Why what was registered cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InvalidRecord {
    /// The tree.
    #[error("the registered instances cannot be read")]
    Tree(#[source] CommitError),
    /// A key that no version of Signet wrote.
    #[error("an instance's key is {0:?}, which is none of this version's")]
    Key(String),
    /// A name in a key.
    #[error("the instance {key:?} has a name that cannot be")]
    Name {
        /// The key.
        key: String,
        /// What is wrong with it.
        #[source]
        source: InvalidName,
    },
    /// No JSON of ours.
    #[error("the record of instance {key:?} cannot be understood")]
    Json {
        /// Its key.
        key: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// Attributes that this version refuses.
    #[error("the record of instance {key:?} has attributes that cannot be")]
    Attributes {
        /// Its key.
        key: String,
        /// What is wrong with them.
        #[source]
        source: InvalidAttributes,
    },
}

/// `<namespace>\0<service>\0<id>`: names hold no control characters.
pub(super) fn key(key: &InstanceKey) -> Vec<u8> {
    let InstanceKey { namespace, service, id } = key;
    [namespace.as_bytes(), service.as_bytes(), id.as_bytes()].join(&0)
}

pub(super) fn encode(instance: &Instance) -> Vec<u8> {
    let Instance { attributes, health, registered_at } = instance;
    let health = match health {
        Health::Healthy => "HEALTHY",
        Health::Unhealthy => "UNHEALTHY",
    };
    let record =
        json!({"attributes": attributes.all(), "health": health, "registeredAtMillis": registered_at});
    json!({"v1": record}).to_string().into_bytes()
}

pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<(InstanceKey, Instance), InvalidRecord> {
    let text = String::from_utf8_lossy(key).into_owned();
    let parts: Vec<&str> = text.split('\0').collect();
    let [namespace, service, id] = parts[..] else {
        return Err(InvalidRecord::Key(text));
    };
    let named = InstanceKey::new(namespace, service, id);
    let named = named.map_err(|source| InvalidRecord::Name { key: text.clone(), source })?;
    let record = serde_json::from_slice(value);
    let Record::V1(RecordV1 { attributes, health, registered_at_millis }) =
        record.map_err(|source| InvalidRecord::Json { key: text.clone(), source })?;
    let attributes = Attributes::parse(attributes);
    let attributes = attributes.map_err(|source| InvalidRecord::Attributes { key: text.clone(), source })?;
    Ok((named, Instance { attributes, health, registered_at: registered_at_millis }))
}
