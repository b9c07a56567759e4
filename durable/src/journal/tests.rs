use std::collections::BTreeMap;

use super::*;
use crate::writes::Writes;

/// Room for a few groups.
const SMALL: usize = START + 6 * BLOCK;

/// SplitMix64: the moments differ, and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % sides as u64).unwrap()
    }
}

/// What a disk writes without being interrupted.
const SECTOR: usize = 512;

/// A disk with a cache, whose power may fail.
struct Volatile {
    disk: Vec<u8>,
    /// Sectors that are not on the disk yet, by their offsets.
    cache: BTreeMap<usize, Vec<u8>>,
    /// After that many writes and syncs everything fails.
    left: usize,
}

impl Volatile {
    fn new(size: usize) -> Self {
        Self { disk: vec![0; size], cache: BTreeMap::new(), left: usize::MAX }
    }

    fn live(&mut self) -> io::Result<()> {
        self.left = self.left.checked_sub(1).ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(())
    }

    /// What is on the disk afterwards: of what was not synced, any part.
    fn fail(mut self, dice: &mut Dice) -> Vec<u8> {
        for (offset, sector) in self.cache {
            if dice.roll(2) == 0 {
                self.disk[offset..offset + SECTOR].copy_from_slice(&sector);
            }
        }
        self.disk
    }
}

impl Medium for Volatile {
    fn write(&mut self, bytes: &[u8], offset: usize) -> io::Result<()> {
        let is_alive = self.live();
        for (number, piece) in bytes.chunks(SECTOR).enumerate() {
            let at = offset + number * SECTOR;
            let mut sector =
                self.cache.get(&at).cloned().unwrap_or_else(|| self.disk[at..at + SECTOR].to_vec());
            sector[..piece.len()].copy_from_slice(piece);
            self.cache.insert(at, sector);
        }
        is_alive
    }

    fn sync(&mut self) -> io::Result<()> {
        self.live()?;
        for (offset, sector) in std::mem::take(&mut self.cache) {
            self.disk[offset..offset + SECTOR].copy_from_slice(&sector);
        }
        Ok(())
    }
}

struct Fixture {
    _folder: tempfile::TempDir,
    trees: [sled::Tree; 2],
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = sled::Config::new().path(folder.path()).flush_every_ms(None).open().unwrap();
        Self { trees: ["left", "right"].map(|name| db.open_tree(name).unwrap()), _folder: folder }
    }

    /// The same number in both trees, and so many bytes.
    fn group(&self, number: u64, bytes: usize) -> Group {
        let (mut group, mut writes) = (Group::default(), Writes::default());
        writes.insert(&self.trees[0], "key", number.to_le_bytes());
        writes.insert(&self.trees[1], "key", [&number.to_le_bytes()[..], &vec![7; bytes]].concat());
        writes.remove(&self.trees[1], "gone");
        group.add(writes);
        group
    }

    fn small(&self, groups: u64) -> Journal<Volatile> {
        let mut journal = Journal::begin(Volatile::new(SMALL), SMALL).unwrap();
        (1..=groups).for_each(|number| assert_eq!(journal.append(&self.group(number, 0)).unwrap(), Ok(())));
        journal
    }
}

/// The numbers of the groups that are read.
fn numbers(bytes: &[u8]) -> Result<Vec<u64>, Unreadable> {
    let number = |group: &Found| {
        let [left, right] =
            [0, 1].map(|tree| group.trees[tree].1.get(&b"key"[..]).cloned().flatten().unwrap());
        assert_eq!(left, right[..8], "half of a group");
        assert_eq!(group.trees[1].1.get(&b"gone"[..]), Some(&None));
        u64::from_le_bytes(left.try_into().unwrap())
    };
    let read = layout::read(bytes, START)?.unwrap();
    Ok(read.1.iter().map(number).collect())
}

#[test]
fn a_loss_of_power_at_any_moment_takes_nothing_that_was_answered_and_leaves_no_half() {
    let (fixture, mut dice) = (Fixture::new(), Dice(1));
    let mut lives_cut_short = 0;
    for life in 0..2000 {
        let mut journal = fixture.small(0);
        journal.file.left = dice.roll(40);
        let (mut answered, mut open, mut next) = (Vec::new(), None, 0);
        let is_restarting = loop {
            next += 1;
            match journal.append(&fixture.group(next, dice.roll(3 * BLOCK))) {
                Ok(Ok(())) => answered.push(next),
                Ok(Err(_)) if journal.restart().is_ok() => answered.clear(),
                Ok(Err(_)) => break true,
                Err(_) => {
                    open = Some(next);
                    break false;
                }
            }
        };
        let found = numbers(&journal.file.fail(&mut dice));
        let found = found.unwrap_or_else(|error| panic!("life {life}: {error}"));
        let with_open: Vec<u64> = answered.iter().copied().chain(open).collect();
        assert!(
            found == answered || found == with_open || is_restarting && found.is_empty(),
            "life {life}: {found:?} is there, {answered:?} was answered, and {open:?} was not"
        );
        lives_cut_short += u32::from(found == with_open && open.is_some());
    }
    assert!((10..1000).contains(&lives_cut_short), "{lives_cut_short}");
}

