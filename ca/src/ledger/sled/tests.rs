use super::*;
use crate::ledger::suite;

#[tokio::test]
async fn the_sled_ledger_passes_the_suite() {
    let folder = tempfile::tempdir().unwrap();
    let mut count = 0;
    suite::all(|| {
        count += 1;
        let database = Database::open(&folder.path().join(count.to_string())).unwrap();
        SledLedger::new(database).unwrap()
    })
    .await;
}

#[tokio::test]
async fn a_record_is_there_after_the_database_was_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let record = suite::record(7);
    let open = || SledLedger::new(Database::open(folder.path()).unwrap()).unwrap();
    open().append(record.clone()).await.unwrap();
    assert_eq!(open().get(record.serial).await, Ok(Some(record)));
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_an_error_and_no_absence() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = SledLedger::new(Database::open(folder.path()).unwrap()).unwrap();
    let record = suite::record(7);
    ledger.append(record.clone()).await.unwrap();
    let moved = suite::record(8).serial;
    let text = ledger.records.get(record.serial.to_bytes()).unwrap().unwrap();
    for (key, text) in [(moved, &*text), (record.serial, b"{}"), (record.serial, b"{\"version\":\"9\"}")] {
        ledger.records.insert(key.to_bytes(), text).unwrap();
        assert!(matches!(ledger.get(key).await, Err(LedgerError::Damaged { .. })), "{key}");
        assert!(ledger.list(None, 10).await.is_err());
    }
}
