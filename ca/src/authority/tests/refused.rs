//! What is never taken over, and never started with. Nothing changes on the disk when it is refused.

use std::{fs, time::Duration};

use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyIdMethod, KeyPair,
    KeyUsagePurpose, NameConstraints,
};

use super::{
    super::*,
    offline::{import, mesh, offline},
};
use crate::{
    InvalidPem, Unfit,
    fixtures::{
        NOW, contents, open,
        operator::{Operator, ca, certificate, uri, within},
        trust_domain,
    },
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Its name, how it is done to a certificate, and how it is refused.
type Damage = (&'static str, fn(&mut CertificateParams), fn(&Unfit) -> bool);

/// What makes an authority's certificate unfit, wherever it stands.
fn damages() -> Vec<Damage> {
    vec![
        ("a leaf", |p| p.is_ca = IsCa::ExplicitNoCa, |unfit| *unfit == Unfit::NotAnAuthority),
        ("no basic constraints", |p| p.is_ca = IsCa::NoCa, |unfit| *unfit == Unfit::NotAnAuthority),
        (
            "no keyCertSign",
            |p| p.key_usages = vec![KeyUsagePurpose::CrlSign],
            |unfit| *unfit == Unfit::NotAnAuthority,
        ),
        ("expired", |p| within(p, NOW - DAY * 9, NOW - DAY), |unfit| matches!(unfit, Unfit::Ended(_))),
        (
            "not yet valid",
            |p| within(p, NOW + DAY, NOW + DAY * 9),
            |unfit| matches!(unfit, Unfit::NotYetValid(_)),
        ),
        (
            "another trust domain",
            |p| {
                p.subject_alt_names.clear();
                uri(p, "spiffe://other.test")
            },
            |unfit| *unfit == Unfit::TrustDomain(trust_domain()),
        ),
        (
            "for clients alone",
            |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
            |unfit| *unfit == Unfit::Purpose,
        ),
        (
            "constraints on directory names",
            |p| {
                let name = p.distinguished_name.clone();
                let permitted_subtrees = vec![GeneralSubtree::DirectoryName(name)];
                p.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: vec![] });
            },
            |unfit| matches!(unfit, Unfit::NameConstraint("directoryName")),
        ),
        (
            "no subject",
            |p| p.distinguished_name = rcgen::DistinguishedName::new(),
            |unfit| *unfit == Unfit::NoSubject,
        ),
        (
            "a key identifier that is longer than any",
            |p| p.key_identifier_method = KeyIdMethod::PreSpecified(vec![7; 65]),
            |unfit| *unfit == Unfit::KeyId,
        ),
    ]
}

#[expect(clippy::wildcard_enum_match_arm, reason = "every other error is the wrong one")]
fn unfit_of(refused: &Error) -> &Unfit {
    match refused {
        Error::Given { unfit, .. } | Error::GivenRoot { unfit } => unfit,
        other => panic!("{other:?}"),
    }
}

#[test]
fn roots_and_intermediates_that_are_not_fit_are_not_imported() {
    let folder = tempfile::tempdir().unwrap();
    drop(Store::open(folder.path(), Custody::default().into()).unwrap());
    let before = contents(folder.path());
    for (what, damage, is_it) in damages() {
        let mut params = ca("Example root", None);
        damage(&mut params);
        let root = Operator::self_signed(&params, &rcgen::PKCS_ECDSA_P256_SHA256);
        for key in [None, Some(&root)] {
            let refused = import(folder.path(), &root.pem(), None, key).unwrap_err();
            assert!(is_it(unfit_of(&refused)), "a root, {what}: {refused:?}");
        }
        let root = Operator::root();
        let mut params = ca("Meshes", Some(1));
        damage(&mut params);
        let intermediate = root.below(params);
        let refused =
            import(folder.path(), &root.pem(), Some(&intermediate.pem()), Some(&intermediate)).unwrap_err();
        assert!(is_it(unfit_of(&refused)), "an intermediate, {what}: {refused:?}");
        assert_eq!(contents(folder.path()), before, "{what}");
    }
}

