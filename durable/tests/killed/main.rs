//! A process that is killed while it writes through the journal and to the trees, again and again.
//!
//! The program starts itself as the one to be killed: `--child FOLDER`. The values are large, so that the journal is
//! full every few changes and begins anew.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic, in its helpers too")]
#![expect(clippy::print_stdout, reason = "the child says what was acknowledged, and the parent what it saw")]

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
};

use signet_durable::Database;

const ROUNDS: u64 = 30;
const WRITERS: u64 = 4;
/// Most acknowledgements before the end of a round: the journal holds about forty of these changes.
const MOST: u64 = 120;
const CHILD: &str = "--child";

/// SplitMix64: the moments differ, and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.windows(2).find(|pair| pair[0] == CHILD) {
        Some([_, folder]) => write_until_killed(Path::new(folder)),
        _ => a_killed_process_left_all_that_it_acknowledged_and_no_half_of_the_rest(),
    }
}

/// Each writer counts on in three places: two trees that the journal writes, and one that the change itself writes.
fn write_until_killed(folder: &Path) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let database = Database::open(folder).unwrap();
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let database = database.clone();
        writers.push(runtime.spawn(async move {
            let [left, right, direct] = ["left", "right", "direct"].map(|name| database.tree(name).unwrap());
            let mut dice = Dice(writer);
            for count in next_count(&database, writer).. {
                let padding = vec![7; usize::try_from(dice.roll(200_000)).unwrap()];
                let value = [&count.to_be_bytes()[..], &padding].concat();
                let (left, right, direct) = (left.clone(), right.clone(), direct.clone());
                if dice.roll(8) == 0 {
                    let change = move || direct.insert(writer.to_be_bytes(), value).map(drop);
                    database.commit(change).await.unwrap();
                } else {
                    let change = move |writes: &mut signet_durable::Writes| {
                        writes.insert(&left, writer.to_be_bytes(), count.to_be_bytes());
                        writes.insert(&right, writer.to_be_bytes(), value);
                        Ok(())
                    };
                    database.journal(change, |()| {}).await.unwrap();
                }
                // One write, so that the line is whole or not there.
                std::io::stdout().write_all(format!("{writer} {count}\n").as_bytes()).unwrap();
            }
        }));
    }
    writers.into_iter().for_each(|writer| runtime.block_on(writer).unwrap());
}

fn count_in(database: &Database, tree: &str, writer: u64) -> u64 {
    let value = database.tree(tree).unwrap().get(writer.to_be_bytes()).unwrap();
    value.map_or(0, |value| u64::from_be_bytes(value[..8].try_into().unwrap()))
}

/// What a writer wrote last, of whichever kind.
fn last_count(database: &Database, writer: u64) -> u64 {
    let [left, right, direct] = ["left", "right", "direct"].map(|tree| count_in(database, tree, writer));
    assert_eq!(left, right, "half of a change of writer {writer}");
    left.max(direct)
}

fn next_count(database: &Database, writer: u64) -> u64 {
    last_count(database, writer) + 1
}

fn a_killed_process_left_all_that_it_acknowledged_and_no_half_of_the_rest() {
    // Not in memory: what a process that was killed left there is what counts.
    let folder = tempfile::tempdir().unwrap();
    let mut dice = Dice(1);
    let mut in_all = 0;
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap());
        let mut child = child.arg(CHILD).arg(folder.path()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acknowledged: BTreeMap<u64, u64> = BTreeMap::new();
        let mut note = |line: std::io::Result<String>| {
            let line = line.unwrap();
            let (writer, count) = line.split_once(' ').unwrap();
            acknowledged.insert(writer.parse().unwrap(), count.parse().unwrap());
            in_all += 1;
        };
        for _ in 0..=dice.roll(MOST) {
            note(lines.next().unwrap());
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said before the end counts too.
        lines.for_each(&mut note);
        let database = Database::open(folder.path()).unwrap();
        for (writer, count) in acknowledged {
            let found = last_count(&database, writer);
            assert!(
                (count..=count + 1).contains(&found),
                "round {round}: {found} is there, and {count} of writer {writer} was acknowledged"
            );
        }
    }
    println!("{ROUNDS} rounds, {in_all} acknowledged changes");
}
