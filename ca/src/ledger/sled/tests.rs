use super::*;
use crate::ledger::{suite, suite::issued};

fn open(folder: &std::path::Path) -> SledLedger {
    SledLedger::new(Database::open(folder).unwrap()).unwrap()
}

fn open_again(ledger: SledLedger, folder: &std::path::Path) -> SledLedger {
    drop(ledger);
    open(folder)
}

/// Waits until the trees show what was added.
async fn settle(ledger: &SledLedger) {
    ledger.head().await.unwrap();
}

/// Adds records as one group of changes.
async fn add_together(ledger: &SledLedger, numbers: impl IntoIterator<Item = u8>) {
    let (go, going) = std::sync::mpsc::channel::<()>();
    let mut held = std::pin::pin!(ledger.database.commit(move || Ok(going.recv().is_ok())));
    assert!(futures::poll!(&mut held).is_pending());
    let mut together = Vec::new();
    for number in numbers {
        let mut added = ledger.append(issued(number));
        assert!(futures::poll!(&mut added).is_pending());
        together.push(added);
    }
    go.send(()).unwrap();
    held.await.unwrap();
    for added in together {
        added.await.unwrap();
    }
    settle(ledger).await;
}

/// What each way of reading says of the entries 1 to 3: a record, a record, an event.
async fn look(ledger: &SledLedger) {
    let serials = [1, 2].map(|number| suite::record(number).serial);
    for (position, (number, serial)) in (0..).zip((1..).zip(serials)) {
        assert_eq!(ledger.get(serial).await, Ok(Some(suite::record(number))));
        assert_eq!(ledger.position(serial).await, Ok(Some(position)));
    }
    let both = vec![suite::record(1), suite::record(2)];
    assert_eq!(ledger.list(None, 10).await, Ok(both.clone()));
    assert_eq!(ledger.list(None, 1).await.unwrap(), both[..1]);
    assert_eq!(ledger.list(Some(serials[0]), 10).await.unwrap(), both[1..]);
    let positions = |raw: Vec<RawEntry>| raw.iter().map(|raw| raw.position).collect::<Vec<_>>();
    assert_eq!(positions(ledger.read(0, 10).await.unwrap()), [0, 1, 2]);
    assert_eq!(positions(ledger.read(1, 1).await.unwrap()), [1]);
    assert_eq!(ledger.events().await, Ok(vec![(2, suite::event(1))]));
    let ledger: &dyn Ledger = ledger;
    assert_eq!(ledger.head_of(3).unwrap().size, 3);
    ledger.prove_inclusion(2, 3).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_durable_is_there_before_the_trees_show_it_and_stays_when_they_do() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    ledger.append(issued(1)).await.unwrap();
    settle(&ledger).await;
    // The writer waits, so that what comes meanwhile is one group; and once more when that is durable.
    let (go, going) = std::sync::mpsc::channel::<()>();
    let (show, showing) = std::sync::mpsc::channel::<()>();
    let mut held = std::pin::pin!(ledger.database.commit(move || Ok(going.recv().is_ok())));
    let mut record = std::pin::pin!(ledger.append(issued(2)));
    let mut event = std::pin::pin!(ledger.append(Entry::Event(suite::event(1))));
    let mut again = std::pin::pin!(ledger.append(issued(2)));
    let mut late = std::pin::pin!(ledger.database.journal(
        |_| Ok(()),
        move |()| {
            let _ = showing.recv();
        }
    ));
    assert!(futures::poll!(&mut held).is_pending());
    assert!(futures::poll!(&mut record).is_pending());
    assert!(futures::poll!(&mut event).is_pending());
    assert!(futures::poll!(&mut again).is_pending());
    assert!(futures::poll!(&mut late).is_pending());
    assert_eq!(
        ledger.get(suite::record(2).serial).await,
        Ok(None),
        "nobody knows whether it will be durable"
    );
    go.send(()).unwrap();
    assert_eq!((record.await, event.await), (Ok(1), Ok(2)));
    assert_eq!(again.await, Err(LedgerError::Duplicate(suite::record(2).serial)));
    assert_eq!(ledger.entries.size(), Ok(1), "the trees do not show it yet");
    look(&ledger).await;
    show.send(()).unwrap();
    late.await.unwrap();
    settle(&ledger).await;
    assert_eq!(ledger.entries.size(), Ok(3));
    look(&ledger).await;
    assert_eq!(ledger.append(issued(2)).await, Err(LedgerError::Duplicate(suite::record(2).serial)));
}