#[test]
fn chains_that_do_not_lead_from_the_key_to_the_root_are_not_imported() {
    let folder = tempfile::tempdir().unwrap();
    drop(Store::open(folder.path(), Custody::default().into()).unwrap());
    let before = contents(folder.path());
    let (root, other) = (Operator::root(), Operator::root());
    let below = |params| root.below(params);
    let (good, policy) = (below(ca("Meshes", Some(1))), below(ca("Policy", None)));
    let (narrow, deep) = (below(ca("Meshes", Some(0))), policy.below(ca("Meshes", Some(1))));
    let shallow = Operator::self_signed(&ca("Example root", Some(1)), &rcgen::PKCS_ECDSA_P256_SHA256);
    let too_deep = shallow.below(ca("Meshes", Some(1)));
    type Rule = fn(&Unfit) -> bool;
    let cases: Vec<(&str, String, String, &Operator, Rule)> = vec![
        ("another's key", root.pem(), good.pem(), &policy, |u| *u == Unfit::OtherKey),
        ("another root", other.pem(), good.pem(), &good, |u| *u == Unfit::Signature),
        ("a gap", root.pem(), deep.pem(), &deep, |u| *u == Unfit::Signature),
        ("upside down", root.pem(), policy.pem() + &deep.pem(), &policy, |u| {
            matches!(u, Unfit::Signature | Unfit::PathLength(..))
        }),
        ("no room for issuers", root.pem(), narrow.pem(), &narrow, |u| *u == Unfit::PathLength(0, 1)),
        ("no room below the root", shallow.pem(), too_deep.pem(), &too_deep, |u| {
            *u == Unfit::PathLength(1, 2)
        }),
        ("the root as intermediate", root.pem(), root.pem(), &root, |u| {
            *u == Unfit::Signature || matches!(u, Unfit::Refused(_))
        }),
        ("too long", root.pem(), good.pem().repeat(8), &good, |u| *u == Unfit::TooLong),
    ];
    for (what, root, chain, key, is_it) in cases {
        let Err(refused) = import(folder.path(), &root, Some(&chain), Some(key)) else {
            panic!("{what} was taken");
        };
        assert!(is_it(unfit_of(&refused)), "{what}: {refused:?}");
        assert_eq!(contents(folder.path()), before, "{what}");
    }
    let keyless = import(folder.path(), &root.pem(), Some(&good.pem()), None).unwrap_err();
    assert_eq!(unfit_of(&keyless), &Unfit::NoKey);
    assert_eq!(contents(folder.path()), before);
}

#[test]
fn a_root_that_is_there_is_never_replaced_by_an_import() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).unwrap());
    let before = contents(folder.path());
    let root = Operator::root();
    let intermediate = root.below(ca("Meshes", Some(1)));
    for (below, key) in [(None, None), (None, Some(&root)), (Some(intermediate.pem()), Some(&intermediate))] {
        let refused = import(folder.path(), &root.pem(), below.as_deref(), key).unwrap_err();
        assert!(matches!(refused, Error::OtherRoot { .. }), "{refused}");
    }
    let own = open(folder.path()).unwrap().root_pem();
    let refused = import(folder.path(), &own, None, None).unwrap_err();
    assert!(matches!(refused, Error::SameRoot { .. }), "{refused}");
    assert_eq!(contents(folder.path()), before);
}

