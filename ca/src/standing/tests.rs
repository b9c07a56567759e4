use std::{sync::Arc, time::Duration};

use signet_policies::issuance::{Caller, DEFAULT_LEAF_LIFE, Registration, Request, decide};

use super::*;
use crate::{
    Issued, Issuing, Ledger as _, LedgerError, MemoryLedger, NotIssued, Origin,
    fixtures::{FullLedger, NOW, csr, grant_for, issuing, node, registration, serial, terms, trust_domain},
};

fn id(name: &str) -> SpiffeId {
    node(name).spiffe_id(&trust_domain())
}

struct Place {
    issuing: Issuing,
    ledger: Arc<MemoryLedger>,
    guard: Guard,
    _folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let ledger = Arc::new(MemoryLedger::default());
        let (folder, issuing) = issuing(ledger.clone());
        let guard = issuing.guard().clone();
        Self { issuing, ledger, guard, _folder: folder }
    }

    async fn issue_after(&self, name: &str, predecessor: Option<Serial>) -> Result<Issued, NotIssued> {
        let origin = Origin::renew(predecessor);
        self.issuing.issue(&csr(), &grant_for(&node(name), DEFAULT_LEAF_LIFE), origin).await
    }

    async fn issue(&self, name: &str) -> Serial {
        self.issue_after(name, None).await.unwrap().certificate().serial()
    }

    /// What a start after a crash finds.
    async fn again(&self) -> Arc<Standing> {
        Guard::open(self.ledger.clone()).await.unwrap().now()
    }

    async fn revoke(&self, subject: Subject) -> Result<Revocation, NotRevoked> {
        self.guard.revoke(subject, Reason::KeyCompromise, "AKID", NOW).await
    }
}

#[tokio::test]
async fn a_revoked_certificate_renews_nothing_and_stays_revoked_after_a_restart() {
    let place = Place::new();
    let (stolen, other) = (place.issue("a").await, place.issue("a").await);
    let done = place.revoke(Subject::Certificate(stolen)).await.unwrap();
    // Before the first certificate stands that its issuer was made, and is in use.
    assert_eq!((done.position, done.certificates.len()), (4, 1));
    let refused = place.issue_after("a", Some(stolen)).await;
    assert!(matches!(refused, Err(NotIssued::Refused(Refused::Certificate { .. }))), "{refused:?}");
    place.issue_after("a", Some(other)).await.unwrap();
    let standing = place.guard.now();
    assert_eq!(*standing, *place.again().await);
    let revoked = standing.revoked(stolen).unwrap();
    assert_eq!((revoked.reason, revoked.by.as_str(), revoked.at), (Reason::KeyCompromise, "AKID", NOW));
    assert_eq!(standing.generation(), 5);
    assert_eq!(standing.generations(), &BTreeMap::from([(id("a"), 5)]));
}

#[tokio::test]
async fn a_banned_identity_loses_what_it_has_and_gets_nothing_until_it_is_allowed() {
    let place = Place::new();
    let (one, other) = (place.issue("a").await, place.issue("a").await);
    let neighbour = place.issue("b").await;
    let done = place.revoke(Subject::Identity(id("a"))).await.unwrap();
    let mut revoked: Vec<_> = done.certificates.iter().map(|revoked| revoked.serial).collect();
    revoked.sort();
    let mut expected = vec![one, other];
    expected.sort();
    assert_eq!(revoked, expected);
    for predecessor in [None, Some(one), Some(neighbour)] {
        let refused = place.issue_after("a", predecessor).await;
        assert!(matches!(refused, Err(NotIssued::Refused(_))), "{refused:?}");
    }
    place.issue_after("b", Some(neighbour)).await.unwrap();
    assert_eq!(*place.guard.now(), *place.again().await);
    assert!(place.guard.now().check(Some(one), &id("a")).is_err());
    assert!(place.guard.now().check(Some(neighbour), &id("b")).is_ok());

    place.guard.allow(&id("a"), "AKID", NOW).await.unwrap();
    place.issue("a").await;
    assert!(place.issue_after("a", Some(one)).await.is_err(), "what was revoked stays revoked");
    assert_eq!(*place.guard.now(), *place.again().await);
    assert!(matches!(place.guard.allow(&id("a"), "AKID", NOW).await, Err(NotRevoked::NotBanned(_))));
}

