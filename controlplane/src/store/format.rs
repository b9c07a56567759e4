//! What is on disk. A record's form never changes once written by a release: a new form is a new variant,
//! and old ones stay readable (`controlplane/tests/records` holds one of each).
//!
//! ```text
//!  mesh/m/virtualNode/a        {"v1":{…}}   a resource, under the text of its key
//!  tags/mesh/m/virtualNode/a   {"v1":{…}}   its tags, if it has any
//!  token/00000000000000000042  {"v1":{…}}   client tokens, a line each, by the first revision made under them
//!  revision                    42           of the last change
//! ```

mod tags;
mod token;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;
use uuid::Uuid;

use super::{
    Metadata, Refusal, Resource,
    tokens::{Operation, Request, Use},
};
use crate::model::{
    Document, Tags,
    key::{InvalidKey, Key},
    shape::Invalid,
};

pub(super) use self::{
    tags::{decode_tags, encode_tags},
    token::{decode_tokens, encode_token},
};

/// The key of the last change's revision, which is text.
pub(super) const REVISION: &str = "revision";

/// What the key of a record says it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    Revision,
    Resource(Key),
    Tags(Key),
    Tokens(u64),
}

/// A resource on disk: `{"v1":{…}}`.
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
    /// Of the write that made this version, before tokens had records of their own.
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
    /// What it lives under, refers to, or belongs to, is not there.
    #[error("it does not fit the others")]
    Reference(#[source] Box<Refusal>),
}

impl Place {
    pub(super) fn parse(key: &[u8]) -> Result<Self, InvalidRecord> {
        let text = String::from_utf8_lossy(key);
        if text == REVISION {
            return Ok(Self::Revision);
        }
        if let Some(revision) = text.strip_prefix("token/").and_then(|text| text.parse().ok()) {
            return Ok(Self::Tokens(revision));
        }
        match text.strip_prefix("tags/") {
            Some(key) => key.parse().map(Self::Tags).map_err(InvalidRecord::Key),
            None => text.parse().map(Self::Resource).map_err(InvalidRecord::Key),
        }
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::Revision => REVISION.to_owned(),
            Self::Resource(key) => key.to_string(),
            Self::Tags(key) => format!("tags/{key}"),
            Self::Tokens(revision) => format!("token/{revision:020}"),
        }
    }
}

pub(super) fn encode(resource: &Resource) -> Result<Vec<u8>, serde_json::Error> {
    let Resource { document, metadata } = resource;
    let Metadata { uid, version, created_at, updated_at } = metadata;
    serde_json::to_vec(&Record::V1(RecordV1 {
        uid: *uid,
        version: *version,
        created_at_millis: *created_at,
        updated_at_millis: *updated_at,
        client_token: None,
        spec: document.text().to_owned(),
    }))
}

/// The resource, and the token that an older record holds.
pub(super) fn decode(key: Key, record: &[u8]) -> Result<(Arc<Resource>, Option<Use>), InvalidRecord> {
    let Record::V1(RecordV1 { uid, version, created_at_millis, updated_at_millis, client_token, spec }) =
        read(record)?;
    let document = Document::restore(key, spec).map_err(InvalidRecord::Spec)?;
    let metadata = Metadata { uid, version, created_at: created_at_millis, updated_at: updated_at_millis };
    let used = client_token.map(|token| {
        let operation = if version == 1 { Operation::Create } else { Operation::Update };
        let request = Request::new(operation, &document, &Tags::default());
        Use { key: document.key().clone(), token, request, at: updated_at_millis, metadata: metadata.clone() }
    });
    Ok((Arc::new(Resource { document, metadata }), used))
}

fn read<'a, T: Deserialize<'a>>(record: &'a [u8]) -> Result<T, InvalidRecord> {
    serde_json::from_slice(record).map_err(|error| InvalidRecord::Form(error.to_string()))
}
