//! A look at everything that is stored: do the hashes still say what the entries say?

use super::{SledLedger, damaged, parts, unreadable};
use crate::ledger::{
    Entry, Head, LedgerError, RawEntry, format,
    tree::{self, Edge},
};

/// What was looked at, and found to be as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The tree over all entries, made anew from them.
    pub head: Head,
    /// How many of the entries are records of certificates.
    pub certificates: u64,
}

/// A look at everything that is stored, in steps.
#[derive(Debug)]
pub struct Check {
    /// Over what was looked at.
    edge: Edge,
    certificates: u64,
    /// How many entries are looked at.
    end: u64,
}

impl SledLedger {
    /// Reads every entry, makes the tree anew, and compares every stored hash with it, and every index. Takes a few
    /// seconds for a million entries.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] with the first entry that is not as it was written, or is missing.
    pub fn check(&self) -> Result<Checked, LedgerError> {
        let mut check = self.begin_check()?;
        loop {
            if let Some(checked) = self.check_further(&mut check, usize::MAX)? {
                return Ok(checked);
            }
        }
    }

    /// Begins a look at all that is there. What is added meanwhile is not looked at.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`], [`LedgerError::Damaged`].
    pub fn begin_check(&self) -> Result<Check, LedgerError> {
        Ok(Check { edge: Edge::default(), certificates: 0, end: self.entries.size()? })
    }

    /// Looks at `most` entries more; `None` while there are others.
    ///
    /// # Errors
    /// As [`SledLedger::check`].
    pub fn check_further(&self, check: &mut Check, most: usize) -> Result<Option<Checked>, LedgerError> {
        let Check { edge, certificates, end } = check;
        let begin = edge.size();
        let left = usize::try_from(*end - begin).unwrap_or(usize::MAX);
        for kept in self.entries.from(begin)?.take(left.min(most)) {
            let (position, value) = kept?;
            if position != edge.size() {
                return Err(LedgerError::missing(edge.size()));
            }
            let key = position.to_be_bytes();
            let (stored, text) = parts(position, &value)?;
            let hashes = edge.next(tree::leaf(text))?;
            if stored != hashes {
                return Err(damaged(&key, "it or its hashes were altered"));
            }
            edge.grow(&hashes);
            *certificates += u64::from(self.is_indexed_record(position, &key, text)?);
        }
        match edge.size() {
            size if size == *end => Ok(Some(Checked { head: edge.head()?, certificates: *certificates })),
            size if size == begin && most > 0 => Err(LedgerError::missing(size)),
            _ => Ok(None),
        }
    }

    /// Whether it is a record; an error where the indexes do not lead to it.
    fn is_indexed_record(&self, position: u64, key: &[u8], text: &[u8]) -> Result<bool, LedgerError> {
        match format::read(&RawEntry { position, text: text.to_vec() })? {
            Entry::Issued(record) => {
                let at = self.serials.get(record.serial.to_bytes()).map_err(unreadable)?;
                match at.as_deref() == Some(key) {
                    true => Ok(true),
                    false => Err(damaged(key, "the index by serials does not lead to it")),
                }
            }
            Entry::Event(_) => match self.events.contains_key(key).map_err(unreadable)? {
                true => Ok(false),
                false => Err(damaged(key, "the index of events does not lead to it")),
            },
        }
    }
}
