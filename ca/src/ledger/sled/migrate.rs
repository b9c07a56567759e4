//! Records of the first version lay by their serials, without a tree. They are taken into it once.

use signet_durable::{CommitError, Writes};

use super::{Prepared, SledLedger, damaged, unreadable};
use crate::{
    Record, Serial,
    ledger::{LedgerError, RawEntry, format, tree},
};

/// Where the first version kept its records, by serial.
const FIRST: &str = "issued-certificates";
/// Records of one group; bounds the memory that it takes.
const GROUP: usize = 512;

impl SledLedger {
    /// Takes the records of the first version into the tree, in the order in which they were issued (those of one
    /// second by their serials), byte for byte. Returns how many there were. To be called before anything is added;
    /// whoever was interrupted does the rest.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`], or [`LedgerError::Damaged`], before anything is changed.
    pub async fn take_in_first_records(&self) -> Result<usize, LedgerError> {
        let first = self.database.tree(FIRST)?;
        let mut found: Vec<_> = first
            .iter()
            .map(|kept| {
                let (key, text) = kept.map_err(unreadable)?;
                read(&key, &text).map(|record| (record.issued_at, record.serial))
            })
            .collect::<Result<_, _>>()?;
        found.sort_unstable();
        for group in found.chunks(GROUP) {
            let first = first.clone();
            let serials: Vec<Serial> = group.iter().map(|(_, serial)| *serial).collect();
            let take_in = move |ledger: &Self, writes: &mut Writes| ledger.take_in(writes, &first, &serials);
            self.change(take_in, |taken_in| taken_in.as_ref().ok().copied().flatten()).await??;
        }
        // Only now, when all of them are durable in their new place.
        let cleared = first.clone();
        self.database.commit(move || cleared.clear()).await?;
        Ok(found.len())
    }

    /// Takes in one group, and says where the last of it is.
    fn take_in(
        &self,
        writes: &mut Writes,
        first: &sled::Tree,
        serials: &[Serial],
    ) -> Result<Result<Option<u64>, LedgerError>, CommitError> {
        let mut last = None;
        for serial in serials {
            let text = first.get(serial.to_bytes()).map_err(|error| CommitError::Write(error.to_string()))?;
            let Some(text) = text.map(|text| text.to_vec()) else { continue };
            let prepared = Prepared { serial: Some(*serial), leaf: tree::leaf(&text), text };
            match self.add(writes, prepared)? {
                Ok(position) => last = Some(position),
                // It was taken in before an interruption.
                Err(LedgerError::Duplicate(_)) => {}
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(last))
    }
}

fn read(key: &[u8], text: &[u8]) -> Result<Record, LedgerError> {
    let record = format::read_record(&RawEntry { position: 0, text: text.to_vec() })
        .map_err(|error| damaged(key, &error.to_string()))?;
    match record.serial.to_bytes() == key {
        true => Ok(record),
        false => Err(damaged(key, "it is another certificate's")),
    }
}
