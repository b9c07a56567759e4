//! A ledger that ends with the process.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use super::{Ledger, LedgerError, Record};
use crate::Serial;

/// Keeps records in memory: for tests, and for servers that are thrown away.
#[derive(Debug, Default)]
pub struct MemoryLedger {
    records: Mutex<BTreeMap<Serial, Record>>,
}

impl MemoryLedger {
    fn records(&self) -> MutexGuard<'_, BTreeMap<Serial, Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Ledger for MemoryLedger {
    async fn append(&self, record: Record) -> Result<(), LedgerError> {
        let mut records = self.records();
        if records.contains_key(&record.serial) {
            return Err(LedgerError::Duplicate(record.serial));
        }
        records.insert(record.serial, record);
        Ok(())
    }

    async fn get(&self, serial: Serial) -> Result<Option<Record>, LedgerError> {
        Ok(self.records().get(&serial).cloned())
    }

    async fn list(&self, after: Option<Serial>, limit: usize) -> Result<Vec<Record>, LedgerError> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        Ok(self
            .records()
            .range((start, Bound::Unbounded))
            .take(limit)
            .map(|(_, record)| record.clone())
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::suite;

    #[tokio::test]
    async fn the_memory_ledger_passes_the_suite() {
        suite::all(MemoryLedger::default).await;
    }
}
