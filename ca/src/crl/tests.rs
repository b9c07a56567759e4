use std::{fs, sync::Arc};

use signet_policies::issuance::DEFAULT_LEAF_LIFE;

use super::*;
use crate::{
    Attestation, Issuing, MemoryLedger, Origin, Serial,
    fixtures::{
        self, NOW, csr, grant_for, issuing, node, openssl,
        operator::{Operator, ca},
        trust_domain,
    },
    ledger::Subject,
    pem,
};

const JOINED: Origin = Origin::of(Attestation::Join);

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
        assert!(made.iter().any(|list| list.issuer == "mesh/my-mesh" && list.der.is_ok()));
        made.into_iter().find(|list| list.issuer == "root").unwrap().der
    };
    let none = || Err(NoList::KeyElsewhere);
    assert_eq!(of_root(), none(), "nobody here can sign it");
    let place = folder.path().join("lists");
    fs::create_dir(&place).unwrap();
    let good = signed_elsewhere(&root, LIST_RENEWAL * 30);
    let cases = [
        ("nonsense", b"nonsense".to_vec(), none()),
        ("one of another root", signed_elsewhere(&Operator::root(), LIST_RENEWAL * 30), none()),
        ("one that ends before lists are made again", signed_elsewhere(&root, LIST_RENEWAL), none()),
        ("a good one", good.clone(), Ok(good.clone())),
        ("a good one as PEM", pem::encode("X509 CRL", &good).as_bytes().to_vec(), Ok(good)),
    ];
    for (what, bytes, expected) in cases {
        fs::write(place.join("root.crl"), bytes).unwrap();
        assert_eq!(of_root(), expected, "{what}");
    }
}

/// An issuer's authority under what the operator brings, with its key.
fn imported(root: &Operator, intermediate: Option<&Operator>) -> (tempfile::TempDir, Authority) {
    let folder = tempfile::tempdir().unwrap();
    let (root_pem, below) = (root.pem(), intermediate.map(Operator::pem));
    let key = intermediate.unwrap_or(root).key.serialize_pem();
    let key = crate::ImportedKey::File(crate::PrivateKey::from_pem(&key, None).unwrap());
    let import = crate::Import { root: &root_pem, intermediate: below.as_deref(), key: Some(key) };
    let random = crate::Random::dangerously_from_seed(5);
    Authority::import(folder.path(), crate::Custody::default(), import, &trust_domain(), &random, NOW)
        .unwrap();
    let authority = fixtures::open(folder.path()).unwrap();
    authority.issue(&csr(), &grant_for(&node("a"), DEFAULT_LEAF_LIFE), fixtures::serial(1), NOW).unwrap();
    (folder, authority)
}

/// A root with DC=org, DC=example in its name, which rcgen cannot write: it writes another type of the same length, which
/// is made a second DC, and signed.
fn root_with_twins() -> Operator {
    const DC: [u64; 7] = [0, 9, 2342, 19_200_300, 100, 1, 25];
    const UID: [u64; 7] = [0, 9, 2342, 19_200_300, 100, 1, 1];
    let mut params = ca("Example root", None);
    for (kind, value) in [(DC, "org"), (UID, "example")] {
        params.distinguished_name.push(rcgen::DnType::CustomDnType(kind.to_vec()), value);
    }
    let root = Operator::self_signed(&params, &rcgen::PKCS_ECDSA_P256_SHA256);
    let [dc, uid] =
        [25, 1].map(|last| [b"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01".as_slice(), &[last]].concat());
    let mut der = root.der.clone();
    while let Some(place) = der.windows(uid.len()).position(|window| window == uid) {
        der[place..place + dc.len()].copy_from_slice(&dc);
    }
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
    let tbs: &[u8] = parsed.tbs_certificate.as_ref();
    let signature = rcgen::SigningKey::sign(&root.key, tbs).unwrap();
    let bits = [&[0x03, u8::try_from(signature.len() + 1).unwrap(), 0], signature.as_slice()].concat();
    let content = [tbs, b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02", &bits].concat();
    let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
    Operator { der: [&[0x30, 0x82, high, low], content.as_slice()].concat(), key: root.key }
}

#[test]
fn a_list_names_its_authority_byte_for_byte_as_its_certificate_does() {
    let root = root_with_twins();
    let (_folder, authority) = imported(&root, None);
    let made = lists(&authority, &Standing::default(), 1, NOW).unwrap();
    assert_eq!(made.iter().map(|list| list.issuer.as_str()).collect::<Vec<_>>(), ["mesh/my-mesh", "root"]);
    let certificates = authority.certificates();
    for list in made {
        let own = certificates.iter().find(|own| own.name == list.issuer).unwrap();
        let (_, own) = x509_parser::parse_x509_certificate(&own.der).unwrap();
        let der = list.der.unwrap();
        let (_, list) = x509_parser::parse_x509_crl(&der).unwrap();
        assert_eq!(list.issuer().as_raw(), own.subject().as_raw());
        list.verify_signature(own.public_key()).unwrap();
    }
    assert!(
        x509_parser::parse_x509_certificate(&root.der)
            .unwrap()
            .1
            .subject()
            .to_string()
            .contains("DC=org, DC=example")
    );
}

#[test]
fn an_authority_that_may_not_sign_lists_has_none_and_the_others_have_theirs() {
    let root = Operator::root();
    let mut params = ca("Example mesh CA", Some(1));
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    let (_folder, authority) = imported(&root, Some(&root.below(params)));
    let made = lists(&authority, &Standing::default(), 1, NOW).unwrap();
    let of = |name: &str| made.iter().find(|list| list.issuer == name).unwrap().der.clone();
    assert_eq!(of("intermediate"), Err(NoList::NotAllowed));
    assert_eq!(of("root"), Err(NoList::KeyElsewhere));
    of("mesh/my-mesh").unwrap();
    assert!(NoList::NotAllowed.to_string().contains("keyCertSign and cRLSign"));
}
