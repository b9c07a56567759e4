//! What is issued, and for how long.

use std::{collections::BTreeSet, time::Duration};

use signet_policies::{
    identity::Workload,
    issuance::{DEFAULT_LEAF_LIFE, MAX_LEAF_LIFE, MIN_LEAF_LIFE, Terms},
    time::Timestamp,
};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::super::*;
use crate::fixtures::{
    NOW, authority, csr, csr_of, csr_params_for, grant_for, node, serial, server_grant, terms,
};
use crate::profile::{BACKDATE, ISSUER_LIFE, Template, faults};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn parsed(der: &[u8]) -> X509Certificate<'_> {
    X509Certificate::from_der(der).unwrap().1
}

#[test]
fn a_leaf_starts_a_minute_early_and_ends_with_the_granted_life() {
    let (_folder, authority) = authority();
    for life in [MIN_LEAF_LIFE, DEFAULT_LEAF_LIFE, MAX_LEAF_LIFE] {
        let certificate = authority.issue(&csr(), &grant_for(&node("a"), life), serial(1), NOW).unwrap();
        assert_eq!(certificate.validity().not_before(), NOW - BACKDATE);
        assert_eq!(certificate.validity().not_after(), NOW + life);
        let (leaf, validity) = (parsed(certificate.leaf_der()), certificate.validity());
        assert_eq!(leaf.validity().not_before.timestamp(), validity.not_before().unix());
        assert_eq!(leaf.validity().not_after.timestamp(), validity.not_after().unix());
    }
}

#[test]
fn a_leaf_of_seconds_is_not_due_for_renewal_when_it_is_issued() {
    let (_folder, authority) = authority();
    for seconds in [10, 20, 299] {
        let life = Duration::from_secs(seconds);
        let grant = Grant::for_server(&Terms { default_lifetime: life, ..terms() }, Vec::new());
        let issued = authority.issue(&csr(), &grant, serial(1), NOW).unwrap();
        assert_eq!(issued.validity().not_before(), NOW - life / 5, "{seconds} s");
        assert!(issued.validity().renewal_at(0) > NOW, "{seconds} s");
    }
}

#[test]
fn no_leaf_outlives_the_root_and_at_its_end_there_are_none() {
    let (_folder, authority) = authority();
    let end = authority.root.validity.not_after();
    let second = Duration::from_secs(1);
    let grant = grant_for(&node("a"), DEFAULT_LEAF_LIFE);
    let last = authority.issue(&csr(), &grant, serial(1), end - second).unwrap();
    assert_eq!(last.validity().not_after(), end);
    for now in [end, end + second, end + DAY * 365] {
        let refused = authority.issue(&csr(), &grant, serial(2), now);
        assert!(matches!(refused, Err(Error::ChainEnded { .. })), "{refused:?}");
        // The same where the mesh has no issuer yet.
        let refused = authority.issue(&csr(), &grant_of_other_mesh(), serial(2), now);
        assert!(matches!(refused, Err(Error::ChainEnded { .. })), "{refused:?}");
    }
}

fn grant_of_other_mesh() -> Grant {
    grant_for(&Workload::virtual_node("other", "a").unwrap(), DEFAULT_LEAF_LIFE)
}

#[test]
fn before_the_chain_starts_there_are_no_leaves() {
    let (_folder, authority) = authority();
    let grant = grant_for(&node("a"), DEFAULT_LEAF_LIFE);
    authority.issue(&csr(), &grant, serial(1), NOW).unwrap();
    let second = Duration::from_secs(1);
    for grant in [grant, grant_of_other_mesh()] {
        let refused = authority.issue(&csr(), &grant, serial(2), NOW - AUTHORITY_BACKDATE - second);
        assert!(
            matches!(refused, Err(Error::TooEarly { not_before, .. }) if not_before == NOW - AUTHORITY_BACKDATE),
            "{refused:?}"
        );
    }
}

