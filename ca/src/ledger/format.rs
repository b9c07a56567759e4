//! How an entry is written to disk: JSON with a version. Old versions are read forever.

mod event;
mod record;

use serde::{Deserialize, Serialize};

use super::{Entry, LedgerError, RawEntry, Record};

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "version")]
enum Stored {
    /// Records of certificates without the certificates.
    #[serde(rename = "1")]
    V1(record::V1),
    #[serde(rename = "2")]
    V2(V2),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
enum V2 {
    Issued(record::V2),
    Event(event::V2),
}

/// Bytes that the text of a record takes as a rule, so that it need not be moved as it grows.
const ROOM: usize = 2048;

/// What went wrong, in words.
type Reason = Box<dyn std::error::Error>;

/// The entry's text. A record without its certificate is written as the first version did.
pub(super) fn write(entry: &Entry) -> Result<Vec<u8>, LedgerError> {
    let stored = match entry {
        Entry::Issued(record) => match &record.certificate {
            None => Stored::V1(record::to_v1(record)),
            Some(certificate) => Stored::V2(V2::Issued(record::to_v2(record, certificate))),
        },
        Entry::Event(event) => Stored::V2(V2::Event(event::to_v2(event))),
    };
    let mut text = Vec::with_capacity(ROOM);
    serde_json::to_writer(&mut text, &stored).map_err(|error| LedgerError::Unavailable(error.to_string()))?;
    Ok(text)
}

/// What an entry says.
pub(super) fn read(raw: &RawEntry) -> Result<Entry, LedgerError> {
    let damaged = |reason: String| LedgerError::Damaged { key: raw.position.to_string(), reason };
    let stored = serde_json::from_slice(&raw.text).map_err(|error| damaged(error.to_string()))?;
    let entry = match stored {
        Stored::V1(record) => record::from_v1(record).map(Entry::Issued),
        Stored::V2(V2::Issued(record)) => record::from_v2(record).map(Entry::Issued),
        Stored::V2(V2::Event(event)) => event::from_v2(event).map(Entry::Event),
    };
    entry.map_err(|error| damaged(error.to_string()))
}

/// As [`read`], where only a record can be.
pub(super) fn read_record(raw: &RawEntry) -> Result<Record, LedgerError> {
    match read(raw)? {
        Entry::Issued(record) => Ok(record),
        Entry::Event(_) => Err(LedgerError::Damaged {
            key: raw.position.to_string(),
            reason: "it is no certificate's".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests;
