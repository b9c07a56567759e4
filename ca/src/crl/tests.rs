use std::{fs, sync::Arc};

use signet_policies::issuance::DEFAULT_LEAF_LIFE;

use super::*;
use crate::{
    Attestation, Issuing, MemoryLedger, Origin, Serial,
    fixtures::{self, NOW, csr, grant_for, issuing, node, openssl, operator::Operator, trust_domain},
    ledger::Subject,
    pem,
};

const JOINED: Origin = Origin { attestation: Attestation::Join, predecessor: None };

/// An authority that has issued to `a` and `b` and revoked what `a` has, and its lists as files.
struct Place {
    folder: tempfile::TempDir,
    issuing: Issuing,
    leaves: [(Serial, String); 2],
    _keys: tempfile::TempDir,
}

impl Place {
    async fn new() -> Self {
        let (keys, issuing) = issuing(Arc::new(MemoryLedger::default()));
        let folder = tempfile::tempdir().unwrap();
        let mut leaves = Vec::new();
        for name in ["a", "b"] {
            let issued =
                issuing.issue(&csr(), &grant_for(&node(name), DEFAULT_LEAF_LIFE), JOINED).await.unwrap();
            let certificate = issued.certificate();
            let path = folder.path().join(format!("{name}.pem"));
            fs::write(&path, certificate.chain_pem()).unwrap();
            leaves.push((certificate.serial(), path.to_str().unwrap().to_owned()));
        }
        let identity = Subject::Identity(node("a").spiffe_id(&trust_domain()));
        issuing.guard().revoke(identity, Reason::KeyCompromise, "test", NOW).await.unwrap();
        let leaves = leaves.try_into().unwrap();
        Self { folder, issuing, leaves, _keys: keys }
    }