#[tokio::test]
async fn the_sled_ledger_passes_the_suite() {
    let folder = tempfile::tempdir().unwrap();
    let mut count = 0;
    suite::all(|| {
        count += 1;
        open(&folder.path().join(count.to_string()))
    })
    .await;
}

#[tokio::test]
async fn entries_and_their_tree_are_there_after_the_database_was_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut heads = Vec::new();
    for number in 1..=20 {
        let ledger = open(folder.path());
        ledger.append(issued(number)).await.unwrap();
        heads.push(ledger.head().await.unwrap());
    }
    let ledger = open(folder.path());
    assert_eq!(ledger.get(suite::record(7).serial).await, Ok(Some(suite::record(7))));
    assert_eq!(ledger.check().unwrap(), Checked { head: heads[19], certificates: 20 });
    let ledger: &dyn Ledger = &ledger;
    for (size, head) in (1..).zip(heads) {
        assert_eq!(ledger.head_of(size).unwrap(), head);
    }
}

#[tokio::test]
async fn any_byte_that_was_flipped_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    ledger.append(issued(1)).await.unwrap();
    add_together(&ledger, 2..=4).await;
    ledger.append(Entry::Event(suite::event(1))).await.unwrap();
    settle(&ledger).await;
    ledger.check().unwrap();
    assert_eq!(ledger.entries.tree().len(), 3, "one of them a pack of several");
    for tree in [ledger.entries.tree(), &ledger.serials, &ledger.events] {
        for entry in tree.iter().collect::<Result<Vec<_>, _>>().unwrap() {
            let (key, value) = entry;
            for place in 0..value.len() {
                let mut flipped = value.to_vec();
                flipped[place] ^= 1;
                tree.insert(&key, flipped).unwrap();
                assert!(ledger.check().is_err(), "byte {place} of {}", hex::encode(&key));
            }
            tree.remove(&key).unwrap();
            // The last entry may be taken away whole: only the checkpoint tells.
            let is_last = tree.name() == ledger.entries.tree().name() && key == 4_u64.to_be_bytes();
            assert_eq!(ledger.check().is_err(), !is_last, "without {}", hex::encode(&key));
            tree.insert(&key, value).unwrap();
        }
    }
    ledger.check().unwrap();
}

#[tokio::test]
async fn a_look_in_steps_finds_what_a_whole_one_does_while_entries_are_added() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    for number in 1..=5 {
        ledger.append(issued(number)).await.unwrap();
    }
    settle(&ledger).await;
    let whole = ledger.check().unwrap();
    let mut check = ledger.begin_check().unwrap();
    assert_eq!(ledger.check_further(&mut check, 2), Ok(None));
    ledger.append(issued(6)).await.unwrap();
    settle(&ledger).await;
    assert_eq!(ledger.check_further(&mut check, 2), Ok(None));
    assert_eq!(ledger.check_further(&mut check, 2), Ok(Some(whole)), "five, as when it began");
    let mut check = ledger.begin_check().unwrap();
    assert_eq!(ledger.check_further(&mut check, 5), Ok(None));
    let last = 5_u64.to_be_bytes();
    ledger.entries.tree().remove(last).unwrap();
    assert_eq!(ledger.check_further(&mut check, 5), Err(LedgerError::missing(5)));
}

