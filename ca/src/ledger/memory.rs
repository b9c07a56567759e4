//! A ledger that ends with the process.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use super::{
    Digest, Entry, Event, Head, Ledger, LedgerError, RawEntry, Record, format,
    tree::{self, Edge},
};
use crate::Serial;

/// Keeps entries in memory: for tests, and for servers that are thrown away.
#[derive(Debug, Default)]
pub struct MemoryLedger {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    edge: Edge,
    entries: Vec<(Vec<Digest>, Vec<u8>)>,
    positions: BTreeMap<Serial, u64>,
}

impl Kept {
    fn entry(&self, position: u64) -> Option<RawEntry> {
        let (_, text) = self.entries.get(usize::try_from(position).ok()?)?;
        Some(RawEntry { position, text: text.clone() })
    }

    fn record(&self, position: u64) -> Result<Record, LedgerError> {
        let entry = self.entry(position).ok_or_else(|| LedgerError::missing(position))?;
        format::read_record(&entry)
    }
}

impl MemoryLedger {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Ledger for MemoryLedger {
    async fn append(&self, entry: Entry) -> Result<u64, LedgerError> {
        let text = format::write(&entry)?;
        let mut kept = self.kept();
        let position = kept.edge.size();
        if let Some(serial) = entry.serial() {
            if kept.positions.contains_key(&serial) {
                return Err(LedgerError::Duplicate(serial));
            }
            kept.positions.insert(serial, position);
        }
        let hashes = kept.edge.next(tree::leaf(&text))?;
        kept.edge.grow(&hashes);
        kept.entries.push((hashes, text));
        Ok(position)
    }

    async fn get(&self, serial: Serial) -> Result<Option<Record>, LedgerError> {
        let kept = self.kept();
        kept.positions.get(&serial).map(|position| kept.record(*position)).transpose()
    }

    async fn position(&self, serial: Serial) -> Result<Option<u64>, LedgerError> {
        Ok(self.kept().positions.get(&serial).copied())
    }

    async fn list(&self, after: Option<Serial>, limit: usize) -> Result<Vec<Record>, LedgerError> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let kept = self.kept();
        let page = kept.positions.range((start, Bound::Unbounded)).take(limit);
        page.map(|(_, position)| kept.record(*position)).collect()
    }

    async fn read(&self, from: u64, limit: usize) -> Result<Vec<RawEntry>, LedgerError> {
        let kept = self.kept();
        Ok((from..kept.edge.size()).take(limit).filter_map(|position| kept.entry(position)).collect())
    }

    async fn events(&self) -> Result<Vec<(u64, Event)>, LedgerError> {
        let all = self.read(0, usize::MAX).await?;
        let events = all.iter().filter_map(|raw| match raw.entry() {
            Ok(Entry::Event(event)) => Some(Ok((raw.position, event))),
            Ok(Entry::Issued(_)) => None,
            Err(error) => Some(Err(error)),
        });
        events.collect()
    }

    fn size(&self) -> u64 {
        self.kept().edge.size()
    }

    async fn head(&self) -> Result<Head, LedgerError> {
        self.kept().edge.head()
    }

    fn hashes(&self, indexes: &[u64]) -> Result<Vec<Digest>, LedgerError> {
        let kept = self.kept();
        let find = |index: &u64| {
            let (position, number) = tree::place(*index)?;
            kept.entries.get(usize::try_from(position).ok()?)?.0.get(number).copied()
        };
        indexes.iter().map(|index| find(index).ok_or_else(|| LedgerError::missing(*index))).collect()
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
