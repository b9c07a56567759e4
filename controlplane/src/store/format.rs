//! What is on disk. A record's form never changes once written by a release: a new form is a new variant,
//! and old ones stay readable (`controlplane/tests/records` holds one of each).

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;
use uuid::Uuid;

use super::{Metadata, Resource};
use crate::model::{
    Document,
    key::{InvalidKey, Key},
    shape::Invalid,
};

/// A resource on disk, under the text of its key: `{"v1":{…}}`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Record {
    V1(RecordV1),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RecordV1 {
    uid: Uuid,
    version: u64,
    created_at_millis: u64,
    updated_at_millis: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_token: Option<String>,
    /// The caller's JSON.
    spec: Box<RawValue>,
}

/// Why a record cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InvalidRecord {
    /// The key is not text, or names no resource.
    #[error("its key is not one of this version's")]
    Key(#[source] InvalidKey),
    /// The record is no JSON, or has a form that this version does not know.
    #[error("its form is not one that this version reads: {0}")]
    Form(String),
    /// The spec breaks a rule of this version.
    #[error("its spec is not one that this version accepts")]
    Spec(#[source] Invalid),
    /// What it lives under, or refers to, is not there.
    #[error("it does not fit the others")]
    Reference(#[source] Box<super::Refusal>),
}

pub(super) fn encode(resource: &Resource) -> Result<Vec<u8>, serde_json::Error> {
    let Resource { document, metadata } = resource;
    let Metadata { uid, version, created_at, updated_at, token } = metadata;
    serde_json::to_vec(&Record::V1(RecordV1 {
        uid: *uid,
        version: *version,
        created_at_millis: *created_at,
        updated_at_millis: *updated_at,
        client_token: token.clone(),
        spec: document.text().to_owned(),
    }))
}

pub(super) fn decode(key: &[u8], record: &[u8]) -> Result<Arc<Resource>, InvalidRecord> {
    let text = String::from_utf8_lossy(key);
    let key: Key = text.parse().map_err(InvalidRecord::Key)?;
    let Record::V1(RecordV1 { uid, version, created_at_millis, updated_at_millis, client_token, spec }) =
        serde_json::from_slice(record).map_err(|error| InvalidRecord::Form(error.to_string()))?;
    let document = Document::restore(key, spec).map_err(InvalidRecord::Spec)?;
    let metadata = Metadata {
        uid,
        version,
        created_at: created_at_millis,
        updated_at: updated_at_millis,
        token: client_token,
    };
    Ok(Arc::new(Resource { document, metadata }))
}