#[tokio::test]
async fn whoever_is_banned_gets_no_further_identity_either() {
    let (place, further) = (Place::new(), "spiffe://signet.internal/team/a".parse::<SpiffeId>().unwrap());
    let named = Registration { spiffe_ids: vec![further.clone()], ..registration(&node("a")) };
    let request = Request { spiffe_id: Some(further), ..Request::default() };
    let grant = decide(&Caller::Holder(id("a")), &request, Some(&named), &terms()).unwrap();
    let csr = csr();
    let issue = || place.issuing.issue(&csr, &grant, Origin::renew(None));
    issue().await.unwrap();
    place.revoke(Subject::Identity(id("a"))).await.unwrap();
    let refused = issue().await;
    assert!(matches!(refused, Err(NotIssued::Refused(Refused::Identity { .. }))), "{refused:?}");
}

#[tokio::test]
async fn what_cannot_be_revoked_is_refused_and_changes_nothing() {
    let place = Place::new();
    let issued = place.issue("a").await;
    place.revoke(Subject::Certificate(issued)).await.unwrap();
    let before = place.guard.now();
    let size = place.ledger.size();
    let unknown = place.revoke(Subject::Certificate(serial(99))).await;
    assert!(matches!(unknown, Err(NotRevoked::Unknown(_))));
    let again = place.revoke(Subject::Certificate(issued)).await;
    assert!(matches!(again, Err(NotRevoked::Already(_))));
    let own = place.revoke(Subject::Identity(trust_domain().server_id())).await;
    assert!(matches!(own, Err(NotRevoked::OwnIdentity(_))));
    let later = place.issue("a").await;
    let long_after = NOW + Duration::from_secs(400 * 24 * 60 * 60);
    let ended = place.guard.revoke(Subject::Certificate(later), Reason::Superseded, "x", long_after).await;
    assert!(matches!(ended, Err(NotRevoked::Ended { .. })));
    assert_eq!((place.guard.now(), place.ledger.size()), (before, size + 1));
}

#[tokio::test]
async fn a_ban_that_the_ledger_does_not_take_is_no_ban() {
    let guard = Guard::of_new(Arc::new(FullLedger));
    let refused = guard.revoke(Subject::Identity(id("a")), Reason::Unspecified, "x", NOW).await;
    assert!(matches!(refused, Err(NotRevoked::Ledger(LedgerError::Unavailable(_)))), "{refused:?}");
    assert_eq!(*guard.now(), Standing::default());
}

#[tokio::test]
async fn a_halt_outlives_the_process_and_ends_with_a_release() {
    let place = Place::new();
    place.guard.halt("the signed certificate differs from the grant in its names", NOW).await;
    place.guard.halt("something else", NOW).await;
    let refused = place.issue_after("a", None).await;
    assert!(matches!(refused, Err(NotIssued::Halted(_))), "{refused:?}");
    let found = place.again().await;
    assert!(found.halted().unwrap().cause.contains("names"), "the first cause is the one to look at");
    place.guard.release("looked: a planted fault", "AKID", NOW).await.unwrap();
    place.issue("a").await;
    assert_eq!(place.again().await.halted(), None);
    assert!(matches!(place.guard.release("x", "AKID", NOW).await, Err(NotRevoked::NotHalted)));
}

