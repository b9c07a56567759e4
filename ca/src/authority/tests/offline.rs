//! An operator's root, with its key here or elsewhere, and intermediates of theirs.

use std::{fs, path::Path, time::Duration};

use rcgen::{CertificateParams, GeneralSubtree, NameConstraints};
use signet_policies::issuance::{DEFAULT_LEAF_LIFE, MAX_LEAF_LIFE};

use super::super::*;
use crate::fixtures::{
    NOW, contents, csr, grant_for, node, open,
    operator::{Operator, YEAR, ca, uri, within},
    serial, server_grant, trust_domain,
};

pub(super) fn import(
    folder: &Path,
    root: &str,
    below: Option<&str>,
    key: Option<&Operator>,
) -> Result<Adopted, Error> {
    let key = key.map(|key| ImportedKey::File(PrivateKey::from_pem(&key.key.serialize_pem(), None).unwrap()));
    let import = Import { root, intermediate: below, key };
    let random = Random::dangerously_from_seed(5);
    Authority::import(folder, Custody::default(), import, &trust_domain(), &random, NOW)
}

/// A folder that trusts a root whose key is elsewhere.
pub(super) fn offline() -> (tempfile::TempDir, Operator, Authority) {
    let (folder, root) = (tempfile::tempdir().unwrap(), Operator::root());
    import(folder.path(), &root.pem(), None, None).unwrap();
    let authority = open(folder.path()).unwrap();
    (folder, root, authority)
}

pub(super) fn mesh() -> IssuerName {
    "mesh/my-mesh".parse().unwrap()
}

pub(super) fn issue(authority: &Authority, life: Duration) -> Result<Certificate, Error> {
    authority.issue(&csr(), &grant_for(&node("a"), life), serial(1), NOW)
}

/// OpenSSL's verdict on a leaf and what goes with it, under a root.
fn openssl_verifies(certificate: &Certificate, root: &Operator) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str, text: String| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let chain: Vec<String> =
        certificate.chain_der().iter().map(|der| pem::encode("CERTIFICATE", der).to_string()).collect();
    let (leaf, above) = (path("leaf", chain[0].clone()), path("above", chain[1..].concat()));
    let (root, now) = (path("root", root.pem()), (NOW.unix()).to_string());
    for purpose in ["sslserver", "sslclient"] {
        let arguments = ["verify", "-x509_strict", "-attime", &now, "-CAfile", &root, "-untrusted", &above];
        let (verified, said) =
            crate::fixtures::openssl(&[&arguments[..], &["-purpose", purpose, &leaf]].concat());
        assert!(verified, "{purpose}: {said}");
    }
}

#[test]
fn with_its_own_root_and_key_imported_the_server_signs_as_with_one_that_it_made() {
    for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
        let folder = tempfile::tempdir().unwrap();
        let root = Operator::self_signed(&ca("Example root", Some(1)), algorithm);
        let adopted = import(folder.path(), &root.pem(), None, Some(&root)).unwrap();
        assert_eq!(adopted.der, root.der);
        let authority = open(folder.path()).unwrap();
        assert_eq!(authority.bundle(), std::slice::from_ref(&root.der));
        let issued = issue(&authority, DEFAULT_LEAF_LIFE).unwrap();
        openssl_verifies(&issued, &root);
        assert_eq!(
            issue(&open(folder.path()).unwrap(), DEFAULT_LEAF_LIFE).unwrap().chain_der()[1],
            issued.chain_der()[1]
        );
    }
}

