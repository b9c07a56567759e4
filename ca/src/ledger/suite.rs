//! What every ledger must do.

use signet_policies::time::{Timestamp, Validity};

use super::{Attestation, Ledger, LedgerError, Origin, Record};
use crate::{
    IssuerName, Serial,
    fixtures::{self, NOW},
};

/// A record whose serial is `number`.
pub(super) fn record(number: u8) -> Record {
    let workload = fixtures::node(&format!("node-{number}"));
    Record {
        serial: Serial::from_be_bytes(&[number]).unwrap(),
        spiffe_id: workload.spiffe_id(&fixtures::trust_domain()),
        dns_names: vec!["a.apps.local".parse().unwrap()],
        issuer: IssuerName::Mesh(workload.mesh.clone()),
        workload: Some(workload),
        validity: Validity::new(NOW, Timestamp::from_unix(NOW.unix() + 300)).unwrap(),
        issued_at: NOW,
        fingerprint: [number; 32],
        key_hash: [number + 1; 32],
        origin: Origin { attestation: Attestation::Join, predecessor: None },
    }
}

/// Runs every case on a ledger of its own.
pub(super) async fn all<L: Ledger>(mut empty: impl FnMut() -> L) {
    what_was_added_is_found(&empty()).await;
    a_serial_is_taken_once(&empty()).await;
    pages_follow_each_other(&empty()).await;
    of_many_who_add_one_serial_one_wins(empty()).await;
}

async fn what_was_added_is_found(ledger: &dyn Ledger) {
    assert_eq!(ledger.get(record(1).serial).await, Ok(None));
    assert_eq!(ledger.list(None, 10).await, Ok(vec![]));
    let mut full = record(1);
    full.origin = Origin { attestation: Attestation::Renew, predecessor: Some(record(2).serial) };
    let mut bare = record(3);
    bare.workload = None;
    bare.dns_names.clear();
    bare.issuer = IssuerName::Server;
    bare.origin.attestation = Attestation::Server;
    for record in [full, bare] {
        ledger.append(record.clone()).await.unwrap();
        assert_eq!(ledger.get(record.serial).await, Ok(Some(record)));
    }
    assert_eq!(ledger.get(record(2).serial).await, Ok(None));
}

async fn a_serial_is_taken_once(ledger: &dyn Ledger) {
    let first = record(1);
    ledger.append(first.clone()).await.unwrap();
    let second = Record { fingerprint: [9; 32], ..first.clone() };
    assert_eq!(ledger.append(second).await, Err(LedgerError::Duplicate(first.serial)));
    assert_eq!(ledger.get(first.serial).await, Ok(Some(first)));
}

async fn pages_follow_each_other(ledger: &dyn Ledger) {
    for number in [5, 1, 200, 3, 4] {
        ledger.append(record(number)).await.unwrap();
    }
    let mut seen = Vec::new();
    loop {
        let page = ledger.list(seen.last().copied(), 2).await.unwrap();
        assert!(page.len() <= 2);
        seen.extend(page.iter().map(|record| record.serial));
        if page.is_empty() {
            break;
        }
    }
    assert_eq!(seen, [1, 3, 4, 5, 200].map(|number| record(number).serial));
    assert_eq!(ledger.list(None, 0).await, Ok(vec![]));
}

async fn of_many_who_add_one_serial_one_wins<L: Ledger>(ledger: L) {
    let ledger = std::sync::Arc::new(ledger);
    let mut racers = tokio::task::JoinSet::new();
    for racer in 0..32 {
        let ledger = ledger.clone();
        racers.spawn(async move { ledger.append(Record { fingerprint: [racer; 32], ..record(1) }).await });
    }
    let results = racers.join_all().await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert_eq!(ledger.list(None, 10).await.unwrap().len(), 1);
}