#[test]
fn a_last_group_that_is_not_whole_is_not_there_and_an_earlier_one_is_missed() {
    let fixture = Fixture::new();
    let whole = fixture.small(3).file.disk;
    assert_eq!(numbers(&whole), Ok(vec![1, 2, 3]));
    let in_group = |number: usize, byte: usize| START + (number - 1) * BLOCK + byte;
    for byte in 0..100 {
        let mut cut = whole.clone();
        cut[in_group(3, byte)] ^= 1;
        let last = numbers(&cut);
        // The end is padding, which means nothing.
        assert!(last == Ok(vec![1, 2]) || byte > 80 && last == Ok(vec![1, 2, 3]), "byte {byte}: {last:?}");
    }
    for number in [1, 2] {
        let mut damaged = whole.clone();
        damaged[in_group(number, 30)] ^= 1;
        assert_eq!(numbers(&damaged), Err(Unreadable::Damaged(in_group(number, 0))));
    }
}

#[test]
fn what_was_before_a_new_beginning_is_not_read_although_its_bytes_are_there() {
    let fixture = Fixture::new();
    let mut journal = fixture.small(3);
    journal.restart().unwrap();
    assert!(journal.is_empty());
    assert_eq!(numbers(&journal.file.disk), Ok(vec![]));
    journal.append(&fixture.group(7, 0)).unwrap().unwrap();
    assert_eq!(numbers(&journal.file.disk), Ok(vec![7]));
}

#[test]
fn a_damaged_head_is_seen_where_its_groups_are_there_and_the_former_one_holds_where_not() {
    let fixture = Fixture::new();
    let mut journal = fixture.small(3);
    journal.restart().unwrap();
    let head = journal.head.offset() + 20;
    journal.file.disk[head] ^= 1;
    assert_eq!(numbers(&journal.file.disk), Ok(vec![1, 2, 3]), "as if the restart had not been");
    journal.append(&fixture.group(7, 0)).unwrap().unwrap();
    assert_eq!(numbers(&journal.file.disk), Err(Unreadable::Damaged(START)));
}

#[test]
fn a_group_without_room_is_told_whether_there_will_be_any() {
    let fixture = Fixture::new();
    let mut journal = fixture.small(5);
    let before = journal.file.disk.clone();
    assert_eq!(journal.append(&fixture.group(6, 2 * BLOCK)).unwrap(), Err(NoRoom::Yet));
    assert_eq!(journal.append(&fixture.group(6, SMALL)).unwrap(), Err(NoRoom::Ever));
    assert!(journal.file.disk == before && journal.file.cache.is_empty());
    assert_eq!(journal.append(&fixture.group(6, 0)).unwrap(), Ok(()));
}

#[test]
fn a_file_that_was_not_made_to_the_end_is_made_anew_and_one_of_another_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Journal::open(folder.path()).unwrap().is_none());
    for size in [0, 1, BLOCK, START + BLOCK] {
        fs::write(folder.path().join(NAME), vec![0; size]).unwrap();
        assert!(Journal::open(folder.path()).unwrap().is_none());
        assert!(!folder.path().join(NAME).exists());
    }
    Journal::create(folder.path()).unwrap();
    let (journal, groups) = Journal::open(folder.path()).unwrap().unwrap();
    assert!(journal.is_empty() && groups.is_empty());
    let bytes = fs::read(folder.path().join(NAME)).unwrap();
    fs::write(folder.path().join(NAME), &bytes[..bytes.len() - BLOCK]).unwrap();
    let refused = Journal::open(folder.path()).unwrap_err();
    assert!(matches!(refused, OpenError::Unreadable(Unreadable::Damaged(_))), "cut by somebody: {refused}");
    fs::write(folder.path().join(NAME), [&b"signet journal 2"[..], &bytes[16..]].concat()).unwrap();
    let refused = Journal::open(folder.path()).unwrap_err();
    assert!(matches!(refused, OpenError::Unreadable(Unreadable::Version)), "{refused}");
}

#[test]
fn whatever_is_in_the_file_reading_it_ends_with_an_answer() {
    let (fixture, mut dice) = (Fixture::new(), Dice(2));
    let whole = fixture.small(4).file.disk;
    for _ in 0..2000 {
        let mut bytes = whole.clone();
        for _ in 0..=dice.roll(4) {
            let at = if dice.roll(2) == 0 { dice.roll(64) } else { dice.roll(6) * BLOCK + dice.roll(80) };
            bytes[at] = u8::try_from(dice.roll(256)).unwrap();
        }
        bytes.truncate(if dice.roll(4) == 0 { dice.roll(SMALL) } else { SMALL });
        let _ = layout::read(&bytes, START);
    }
}
