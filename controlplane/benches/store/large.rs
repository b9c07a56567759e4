//! Ten thousand resources: whether lists and writes cost what they cost among a hundred, and a description little more
//! than its memory does; how soon they are there, and how much memory they take.

use std::{collections::HashMap, hint::black_box, path::Path, process::Command, sync::Arc, time::Duration};

use serde_json::Value;
use signet_controlplane::{
    model::key::{Collection, Key},
    quotas::Quotas,
    store::{MemoryStore, Resource, SledStore, Store},
};
use signet_durable::Database;
use tokio::runtime::Runtime;

use super::{FEW, MANY, ROUNDS, Row, folder, furnish, key, median, time, update};

/// Most memory of a process that holds the large store, in bytes.
const MOST_MEMORY: u64 = 75 << 20;
/// Asks this program for nothing but its memory; the folder follows.
pub(super) const MEMORY: &str = "--memory-of";

pub(super) fn rows(runtime: &Runtime) -> Vec<Row> {
    let mut rows = sizes(runtime);
    rows.push(describes(runtime));
    rows.extend(start(runtime));
    rows
}

/// What one of 10,000 costs beside one of 100.
fn sizes(runtime: &Runtime) -> Vec<Row> {
    let stores = [FEW, MANY].map(|nodes| {
        let store = Arc::new(MemoryStore::default());
        runtime.block_on(furnish(store.clone(), nodes));
        (store, nodes)
    });
    let nodes = Collection::VirtualNodes("m".parse().unwrap());
    let measure = |what, call: &dyn Fn(&MemoryStore, usize)| {
        let mut times = [vec![], vec![]];
        // The first round warms up.
        for round in 0..=ROUNDS {
            for ((store, nodes), times) in stores.iter().zip(&mut times) {
                times
                    .push(time(|| (0..1000).for_each(|number| call(store, (number * 7919 + round) % nodes))));
            }
        }
        let [few, many] = times.map(|times| median(times[1..].to_vec()));
        Row { what, limit: "the same among 100", goal: 1.5, ours: many, bound: few }
    };
    vec![
        measure("1000 lists among 10,000", &|store, number| {
            // The same pages of both, so that what differs is the size and not what is in the processor's cache.
            let after = format!("node-{:05}", number % (FEW / 2));
            let listed = runtime.block_on(store.list(&nodes, Some(&after), FEW / 2 - 1)).unwrap();
            assert_eq!(listed.len(), FEW / 2 - 1);
        }),
        // Somebody holds the last model meanwhile, as reconcile does.
        measure("1000 writes among 10,000", &|store, number| {
            let held = store.subscribe().borrow().clone();
            runtime.block_on(store.write(update(number, number + 1))).map(drop).unwrap();
            drop(held);
        }),
    ]
}

/// Describing one of 10,000 beside a look into a plain map of as many, with the keys made before. Beside one of 100 it
/// is the processor's cache that is measured: a plain map of 10,000 was seen to take twelve times as long as one of 100.
/// Over HTTP, where it matters, `crud` compares the two.
fn describes(runtime: &Runtime) -> Row {
    let store = Arc::new(MemoryStore::default());
    runtime.block_on(furnish(store.clone(), MANY));
    let held = |number| (key(number), runtime.block_on(store.get(&key(number))).unwrap());
    let plain: HashMap<Key, Arc<Resource>> = (0..MANY).map(held).collect();
    let (mut bound, mut ours) = (vec![], vec![]);
    // The first round warms up.
    for round in 0..=ROUNDS {
        let keys: Vec<Key> = (0..1000).map(|number| key((number * 7919 + round) % MANY)).collect();
        bound.push(time(|| keys.iter().for_each(|key| drop(black_box(plain.get(key).cloned())))));
        ours.push(time(|| keys.iter().for_each(|key| drop(runtime.block_on(store.get(key)).unwrap()))));
    }
    let [ours, bound] = [ours, bound].map(|times| median(times[1..].to_vec()));
    let limit = "a look into a plain map of as many";
    Row { what: "1000 describes among 10,000", limit, goal: 2.0, ours, bound }
}

/// Opening the large store beside reading the same bytes as JSON, and beside the time that it may take at most.
fn start(runtime: &Runtime) -> Vec<Row> {
    let folder = folder();
    let store = SledStore::open(Database::open(folder.path()).unwrap(), Quotas::default()).unwrap();
    runtime.block_on(furnish(Arc::new(store), MANY));
    let (mut plain, mut ours) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        plain.push(time(|| scan(folder.path())));
        ours.push(time(|| open(folder.path())));
    }
    let ours = median(ours);
    let limit = "opening, scanning and parsing as JSON";
    let most = "the time that it may take";
    vec![
        Row { what: "opening 10,000 resources", limit, goal: 2.0, ours, bound: median(plain) },
        Row { what: "opening them", limit: most, goal: 1.0, ours, bound: Duration::from_millis(250) },
    ]
}

fn scan(folder: &Path) -> usize {
    let tree = Database::open(folder).unwrap().tree("appmesh").unwrap();
    let parse = |entry: sled::Result<(sled::IVec, sled::IVec)>| {
        serde_json::from_slice::<Value>(&entry.unwrap().1).is_ok_and(|value| value.is_object())
    };
    tree.iter().filter(|entry| parse(entry.clone())).count()
}

fn open(folder: &Path) {
    let store = SledStore::open(Database::open(folder).unwrap(), Quotas::default()).unwrap();
    assert_eq!(
        store.subscribe().borrow().meshes.values().map(|mesh| mesh.virtual_nodes.len()).sum::<usize>(),
        MANY
    );
}

/// Whether a process that holds the large store is small. Says so.
#[must_use]
pub(super) fn is_small_enough() -> bool {
    let (folder, runtime) = (folder(), Runtime::new().unwrap());
    let store = SledStore::open(Database::open(folder.path()).unwrap(), Quotas::default()).unwrap();
    runtime.block_on(furnish(Arc::new(store), MANY));
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program).arg(MEMORY).arg(folder.path()).output().unwrap();
    let bytes: u64 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    let verdict = if bytes <= MOST_MEMORY { "PASS" } else { "FAIL" };
    println!(
        "{:36} {} MB, at most {} wanted: {verdict}",
        "memory with 10,000",
        bytes >> 20,
        MOST_MEMORY >> 20
    );
    bytes <= MOST_MEMORY
}

/// Opens the store, and says how much memory that took in all, in bytes.
pub(super) fn print_memory(folder: &str) {
    let store = SledStore::open(Database::open(Path::new(folder)).unwrap(), Quotas::default()).unwrap();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kilobytes: u64 = line.split_whitespace().next().unwrap().parse().unwrap();
    println!("{}", kilobytes << 10);
    drop(store);
}
