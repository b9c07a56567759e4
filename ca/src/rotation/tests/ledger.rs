//! A ledger that takes what it is told, or does not.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;

use crate::{
    Ledger, LedgerError, MemoryLedger, Record, Serial,
    ledger::{Digest, Entry, Event, Head, RawEntry},
};

/// One whose disk may be full.
#[derive(Debug)]
pub(super) struct TestLedger {
    kept: MemoryLedger,
    room: AtomicUsize,
    is_mute: AtomicBool,
    is_unreadable: AtomicBool,
}

impl Default for TestLedger {
    fn default() -> Self {
        let (is_mute, is_unreadable) = Default::default();
        Self { kept: MemoryLedger::default(), room: AtomicUsize::new(usize::MAX), is_mute, is_unreadable }
    }
}

impl TestLedger {
    /// It takes so many entries and no more.
    pub(super) fn set_room(&self, room: usize) {
        self.room.store(room, Ordering::SeqCst);
    }

    /// It takes what it is told and says that it failed, from now on or no more.
    pub(super) fn set_mute(&self, is_mute: bool) {
        self.is_mute.store(is_mute, Ordering::SeqCst);
    }

    /// It takes all again, and says so.
    pub(super) fn mend(&self) {
        self.set_room(usize::MAX);
        self.set_mute(false);
    }

    /// Nobody can be counted by it, from now on or no more.
    pub(super) fn set_unreadable(&self, is_unreadable: bool) {
        self.is_unreadable.store(is_unreadable, Ordering::SeqCst);
    }
}

fn unless(fails: bool) -> Result<(), LedgerError> {
    match fails {
        true => Err(LedgerError::Unavailable("no space left on device".to_owned())),
        false => Ok(()),
    }
}

#[async_trait]
impl Ledger for TestLedger {
    async fn append(&self, entry: Entry) -> Result<u64, LedgerError> {
        let room = self.room.load(Ordering::SeqCst);
        unless(room == 0)?;
        self.room.store(room - 1, Ordering::SeqCst);
        let position = self.kept.append(entry).await?;
        unless(self.is_mute.load(Ordering::SeqCst)).map(|()| position)
    }

    async fn get(&self, serial: Serial) -> Result<Option<Record>, LedgerError> {
        self.kept.get(serial).await
    }

    async fn position(&self, serial: Serial) -> Result<Option<u64>, LedgerError> {
        self.kept.position(serial).await
    }

    async fn list(&self, after: Option<Serial>, limit: usize) -> Result<Vec<Record>, LedgerError> {
        self.kept.list(after, limit).await
    }

    async fn read(&self, from: u64, limit: usize) -> Result<Vec<RawEntry>, LedgerError> {
        unless(self.is_unreadable.load(Ordering::SeqCst))?;
        self.kept.read(from, limit).await
    }

    async fn events(&self) -> Result<Vec<(u64, Event)>, LedgerError> {
        self.kept.events().await
    }

    fn size(&self) -> u64 {
        self.kept.size()
    }

    async fn head(&self) -> Result<Head, LedgerError> {
        self.kept.head().await
    }

    fn hashes(&self, indexes: &[u64]) -> Result<Vec<Digest>, LedgerError> {
        self.kept.hashes(indexes)
    }
}
