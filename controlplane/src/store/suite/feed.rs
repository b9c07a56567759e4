use std::{collections::BTreeMap, time::Duration};

use super::*;

on_every_back_end! {
    a_feed_tells_every_change_in_order_and_waits_for_the_next
    who_comes_too_late_or_from_elsewhere_is_told_to_list_anew
    a_copy_that_follows_the_feed_is_the_same_whatever_races
}

/// Far longer than a write takes.
const PATIENCE: Duration = Duration::from_secs(10);

async fn compacted(store: &AnyStore, after: u64) -> (u64, u64) {
    match store.changes(after, 10).await {
        Err(StoreError::Refused(Refusal::Compacted { oldest, newest, .. })) => (oldest, newest),
        other => panic!("{other:?}"),
    }
}

async fn a_feed_tells_every_change_in_order_and_waits_for_the_next(store: AnyStore) {
    store.write(creation("mesh/m", json!({}))).await.unwrap();
    store.write(Write::Tag { key: key("mesh/m"), tags: [("a", "1")].into_iter().collect() }).await.unwrap();
    store.write(deletion("mesh/m")).await.unwrap();
    refusal(&store, deletion("mesh/m")).await;
    let told = store.changes(0, 10).await.unwrap();
    let told: Vec<_> = told.iter().map(|event| (event.revision, event.what)).collect();
    assert_eq!(told, [(1, Happened::Written), (2, Happened::Tagged), (3, Happened::Deleted)]);
    assert_eq!(store.changes(1, 1).await.unwrap()[0].revision, 2);
    let mut waiting = JoinSet::new();
    let waiter = store.clone();
    waiting.spawn(async move { waiter.changes(3, 10).await.unwrap() });
    store.write(creation("mesh/n", json!({}))).await.unwrap();
    let told = tokio::time::timeout(PATIENCE, waiting.join_next()).await.unwrap().unwrap().unwrap();
    assert_eq!((told.len(), told[0].revision, told[0].resource.document.key()), (1, 4, &key("mesh/n")));
}

async fn who_comes_too_late_or_from_elsewhere_is_told_to_list_anew(store: AnyStore) {
    assert_eq!(compacted(&store, 1).await, (0, 0), "a revision that never was");
    let mut writers = JoinSet::new();
    for number in 0..=MAX_EVENTS {
        let (store, write) = (store.clone(), creation(&format!("mesh/m{number}"), json!({})));
        writers.spawn(async move { store.write(write).await.map(drop).unwrap() });
    }
    writers.join_all().await;
    let newest = u64::try_from(MAX_EVENTS).unwrap() + 1;
    assert_eq!(compacted(&store, 0).await, (1, newest));
    assert_eq!(compacted(&store, newest + 1).await, (1, newest));
    assert_eq!(store.changes(1, usize::MAX).await.unwrap().len(), MAX_EVENTS);
}

async fn a_copy_that_follows_the_feed_is_the_same_whatever_races(store: AnyStore) {
    furnish(&store).await;
    let mut writers = JoinSet::new();
    for racer in 0..32_usize {
        let store = store.clone();
        writers.spawn(async move {
            for round in 0..6 {
                let at = format!("mesh/m/virtualNode/n{}", (racer + round) % 5);
                let write = match (racer + round) % 3 {
                    0 => creation(&at, node(&[80])),
                    1 => update(&at, node(&[81])),
                    _ => deletion(&at),
                };
                let _ = store.write(write).await;
            }
        });
    }
    let (mut copy, mut seen) = (BTreeMap::new(), 0);
    let mut follow = async |until: u64| {
        while seen < until {
            for event in store.changes(seen, 7).await.unwrap() {
                assert_eq!(event.revision, seen + 1, "none is left out or told twice");
                seen = event.revision;
                let (key, version) = (event.resource.document.key().clone(), event.resource.metadata.version);
                match event.what {
                    Happened::Written => drop(copy.insert(key, version)),
                    Happened::Tagged => {}
                    Happened::Deleted => drop(copy.remove(&key)),
                }
            }
        }
    };
    follow(20).await;
    writers.join_all().await;
    follow(model(&*store).revision).await;
    let nodes = store.list(&Collection::VirtualNodes("m".parse().unwrap()), None, 100).await.unwrap();
    let listed: Vec<_> =
        nodes.iter().map(|node| (node.document.key().clone(), node.metadata.version)).collect();
    copy.retain(|key, _| key.kind() == Kind::VirtualNode);
    assert_eq!(copy.into_iter().collect::<Vec<_>>(), listed);
}
