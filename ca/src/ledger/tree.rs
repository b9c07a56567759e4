//! The Merkle tree over the entries (RFC 6962, section 2), grown one leaf at a time.
//!
//! Of the tree only its right edge is in memory: the roots of the complete subtrees, at most 64. Every hash that a
//! proof may need is stored with the entry that completed it, and never changes.

use tlog_tiles::tlog::{
    self, Hash, HashReader, record_hash, split_stored_hash_index, stored_hash_index,
    stored_hashes_for_record_hash, sub_tree_index, tree_hash,
};

use super::LedgerError;

/// A SHA-256.
pub type Digest = [u8; 32];

/// How a tree stands: how many entries it has, and the hash over all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Number of entries.
    pub size: u64,
    /// The Merkle tree hash (RFC 6962, section 2.1).
    pub root: Digest,
}

/// The hash of an entry as a leaf.
pub(super) fn leaf(entry: &[u8]) -> Digest {
    record_hash(entry).0
}

/// Where a stored hash is: with which entry, and as which of its hashes.
pub(super) fn place(index: u64) -> Option<(u64, usize)> {
    let (level, number) = split_stored_hash_index(index);
    let end = number.checked_add(1)?.checked_shl(level.into())?;
    Some((end.checked_sub(1)?, level.into()))
}

/// The right edge of a tree.
#[derive(Clone, Debug, Default)]
pub(super) struct Edge {
    size: u64,
    /// The roots of the complete subtrees, by the index under which they are stored.
    roots: Vec<(u64, Hash)>,
}

impl Edge {
    /// The edge of a tree of which all hashes are stored.
    pub(super) fn load(
        size: u64,
        read: impl Fn(&[u64]) -> Result<Vec<Digest>, LedgerError>,
    ) -> Result<Self, LedgerError> {
        let indexes = if size == 0 { Vec::new() } else { sub_tree_index(0, size, Vec::new()) };
        let roots = read(&indexes)?.into_iter().map(Hash);
        Ok(Self { size, roots: indexes.iter().copied().zip(roots).collect() })
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The hashes to store with the next entry, of which the first is its own.
    pub(super) fn next(&self, leaf: Digest) -> Result<Vec<Digest>, LedgerError> {
        let hashes = stored_hashes_for_record_hash(self.size, Hash(leaf), self).map_err(unreadable)?;
        Ok(hashes.into_iter().map(|hash| hash.0).collect())
    }

    /// Takes the next entry in, with what [`Edge::next`] made of it.
    pub(super) fn grow(&mut self, hashes: &[Digest]) {
        let first = stored_hash_index(0, self.size);
        self.roots.extend((first..).zip(hashes.iter().copied().map(Hash)));
        self.size += 1;
        let edge = sub_tree_index(0, self.size, Vec::new());
        self.roots.retain(|(index, _)| edge.contains(index));
    }

    pub(super) fn head(&self) -> Result<Head, LedgerError> {
        Ok(Head { size: self.size, root: tree_hash(self.size, self).map_err(unreadable)?.0 })
    }
}

impl HashReader for Edge {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, tlog::Error> {
        let find = |index: &u64| {
            let found = self.roots.iter().find(|(at, _)| at == index).map(|(_, hash)| *hash);
            found.ok_or(tlog::Error::IndexesNotInTree)
        };
        indexes.iter().map(find).collect()
    }
}

pub(super) fn unreadable(error: tlog::Error) -> LedgerError {
    LedgerError::Unavailable(format!("the tree over the ledger: {error}"))
}
