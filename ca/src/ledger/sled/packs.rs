//! How entries lie in the database: those of one group of changes together, as far as they fit.
//!
//! ```text
//!  key                      value
//!  position of the first    0xff ┤ length: u32 ┤ entry ┤ length: u32 ┤ entry ┤ …       numbers are big-endian
//! ```
//!
//! To give sled a key costs more than all else that is done for an entry. Earlier versions gave it one for each: a value that
//! does not begin with the mark is one entry, whose first byte is the number of its hashes.

use std::iter;

use signet_durable::Writes;
use sled::{IVec, Tree};

use super::{damaged, position_of, unreadable};
use crate::ledger::LedgerError;

/// No entry has as many hashes.
const MARK: u8 = 0xff;
/// Bytes of a pack, unless one entry has more. sled has up to 17 keys in a leaf of its tree, and moves a leaf of more than
/// 128 KiB into a file of its own.
const MOST: usize = 7 * 1024;

/// Entries that are in the database, by position.
#[derive(Clone, Debug)]
pub(super) struct Packs(Tree);

/// The pack that a group of changes is adding to.
#[derive(Debug)]
pub(super) struct Filling {
    first: u64,
    bytes: usize,
}

impl Packs {
    pub(super) fn new(tree: Tree) -> Self {
        Self(tree)
    }

    /// How many entries there are, where none is missing.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`]; [`LedgerError::Damaged`] where the last pack is.
    pub(super) fn size(&self) -> Result<u64, LedgerError> {
        let Some((key, pack)) = self.0.last().map_err(unreadable)? else { return Ok(0) };
        let last = entries(&key, &pack)?.pop();
        Ok(last.map_or(position_of(&key)?, |(position, _)| position + 1))
    }

    /// The entry at a position.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`]; [`LedgerError::Damaged`] where its pack is.
    pub(super) fn get(&self, position: u64) -> Result<Option<IVec>, LedgerError> {
        let Some((key, pack)) = self.holding(position)? else { return Ok(None) };
        let mut entries = entries(&key, &pack)?.into_iter();
        Ok(entries.find(|(at, _)| *at == position).map(|(_, entry)| entry))
    }

    /// The entries from a position on, in order.
    ///
    /// # Errors
    /// As [`Packs::get`]; a pack that cannot be read is an error in the place of its entries.
    pub(super) fn from(
        &self,
        position: u64,
    ) -> Result<impl Iterator<Item = Result<(u64, IVec), LedgerError>>, LedgerError> {
        let holding = self.holding(position)?.map(|(key, _)| key);
        let first = holding.unwrap_or_else(|| (&position.to_be_bytes()).into());
        let packs = self.0.range(first..).map(|kept| {
            let (key, pack) = kept.map_err(unreadable)?;
            entries(&key, &pack)
        });
        let entries = packs.flat_map(|pack| match pack {
            Ok(entries) => entries.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        });
        Ok(entries.filter(move |entry| !matches!(entry, Ok((at, _)) if *at < position)))
    }

    /// Adds an entry to the pack of its group, or to a new one, which is `filling` then.
    pub(super) fn add(
        &self,
        writes: &mut Writes,
        filling: &mut Option<Filling>,
        position: u64,
        entry: &[u8],
    ) {
        let length = u32::try_from(entry.len()).unwrap_or(u32::MAX).to_be_bytes();
        let bytes = length.len() + entry.len();
        let (first, begun) = match filling {
            Some(filling) if filling.bytes + bytes <= MOST => (filling.first, filling.bytes),
            Some(_) | None => (position, 0),
        };
        let mark: &[u8] = if begun == 0 { &[MARK] } else { &[] };
        writes.append(&self.0, first.to_be_bytes(), [mark, &length, entry].concat());
        *filling = Some(Filling { first, bytes: begun + mark.len() + bytes });
    }

    /// The last pack that begins no later.
    fn holding(&self, position: u64) -> Result<Option<(IVec, IVec)>, LedgerError> {
        self.0.range(..=position.to_be_bytes()).next_back().transpose().map_err(unreadable)
    }

    #[cfg(test)]
    pub(super) fn tree(&self) -> &Tree {
        &self.0
    }
}

/// The entries of a pack, with their positions.
fn entries(key: &[u8], pack: &IVec) -> Result<Vec<(u64, IVec)>, LedgerError> {
    let first = position_of(key)?;
    if pack.first() != Some(&MARK) {
        return Ok(vec![(first, pack.clone())]);
    }
    let mut offset = 1;
    let next = iter::from_fn(|| {
        let rest = pack.get(offset..).filter(|rest| !rest.is_empty())?;
        let entry = rest.split_first_chunk().and_then(|(length, rest)| {
            let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
            let start = pack.len() - rest.len();
            offset = start.checked_add(length).filter(|end| *end <= pack.len())?;
            Some(pack.subslice(start, length))
        });
        if entry.is_none() {
            offset = pack.len();
        }
        Some(entry)
    });
    let entries: Option<Vec<_>> = (first..).zip(next).map(|(at, entry)| Some((at, entry?))).collect();
    entries.filter(|entries| !entries.is_empty()).ok_or_else(|| damaged(key, "it is cut off"))
}