#[test]
fn files_with_something_else_in_them_are_refused_by_what_it_is_and_white_space_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let root = Operator::root();
    let key = root.key.serialize_pem();
    let refused = |text: &str| import(folder.path(), text, None, None).unwrap_err();
    let with_key = refused(&format!("{}{key}", root.pem())).to_string();
    assert!(
        with_key.contains("block 2 is a PRIVATE KEY") && !with_key.contains(key.lines().nth(1).unwrap()),
        "{with_key}"
    );
    assert!(matches!(refused(""), Error::GivenPem(InvalidPem::Empty)));
    assert!(matches!(
        refused(&"-----BEGIN CERTIFICATE-----\n".repeat(40_000)),
        Error::GivenPem(InvalidPem::Long)
    ));
    assert!(matches!(refused(&root.pem().replace('M', "N")), Error::GivenRoot { unfit: Unfit::Unreadable }));
    import(folder.path(), &format!("\n\n{}\n\n\n", root.pem()), None, None).unwrap();
}

#[test]
fn certificates_that_are_not_fit_are_not_installed_and_the_request_goes_on_waiting() {
    let (folder, root, authority) = offline();
    let request = authority.request(&mesh(), false).unwrap();
    let before = contents(folder.path());
    let install = |text: &str| authority.install(&mesh(), text, NOW).unwrap_err();
    for (what, damage, is_it) in damages() {
        let refused = install(&root.answers(&request, damage));
        assert!(is_it(unfit_of(&refused)), "{what}: {refused:?}");
    }
    let nameless = install(&root.answers(&request, |params| params.subject_alt_names.clear()));
    assert_eq!(unfit_of(&nameless), &Unfit::TrustDomain(trust_domain()));
    let other = Operator::root();
    assert_eq!(unfit_of(&install(&other.answers(&request, |_| {}))), &Unfit::Signature);
    assert_eq!(unfit_of(&install(&root.below(ours()).pem())), &Unfit::NotRequested);
    // The names fit, the signature does not.
    let mut forged = pem::decode("CERTIFICATE", &root.answers(&request, |_| {})).unwrap().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(unfit_of(&install(&certificate(&forged))), &Unfit::Signature);
    assert!(matches!(install(""), Error::GivenPem(InvalidPem::Empty)));
    let unasked = authority.install(&IssuerName::Server, &root.answers(&request, |_| {}), NOW).unwrap_err();
    assert!(matches!(unasked, Error::NoRequest(IssuerName::Server)), "{unasked}");
    assert_eq!(contents(folder.path()), before);
    authority.install(&mesh(), &root.answers(&request, |_| {}), NOW).unwrap();
}

fn ours() -> CertificateParams {
    let mut params = ca("issuer", Some(0));
    uri(&mut params, "spiffe://signet.internal");
    params
}