    fn lists(&self, number: u64, now: Timestamp) -> Vec<RevocationList> {
        lists(&self.issuing.authority(), &self.issuing.guard().now(), number, now).unwrap()
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// All lists in one file, as Envoy is given them.
    fn written(&self, lists: &[RevocationList]) -> String {
        let pems = lists.iter().map(|list| pem::encode("X509 CRL", list.der.as_ref().unwrap()).to_string());
        self.file("lists.pem", &pems.collect::<String>())
    }
}

#[tokio::test]
async fn openssl_refuses_what_is_in_the_lists_and_nothing_else() {
    let place = Place::new().await;
    let lists = place.lists(1, NOW);
    assert_eq!(lists.iter().map(|list| list.issuer.as_str()).collect::<Vec<_>>(), ["mesh/my-mesh", "root"]);
    let (crls, root) = (place.written(&lists), place.file("root.pem", &place.issuing.authority().root_pem()));
    let judge = |leaf: &str| {
        let time = NOW.unix().to_string();
        openssl(&[
            "verify",
            "-x509_strict",
            "-crl_check_all",
            "-attime",
            &time,
            "-CAfile",
            &root,
            "-CRLfile",
            &crls,
            "-untrusted",
            leaf,
            leaf,
        ])
    };
    let [(_, revoked), (_, good)] = &place.leaves;
    let (is_taken, said) = judge(revoked);
    assert!(!is_taken && said.contains("certificate revoked"), "{said}");
    let (is_taken, said) = judge(good);
    assert!(is_taken, "{said}");
}

#[tokio::test]
async fn a_list_says_who_when_why_and_until_when_it_is_good() {
    let place = Place::new().await;
    let lists = place.lists(4711, NOW);
    let issuer = place.file("issuer.pem", &pem::encode("X509 CRL", lists[0].der.as_ref().unwrap()));
    let (_, said) = openssl(&["crl", "-in", &issuer, "-noout", "-text"]);
    let key_id = lists[0].key_id.to_ascii_uppercase();
    let key_id: Vec<&str> =
        key_id.as_bytes().chunks(2).map(|two| std::str::from_utf8(two).unwrap()).collect();
    for expected in [
        "Version 2",
        "ecdsa-with-SHA256",
        "Last Update: Nov 22 23:59:00 2026 GMT",
        "Next Update: Dec 23 00:00:00 2026 GMT",
        "Revocation Date: Nov 23 00:00:00 2026 GMT",
        "Key Compromise",
        "4711",
        &place.leaves[0].0.to_string().to_ascii_uppercase(),
        &key_id.join(":"),
    ] {
        assert!(said.contains(expected), "{expected} is not in {said}");
    }
    assert!(!said.contains(&place.leaves[1].0.to_string().to_ascii_uppercase()));
    let root = place.file("roots-list.pem", &pem::encode("X509 CRL", lists[1].der.as_ref().unwrap()));
    let (_, said) = openssl(&["crl", "-in", &root, "-noout", "-text"]);
    assert!(said.contains("No Revoked Certificates"), "{said}");
}

#[tokio::test]
async fn what_is_revoked_stays_in_the_list_until_after_it_has_ended() {
    let place = Place::new().await;
    let end = NOW + DEFAULT_LEAF_LIFE;
    let revoked = |now: Timestamp| {
        let lists = place.lists(1, now);
        let (_, list) = x509_parser::parse_x509_crl(lists[0].der.as_ref().unwrap()).unwrap();
        list.iter_revoked_certificates().count()
    };
    assert_eq!([NOW, end, end + LIST_RENEWAL, end + LIST_RENEWAL * 2].map(revoked), [1, 1, 1, 0]);
    assert!(!place.issuing.guard().now().issuers_at(end).is_empty());
    assert!(place.issuing.guard().now().issuers_at(end + LIST_RENEWAL).is_empty());
}

/// An authority whose root is elsewhere, with an issuer that the root signed.
fn offline() -> (tempfile::TempDir, Operator, Authority) {
    let (folder, root) = (tempfile::tempdir().unwrap(), Operator::root());
    let pem = root.pem();
    let import = crate::Import { root: &pem, intermediate: None, key: None };
    let random = crate::Random::dangerously_from_seed(5);
    Authority::import(folder.path(), crate::Custody::default(), import, &trust_domain(), &random, NOW)
        .unwrap();
    let authority = fixtures::open(folder.path()).unwrap();
    let mesh: IssuerName = "mesh/my-mesh".parse().unwrap();
    let request = authority.request(&mesh, false).unwrap();
    authority.install(&mesh, &root.answers(&request, |_| {}), NOW).unwrap();
    (folder, root, authority)
}

/// A list as the operator signs it where the root's key is.
fn signed_elsewhere(root: &Operator, good_for: Duration) -> Vec<u8> {
    let params = CertificateRevocationListParams {
        this_update: calendar(NOW).unwrap(),
        next_update: calendar(NOW + good_for).unwrap(),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let signer = rcgen::Issuer::from_ca_cert_der(&root.der.as_slice().into(), &root.key).unwrap();
    params.signed_by(&signer).unwrap().der().to_vec()
}

#[test]
fn the_list_of_a_root_that_is_elsewhere_is_the_one_that_was_signed_there_while_it_is_good() {
    let (folder, root, authority) = offline();
    let of_root = || {
        let made = lists(&authority, &Standing::default(), 1, NOW).unwrap();
        assert!(made.iter().any(|list| list.issuer == "mesh/my-mesh" && list.der.is_some()));
        made.into_iter().find(|list| list.issuer == "root").unwrap().der
    };
    assert_eq!(of_root(), None, "nobody here can sign it");
    let place = folder.path().join("lists");
    fs::create_dir(&place).unwrap();
    let good = signed_elsewhere(&root, LIST_RENEWAL * 30);
    let cases = [
        ("nonsense", b"nonsense".to_vec(), None),
        ("one of another root", signed_elsewhere(&Operator::root(), LIST_RENEWAL * 30), None),
        ("one that ends before lists are made again", signed_elsewhere(&root, LIST_RENEWAL), None),
        ("a good one", good.clone(), Some(good.clone())),
        ("a good one as PEM", pem::encode("X509 CRL", &good).as_bytes().to_vec(), Some(good)),
    ];
    for (what, bytes, expected) in cases {
        fs::write(place.join("root.crl"), bytes).unwrap();
        assert_eq!(of_root(), expected, "{what}");
    }
}
