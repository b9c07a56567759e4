//! Keys that are sealed with a passphrase.

use std::{fs, path::Path};

use signet_policies::issuance::DEFAULT_LEAF_LIFE;
use zeroize::Zeroizing;

use super::super::*;
use crate::{
    KeyError, KeyFileError, Passphrase,
    fixtures::{NOW, csr, grant_for, node, serial, server_grant, trust_domain},
};

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(Zeroizing::new(text.to_owned())).unwrap()
}

fn open(folder: &Path, secret: Option<&str>) -> Result<Authority, Error> {
    let random = Random::dangerously_from_seed(1);
    let custody = Custody { passphrase: secret.map(passphrase), token: None };
    Authority::open(folder, custody, &trust_domain(), random, NOW)
}

/// With a root, a mesh's issuer and the server's.
fn peopled(secret: Option<&str>) -> (tempfile::TempDir, Vec<Vec<u8>>) {
    let folder = tempfile::tempdir().unwrap();
    let authority = open(folder.path(), secret).unwrap();
    authority.issue(&csr(), &grant_for(&node("a"), DEFAULT_LEAF_LIFE), serial(1), NOW).unwrap();
    authority.issue_with_new_key(&server_grant(), serial(2), NOW).unwrap();
    let bundle = authority.bundle();
    (folder, bundle)
}

fn keys(folder: &Path) -> [String; 3] {
    ["root", "meshes/my-mesh", "server"]
        .map(|pair| fs::read_to_string(folder.join(pair).join("key.pem")).unwrap())
}

fn are_sealed(folder: &Path) -> [bool; 3] {
    keys(folder).map(|key| key.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"))
}

fn refusal(refused: Error) -> KeyError {
    let Error::KeyFile(KeyFileError::Content { source, .. }) = refused else { panic!("{refused}") };
    source
}

#[test]
fn with_a_passphrase_every_key_that_is_made_is_sealed_and_signs_after_a_restart() {
    let (folder, bundle) = peopled(Some("correct horse"));
    assert_eq!(are_sealed(folder.path()), [true; 3]);
    let again = open(folder.path(), Some("correct horse")).unwrap();
    assert_eq!(again.bundle(), bundle);
    again.issue(&csr(), &grant_for(&node("a"), DEFAULT_LEAF_LIFE), serial(3), NOW).unwrap();
    assert_eq!(are_sealed(folder.path()), [true; 3]);
}

#[test]
fn sealed_keys_without_their_passphrase_are_refused_and_nothing_is_made_in_their_place() {
    let (folder, _) = peopled(Some("correct horse"));
    let before = keys(folder.path());
    assert_eq!(refusal(open(folder.path(), None).unwrap_err()), KeyError::Sealed);
    assert_eq!(refusal(open(folder.path(), Some("wrong")).unwrap_err()), KeyError::WrongPassphrase);
    assert_eq!(keys(folder.path()), before);
    let (plain, _) = peopled(None);
    let refused = open(plain.path(), Some("correct horse")).unwrap_err();
    let refused = refusal(refused);
    assert!(refused.to_string().contains("signet ca seal"), "{refused}");
    assert_eq!(refused, KeyError::NotSealed);
    assert_eq!(are_sealed(plain.path()), [false; 3]);
}

#[test]
fn keys_are_sealed_sealed_anew_and_opened_without_another_certificate() {
    let (folder, bundle) = peopled(None);
    let (one, two) = (passphrase("one"), passphrase("two"));
    for (from, to, secret) in
        [(None, Some(&one), Some("one")), (Some(&one), Some(&two), Some("two")), (Some(&two), None, None)]
    {
        assert_eq!(Authority::reseal(folder.path(), from, to).unwrap(), 3);
        assert_eq!(are_sealed(folder.path()), [to.is_some(); 3]);
        assert_eq!(open(folder.path(), secret).unwrap().bundle(), bundle);
        assert_eq!(Authority::reseal(folder.path(), from, to).unwrap(), 0, "there is nothing left to do");
    }
}

#[test]
fn a_passphrase_that_does_not_open_every_key_changes_none() {
    let (folder, _) = peopled(None);
    let (one, other) = (passphrase("one"), passphrase("other"));
    // One key was sealed with another passphrase by hand.
    let path = folder.path().join("server/key.pem");
    PrivateKey::read(&path, None).unwrap().replace(&path, Some(&other)).unwrap();
    let before = keys(folder.path());
    assert_eq!(refusal(Authority::reseal(folder.path(), None, Some(&one)).unwrap_err()), KeyError::Sealed);
    let wrong = Authority::reseal(folder.path(), Some(&one), None).unwrap_err();
    assert_eq!(refusal(wrong), KeyError::WrongPassphrase);
    assert_eq!(keys(folder.path()), before);
}

#[test]
fn sealing_that_was_interrupted_is_finished_by_doing_it_again() {
    let (folder, bundle) = peopled(None);
    let one = passphrase("one");
    let path = folder.path().join("root/key.pem");
    PrivateKey::read(&path, None).unwrap().replace(&path, Some(&one)).unwrap();
    assert_eq!(Authority::reseal(folder.path(), None, Some(&one)).unwrap(), 2);
    assert_eq!(open(folder.path(), Some("one")).unwrap().bundle(), bundle);
}

#[test]
fn a_folder_without_an_authority_is_told_so_and_stays_empty() {
    let folder = tempfile::tempdir().unwrap();
    let refused = Authority::reseal(folder.path(), None, Some(&passphrase("one"))).unwrap_err();
    assert!(matches!(refused, Error::NoAuthority { .. }), "{refused}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
