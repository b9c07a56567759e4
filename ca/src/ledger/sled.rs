//! A ledger on the disk.

mod check;
mod fresh;
mod migrate;
mod packs;

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use signet_durable::{CommitError, Database, Writes};

use super::{
    Digest, Entry, Event, Head, Ledger, LedgerError, RawEntry, Record, format,
    tree::{self, Edge},
};
use crate::Serial;
pub use check::{Check, Checked};
use fresh::{Fresh, Kept};
use packs::{Filling, Packs};

/// Entries with the hashes that they completed, in packs.
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
/// An entry and its index are one change of the database's journal. The trees show them a moment after whoever added them
/// has his answer; until then they are read from memory.
#[derive(Clone, Debug)]
pub struct SledLedger {
    database: Database,
    entries: Packs,
    serials: sled::Tree,
    events: sled::Tree,
    /// Changed on the writer thread alone.
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    /// With all that was added, durable or not.
    edge: Edge,
    fresh: Fresh,
    /// Of the group that is being written.
    filling: Option<Filling>,
}

impl SledLedger {
    /// The ledger of a database.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`], [`LedgerError::Damaged`].
    pub fn new(database: Database) -> Result<Self, LedgerError> {
        let [entries, serials, events] = [ENTRIES, SERIALS, EVENTS].map(|name| database.tree(name));
        let (entries, serials, events) = (Packs::new(entries?), serials?, events?);
        let stored = |position: u64| Ok(entries.get(position)?.map(Stored::Settled));
        let edge = Edge::load(entries.size()?, |indexes| hashes(stored, indexes))?;
        let state = Arc::new(Mutex::new(State { edge, fresh: Fresh::default(), filling: None }));
        Ok(Self { database, entries, serials, events, state })
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
    fn add(&self, writes: &mut Writes, entry: Prepared) -> Result<Result<u64, LedgerError>, CommitError> {
        let State { edge, fresh, filling } = &mut *self.state();
        // The groups before this one are in the trees.
        fresh.settle();
        if fresh.is_group_empty() {
            *filling = None;
        }
        let position = edge.size();
        let hashes = match edge.next(entry.leaf) {
            Ok(hashes) => hashes,
            Err(error) => return Ok(Err(error)),
        };
        let at = position.to_be_bytes();
        match entry.serial {
            Some(serial) => {
                let taken = self.serials.get(serial.to_bytes());
                let taken = taken.map_err(|error| CommitError::Write(error.to_string()))?;
                // An earlier version wrote indexes by themselves: one may lead nowhere after a crash.
                if fresh.has(serial) || taken.is_some_and(|taken| *taken < at[..]) {
                    return Ok(Err(LedgerError::Duplicate(serial)));
                }
                writes.insert(&self.serials, serial.to_bytes(), at);
            }
            None => writes.insert(&self.events, at, []),
        }
        let value = value(&hashes, &entry.text);
        self.entries.add(writes, filling, position, &value);
        fresh.add(position, Kept { value: value.into(), serial: entry.serial });
        edge.grow(&hashes);
        Ok(Ok(position))
    }

    /// Runs a change on the writer thread, and shows what it and those before it added once that is durable.
    async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Self, &mut Writes) -> Result<T, CommitError> + Send + 'static,
        last: impl FnOnce(&T) -> Option<u64> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let (writer, shower) = (self.clone(), self.clone());
        let show = move |done: &T| {
            if let Some(last) = last(done) {
                shower.state().fresh.show(last);
            }
        };
        Ok(self.database.journal(move |writes| change(&writer, writes), show).await?)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An entry as it is stored. What is fresh comes first: once it is so no longer, the trees have it.
    fn stored(&self, position: u64) -> Result<Option<Stored>, LedgerError> {
        let fresh = self.state().fresh.get(position).map(|kept| Arc::clone(&kept.value));
        match fresh {
            Some(fresh) => Ok(Some(Stored::Fresh(fresh))),
            None => Ok(self.entries.get(position)?.map(Stored::Settled)),
        }
    }

    fn raw(&self, position: u64) -> Result<Option<RawEntry>, LedgerError> {
        let found = self.stored(position)?;
        found.map(|stored| raw(position, stored.bytes())).transpose()
    }

    /// The record at a position, where it is that of `serial`: an index without its entry was never acknowledged.
    fn record(&self, serial: Serial, position: u64) -> Result<Option<(u64, Record)>, LedgerError> {
        let Some(raw) = self.raw(position)? else {
            return Ok(None);
        };
        match raw.entry()? {
            Entry::Issued(record) if record.serial == serial => Ok(Some((position, record))),
            Entry::Issued(_) | Entry::Event(_) => Ok(None),
        }
    }

    fn find(&self, serial: Serial) -> Result<Option<(u64, Record)>, LedgerError> {
        let fresh = self.state().fresh.position(serial);
        let position = match fresh {
            Some(position) => Some(position),
            None => {
                let at = self.serials.get(serial.to_bytes()).map_err(unreadable)?;
                at.map(|at| position_of(&at)).transpose()?
            }
        };
        position.map_or(Ok(None), |position| self.record(serial, position))
    }
}

