//! What is kept on disk, and what is refused when it is read again.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use signet_policies::issuance::DEFAULT_LEAF_LIFE;

use super::super::*;
use crate::{
    Unfit,
    fixtures::{self, NOW, contents, csr, grant_for, node, open, serial, server_grant, trust_domain},
};

/// A folder with a root, the issuer of a mesh and the server's; `mesh` is where the mesh's lies.
struct Folder {
    folder: tempfile::TempDir,
    root: PathBuf,
    mesh: PathBuf,
}

impl Folder {
    fn new() -> Self {
        let (folder, authority) = fixtures::authority();
        issue(&authority);
        authority.issue_with_new_key(&server_grant(), serial(2), NOW).unwrap();
        let [root, mesh] = ["root", "meshes/my-mesh"].map(|name| folder.path().join(name));
        Self { folder, root, mesh }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn refused(&self) -> Error {
        open(self.path()).unwrap_err()
    }

    fn unfit(&self) -> Unfit {
        let refused = self.refused();
        let Error::Unfit { unfit, .. } = refused else { panic!("{refused}") };
        unfit
    }
}

fn issue(authority: &Authority) -> Certificate {
    authority.issue(&csr(), &grant_for(&node("a"), DEFAULT_LEAF_LIFE), serial(1), NOW).unwrap()
}

#[test]
fn the_same_keys_sign_after_a_restart() {
    let folder = Folder::new();
    let before = contents(folder.path());
    let [first, second] = [(); 2].map(|()| open(folder.path()).unwrap());
    assert_eq!(first.bundle(), second.bundle());
    assert_eq!(first.root_pem(), second.root_pem());
    assert_eq!(issue(&first).chain_der()[1], issue(&second).chain_der()[1]);
    assert_eq!(contents(folder.path()), before);
    assert_eq!(before.len(), 6);
}

#[test]
fn keys_are_files_for_their_owner_alone() {
    let folder = Folder::new();
    let files = contents(folder.path());
    for key in files.keys().filter(|path| path.ends_with("key.pem")) {
        assert_eq!(fs::metadata(key).unwrap().permissions().mode() & 0o7777, 0o600, "{key:?}");
    }
    let exposed = folder.mesh.join("key.pem");
    fs::set_permissions(&exposed, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = folder.refused().to_string();
    assert!(refused.contains(&format!("chmod 600 {}", exposed.display())), "{refused}");
}

#[test]
fn a_pair_that_lacks_a_file_is_refused_and_never_replaced() {
    for (pair, file) in
        [("root", "key.pem"), ("root", "cert.pem"), ("meshes/my-mesh", "key.pem"), ("server", "cert.pem")]
    {
        let folder = Folder::new();
        fs::remove_file(folder.path().join(pair).join(file)).unwrap();
        let before = contents(folder.path());
        let refused = folder.refused().to_string();
        assert!(refused.contains(pair) && refused.contains(file), "{refused}");
        assert_eq!(contents(folder.path()), before);
    }
}

#[test]
fn issuers_without_a_root_are_refused_and_no_root_is_made() {
    let folder = Folder::new();
    fs::remove_dir_all(&folder.root).unwrap();
    assert!(matches!(folder.refused(), Error::RootMissing { .. }));
    assert!(!folder.root.exists());
}

#[test]
fn a_certificate_that_does_not_belong_to_its_key_is_refused() {
    let folder = Folder::new();
    fs::copy(folder.mesh.join("key.pem"), folder.root.join("key.pem")).unwrap();
    assert_eq!(folder.unfit(), Unfit::OtherKey);
    let folder = Folder::new();
    fs::copy(folder.path().join("server/cert.pem"), folder.mesh.join("cert.pem")).unwrap();
    assert_eq!(folder.unfit(), Unfit::OtherKey);
}

#[test]
fn an_issuer_of_another_root_is_refused() {
    let (folder, other) = (Folder::new(), Folder::new());
    for file in ["key.pem", "cert.pem"] {
        fs::copy(other.mesh.join(file), folder.mesh.join(file)).unwrap();
    }
    assert_eq!(folder.unfit(), Unfit::Signature);
    for file in ["key.pem", "cert.pem"] {
        fs::copy(folder.root.join(file), folder.mesh.join(file)).unwrap();
        fs::copy(other.mesh.join(file), folder.root.join(file)).unwrap();
    }
    assert!(matches!(folder.unfit(), Unfit::PathLength(0, 1)));
}

#[test]
fn a_leaf_in_place_of_an_issuer_or_a_root_is_refused() {
    let folder = Folder::new();
    let (key, leaf) =
        open(folder.path()).unwrap().issue_with_new_key(&server_grant(), serial(3), NOW).unwrap();
    for pair in [&folder.mesh, &folder.root] {
        fs::remove_file(pair.join("key.pem")).unwrap();
        key.write_new(&pair.join("key.pem"), None).unwrap();
        fs::write(pair.join("cert.pem"), pem::encode("CERTIFICATE", leaf.leaf_der()).as_bytes()).unwrap();
        assert_eq!(folder.unfit(), Unfit::NotAnAuthority);
    }
}

#[test]
fn an_authority_that_may_not_sign_certificates_is_refused() {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose};
    let folder = Folder::new();
    let pem = fs::read_to_string(folder.root.join("key.pem")).unwrap();
    let key = KeyPair::from_pem(&pem).unwrap();
    let ca = || IsCa::Ca(BasicConstraints::Unconstrained);
    let cases = [(IsCa::ExplicitNoCa, KeyUsagePurpose::KeyCertSign), (ca(), KeyUsagePurpose::CrlSign)];
    for (is_ca, usage) in cases {
        let mut params = CertificateParams::default();
        (params.is_ca, params.key_usages) = (is_ca, vec![usage]);
        fs::write(folder.root.join("cert.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        assert_eq!(folder.unfit(), Unfit::NotAnAuthority);
    }
}

#[test]
fn a_root_that_ended_or_has_not_begun_is_refused() {
    let folder = Folder::new();
    let at = |now| {
        Authority::open(
            folder.path(),
            Custody::default(),
            &trust_domain(),
            Random::dangerously_from_seed(1),
            now,
        )
    };
    let end = NOW + ROOT_LIFE;
    assert!(at(end).is_ok());
    let second = std::time::Duration::from_secs(1);
    assert!(
        matches!(at(end + second), Err(Error::Unfit { unfit: Unfit::Ended(moment), .. }) if moment == end)
    );
    let start = NOW - AUTHORITY_BACKDATE;
    assert!(at(start).is_ok());
    assert!(matches!(at(start - second), Err(Error::Unfit { unfit: Unfit::NotYetValid(_), .. })));
}

#[test]
fn a_root_of_another_trust_domain_is_refused() {
    let folder = Folder::new();
    let other = "other.test".parse().unwrap();
    let refused =
        Authority::open(folder.path(), Custody::default(), &other, Random::dangerously_from_seed(1), NOW)
            .unwrap_err();
    assert!(
        matches!(&refused, Error::Unfit { unfit: Unfit::TrustDomain(domain), .. } if *domain == other),
        "{refused}"
    );
}

#[test]
fn certificate_files_are_one_block_with_white_space_around_it() {
    let folder = Folder::new();
    let path = folder.root.join("cert.pem");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("\n\n{text}\n\n")).unwrap();
    assert!(open(folder.path()).is_ok());
    for content in [String::new(), "junk".to_owned(), format!("{text}{text}"), text.replace('M', "N")] {
        fs::write(&path, &content).unwrap();
        let refused = folder.refused();
        assert!(matches!(refused, Error::Unfit { .. }), "{content:?}: {refused}");
    }
    fs::write(&path, [0xff, 0xfe]).unwrap();
    assert_eq!(folder.unfit(), Unfit::Unreadable);
}

#[test]
fn what_a_crash_left_unfinished_is_cleared_away() {
    let folder = Folder::new();
    let before = contents(folder.path());
    for parent in [folder.path(), &folder.path().join("meshes")] {
        let left = parent.join(".unfinished-0123");
        fs::create_dir(&left).unwrap();
        fs::write(left.join("key.pem"), "half a k").unwrap();
    }
    open(folder.path()).unwrap();
    assert_eq!(contents(folder.path()), before);
}

#[test]
fn a_mesh_name_of_the_greatest_length_has_an_issuer() {
    let (folder, authority) = fixtures::authority();
    let mesh = "m".repeat(255);
    let workload = signet_policies::identity::Workload::virtual_node(&mesh, "a").unwrap();
    let grant = grant_for(&workload, DEFAULT_LEAF_LIFE);
    let issued = authority.issue(&csr(), &grant, serial(1), NOW).unwrap();
    let again = open(folder.path()).unwrap().issue(&csr(), &grant, serial(2), NOW).unwrap();
    assert_eq!(again.chain_der()[1], issued.chain_der()[1]);
}

#[test]
fn a_folder_that_cannot_be_written_is_told_by_name() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let refused = open(file.path()).unwrap_err().to_string();
    assert!(refused.contains(&*file.path().to_string_lossy()), "{refused}");
}