#[tokio::test]
async fn a_halt_holds_although_the_ledger_does_not_take_it() {
    let guard = Guard::of_new(Arc::new(FullLedger));
    guard.halt("x", NOW).await;
    assert!(guard.now().halted().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_certificate_of_a_banned_identity_gets_out_beside_the_ban() {
    for _ in 0..20 {
        let place = Arc::new(Place::new());
        let mut racers = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let place = place.clone();
            racers.spawn(async move { place.issue_after("a", None).await.ok() });
        }
        let banned = place.revoke(Subject::Identity(id("a"))).await.unwrap();
        let out: Vec<Issued> = racers.join_all().await.into_iter().flatten().collect();
        for issued in out {
            let serial = issued.certificate().serial();
            assert!(banned.certificates.iter().any(|revoked| revoked.serial == serial), "{serial} got out");
        }
    }
}

#[tokio::test]
async fn whoever_stands_above_a_leaf_is_in_the_ledger_before_it_and_once() {
    let place = Place::new();
    let mut news = place.guard.subscribe();
    for name in ["a", "b", "a"] {
        place.issue(name).await;
    }
    let issued = place.issue_after("a", None).await.unwrap();
    let issuer = issued.certificate().chain_der()[1].clone();
    assert!(news.has_changed().unwrap(), "whoever makes lists is told");
    assert!(news.borrow_and_update().uses_authority(&sha256(&issuer)));
    let expected = [AuthorityChange::Made, AuthorityChange::InUse].map(|change| What::Authority {
        change,
        name: "mesh/my-mesh".to_owned(),
        certificate: issuer.clone(),
    });
    let events = place.ledger.events().await.unwrap();
    assert_eq!(
        events.iter().map(|(position, event)| (*position, &event.what)).collect::<Vec<_>>(),
        [(0, &expected[0]), (1, &expected[1])]
    );
    assert_eq!(*place.guard.now(), *place.again().await);
}

/// What the ledger says of certificates of the authority, in order: the change, and the name.
async fn told(ledger: &MemoryLedger) -> Vec<(AuthorityChange, String)> {
    let events = ledger.events().await.unwrap();
    let told = events.into_iter().filter_map(|(_, event)| match event.what {
        What::Authority { change, name, .. } => Some((change, name)),
        What::Revoked { .. }
        | What::Allowed(_)
        | What::Phase { .. }
        | What::Departed { .. }
        | What::Returned { .. }
        | What::Halted(_)
        | What::Released(_) => None,
    });
    told.collect()
}

#[tokio::test]
async fn a_certificate_of_the_authority_that_came_or_went_is_in_the_ledger_once() {
    use AuthorityChange::{InUse, Made, Retired};
    let place = Place::new();
    place.issuing.note_authorities().await.unwrap();
    place.issue("a").await;
    let authority = place.issuing.authority();
    let all = authority.certificates();
    let [root, mesh] = ["root", "mesh/my-mesh"].map(str::to_owned);
    let until_now = [(Made, root), (Made, mesh.clone()), (InUse, mesh.clone())];
    assert_eq!(told(&place.ledger).await, until_now);
    place.issuing.note_authorities().await.unwrap();
    assert_eq!(told(&place.ledger).await, until_now, "nothing came or went");
    // The issuer is gone. Whoever notes another name does not speak of it.
    let without: Vec<_> = all.into_iter().filter(|own| own.name != mesh).collect();
    place.guard.note_authorities(&without, Some("mesh/other"), NOW).await.unwrap();
    assert_eq!(told(&place.ledger).await, until_now);
    for _ in 0..2 {
        place.guard.note_authorities(&without, None, NOW).await.unwrap();
        let after = [&until_now[..], &[(Retired, mesh.clone())]].concat();
        assert_eq!(told(&place.ledger).await, after);
    }
    assert_eq!(*place.guard.now(), *place.again().await);
}

#[tokio::test]
async fn what_somebody_installed_is_known_at_once_as_it_is_after_a_restart_and_so_is_its_end() {
    let place = Place::new();
    place.guard.note_installed("mesh/my-mesh", b"first", "AKID", NOW).await.unwrap();
    assert_eq!(*place.guard.now(), *place.again().await);
    // Another one takes its place.
    let second = AuthorityCertificate {
        name: "mesh/my-mesh".to_owned(),
        der: b"second"[..].into(),
        has_key: true,
        rank: Rank::Issuer,
    };
    place.guard.note_installed("mesh/my-mesh", b"second", "AKID", NOW).await.unwrap();
    place.guard.note_authorities(&[second], None, NOW).await.unwrap();
    let told: Vec<_> =
        place.ledger.events().await.unwrap().into_iter().map(|(_, event)| (event.by, event.what)).collect();
    let [.., (by, What::Authority { change: AuthorityChange::Retired, certificate, .. })] = told.as_slice()
    else {
        panic!("{told:?}")
    };
    assert_eq!((by.as_str(), certificate.as_slice()), ("server", &b"first"[..]));
    assert_eq!(*place.guard.now(), *place.again().await);
}
