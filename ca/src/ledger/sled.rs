//! A ledger on the disk.

use std::ops::Bound;

use async_trait::async_trait;
use signet_durable::{CommitError, Database};

use super::{Ledger, LedgerError, Record, format};
use crate::Serial;

/// The tree of records, by serial.
const TREE: &str = "issued-certificates";

/// Keeps records in the database of the server. A record that was added survives a loss of power; records
/// added at the same time share the wait for the disk.
#[derive(Clone, Debug)]
pub struct SledLedger {
    database: Database,
    records: sled::Tree,
}

impl SledLedger {
    /// The ledger of a database.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`].
    pub fn new(database: Database) -> Result<Self, LedgerError> {
        let records = database.tree(TREE)?;
        Ok(Self { database, records })
    }
}

impl From<CommitError> for LedgerError {
    fn from(error: CommitError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

#[async_trait]
impl Ledger for SledLedger {
    async fn append(&self, record: Record) -> Result<(), LedgerError> {
        let serial = record.serial;
        let text = format::write(&record)?;
        let records = self.records.clone();
        let add = move || {
            let only_if_absent: Option<&[u8]> = None;
            records.compare_and_swap(serial.to_bytes(), only_if_absent, Some(text)).map(|added| added.is_ok())
        };
        match self.database.commit(add).await? {
            true => Ok(()),
            false => Err(LedgerError::Duplicate(serial)),
        }
    }

    async fn get(&self, serial: Serial) -> Result<Option<Record>, LedgerError> {
        let found = self.records.get(serial.to_bytes()).map_err(unreadable)?;
        found.map(|text| format::read(&serial.to_bytes(), &text)).transpose()
    }

    async fn list(&self, after: Option<Serial>, limit: usize) -> Result<Vec<Record>, LedgerError> {
        let start = after.map_or(Bound::Unbounded, |serial| Bound::Excluded(serial.to_bytes()));
        let range = self.records.range::<[u8; 16], _>((start, Bound::Unbounded));
        range
            .take(limit)
            .map(|entry| {
                let (key, text) = entry.map_err(unreadable)?;
                format::read(&key, &text)
            })
            .collect()
    }
}

fn unreadable(error: sled::Error) -> LedgerError {
    LedgerError::Unavailable(error.to_string())
}

#[cfg(test)]
mod tests;
