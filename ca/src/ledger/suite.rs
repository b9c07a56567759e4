//! What every ledger must do.

use signet_policies::time::{Timestamp, Validity};

use super::{
    Attestation, Entry, Event, Ledger, LedgerError, Origin, Reason, Record, RevokedCertificate, Subject, What,
};
use crate::{
    IssuerName, Serial,
    certificate::sha256,
    fixtures::{self, NOW},
};

/// An event that names one certificate.
pub(super) fn event(number: u8) -> Event {
    let record = record(number);
    let certificates = vec![RevokedCertificate {
        serial: record.serial,
        identity: record.spiffe_id.clone(),
        issuer: record.issuer,
        not_after: record.validity.not_after(),
    }];
    let subject = Subject::Identity(record.spiffe_id);
    let what = What::Revoked { subject, reason: Reason::KeyCompromise, certificates };
    Event { at: NOW, by: "command line".to_owned(), what }
}

pub(super) fn issued(number: u8) -> Entry {
    Entry::Issued(record(number))
}

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
        certificate: Some(vec![number; 3]),
        fingerprint: sha256(&[number; 3]),
        key_hash: [number + 1; 32],
        origin: Origin::of(Attestation::Join),
    }
}

/// Runs every case on a ledger of its own.
pub(super) async fn all<L: Ledger>(mut empty: impl FnMut() -> L) {
    what_was_added_is_found(&empty()).await;
    a_serial_is_taken_once(&empty()).await;
    pages_follow_each_other(&empty()).await;
    of_many_who_add_one_serial_one_wins(empty()).await;
    entries_stay_in_their_order_and_events_are_found_among_them(&empty()).await;
    every_entry_and_every_earlier_head_is_proven_by_the_newest_head(&empty()).await;
}

async fn what_was_added_is_found(ledger: &dyn Ledger) {
    assert_eq!(ledger.get(record(1).serial).await, Ok(None));
    assert_eq!(ledger.list(None, 10).await, Ok(vec![]));
    let mut full = record(1);
    full.origin = Origin::renew(Some(record(2).serial));
    let mut bare = record(3);
    bare.workload = None;
    bare.dns_names.clear();
    bare.issuer = IssuerName::Server;
    bare.origin.attestation = Attestation::Server;
    for record in [full, bare] {
        ledger.append(Entry::Issued(record.clone())).await.unwrap();
        assert_eq!(ledger.get(record.serial).await, Ok(Some(record)));
    }
    assert_eq!(ledger.get(record(2).serial).await, Ok(None));
}

async fn a_serial_is_taken_once(ledger: &dyn Ledger) {
    let first = record(1);
    ledger.append(Entry::Issued(first.clone())).await.unwrap();
    let second = Record { key_hash: [9; 32], ..first.clone() };
    assert_eq!(ledger.append(Entry::Issued(second)).await, Err(LedgerError::Duplicate(first.serial)));
    assert_eq!(ledger.get(first.serial).await, Ok(Some(first)));
}

async fn pages_follow_each_other(ledger: &dyn Ledger) {
    for number in [5, 1, 200, 3, 4] {
        ledger.append(issued(number)).await.unwrap();
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
        let racing = Entry::Issued(Record { key_hash: [racer; 32], ..record(1) });
        racers.spawn(async move { ledger.append(racing).await });
    }
    let results = racers.join_all().await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert_eq!(ledger.list(None, 10).await.unwrap().len(), 1);
}

async fn entries_stay_in_their_order_and_events_are_found_among_them(ledger: &dyn Ledger) {
    let entries = [issued(9), Entry::Event(event(9)), issued(1), Entry::Event(event(1))];
    for (position, entry) in (0..).zip(&entries) {
        assert_eq!(ledger.append(entry.clone()).await, Ok(position));
    }
    let raw = ledger.read(0, 10).await.unwrap();
    let read: Vec<Entry> = raw.iter().map(|raw| raw.entry().unwrap()).collect();
    assert_eq!(read, entries);
    assert_eq!(ledger.read(1, 2).await.unwrap(), raw[1..3]);
    assert_eq!(ledger.read(4, 2).await.unwrap(), []);
    assert_eq!(ledger.events().await.unwrap(), [(1, event(9)), (3, event(1))]);
    assert_eq!(ledger.position(record(1).serial).await, Ok(Some(2)));
    assert_eq!(ledger.position(record(2).serial).await, Ok(None));
    assert_eq!(ledger.size(), 4);
}

async fn every_entry_and_every_earlier_head_is_proven_by_the_newest_head(ledger: &dyn Ledger) {
    let mut heads = vec![ledger.head().await.unwrap()];
    for number in 1..=37 {
        ledger.append(issued(number)).await.unwrap();
        heads.push(ledger.head().await.unwrap());
    }
    let newest = heads[37];
    let raw = ledger.read(0, 100).await.unwrap();
    assert_eq!(raw.len(), 37);
    for entry in &raw {
        let proof = ledger.prove_inclusion(entry.position, 37).unwrap();
        proof.check(&entry.text, &newest).unwrap();
        let mut altered = entry.text.clone();
        altered[10] ^= 1;
        assert!(proof.check(&altered, &newest).is_err());
        assert!(proof.check(&entry.text, &heads[36]).is_err());
    }
    for (size, old) in (1..=37).zip(&heads[1..]) {
        assert_eq!(ledger.head_of(size).unwrap(), *old);
        let proof = ledger.prove_consistency(size, 37).unwrap();
        proof.check(old, &newest).unwrap();
        let other = super::Head { root: [7; 32], ..*old };
        assert!(proof.check(&other, &newest).is_err(), "{size}");
    }
    assert!(ledger.prove_inclusion(37, 37).is_err());
    assert!(ledger.prove_consistency(0, 37).is_err());
    assert!(ledger.head_of(38).is_err());
}