#[tokio::test]
async fn a_group_lies_in_as_few_packs_as_sled_keeps_in_its_log_and_every_way_of_reading_finds_each_entry() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    add_together(&ledger, 1..=3).await;
    add_together(&ledger, 4..=100).await;
    let sizes: Vec<usize> = ledger.entries.tree().iter().values().map(|pack| pack.unwrap().len()).collect();
    let entry = (sizes[0] - 1) / 3;
    assert!(sizes.iter().all(|size| *size <= 7 * 1024), "{sizes:?}");
    assert!(sizes[1..sizes.len() - 1].iter().all(|size| size + entry + HASH * 7 > 7 * 1024), "{sizes:?}");
    let ledger = open_again(ledger, folder.path());
    assert_eq!(ledger.size(), 100);
    assert_eq!(ledger.check().unwrap().certificates, 100);
    for from in 0..100 {
        let read = ledger.read(from, 3).await.unwrap();
        let expected: Vec<u64> = (from..100).take(3).collect();
        assert_eq!(read.iter().map(|raw| raw.position).collect::<Vec<_>>(), expected);
        let record = suite::record(u8::try_from(from).unwrap() + 1);
        assert_eq!(ledger.position(record.serial).await, Ok(Some(from)));
        assert_eq!(ledger.get(record.serial).await, Ok(Some(record)));
    }
    assert_eq!(ledger.read(100, 3).await, Ok(vec![]));
}

#[tokio::test]
async fn entries_of_earlier_versions_which_lie_one_to_a_key_are_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    add_together(&ledger, 1..=7).await;
    let head = ledger.head().await.unwrap();
    let entries: Vec<_> = ledger.entries.from(0).unwrap().collect::<Result<_, _>>().unwrap();
    for (position, entry) in entries {
        ledger.entries.tree().insert(position.to_be_bytes(), entry).unwrap();
    }
    let ledger = open_again(ledger, folder.path());
    assert_eq!(ledger.head().await, Ok(head));
    assert_eq!(ledger.check().unwrap().certificates, 7);
    add_together(&ledger, 8..=9).await;
    assert_eq!(ledger.entries.tree().len(), 7 + 1);
    let ledger = open_again(ledger, folder.path());
    assert_eq!(ledger.check().unwrap().certificates, 9);
    let read = ledger.read(5, 3).await.unwrap();
    assert_eq!(read.iter().map(|raw| raw.position).collect::<Vec<_>>(), [5, 6, 7]);
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_is_an_error_and_no_absence() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    ledger.append(issued(7)).await.unwrap();
    settle(&ledger).await;
    for text in [&b"{}"[..], b"{\"version\":\"9\"}", b""] {
        ledger.entries.tree().insert(0_u64.to_be_bytes(), value(&[[0; 32]], text)).unwrap();
        let found = ledger.get(suite::record(7).serial).await;
        assert!(matches!(found, Err(LedgerError::Damaged { .. })), "{found:?}");
        assert!(ledger.list(None, 10).await.is_err());
    }
    for cut in [&[9, 1, 2][..], &[0xff], &[0xff, 0, 0, 0], &[0xff, 0, 0, 0, 2, 1]] {
        ledger.entries.tree().insert(0_u64.to_be_bytes(), cut).unwrap();
        assert!(SledLedger::new(ledger.database.clone()).is_err(), "{cut:?}");
    }
}

#[tokio::test]
async fn records_of_the_first_version_are_taken_in_once_in_the_order_of_their_issue() {
    let folder = tempfile::tempdir().unwrap();
    let lines: Vec<&str> = include_str!("../format/corpus.jsonl").lines().take(2).collect();
    let database = Database::open(folder.path()).unwrap();
    let first = database.tree("issued-certificates").unwrap();
    // Of two of the same second the lower serial comes first, and it is the second line's.
    let serials = ["0123456789abcdef0123456789abcdef", "00000000000000000000000000000001"];
    for (serial, line) in serials.iter().zip(&lines) {
        first.insert(hex::decode(serial).unwrap(), line.as_bytes()).unwrap();
    }
    let ledger = SledLedger::new(database).unwrap();
    // As an interruption leaves it: the index is written, and the entry is not.
    ledger.serials.insert(hex::decode(serials[1]).unwrap(), &0_u64.to_be_bytes()).unwrap();
    assert_eq!(ledger.take_in_first_records().await, Ok(2));
    assert_eq!(ledger.take_in_first_records().await, Ok(0));
    let texts: Vec<_> = ledger
        .read(0, 9)
        .await
        .unwrap()
        .into_iter()
        .map(|raw| String::from_utf8(raw.text).unwrap())
        .collect();
    assert_eq!(texts, [lines[1], lines[0]]);
    assert!(ledger.get(serials[0].parse().unwrap()).await.unwrap().is_some());
    assert_eq!(ledger.check().unwrap().certificates, 2);
}