#[test]
fn a_clock_that_is_set_back_by_a_day_leaves_authorities_that_were_just_made_signing() {
    let (folder, authority) = authority();
    let hour = Duration::from_secs(3600);
    // Its issuer is younger than the root, and neither is as old as the jump.
    authority.issue(&csr(), &grant_of_other_mesh(), serial(1), NOW + hour).unwrap();
    for now in [NOW - hour, NOW - AUTHORITY_BACKDATE + hour, NOW - AUTHORITY_BACKDATE + hour * 2] {
        for (number, grant) in [(2, grant_of_other_mesh()), (3, grant_for(&node("a"), DEFAULT_LEAF_LIFE))] {
            let issued = authority.issue(&csr(), &grant, serial(number), now).unwrap();
            let start = issued.validity().not_before();
            assert!(start <= now, "it is good at once where it is issued");
            for der in issued.chain_der() {
                let begin = parsed(&der).validity().not_before.timestamp();
                assert!(begin <= start.unix(), "and its chain with it");
                if der != issued.leaf_der() {
                    assert!(
                        begin >= authority.root.validity.not_before().unix(),
                        "no issuer before its root"
                    );
                }
            }
        }
    }
    // A server that is started then finds them good, too.
    let (domain, random) = (crate::fixtures::trust_domain(), Random::dangerously_from_seed(2));
    Authority::open(folder.path(), Custody::default(), &domain, random, NOW - hour).unwrap();
}

#[test]
fn each_mesh_and_the_server_have_an_issuer_of_their_own_that_stays() {
    let (_folder, authority) = authority();
    let issue = |grant: &Grant, now| {
        let (_, certificate) = authority.issue_with_new_key(grant, serial(1), now).unwrap();
        (certificate.issuer_name().to_string(), certificate.chain_der()[1].clone())
    };
    let first = grant_for(&node("a"), DEFAULT_LEAF_LIFE);
    let made = [issue(&first, NOW), issue(&grant_of_other_mesh(), NOW), issue(&server_grant(), NOW)];
    assert_eq!(made.each_ref().map(|(name, _)| name.as_str()), ["mesh/my-mesh", "mesh/other", "server"]);
    assert_eq!(made.iter().map(|(_, der)| der).collect::<BTreeSet<_>>().len(), 3);
    assert_eq!(issue(&grant_for(&node("b"), DEFAULT_LEAF_LIFE), NOW + DAY), made[0]);
}

#[test]
fn an_issuer_is_replaced_before_it_cuts_the_longest_leaf_short() {
    let (folder, authority) = authority();
    let grant = grant_for(&node("a"), MAX_LEAF_LIFE);
    let issue = |authority: &Authority, now| authority.issue(&csr(), &grant, serial(1), now).unwrap();
    let first = issue(&authority, NOW);
    let last_day = NOW + ISSUER_LIFE - MAX_LEAF_LIFE;
    assert_eq!(issue(&authority, last_day).chain_der()[1], first.chain_der()[1]);
    let next = issue(&authority, last_day + DAY);
    assert_ne!(next.chain_der()[1], first.chain_der()[1]);
    assert_eq!(next.validity().not_after(), last_day + DAY + MAX_LEAF_LIFE);
    // The new one is what a restarted server finds.
    let domain = crate::fixtures::trust_domain();
    let again = Authority::open(
        folder.path(),
        Custody::default(),
        &domain,
        Random::dangerously_from_seed(2),
        last_day + DAY,
    )
    .unwrap();
    assert_eq!(issue(&again, last_day + DAY).chain_der()[1], next.chain_der()[1]);
    // An issuer that ended meanwhile is replaced as well.
    let later = NOW + ISSUER_LIFE * 3;
    let again =
        Authority::open(folder.path(), Custody::default(), &domain, Random::dangerously_from_seed(3), later)
            .unwrap();
    assert_eq!(issue(&again, later).validity().not_after(), later + MAX_LEAF_LIFE);
}

#[test]
fn the_names_are_the_grants_whatever_the_request_asks_for() {
    let (_folder, authority) = authority();
    let asking_for_b = VerifiedCsr::from_der(&csr_of(&csr_params_for(&node("b")))).unwrap();
    let certificate =
        authority.issue(&asking_for_b, &grant_for(&node("a"), DEFAULT_LEAF_LIFE), serial(1), NOW).unwrap();
    let leaf = parsed(certificate.leaf_der());
    let names = leaf.subject_alternative_name().unwrap().unwrap().value.general_names.clone();
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["URI(spiffe://signet.internal/mesh/my-mesh/virtual-node/a)", "DNSName(a.apps.local)"]);
    assert_eq!(leaf.public_key().raw, asking_for_b.key().spki());
    assert!(!leaf.is_ca());
}