#[test]
fn a_folder_that_says_two_things_or_nothing_of_a_key_is_refused_and_left_alone() {
    let (folder, root, authority) = offline();
    let request = authority.request(&mesh(), false).unwrap();
    authority.install(&mesh(), &root.answers(&request, |_| {}), NOW).unwrap();
    let (key, record) = (folder.path().join("meshes/my-mesh/key.pem"), folder.path().join("root/key.json"));
    fs::copy(&record, key.with_file_name("key.json")).unwrap();
    let both = open(folder.path()).unwrap_err();
    assert!(matches!(both, Error::TwoKeys { .. }), "{both}");
    fs::remove_file(&key).unwrap();
    let offline_issuer = open(folder.path()).unwrap_err();
    assert!(matches!(offline_issuer, Error::Unfit { unfit: Unfit::NoKey, .. }), "{offline_issuer}");
    fs::write(&record, r#"{"v":9,"key":"offline"}"#).unwrap();
    let later = open(folder.path()).unwrap_err();
    assert!(matches!(later, Error::KeyRecord { .. }), "{later}");
    fs::write(&record, r#"{"v":1,"key":"pkcs11:token=hsm;object=root"}"#).unwrap();
    let tokenless = open(folder.path()).unwrap_err();
    assert!(matches!(&tokenless, Error::KeyElsewhere { .. }), "{tokenless}");
    fs::remove_file(&record).unwrap();
    let keyless = open(folder.path()).unwrap_err();
    assert!(matches!(keyless, Error::IncompletePair { missing: "key.pem", .. }), "{keyless}");
    assert!(!folder.path().join("root/key.pem").exists());
}

#[test]
fn an_intermediate_that_ended_or_lost_its_root_is_refused_at_the_start() {
    let (folder, root) = (tempfile::tempdir().unwrap(), Operator::root());
    let mut params = ca("Meshes", Some(1));
    within(&mut params, NOW - DAY, NOW + DAY);
    let intermediate = root.below(params);
    import(folder.path(), &root.pem(), Some(&intermediate.pem()), Some(&intermediate)).unwrap();
    let random = || Random::dangerously_from_seed(1);
    let later = Authority::open(folder.path(), Custody::default(), &trust_domain(), random(), NOW + DAY * 2);
    assert!(matches!(later, Err(Error::Unfit { unfit: Unfit::Ended(_), .. })), "{later:?}");
    fs::remove_dir_all(folder.path().join("root")).unwrap();
    assert!(matches!(open(folder.path()), Err(Error::RootMissing { .. })));
    assert!(!folder.path().join("root").exists());
}

#[test]
fn what_another_authority_signed_or_nobody_is_no_root_at_an_import_nor_at_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let root = Operator::root();
    let below = root.below(ca("Example root", None));
    // The last byte is the signature's.
    let altered = |der: &[u8]| -> Vec<u8> {
        let (last, rest) = der.split_last().unwrap();
        [rest, &[last ^ 1]].concat()
    };
    for false_root in [below.der.clone(), altered(&root.der)] {
        let refused = import(folder.path(), &certificate(&false_root), None, None).unwrap_err();
        assert_eq!(*unfit_of(&refused), Unfit::Signature);
    }
    import(folder.path(), &root.pem(), None, Some(&root)).unwrap();
    open(folder.path()).unwrap();
    fs::write(folder.path().join("root/cert.pem"), certificate(&altered(&root.der))).unwrap();
    let refused = open(folder.path()).unwrap_err();
    assert!(matches!(&refused, Error::Unfit { unfit: Unfit::Signature, .. }), "{refused:?}");
}

#[test]
fn a_certificate_names_whom_its_signature_is_of_by_subject_and_by_key_identifier() {
    let folder = tempfile::tempdir().unwrap();
    let root = Operator::root();
    // It has the root's key, and another name or key identifier in its certificate.
    let twin = |change: fn(&mut CertificateParams)| {
        let key = KeyPair::from_pem(&root.key.serialize_pem()).unwrap();
        let mut params = ca("Example root", None);
        change(&mut params);
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Operator { key, der }
    };
    let renamed = twin(|params| params.distinguished_name.push(DnType::CommonName, "Example toor"));
    let other_id = twin(|params| params.key_identifier_method = KeyIdMethod::PreSpecified(vec![7; 20]));
    for twin in [renamed, other_id] {
        let below = twin.below(ca("Meshes", Some(1)));
        let refused = import(folder.path(), &root.pem(), Some(&below.pem()), Some(&below)).unwrap_err();
        assert_eq!(*unfit_of(&refused), Unfit::Signature);
    }
    let below = twin(|_| ()).below(ca("Meshes", Some(1)));
    import(folder.path(), &root.pem(), Some(&below.pem()), Some(&below)).unwrap();
}

#[test]
fn a_certificate_is_one_of_version_3_and_nothing_follows_it() {
    let (folder, root) = (tempfile::tempdir().unwrap(), Operator::root());
    let version = root.der.windows(5).position(|bytes| bytes == [0xa0, 3, 2, 1, 2]).unwrap();
    let mut older = root.der.clone();
    older[version + 4] = 1;
    for wrong in [older, [&root.der[..], &[0]].concat()] {
        let refused = import(folder.path(), &certificate(&wrong), None, None).unwrap_err();
        assert_eq!(*unfit_of(&refused), Unfit::Unreadable);
    }
}
