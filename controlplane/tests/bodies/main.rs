//! The fuzz target of the JSON bodies, run over its seeds and over what chance makes of them. `fuzz/` runs the same
//! function for as long as one likes.

mod target;

use std::{fs, io, path::Path};

use proptest::{prelude::*, sample::Index};

/// The bodies in `fuzz/seeds/bodies`, by their file's name.
fn seeds() -> io::Result<Vec<(String, Vec<u8>)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/bodies");
    let mut seeds = fs::read_dir(folder)?
        .map(|entry| {
            let path = entry?.path();
            Ok((path.display().to_string(), fs::read(path)?))
        })
        .collect::<io::Result<Vec<_>>>()?;
    seeds.sort_unstable();
    Ok(seeds)
}

#[test]
fn every_seed_is_taken_and_breaks_nothing() {
    let seeds = seeds().unwrap();
    assert!(seeds.len() >= 12, "only {} seeds", seeds.len());
    for (name, seed) in seeds {
        assert!(target::check(&seed) >= 1, "{name} is taken by none");
    }
}

/// What is done to the bytes of a seed.
#[derive(Clone, Debug)]
enum Change {
    Set(u8),
    Insert(Vec<u8>),
    Cut(usize),
    /// Another part of the same body.
    Copy(Index, usize),
}

fn changes() -> impl Strategy<Value = Change> {
    let pieces = [
        "null",
        "-1",
        "{}",
        "[]",
        "[[[[",
        "\"\"",
        ",",
        "\\u0000",
        "\\ud800",
        "1e309",
        "\u{feff}",
        "99999999999",
    ];
    prop_oneof![
        any::<u8>().prop_map(Change::Set),
        prop::sample::select(pieces.to_vec()).prop_map(|piece| Change::Insert(piece.into())),
        (1..40_usize).prop_map(Change::Cut),
        (any::<Index>(), 1..60_usize).prop_map(|(from, length)| Change::Copy(from, length)),
    ]
}

fn change(body: &mut Vec<u8>, at: &Index, change: Change) {
    let at = at.index(body.len() + 1);
    match change {
        Change::Set(byte) => {
            if let Some(found) = body.get_mut(at) {
                *found = byte;
            }
        }
        Change::Insert(piece) => drop(body.splice(at..at, piece)),
        Change::Cut(length) => drop(body.drain(at..body.len().min(at + length))),
        Change::Copy(from, length) => {
            let from = from.index(body.len() + 1);
            let piece = body[from..body.len().min(from + length)].to_vec();
            drop(body.splice(at..at, piece));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_made_of_a_seed_breaks_nothing(
        seed in any::<Index>(), edits in prop::collection::vec((any::<Index>(), changes()), 1..6),
    ) {
        let seeds = seeds().unwrap();
        let mut body = seeds[seed.index(seeds.len())].1.clone();
        for (at, edit) in edits {
            change(&mut body, &at, edit);
        }
        target::check(&body);
    }
}
