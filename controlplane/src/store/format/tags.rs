//! The record of a resource's tags.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{InvalidRecord, read};
use crate::model::Tags;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Record {
    V1(RecordV1),
}

#[derive(Debug, Serialize, Deserialize)]
struct RecordV1 {
    tags: BTreeMap<String, String>,
}

pub(in crate::store) fn encode_tags(tags: &Tags) -> Result<Vec<u8>, serde_json::Error> {
    let tags = tags.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    serde_json::to_vec(&Record::V1(RecordV1 { tags }))
}

pub(in crate::store) fn decode_tags(record: &[u8]) -> Result<Tags, InvalidRecord> {
    let Record::V1(RecordV1 { tags }) = read(record)?;
    Ok(tags.into_iter().collect())
}