/// The bytes of an entry, from where they are.
enum Stored {
    Fresh(Arc<[u8]>),
    Settled(sled::IVec),
}

impl Stored {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Fresh(bytes) => bytes,
            Self::Settled(bytes) => bytes,
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
        let prepared = Prepared::new(&entry)?;
        let add = move |ledger: &Self, writes: &mut Writes| ledger.add(writes, prepared);
        self.change(add, |added| added.as_ref().ok().copied()).await?
    }

    async fn get(&self, serial: Serial) -> Result<Option<Record>, LedgerError> {
        Ok(self.find(serial)?.map(|(_, record)| record))
    }

    async fn position(&self, serial: Serial) -> Result<Option<u64>, LedgerError> {
        Ok(self.find(serial)?.map(|(position, _)| position))
    }

    async fn list(&self, after: Option<Serial>, limit: usize) -> Result<Vec<Record>, LedgerError> {
        let fresh: Vec<_> = self
            .state()
            .fresh
            .from(0)
            .filter_map(|(position, kept)| Some((kept.serial?, position)))
            .collect();
        let fresh = fresh.into_iter().filter(|(serial, _)| after.is_none_or(|after| *serial > after));
        let mut found = BTreeMap::new();
        for (serial, position) in fresh {
            found.extend(self.record(serial, position)?.map(|(_, record)| (serial, record)));
        }
        let start = after.map_or(Bound::Unbounded, |serial| Bound::Excluded(serial.to_bytes()));
        let range = self.serials.range::<[u8; 16], _>((start, Bound::Unbounded));
        let settled = range.filter_map(|indexed| {
            let found = indexed.map_err(unreadable).and_then(|(serial, at)| {
                let serial = Serial::from_be_bytes(&serial).ok_or_else(|| damaged(&at, "no serial"))?;
                self.record(serial, position_of(&at)?)
            });
            found.map(|found| found.map(|(_, record)| (record.serial, record))).transpose()
        });
        for settled in settled.take(limit) {
            found.extend([settled?]);
        }
        Ok(found.into_values().take(limit).collect())
    }

    async fn read(&self, from: u64, limit: usize) -> Result<Vec<RawEntry>, LedgerError> {
        let mut found = BTreeMap::new();
        for (position, kept) in self.state().fresh.from(from).take(limit) {
            found.insert(position, raw(position, &kept.value)?);
        }
        for settled in self.entries.from(from)?.take(limit) {
            let (position, value) = settled?;
            found.insert(position, raw(position, &value)?);
        }
        Ok(found.into_values().take(limit).collect())
    }

    async fn events(&self) -> Result<Vec<(u64, Event)>, LedgerError> {
        let fresh: Vec<_> =
            self.state().fresh.from(0).map(|(position, kept)| (position, kept.serial)).collect();
        let fresh =
            fresh.into_iter().filter(|(_, serial)| serial.is_none()).map(|(position, _)| Ok(position));
        let settled = self.events.iter().keys().map(|at| position_of(&at.map_err(unreadable)?));
        let mut found = BTreeMap::new();
        for position in fresh.chain(settled) {
            let position = position?;
            match self.raw(position)?.map(|raw| raw.entry()).transpose()? {
                Some(Entry::Event(event)) => drop(found.insert(position, event)),
                Some(Entry::Issued(_)) | None => {}
            }
        }
        Ok(found.into_iter().collect())
    }

    fn size(&self) -> u64 {
        self.state().edge.size()
    }

    async fn head(&self) -> Result<Head, LedgerError> {
        // On the writer thread, so that what it covers is durable when it is answered.
        let read = |ledger: &Self, _: &mut Writes| {
            let State { edge, fresh, .. } = &mut *ledger.state();
            fresh.settle();
            Ok(edge.head())
        };
        self.change(read, |_| None).await?
    }

    fn hashes(&self, indexes: &[u64]) -> Result<Vec<Digest>, LedgerError> {
        hashes(|position| self.stored(position), indexes)
    }
}

/// Hashes of the tree, from entries as they are stored.
fn hashes(
    stored: impl Fn(u64) -> Result<Option<Stored>, LedgerError>,
    indexes: &[u64],
) -> Result<Vec<Digest>, LedgerError> {
    let find = |index: &u64| {
        let missing = || LedgerError::missing(*index);
        let (position, number) = tree::place(*index).ok_or_else(missing)?;
        let stored = stored(position)?.ok_or_else(missing)?;
        parts(position, stored.bytes())?.0.get(number).copied().ok_or_else(missing)
    };
    indexes.iter().map(find).collect()
}

fn raw(position: u64, value: &[u8]) -> Result<RawEntry, LedgerError> {
    Ok(RawEntry { position, text: parts(position, value)?.1.to_vec() })
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