#[test]
fn while_the_root_is_offline_issuers_come_from_it_and_none_is_made_here() {
    let (folder, root, authority) = offline();
    let refused = issue(&authority, DEFAULT_LEAF_LIFE).unwrap_err();
    assert!(refused.to_string().contains("signet ca csr mesh/my-mesh"), "{refused}");
    let request = authority.request(&mesh(), false).unwrap();
    assert_eq!(authority.request(&mesh(), false).unwrap(), request, "the same while it waits");
    assert_eq!(authority.waiting().unwrap(), [mesh()]);
    authority.install(&mesh(), &root.answers(&request, |_| {}), NOW).unwrap();
    assert!(authority.waiting().unwrap().is_empty());
    let issued = issue(&authority, DEFAULT_LEAF_LIFE).unwrap();
    openssl_verifies(&issued, &root);
    let again = issue(&open(folder.path()).unwrap(), DEFAULT_LEAF_LIFE).unwrap();
    assert_eq!(again.chain_der()[1], issued.chain_der()[1]);
    let keys = contents(folder.path()).into_keys().filter(|path| path.ends_with("key.pem")).count();
    assert_eq!(keys, 1, "the issuer's alone");
    let server = authority.issue_with_new_key(&server_grant(), serial(2), NOW);
    assert!(matches!(server, Err(Error::NoSigner(IssuerName::Server))), "{server:?}");
}

#[test]
fn an_issuer_that_a_new_certificate_is_installed_for_signs_with_that() {
    let (_folder, root, authority) = offline();
    let install = |fresh| {
        let request = authority.request(&mesh(), fresh).unwrap();
        authority.install(&mesh(), &root.answers(&request, |_| {}), NOW).unwrap();
        issue(&authority, DEFAULT_LEAF_LIFE).unwrap().chain_der()[1].clone()
    };
    let first = install(false);
    let waiting = authority.request(&mesh(), false).unwrap();
    assert_eq!(issue(&authority, DEFAULT_LEAF_LIFE).unwrap().chain_der()[1], first, "until it is installed");
    let fresh = authority.request(&mesh(), true).unwrap();
    assert_ne!(fresh, waiting);
    let old = authority.install(&mesh(), &root.answers(&waiting, |_| {}), NOW);
    assert!(matches!(old, Err(Error::Given { unfit: crate::Unfit::NotRequested, .. })), "{old:?}");
    authority.install(&mesh(), &root.answers(&fresh, |_| {}), NOW).unwrap();
    assert_ne!(issue(&authority, DEFAULT_LEAF_LIFE).unwrap().chain_der()[1], first);
}

#[test]
fn a_request_asks_for_everything_that_the_certificate_must_say() {
    let (_folder, _root, authority) = offline();
    let path = tempfile::NamedTempFile::new().unwrap();
    fs::write(path.path(), authority.request(&mesh(), false).unwrap()).unwrap();
    let arguments = ["req", "-noout", "-text", "-verify", "-in", path.path().to_str().unwrap()];
    let (read, said) = crate::fixtures::openssl(&arguments);
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(read, "{said}");
    for expected in [
        "verify OK",
        "Subject: O = Signet, CN = mesh/my-mesh ",
        "X509v3 Basic Constraints: critical CA:TRUE, pathlen:0",
        "X509v3 Key Usage: critical Certificate Sign, CRL Sign",
        "X509v3 Subject Alternative Name: URI:spiffe://signet.internal",
        "X509v3 Subject Key Identifier: ",
    ] {
        assert!(said.contains(expected), "{expected} is not in {said}");
    }
}

#[test]
fn an_intermediate_signs_issuers_while_the_root_is_offline_and_goes_with_every_leaf() {
    let (folder, root) = (tempfile::tempdir().unwrap(), Operator::root());
    let policy = root.below(ca("Policy", None));
    let mut params = ca("Meshes", Some(1));
    uri(&mut params, "spiffe://signet.internal");
    let intermediate = policy.below(params);
    let chain = [intermediate.pem(), policy.pem(), root.pem()].concat();
    import(folder.path(), &root.pem(), Some(&chain), Some(&intermediate)).unwrap();
    let authority = open(folder.path()).unwrap();
    let issued = issue(&authority, DEFAULT_LEAF_LIFE).unwrap();
    assert_eq!(issued.chain_der()[2..], [intermediate.der.clone(), policy.der.clone()]);
    openssl_verifies(&issued, &root);
    let names: Vec<_> = authority.overview().unwrap().into_iter().map(|view| (view.name, view.key)).collect();
    let expected =
        [("root", KeyPlace::Offline), ("intermediate", KeyPlace::File), ("mesh/my-mesh", KeyPlace::File)];
    assert_eq!(names, expected.map(|(name, key)| (name.to_owned(), key)));
    let again = issue(&open(folder.path()).unwrap(), DEFAULT_LEAF_LIFE).unwrap();
    assert_eq!(again.chain_der()[1..], issued.chain_der()[1..]);
}

