//! Durable writes, of one writer and of many.

use std::sync::Arc;

use signet_controlplane::{
    quotas::Quotas,
    store::{SledStore, Store},
};
use signet_durable::Database;
use tokio::{runtime::Runtime, task::JoinSet};

use super::{FEW, ROUNDS, Row, folder, furnish, key, median, spec, time, update};

/// Writes of one writer, for a median.
const WRITES: usize = 600;
const WRITERS: usize = 32;

/// A plain insert of the same bytes, flushed and synced in place, beside a write of the store.
pub(super) fn rows(runtime: &Runtime) -> Vec<Row> {
    let (plain, ours) = (folder(), folder());
    let database = Database::open(plain.path()).unwrap();
    let tree = database.tree("plain").unwrap();
    let log = std::fs::File::open(plain.path().join("db")).unwrap();
    let insert = |number: usize| {
        tree.insert(format!("{}", key(number % FEW)), spec(number).to_string().as_bytes()).unwrap();
        tree.flush().unwrap();
        log.sync_data().unwrap();
    };
    let store = Arc::new(SledStore::open(Database::open(ours.path()).unwrap(), Quotas::default()).unwrap());
    runtime.block_on(furnish(store.clone(), FEW));
    let (mut bounds, mut alone, mut plain_rounds, mut crowded) = (vec![], vec![], vec![], vec![]);
    for number in 0..WRITES {
        bounds.push(time(|| insert(number)));
        let write = update(number % FEW, number);
        alone.push(time(|| runtime.block_on(store.write(write)).map(drop).unwrap()));
    }
    for round in 0..ROUNDS {
        let count = WRITERS * 20;
        plain_rounds.push(time(|| (0..count).for_each(|number| insert(round * count + number + 1))));
        let crowd = async {
            let mut writers = JoinSet::new();
            for writer in 0..WRITERS {
                let store = store.clone();
                writers.spawn(async move {
                    for number in 0..20 {
                        store.write(update(writer, round * 1000 + number)).await.map(drop).unwrap();
                    }
                });
            }
            writers.join_all().await
        };
        crowded.push(time(|| runtime.block_on(crowd)));
    }
    let limit = "a plain sled insert, flush and fdatasync";
    vec![
        Row { what: "one writer, a write", limit, goal: 1.5, ours: median(alone), bound: median(bounds) },
        Row {
            what: "32 writers, 640 writes",
            limit: "640 such inserts",
            goal: 0.5,
            ours: median(crowded),
            bound: median(plain_rounds),
        },
    ]
}
