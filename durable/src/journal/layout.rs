//! The bytes of a journal.
//!
//! Numbers are little-endian. A head is `magic, epoch: u64, size of the file: u64, checksum: u32`, and where sled bears the
//! epoch's mark `checksum of the same and "marked": u32`, which earlier versions pass over. A group is `checksum: u32, length: u32,
//! epoch: u64, sequence: u64`, and then for each tree `name, count: u32`, and for each of its entries `key, 0` or
//! `key, 1, value`; a name, a key or a value is `length: u32` and that many bytes. A group's length is all but the
//! checksum, which is a CRC-32 of the rest.

use crate::writes::{Entries, Group};

/// What a disk writes at once. A group that shared a block with the next would be put at risk by its write.
pub(super) const BLOCK: usize = 4096;
/// The start of every version's head, and of this one's.
const ANY_MAGIC: &[u8] = b"signet journal ";
const MAGIC: &[u8] = b"signet journal 1";
/// Bytes of a group before its trees.
const PREFIX: usize = 24;

/// Bytes of a head before its checksum.
const HEAD: usize = MAGIC.len() + 16;
const MARKED: &[u8] = b"marked";

/// Which round of the file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) epoch: u64,
    /// Whether sled was given the epoch's number, and had it on the disk, before it began.
    pub(super) is_marked: bool,
    /// Bytes of the file, for as long as it is there.
    pub(super) size: usize,
}

/// A group that was read.
#[derive(Debug)]
pub(crate) struct Found {
    pub(super) sequence: u64,
    /// Where the next one begins.
    pub(super) end: usize,
    /// What it writes, by the names of the trees.
    pub(crate) trees: Vec<(Vec<u8>, Entries)>,
}

/// Why a journal must not be obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error(
        "its journal was written by another version of signet; start that version once, and stop it in order"
    )]
    Version,
    #[error("its journal is damaged at byte {0}, before changes that were acknowledged; restore a backup")]
    Damaged(usize),
    #[error(
        "changes that were acknowledged are missing in it: its files were cut or damaged, or are not all of one moment; restore \
         a backup"
    )]
    Behind,
}

impl Head {
    /// Of a file that is made, and has no head yet.
    pub(super) fn before_first(size: usize) -> Self {
        Self { epoch: 0, is_marked: false, size }
    }

    pub(super) fn next(self) -> Self {
        Self { epoch: self.epoch + 1, is_marked: true, ..self }
    }

    /// The two take turns, so that one is whole at any moment.
    pub(super) fn offset(self) -> usize {
        if self.epoch.is_multiple_of(2) { 0 } else { BLOCK }
    }

    pub(super) fn bytes(self) -> Vec<u8> {
        let mut bytes = [MAGIC, &self.epoch.to_le_bytes(), &(self.size as u64).to_le_bytes()].concat();
        let marked = marked(&bytes);
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes.extend(marked.to_le_bytes());
        bytes
    }

    /// The head at the start of `block`, if it is whole.
    fn read(block: &[u8]) -> Result<Option<Self>, Unreadable> {
        let mut rest = block;
        let Some(magic) = take(&mut rest, MAGIC.len()).filter(|magic| magic.starts_with(ANY_MAGIC)) else {
            return Ok(None);
        };
        if magic != MAGIC {
            return Err(Unreadable::Version);
        }
        let (epoch, size) = (take_u64(&mut rest), take_u64(&mut rest).map(usize::try_from));
        let (Some(epoch), Some(Ok(size)), Some(checksum)) = (epoch, size, take_u32(&mut rest)) else {
            return Ok(None);
        };
        let is_marked = take_u32(&mut rest) == Some(marked(&block[..HEAD]));
        Ok((crc32fast::hash(&block[..HEAD]) == checksum).then_some(Self { epoch, is_marked, size }))
    }
}

fn marked(head: &[u8]) -> u32 {
    crc32fast::hash(&[head, MARKED].concat())
}

