//! A ledger on the disk.

mod check;
mod migrate;

use std::{
    ops::Bound,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use signet_durable::{CommitError, Database};

use super::{
    Digest, Entry, Event, Head, Ledger, LedgerError, RawEntry, Record, format,
    tree::{self, Edge},
};
use crate::Serial;
pub use check::Checked;

/// Entries with the hashes that they completed, by position.
const ENTRIES: &str = "ledger";
/// Positions of records, by serial.
const SERIALS: &str = "ledger-serials";
/// Positions of entries that are no records.
const EVENTS: &str = "ledger-events";
/// The newest checkpoint.
const CHECKPOINT: &str = "ledger-checkpoint";
/// Bytes of a hash.
const HASH: usize = size_of::<Digest>();

/// Keeps entries in the database of the server. An entry that was added survives a loss of power; entries added at
/// the same time share the wait for the disk.
///
/// The indexes are written before the entry, and say nothing without it: whoever follows one looks at what is there.
#[derive(Clone, Debug)]
pub struct SledLedger {
    database: Database,
    entries: sled::Tree,
    serials: sled::Tree,
    events: sled::Tree,
    /// Changed on the writer thread alone.
    edge: Arc<Mutex<Edge>>,
}

impl SledLedger {
    /// The ledger of a database.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`], [`LedgerError::Damaged`].
    pub fn new(database: Database) -> Result<Self, LedgerError> {
        let [entries, serials, events] = [ENTRIES, SERIALS, EVENTS].map(|name| database.tree(name));
        let (entries, serials, events) = (entries?, serials?, events?);
        let size = match entries.last().map_err(unreadable)? {
            None => 0,
            Some((key, _)) => position_of(&key)? + 1,
        };
        let read = |indexes: &[u64]| hashes(&entries, indexes);
        let edge = Edge::load(size, read)?;
        Ok(Self { database, entries, serials, events, edge: Arc::new(Mutex::new(edge)) })
    }

    /// The newest checkpoint that was kept.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`], [`LedgerError::Damaged`].
    pub fn kept_checkpoint(&self) -> Result<Option<String>, LedgerError> {
        let kept = self.database.tree(CHECKPOINT)?.get(CHECKPOINT).map_err(unreadable)?;
        let text = kept.map(|note| String::from_utf8(note.to_vec())).transpose();
        text.map_err(|_| damaged(CHECKPOINT.as_bytes(), "it is no text"))
    }

    /// Keeps a checkpoint in place of the one before.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`].
    pub async fn keep_checkpoint(&self, note: &str) -> Result<(), LedgerError> {
        let (tree, note) = (self.database.tree(CHECKPOINT)?, note.to_owned());
        let keep = move || tree.insert(CHECKPOINT, note.as_bytes()).map(drop);
        Ok(self.database.commit(keep).await?)
    }

    /// Adds an entry; on the writer thread. `Ok(Err(…))` changed nothing.
    fn add(&self, entry: &Prepared) -> Result<Result<u64, LedgerError>, sled::Error> {
        let mut edge = self.edge.lock().unwrap_or_else(PoisonError::into_inner);
        let position = edge.size();
        let hashes = match edge.next(entry.leaf) {
            Ok(hashes) => hashes,
            Err(error) => return Ok(Err(error)),
        };
        let at = position.to_be_bytes();
        match entry.serial {
            Some(serial) => {
                let only_if_absent: Option<&[u8]> = None;
                let key = serial.to_bytes();
                if let Err(taken) = self.serials.compare_and_swap(key, only_if_absent, Some(&at))? {
                    // One that leads nowhere is left of an entry that a crash kept from being written.
                    if taken.current.is_some_and(|taken| *taken < at[..]) {
                        return Ok(Err(LedgerError::Duplicate(serial)));
                    }
                    self.serials.insert(key, &at)?;
                }
            }
            None => drop(self.events.insert(at, &[])?),
        }
        self.entries.insert(at, value(&hashes, &entry.text))?;
        edge.grow(&hashes);
        Ok(Ok(position))
    }

    fn raw(&self, position: u64) -> Result<Option<RawEntry>, LedgerError> {
        let found = self.entries.get(position.to_be_bytes()).map_err(unreadable)?;
        found.map(|value| Ok(RawEntry { position, text: parts(position, &value)?.1.to_vec() })).transpose()
    }

    /// The record that an index names, where it is that of `serial`: an index without its entry was never
    /// acknowledged.
    fn record(&self, serial: Serial, at: &[u8]) -> Result<Option<(u64, Record)>, LedgerError> {
        let position = position_of(at)?;
        let Some(raw) = self.raw(position)? else {
            return Ok(None);
        };
        match raw.entry()? {
            Entry::Issued(record) if record.serial == serial => Ok(Some((position, record))),
            Entry::Issued(_) | Entry::Event(_) => Ok(None),
        }
    }

    fn find(&self, serial: Serial) -> Result<Option<(u64, Record)>, LedgerError> {
        match self.serials.get(serial.to_bytes()).map_err(unreadable)? {
            Some(at) => self.record(serial, &at),
            None => Ok(None),
        }
    }
}

/// An entry that is ready to be added: what costs time is done before the writer's turn.
struct Prepared {
    serial: Option<Serial>,
    text: Vec<u8>,
    leaf: Digest,
}

impl Prepared {
    fn new(entry: &Entry) -> Result<Self, LedgerError> {
        let text = format::write(entry)?;
        Ok(Self { serial: entry.serial(), leaf: tree::leaf(&text), text })
    }
}

impl From<CommitError> for LedgerError {
    fn from(error: CommitError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

#[async_trait]
impl Ledger for SledLedger {
    async fn append(&self, entry: Entry) -> Result<u64, LedgerError> {
        let (prepared, ledger) = (Prepared::new(&entry)?, self.clone());
        self.database.commit(move || ledger.add(&prepared)).await?
    }

    async fn get(&self, serial: Serial) -> Result<Option<Record>, LedgerError> {
        Ok(self.find(serial)?.map(|(_, record)| record))
    }

    async fn position(&self, serial: Serial) -> Result<Option<u64>, LedgerError> {
        Ok(self.find(serial)?.map(|(position, _)| position))
    }

    async fn list(&self, after: Option<Serial>, limit: usize) -> Result<Vec<Record>, LedgerError> {
        let start = after.map_or(Bound::Unbounded, |serial| Bound::Excluded(serial.to_bytes()));
        let range = self.serials.range::<[u8; 16], _>((start, Bound::Unbounded));
        let records = range.filter_map(|indexed| {
            let found = indexed.map_err(unreadable).and_then(|(serial, at)| {
                let serial = Serial::from_be_bytes(&serial).ok_or_else(|| damaged(&at, "no serial"))?;
                self.record(serial, &at)
            });
            found.map(|found| found.map(|(_, record)| record)).transpose()
        });
        records.take(limit).collect()
    }

    async fn read(&self, from: u64, limit: usize) -> Result<Vec<RawEntry>, LedgerError> {
        let range = self.entries.range(from.to_be_bytes()..).take(limit);
        let raw = range.map(|entry| {
            let (key, value) = entry.map_err(unreadable)?;
            let position = position_of(&key)?;
            Ok(RawEntry { position, text: parts(position, &value)?.1.to_vec() })
        });
        raw.collect()
    }

    async fn events(&self) -> Result<Vec<(u64, Event)>, LedgerError> {
        let events = self.events.iter().keys().filter_map(|at| {
            let raw = at.map_err(unreadable).and_then(|at| self.raw(position_of(&at)?));
            let raw = match raw {
                Ok(raw) => raw?,
                Err(error) => return Some(Err(error)),
            };
            match raw.entry() {
                Ok(Entry::Event(event)) => Some(Ok((raw.position, event))),
                Ok(Entry::Issued(_)) => None,
                Err(error) => Some(Err(error)),
            }
        });
        events.collect()
    }

    fn size(&self) -> u64 {
        self.edge.lock().unwrap_or_else(PoisonError::into_inner).size()
    }

    async fn head(&self) -> Result<Head, LedgerError> {
        let edge = self.edge.clone();
        // On the writer thread, so that what it covers is durable when it is answered.
        let read = move || Ok(edge.lock().unwrap_or_else(PoisonError::into_inner).head());
        self.database.commit(read).await?
    }

    fn hashes(&self, indexes: &[u64]) -> Result<Vec<Digest>, LedgerError> {
        hashes(&self.entries, indexes)
    }
}

fn hashes(entries: &sled::Tree, indexes: &[u64]) -> Result<Vec<Digest>, LedgerError> {
    let find = |index: &u64| {
        let missing = || LedgerError::missing(*index);
        let (position, number) = tree::place(*index).ok_or_else(missing)?;
        let value = entries.get(position.to_be_bytes()).map_err(unreadable)?.ok_or_else(missing)?;
        parts(position, &value)?.0.get(number).copied().ok_or_else(missing)
    };
    indexes.iter().map(find).collect()
}

/// As an entry is stored: how many hashes, the hashes, the entry's text.
fn value(hashes: &[Digest], text: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(1 + hashes.len() * HASH + text.len());
    // At most 64: one for each level that the entry completed.
    value.push(u8::try_from(hashes.len()).unwrap_or(u8::MAX));
    hashes.iter().for_each(|hash| value.extend_from_slice(hash));
    value.extend_from_slice(text);
    value
}

fn parts(position: u64, value: &[u8]) -> Result<(&[Digest], &[u8]), LedgerError> {
    let parts = || {
        let (count, rest) = value.split_first()?;
        let (hashes, text) = rest.split_at_checked(usize::from(*count) * HASH)?;
        Some((hashes.as_chunks().0, text))
    };
    parts().ok_or_else(|| damaged(&position.to_be_bytes(), "it is cut off"))
}

fn position_of(key: &[u8]) -> Result<u64, LedgerError> {
    key.try_into().map(u64::from_be_bytes).map_err(|_| damaged(key, "it is no position"))
}

fn damaged(key: &[u8], reason: &str) -> LedgerError {
    let key = key.try_into().map_or_else(|_| hex::encode(key), |at| u64::from_be_bytes(at).to_string());
    LedgerError::Damaged { key, reason: reason.to_owned() }
}

fn unreadable(error: sled::Error) -> LedgerError {
    LedgerError::Unavailable(error.to_string())
}

#[cfg(test)]
mod tests;
