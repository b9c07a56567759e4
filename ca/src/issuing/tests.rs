use signet_policies::issuance::DEFAULT_LEAF_LIFE;

use super::*;
use crate::{
    Attestation, IssuerName, MemoryLedger,
    certificate::sha256,
    fixtures::{FullLedger, NOW, csr, grant_for, issuing, node, serial, server_grant},
};

const JOINED: Origin = Origin { attestation: Attestation::Join, predecessor: None };

#[tokio::test]
async fn the_ledger_remembers_what_was_issued() {
    let (_folder, issuing) = issuing(Arc::new(MemoryLedger::default()));
    let (csr, grant) = (csr(), grant_for(&node("a"), DEFAULT_LEAF_LIFE));
    let renewed = Origin { attestation: Attestation::Renew, predecessor: Some(serial(9)) };
    for origin in [JOINED, renewed] {
        let issued = issuing.issue(&csr, &grant, origin).await.unwrap();
        let certificate = issued.certificate();
        let record = issuing.ledger().get(certificate.serial()).await.unwrap().unwrap();
        let expected = Record {
            serial: certificate.serial(),
            spiffe_id: grant.spiffe_id().clone(),
            dns_names: grant.dns_names().to_vec(),
            workload: Some(node("a")),
            issuer: IssuerName::Mesh("my-mesh".parse().unwrap()),
            validity: certificate.validity(),
            issued_at: NOW,
            certificate: Some(certificate.leaf_der().to_vec()),
            fingerprint: sha256(certificate.leaf_der()),
            key_hash: sha256(csr.key().spki()),
            origin,
        };
        assert_eq!(record, expected);
    }
}

#[tokio::test]
async fn the_servers_own_certificate_is_remembered_too() {
    let (_folder, issuing) = issuing(Arc::new(MemoryLedger::default()));
    let origin = Origin { attestation: Attestation::Server, predecessor: None };
    let (key, issued) = issuing.issue_with_new_key(&server_grant(), origin).await.unwrap();
    let record = issuing.ledger().get(issued.certificate().serial()).await.unwrap().unwrap();
    assert_eq!((record.workload, record.issuer), (None, IssuerName::Server));
    assert_eq!(record.key_hash, sha256(key.public().spki()));
}

#[tokio::test]
async fn what_the_ledger_does_not_remember_is_withheld() {
    let (_folder, issuing) = issuing(Arc::new(FullLedger));
    let grant = grant_for(&node("a"), DEFAULT_LEAF_LIFE);
    let withheld = issuing.issue(&csr(), &grant, JOINED).await;
    assert!(matches!(withheld, Err(NotIssued::Ledger(LedgerError::Unavailable(_)))), "{withheld:?}");
    assert!(issuing.issue_with_new_key(&grant, JOINED).await.is_err());
}

#[tokio::test]
async fn a_serial_that_was_used_before_is_never_issued_again() {
    let (folder, first) = issuing(Arc::new(MemoryLedger::default()));
    let ledger = first.ledger.clone();
    let grant = grant_for(&node("a"), DEFAULT_LEAF_LIFE);
    let used = first.issue(&csr(), &grant, JOINED).await.unwrap().certificate().serial();
    // A second issuing with the same seed, as a broken generator would have it.
    let (_other, same_draws) = issuing(ledger);
    let refused = same_draws.issue(&csr(), &grant, JOINED).await;
    assert!(matches!(refused, Err(NotIssued::Ledger(LedgerError::Duplicate(serial))) if serial == used));
    drop(folder);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_first_requests_of_a_mesh_share_one_issuer_and_no_serial() {
    let (_folder, issuing) = issuing(Arc::new(MemoryLedger::default()));
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let issuing = issuing.clone();
        requests.spawn(async move {
            issuing.issue(&csr(), &grant_for(&node("a"), DEFAULT_LEAF_LIFE), JOINED).await.unwrap()
        });
    }
    let issued = requests.join_all().await;
    let issuers: std::collections::BTreeSet<_> =
        issued.iter().map(|issued| issued.certificate().chain_der()[1].clone()).collect();
    assert_eq!(issuers.len(), 1);
    assert_eq!(issuing.ledger().list(None, 100).await.unwrap().len(), 32);
}
