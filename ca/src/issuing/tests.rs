use signet_policies::issuance::DEFAULT_LEAF_LIFE;

use super::*;
use crate::{
    Attestation, IssuerName, MemoryLedger,
    certificate::sha256,
    fixtures::{FullLedger, NOW, csr, grant_for, issuing, node, serial, server_grant},
    profile::faults,
};

const JOINED: Origin = Origin::of(Attestation::Join);

#[tokio::test]
async fn the_ledger_remembers_what_was_issued() {
    let (_folder, issuing) = issuing(Arc::new(MemoryLedger::default()));
    let (csr, grant) = (csr(), grant_for(&node("a"), DEFAULT_LEAF_LIFE));
    let renewed = Origin::renew(Some(serial(9)));
    for origin in [JOINED, renewed] {
        let issued = issuing.issue(&csr, &grant, origin.clone()).await.unwrap();
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
    let origin = Origin::of(Attestation::Server);
    let (key, issued) = issuing.issue_with_new_key(&server_grant(), origin).await.unwrap();
    let record = issuing.ledger().get(issued.certificate().serial()).await.unwrap().unwrap();
    assert_eq!((record.workload, record.issuer), (None, IssuerName::Server));
    assert_eq!(record.key_hash, sha256(key.public().spki()));
}

/// An authority whose clock is set.
fn with_clock(ledger: Arc<dyn Ledger>, clock: Clock) -> (tempfile::TempDir, Issuing) {
    let (folder, issuing) = issuing(ledger);
    (folder, Issuing { clock, ..issuing })
}

fn at(now: Timestamp) -> Clock {
    let moment = UNIX_EPOCH + Duration::from_secs(now.unix().unsigned_abs());
    Arc::new(move || moment)
}

#[tokio::test]
async fn a_clock_that_was_set_back_is_told_also_after_a_restart_and_starts_no_life_in_the_future() {
    let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::default());
    let ten_minutes = Duration::from_secs(600);
    let grant = grant_for(&node("a"), DEFAULT_LEAF_LIFE);
    // Its issuer is older than what follows.
    let (_folder, first) = with_clock(ledger.clone(), at(NOW));
    first.issue(&csr(), &grant, JOINED).await.unwrap();
    let ahead = Issuing { clock: at(NOW + ten_minutes), ..first };
    ahead.issue(&csr(), &grant, JOINED).await.unwrap();
    assert_eq!(ahead.clock_behind(), Duration::ZERO);
    let back = Issuing { clock: at(NOW), ..ahead };
    let issued = back.issue(&csr(), &grant, JOINED).await.unwrap();
    assert!(issued.certificate().validity().not_before() < NOW);
    assert_eq!(back.clock_behind(), ten_minutes);

    let (_folder, restarted) = with_clock(ledger.clone(), at(NOW - ten_minutes));
    let restarted = restarted.recalling().await.unwrap();
    assert_eq!(restarted.clock_behind(), ten_minutes, "the last entry is what counts");
    let random = Random::dangerously_from_seed(9);
    let caught_up = Issuing { clock: at(NOW + ten_minutes), random, ..restarted };
    caught_up.issue(&csr(), &grant, JOINED).await.unwrap();
    assert_eq!(caught_up.clock_behind(), Duration::ZERO);
    let corrected = Issuing { clock: at(NOW + ten_minutes - Duration::from_secs(2)), ..caught_up };
    assert_eq!(corrected.clock_behind(), Duration::ZERO, "clocks are corrected by a second or two");
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

/// What is in every leaf's names, and as long, what must not be.
const NAME: &[u8] = b"virtual-node/a";
const OTHER: &[u8] = b"virtual-node/b";

#[tokio::test]
async fn what_is_not_as_the_profile_says_is_never_signed_and_halts_everything() {
    let ledger = Arc::new(MemoryLedger::default());
    let (_folder, issuing) = issuing(ledger.clone());
    let grant = grant_for(&node("a"), DEFAULT_LEAF_LIFE);
    // keyUsage: digitalSignature becomes keyCertSign.
    let fault = (faults::Moment::Written, &b"\x03\x02\x07\x80"[..], &b"\x03\x02\x02\x04"[..]);
    faults::plant(Some(fault));
    let refused = issuing.issue(&csr(), &grant, JOINED).await;
    assert!(matches!(refused, Err(NotIssued::Authority(Error::Lint("key usage")))), "{refused:?}");
    faults::plant(None);
    assert!(matches!(issuing.issue(&csr(), &grant, JOINED).await, Err(NotIssued::Halted(_))));
    let restarted = Guard::open(ledger.clone()).await.unwrap();
    assert!(restarted.now().halted().unwrap().cause.contains("key usage"));
    assert_eq!(ledger.list(None, 10).await.unwrap(), [], "nothing was issued");
}

#[tokio::test]
async fn what_was_signed_and_is_not_what_was_granted_is_withheld_and_halts_everything_until_it_is_released() {
    let (_folder, issuing) = issuing(Arc::new(MemoryLedger::default()));
    let grant = grant_for(&node("a"), DEFAULT_LEAF_LIFE);
    faults::plant(Some((faults::Moment::LookedAt, NAME, OTHER)));
    let withheld = issuing.issue(&csr(), &grant, JOINED).await;
    assert!(matches!(withheld, Err(NotIssued::Authority(Error::Mismatch("names")))), "{withheld:?}");
    faults::plant(None);
    assert!(matches!(issuing.issue_with_new_key(&grant, JOINED).await, Err(NotIssued::Halted(_))));
    assert_eq!(issuing.ledger().list(None, 10).await.unwrap(), []);
    issuing.guard().release("a planted fault", "test", NOW).await.unwrap();
    issuing.issue(&csr(), &grant, JOINED).await.unwrap();
}

#[tokio::test]
async fn a_signer_that_signs_wrongly_is_seen_at_its_first_signature_and_halts_everything() {
    let (_folder, issuing) = issuing(Arc::new(MemoryLedger::default()));
    let grant = grant_for(&node("a"), DEFAULT_LEAF_LIFE);
    faults::plant(Some((faults::Moment::Signed, b"\x30", b"\x31")));
    let withheld = issuing.issue(&csr(), &grant, JOINED).await;
    faults::plant(None);
    assert!(matches!(withheld, Err(NotIssued::Authority(Error::Key(KeyError::Signature)))), "{withheld:?}");
    let refused = issuing.issue_with_new_key(&grant, JOINED).await;
    let Err(NotIssued::Halted(halt)) = refused else { panic!("{refused:?}") };
    assert!(halt.cause.contains("computes wrongly"), "{}", halt.cause);
    assert_eq!(issuing.ledger().list(None, 10).await.unwrap(), []);
}

#[tokio::test]
async fn a_fault_that_any_identity_would_show_is_seen_against_the_grant_alone() {
    let (_folder, issuing) = issuing(Arc::new(MemoryLedger::default()));
    faults::plant(Some((faults::Moment::Written, NAME, OTHER)));
    let withheld = issuing.issue(&csr(), &grant_for(&node("a"), DEFAULT_LEAF_LIFE), JOINED).await;
    faults::plant(None);
    assert!(matches!(withheld, Err(NotIssued::Authority(Error::Mismatch("names")))), "{withheld:?}");
}