/// Puts a group into `buffer`, padded to whole blocks.
pub(super) fn write(buffer: &mut Vec<u8>, head: &Head, sequence: u64, group: &Group) {
    buffer.clear();
    buffer.extend([0; 8]);
    buffer.extend(head.epoch.to_le_bytes());
    buffer.extend(sequence.to_le_bytes());
    for (name, entries) in group.iter() {
        put(buffer, name);
        put_length(buffer, entries.len());
        for (key, value) in entries {
            put(buffer, key);
            buffer.push(u8::from(value.is_some()));
            if let Some(value) = value {
                put(buffer, value);
            }
        }
    }
    let length = u32::try_from(buffer.len() - 4).unwrap_or(u32::MAX);
    buffer[4..8].copy_from_slice(&length.to_le_bytes());
    let checksum = crc32fast::hash(&buffer[4..]);
    buffer[..4].copy_from_slice(&checksum.to_le_bytes());
    buffer.resize(buffer.len().next_multiple_of(BLOCK), 0);
}

/// A length that does not fit belongs to a group that is larger than any file, and is not written.
fn put_length(buffer: &mut Vec<u8>, length: usize) {
    buffer.extend(u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
}

fn put(buffer: &mut Vec<u8>, bytes: &[u8]) {
    put_length(buffer, bytes.len());
    buffer.extend(bytes);
}

/// The head of a file's bytes, and the groups of its epoch; nothing where the file was not made to the end.
///
/// # Errors
/// It is another version's, or a group is missing that was acknowledged.
pub(super) fn read(bytes: &[u8], start: usize) -> Result<Option<(Head, Vec<Found>)>, Unreadable> {
    let (first, rest) = bytes.split_at(BLOCK.min(bytes.len()));
    let heads = [Head::read(first)?, Head::read(rest)?];
    let head = heads.into_iter().flatten().max_by_key(|head| head.epoch);
    if head.is_some_and(|head| head.size != bytes.len()) {
        return Err(Unreadable::Damaged(bytes.len()));
    }
    let epoch = head.map_or(0, |head| head.epoch);
    let mut groups = Vec::new();
    let (mut offset, mut sequence) = (start, 1);
    while let Some((group, _)) =
        group(bytes, offset).filter(|(found, of)| (*of, found.sequence) == (epoch, sequence))
    {
        (offset, sequence) = (group.end, sequence + 1);
        groups.push(group);
    }
    // The write of the last group may have been cut off. One that comes later was written after an answer.
    let is_later = |at: &usize| {
        group(bytes, *at).is_some_and(|(found, of)| of > epoch || of == epoch && found.sequence > sequence)
    };
    match (offset..bytes.len()).step_by(BLOCK).any(|at| is_later(&at)) {
        true => Err(Unreadable::Damaged(offset)),
        false => Ok(head.map(|head| (head, groups))),
    }
}

/// The group at an offset and its epoch, if it is whole.
fn group(bytes: &[u8], offset: usize) -> Option<(Found, u64)> {
    let mut rest = bytes.get(offset..)?;
    let (checksum, length) = (take_u32(&mut rest)?, take_u32(&mut rest)?);
    let covered = bytes.get(offset + 4..)?.get(..usize::try_from(length).ok()?)?;
    if covered.len() < PREFIX - 4 || crc32fast::hash(covered) != checksum {
        return None;
    }
    let mut rest = &covered[4..];
    let (epoch, sequence) = (take_u64(&mut rest)?, take_u64(&mut rest)?);
    let mut trees = Vec::new();
    while !rest.is_empty() {
        let (name, count) = (take_bytes(&mut rest)?, take_u32(&mut rest)?);
        let mut entries = Entries::new();
        for _ in 0..count {
            let key = take_bytes(&mut rest)?;
            let value = match take(&mut rest, 1)? {
                [0] => None,
                _ => Some(take_bytes(&mut rest)?),
            };
            entries.insert(key, value);
        }
        trees.push((name, entries));
    }
    Some((Found { sequence, end: (offset + 4 + covered.len()).next_multiple_of(BLOCK), trees }, epoch))
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    take(rest, 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes)
}

fn take_u64(rest: &mut &[u8]) -> Option<u64> {
    take(rest, 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes)
}

fn take_bytes(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let length = take_u32(rest)?;
    take(rest, usize::try_from(length).ok()?).map(<[u8]>::to_vec)
}
