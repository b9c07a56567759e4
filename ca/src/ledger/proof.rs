//! Proofs over the ledger, which anybody can check without it (RFC 6962, sections 2.1.1 and 2.1.2).

use thiserror::Error;
use tlog_tiles::tlog::{self, Hash, HashReader};

use super::{Digest, Head, Ledger, LedgerError, tree};

/// More entries than any ledger will have; larger numbers in a proof are nonsense.
const MAX_SIZE: u64 = 1 << 48;

/// That an entry is in the tree of a head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inclusion {
    /// Where the entry is, from 0.
    pub position: u64,
    /// The size of the tree.
    pub size: u64,
    /// The hashes beside the way from the leaf to the root.
    pub hashes: Vec<Digest>,
}

/// That the tree of one head is the beginning of that of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consistency {
    /// The size of the smaller tree, at least 1.
    pub from: u64,
    /// The size of the larger one.
    pub to: u64,
    /// RFC 6962's proof.
    pub hashes: Vec<Digest>,
}

/// A proof that proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidProof {
    /// It is for trees of other sizes.
    #[error("the proof is for a tree of another size")]
    OtherTree,
    /// Its hashes do not lead to the root.
    #[error("the proof's hashes do not lead to the root: entry, proof or checkpoint was altered")]
    Hashes,
}

impl Inclusion {
    /// Checks that `entry`, byte for byte, is at its position in the tree of `head`.
    ///
    /// # Errors
    /// It is not proven.
    pub fn check(&self, entry: &[u8], head: &Head) -> Result<(), InvalidProof> {
        if self.size != head.size || self.size > MAX_SIZE || self.position >= self.size {
            return Err(InvalidProof::OtherTree);
        }
        let (proof, leaf) = (hashes(&self.hashes), Hash(tree::leaf(entry)));
        tlog::check_record(&proof, self.size, Hash(head.root), self.position, leaf)
            .map_err(|_| InvalidProof::Hashes)
    }
}

impl Consistency {
    /// Checks that nothing was taken out or altered between two heads.
    ///
    /// # Errors
    /// It is not proven.
    pub fn check(&self, old: &Head, new: &Head) -> Result<(), InvalidProof> {
        let sizes_fit = self.from == old.size && self.to == new.size && (1..=self.to).contains(&self.from);
        if !sizes_fit || self.to > MAX_SIZE {
            return Err(InvalidProof::OtherTree);
        }
        let proof = hashes(&self.hashes);
        tlog::check_tree(&proof, self.to, Hash(new.root), self.from, Hash(old.root))
            .map_err(|_| InvalidProof::Hashes)
    }
}

impl dyn Ledger {
    /// Proves that the entry at `position` is in the tree of its first `size` entries.
    ///
    /// # Errors
    /// There is no such entry in that tree, or the storage cannot be read.
    pub fn prove_inclusion(&self, position: u64, size: u64) -> Result<Inclusion, LedgerError> {
        let hashes = tlog::prove_record(size, position, &Stored(self)).map_err(tree::unreadable)?;
        Ok(Inclusion { position, size, hashes: digests(hashes) })
    }

    /// Proves that the tree of the first `from` entries is the beginning of that of the first `to`.
    ///
    /// # Errors
    /// `from` is 0 or greater than `to`, or the storage cannot be read.
    pub fn prove_consistency(&self, from: u64, to: u64) -> Result<Consistency, LedgerError> {
        let hashes = tlog::prove_tree(to, from, &Stored(self)).map_err(tree::unreadable)?;
        Ok(Consistency { from, to, hashes: digests(hashes) })
    }

    /// The head of the tree of the first `size` entries.
    ///
    /// # Errors
    /// There are fewer, or the storage cannot be read.
    pub fn head_of(&self, size: u64) -> Result<Head, LedgerError> {
        let root = tlog::tree_hash(size, &Stored(self)).map_err(tree::unreadable)?;
        Ok(Head { size, root: root.0 })
    }
}

/// The hashes that a ledger keeps.
struct Stored<'a>(&'a dyn Ledger);

impl HashReader for Stored<'_> {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, tlog::Error> {
        let found = self.0.hashes(indexes).map_err(|error| tlog::Error::InvalidInput(error.to_string()))?;
        Ok(found.into_iter().map(Hash).collect())
    }
}

fn hashes(digests: &[Digest]) -> Vec<Hash> {
    digests.iter().copied().map(Hash).collect()
}

fn digests(hashes: Vec<Hash>) -> Vec<Digest> {
    hashes.into_iter().map(|hash| hash.0).collect()
}