#[test]
fn an_intermediate_is_replaced_by_another_of_the_same_root_and_its_issuers_go_on() {
    let (folder, root) = (tempfile::tempdir().unwrap(), Operator::root());
    let [first, second] = ["First", "Second"].map(|name| root.below(ca(name, Some(1))));
    import(folder.path(), &root.pem(), Some(&first.pem()), Some(&first)).unwrap();
    let before = issue(&open(folder.path()).unwrap(), DEFAULT_LEAF_LIFE).unwrap();
    import(folder.path(), &root.pem(), Some(&second.pem()), Some(&second)).unwrap();
    let authority = open(folder.path()).unwrap();
    let after = issue(&authority, DEFAULT_LEAF_LIFE).unwrap();
    assert_eq!(after.chain_der()[1..], before.chain_der()[1..]);
    let (_, of_new_issuer) = authority.issue_with_new_key(&server_grant(), serial(2), NOW).unwrap();
    assert_eq!(of_new_issuer.chain_der()[2], second.der);
    for issued in [after, of_new_issuer] {
        openssl_verifies(&issued, &root);
    }
}

#[test]
fn no_leaf_outlives_the_shortest_certificate_above_it() {
    let hour = NOW + Duration::from_secs(3600);
    let short = |mut params: CertificateParams| {
        within(&mut params, NOW - Duration::from_secs(3600), hour);
        params
    };
    for is_root_short in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let long = ca("Example root", None);
        let root = if is_root_short { short(long) } else { long };
        let root = Operator::self_signed(&root, &rcgen::PKCS_ECDSA_P256_SHA256);
        let params = ca("Meshes", Some(1));
        let intermediate = root.below(if is_root_short { params } else { short(params) });
        import(folder.path(), &root.pem(), Some(&intermediate.pem()), Some(&intermediate)).unwrap();
        let issued = issue(&open(folder.path()).unwrap(), MAX_LEAF_LIFE).unwrap();
        assert_eq!(issued.validity().not_after(), hour, "the root is the short one: {is_root_short}");
    }
    assert!(hour < NOW + YEAR);
}

#[test]
fn name_constraints_above_bound_the_dns_names_that_are_certified() {
    let limits = |permitted: &[&str], excluded: &[&str]| {
        let subtrees =
            |names: &[&str]| names.iter().map(|name| GeneralSubtree::DnsName((*name).to_owned())).collect();
        let mut params = ca("Meshes", Some(1));
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: subtrees(permitted),
            excluded_subtrees: subtrees(excluded),
        });
        params
    };
    // The leaf's name is a.apps.local.
    for (permitted, excluded, is_issued) in [
        (&["apps.local"][..], &[][..], true),
        (&["example.com", "local"], &["b.apps.local"], true),
        (&["example.com"], &[], false),
        (&[], &["apps.local"], false),
        (&["apps.local"], &["a.apps.local"], false),
    ] {
        let (folder, root) = (tempfile::tempdir().unwrap(), Operator::root());
        let intermediate = root.below(limits(permitted, excluded));
        import(folder.path(), &root.pem(), Some(&intermediate.pem()), Some(&intermediate)).unwrap();
        match issue(&open(folder.path()).unwrap(), DEFAULT_LEAF_LIFE) {
            Ok(issued) if is_issued => openssl_verifies(&issued, &root),
            Err(Error::ForbiddenName(name)) if !is_issued => assert_eq!(name.as_str(), "a.apps.local"),
            other => panic!("{permitted:?} {excluded:?}: {other:?}"),
        }
    }
}