#[test]
fn a_grant_of_another_trust_domain_is_refused() {
    let (_folder, authority) = authority();
    let terms = Terms { trust_domain: "other.test".parse().unwrap(), ..terms() };
    let refused = authority.issue(&csr(), &Grant::for_server(&terms, vec![]), serial(1), NOW);
    assert!(matches!(refused, Err(Error::ForeignGrant(_))), "{refused:?}");
}

#[test]
fn a_certificate_that_does_not_say_what_was_granted_is_noticed() {
    let (_folder, authority) = authority();
    let grant = grant_for(&node("a"), DEFAULT_LEAF_LIFE);
    let (key, certificate) = authority.issue_with_new_key(&grant, serial(1), NOW).unwrap();
    let issuer = authority.issuer(certificate.issuer_name(), NOW).unwrap();
    let public = key.public();
    let other_key = PrivateKey::generate().unwrap().public();
    let other_id = "spiffe://signet.internal/mesh/my-mesh/virtual-node/b".parse().unwrap();
    let life = certificate.validity();
    let leaf = Leaf {
        serial: serial(1),
        life,
        key: &public,
        spiffe_id: grant.spiffe_id(),
        dns_names: grant.dns_names(),
    };
    let says = |leaf: &Leaf<'_>| check::says(certificate.leaf_der(), leaf, &issuer.template);
    assert_eq!(says(&leaf), Ok(()));
    let later = |moment: Timestamp| moment + Duration::from_secs(1);
    let end_later = Validity::new(life.not_before(), later(life.not_after())).unwrap();
    let start_later = Validity::new(later(life.not_before()), life.not_after()).unwrap();
    assert_eq!(says(&Leaf { serial: serial(2), ..leaf }), Err("serial"));
    assert_eq!(says(&Leaf { life: end_later, ..leaf }), Err("end"));
    assert_eq!(says(&Leaf { life: start_later, ..leaf }), Err("start"));
    assert_eq!(says(&Leaf { key: &other_key, ..leaf }), Err("key"));
    assert_eq!(says(&Leaf { spiffe_id: &other_id, ..leaf }), Err("names"));
    assert_eq!(says(&Leaf { dns_names: &[], ..leaf }), Err("names"));
    let other_issuer = Template { issuer: vec![0x30, 0], ..issuer.template.clone() };
    assert_eq!(check::says(certificate.leaf_der(), &leaf, &other_issuer), Err("issuer"));
    let other_issuer_key = Template { issuer_key_id: vec![0; 20], ..issuer.template.clone() };
    assert_eq!(
        check::says(certificate.leaf_der(), &leaf, &other_issuer_key),
        Err("authority key identifier")
    );
    let no_leaf = &*authority.root.der;
    assert!(check::says(no_leaf, &leaf, &issuer.template).is_err());
    let with_a_byte_more = [certificate.leaf_der(), &[0]].concat();
    assert_eq!(check::says(&with_a_byte_more, &leaf, &issuer.template), Err("encoding"));
}

#[test]
fn a_leaf_whose_signature_is_not_its_issuers_is_withheld() {
    let (_folder, authority) = authority();
    let grant = grant_for(&node("a"), DEFAULT_LEAF_LIFE);
    let issuer = authority.issuer(&IssuerName::of(&grant), NOW).unwrap();
    faults::plant(Some((faults::Moment::Signed, b"\x30", b"\x31")));
    let withheld = authority.issue(&csr(), &grant, serial(1), NOW);
    faults::plant(None);
    assert!(matches!(withheld, Err(Error::Key(KeyError::Signature))), "{withheld:?}");
    let certificate = authority.issue(&csr(), &grant, serial(1), NOW).unwrap();
    assert_eq!(certificate.chain_der()[1], *issuer.above[0].der, "the issuer is the same");
}

#[test]
fn a_certificate_that_cannot_be_read_again_is_withheld() {
    let (_folder, authority) = authority();
    let grant = grant_for(&node("a"), DEFAULT_LEAF_LIFE);
    let name = authority.issue(&csr(), &grant, serial(1), NOW).unwrap().issuer_name().clone();
    let mut issuers = authority.issuers.lock().unwrap();
    let mut issuer = Arc::into_inner(issuers.remove(&name).unwrap()).unwrap();
    // A name that is longer than it says.
    issuer.template.issuer.push(0);
    issuers.insert(name, Arc::new(issuer));
    drop(issuers);
    let withheld = authority.issue(&csr(), &grant, serial(2), NOW);
    assert!(matches!(withheld, Err(Error::Lint("encoding"))), "{withheld:?}");
}
