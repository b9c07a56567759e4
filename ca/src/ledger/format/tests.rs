use super::*;
use crate::{
    Attestation, JoinToken, Origin,
    ledger::{Event, Reason, Subject, What, suite},
};

/// Entries as released versions wrote them. Lines are added, never changed.
const CORPUS: &str = include_str!("corpus.jsonl");

fn raw(text: &str) -> RawEntry {
    RawEntry { position: 0, text: text.as_bytes().to_vec() }
}

#[test]
fn every_entry_that_was_ever_written_is_read_as_what_it_was() {
    let entries: Vec<Entry> = CORPUS.lines().map(|line| read(&raw(line)).unwrap()).collect();
    let [Entry::Issued(leaf), Entry::Issued(server), Entry::Issued(with), events @ ..] = entries.as_slice()
    else {
        panic!("{entries:?}")
    };
    assert_eq!(leaf.serial.to_string(), "0123456789abcdef0123456789abcdef");
    assert_eq!(leaf.spiffe_id.to_string(), "spiffe://signet.internal/mesh/my-mesh/virtual-node/a");
    assert_eq!(leaf.dns_names, ["a.apps.local".parse().unwrap()]);
    assert_eq!(leaf.workload.as_ref().unwrap().to_string(), "mesh/my-mesh/virtualNode/a");
    assert_eq!(leaf.issuer.to_string(), "mesh/my-mesh");
    assert_eq!(leaf.validity.not_before().unix(), 1_795_391_940);
    assert_eq!(leaf.validity.not_after().unix(), 1_795_478_400);
    assert_eq!(leaf.issued_at.unix(), 1_795_392_000);
    assert_eq!((leaf.fingerprint, leaf.key_hash), ([0x11; 32], [0x22; 32]));
    assert_eq!(leaf.certificate, None);
    assert_eq!(leaf.origin.attestation, Attestation::Renew);
    assert_eq!(leaf.origin.predecessor.unwrap().to_string(), "fedcba9876543210fedcba9876543210");
    assert_eq!((server.workload.as_ref(), server.issuer.to_string().as_str()), (None, "server"));
    assert_eq!(server.origin, Origin::of(Attestation::Server));
    assert_eq!(*with, suite::record(7));
    let [events @ .., Entry::Issued(joined), Entry::Event(departed), Entry::Event(returned)] = events else {
        panic!("{events:?}")
    };
    let serial = suite::record(7).serial;
    assert!(matches!(&departed.what, What::Departed { serial: of, .. } if *of == serial), "{departed:?}");
    assert!(matches!(&returned.what, What::Returned { serial: of, .. } if *of == serial), "{returned:?}");
    let token = JoinToken { id: "0011223344556677".into(), made_by: Some("AKIAEXAMPLE".into()) };
    assert_eq!(*joined, Record { origin: Origin::join(token), ..suite::record(8) });
    assert_eq!(events.len(), 7);
    let Entry::Event(Event { what: What::Revoked { subject, reason, certificates }, .. }) = &events[1] else {
        panic!("{events:?}")
    };
    assert_eq!(subject.to_string(), "spiffe://signet.internal/mesh/my-mesh/virtual-node/node-7");
    assert!(matches!(subject, Subject::Identity(_)));
    assert_eq!((*reason, certificates.len()), (Reason::KeyCompromise, 1));
}

#[test]
fn what_is_written_now_is_what_the_corpus_ends_with() {
    for line in CORPUS.lines() {
        let entry = read(&raw(line)).unwrap();
        assert_eq!(String::from_utf8(write(&entry).unwrap()).unwrap(), line);
    }
}

#[test]
fn what_is_no_entry_is_damaged() {
    for text in ["", "{}", r#"{"version":"9"}"#, r#"{"version":"2","kind":"other"}"#, "[]"] {
        assert!(matches!(read(&raw(text)), Err(LedgerError::Damaged { .. })), "{text}");
    }
}
