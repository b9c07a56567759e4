//! The record of client tokens: one or more, each as JSON on a line of its own. The last of a token counts.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{InvalidRecord, read};
use crate::store::{
    Metadata,
    tokens::{Request, Use},
};

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Record {
    V1(RecordV1),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RecordV1 {
    /// The text of a key.
    resource: String,
    client_token: String,
    /// SHA-256 of what was asked for, in hexadecimal.
    request: String,
    at_millis: u64,
    // The answer, but for the spec, which whoever asks again sends along.
    uid: Uuid,
    version: u64,
    created_at_millis: u64,
    updated_at_millis: u64,
}

pub(in crate::store) fn encode_token(used: &Use) -> Result<Vec<u8>, serde_json::Error> {
    let Use { key, token, request, at, metadata } = used;
    let mut line = serde_json::to_vec(&Record::V1(RecordV1 {
        resource: key.to_string(),
        client_token: token.clone(),
        request: hex::encode(request.as_bytes()),
        at_millis: *at,
        uid: metadata.uid,
        version: metadata.version,
        created_at_millis: metadata.created_at,
        updated_at_millis: metadata.updated_at,
    }))?;
    line.push(b'\n');
    Ok(line)
}

pub(in crate::store) fn decode_tokens(record: &[u8]) -> Result<Vec<Use>, InvalidRecord> {
    let lines = record.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(decode).collect()
}

fn decode(line: &[u8]) -> Result<Use, InvalidRecord> {
    let Record::V1(record) = read(line)?;
    let mut request = [0; 32];
    hex::decode_to_slice(&record.request, &mut request)
        .map_err(|error| InvalidRecord::Form(format!("request: {error}")))?;
    Ok(Use {
        key: record.resource.parse().map_err(InvalidRecord::Key)?,
        token: record.client_token,
        request: Request::from_bytes(request),
        at: record.at_millis,
        metadata: Metadata {
            uid: record.uid,
            version: record.version,
            created_at: record.created_at_millis,
            updated_at: record.updated_at_millis,
        },
    })
}
