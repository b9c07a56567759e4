//! A server that does not start, and why. Nothing is replaced, and nothing made, in place of what is wrong.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::Result;
use signet_tests::ceremony::{Signet, openssl};

/// Every file below a folder with what it holds.
fn contents(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => found.extend(contents(&path)?),
            false => drop(found.insert(path.display().to_string(), fs::read(&path)?)),
        }
    }
    Ok(found)
}

fn write(path: &Path, text: &[u8]) -> Result<()> {
    fs::write(path, text)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o600))?)
}

/// Something that happened to the authority's folder; the folder beside it is of another authority.
type Damage = fn(&Path, &Path) -> Result<()>;

const DAMAGES: [(&str, Damage, &str); 12] = [
    (
        "a key without its certificate",
        |ca, _| Ok(fs::remove_file(ca.join("root/cert.pem"))?),
        "root lacks cert.pem",
    ),
    (
        "a certificate without its key",
        |ca, _| Ok(fs::remove_file(ca.join("root/key.pem"))?),
        "root lacks key.pem",
    ),
    (
        "another key",
        |ca, _| Ok(fs::copy(ca.join("server/key.pem"), ca.join("root/key.pem")).map(drop)?),
        "the key that goes with it is another one",
    ),
    (
        "another root",
        |ca, other| {
            Ok(["key.pem", "cert.pem"].iter().try_for_each(|file| {
                fs::copy(other.join("root").join(file), ca.join("root").join(file)).map(drop)
            })?)
        },
        "server/cert.pem cannot be used: it was not signed by the authority above it",
    ),
    ("no root", |ca, _| Ok(fs::remove_dir_all(ca.join("root"))?), "holds issuers but no root"),
    (
        "an issuer as root",
        |ca, _| {
            Ok(["key.pem", "cert.pem"].iter().try_for_each(|file| {
                fs::copy(ca.join("server").join(file), ca.join("root").join(file)).map(drop)
            })?)
        },
        "its path length is 0, at least 1 is needed",
    ),
    ("an empty key", |ca, _| write(&ca.join("root/key.pem"), b""), "not one PEM block"),
    (
        "a damaged key",
        |ca, _| {
            let key = fs::read_to_string(ca.join("root/key.pem"))?;
            write(&ca.join("root/key.pem"), key.replacen("MIG", "MIH", 1).as_bytes())
        },
        "root/key.pem cannot be used",
    ),
    (
        "two certificates",
        |ca, _| {
            let text = fs::read_to_string(ca.join("root/cert.pem"))?;
            write(&ca.join("root/cert.pem"), text.repeat(2).as_bytes())
        },
        "not one PEM block",
    ),
    (
        "a key that others can read",
        |ca, _| Ok(fs::set_permissions(ca.join("root/key.pem"), fs::Permissions::from_mode(0o644))?),
        "chmod 600",
    ),
    (
        "a megabyte of PEM",
        |ca, _| write(&ca.join("root/cert.pem"), "-----BEGIN CERTIFICATE-----\n".repeat(40_000).as_bytes()),
        "not one PEM block",
    ),
    (
        "a record of a later version",
        |ca, _| {
            fs::remove_file(ca.join("root/key.pem"))?;
            write(&ca.join("root/key.json"), br#"{"v":7,"key":"offline"}"#)
        },
        "of form 7, and this version reads those up to 1",
    ),
];

/// What an operator made with OpenSSL and put in place of the root; the program is to refuse it.
const MADE: [(&str, &str, &str); 3] = [
    (
        "a leaf",
        "-days 9 -addext basicConstraints=critical,CA:FALSE -addext keyUsage=critical,digitalSignature",
        "not a certificate authority",
    ),
    (
        "no right to sign certificates",
        "-days 9 -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,cRLSign",
        "not a certificate authority",
    ),
    (
        "another trust domain",
        "-days 9 -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign -addext subjectAltName=URI:spiffe://other.test",
        "does not name spiffe://signet.internal",
    ),
];

/// A folder whose authority a server made, and that of another one.
fn two_authorities() -> Result<[tempfile::TempDir; 2]> {
    let folders = [tempfile::tempdir()?, tempfile::tempdir()?];
    for folder in &folders {
        let signet = Signet::new(folder.path(), &[])?;
        start(&signet)?;
    }
    Ok(folders)
}

/// Starts a server, and stops it when it is ready.
fn start(signet: &Signet) -> Result<()> {
    use std::io::{BufRead as _, BufReader};
    let free = "127.0.0.1:0";
    let mut server = std::process::Command::new(&signet.program)
        .args(["server", "--api-addr", free, "--grpc-addr", free, "--ops-addr", free, "--data-dir"])
        .arg(signet.data())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()?;
    let mut line = String::new();
    if let Some(stdout) = server.stdout.take() {
        BufReader::new(stdout).read_line(&mut line)?;
    }
    server.kill()?;
    server.wait()?;
    anyhow::ensure!(line.contains("\"ready\""), "the server is not ready: {line}");
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (path, name) = {
            let entry = entry?;
            (entry.path(), entry.file_name())
        };
        match path.is_dir() {
            true => copy(&path, &to.join(name))?,
            false => drop(fs::copy(&path, to.join(name))?),
        }
    }
    Ok(())
}

#[test]
fn a_server_whose_ca_is_not_whole_does_not_start_says_why_and_replaces_nothing() -> Result<()> {
    let [sound, other] = two_authorities()?;
    let other = other.path().join("data/ca");
    for (what, damage, expected) in DAMAGES {
        let folder = tempfile::tempdir()?;
        let signet = Signet::new(folder.path(), &[])?;
        let ca = signet.data().join("ca");
        copy(&sound.path().join("data/ca"), &ca)?;
        damage(&ca, &other)?;
        let before = contents(&ca)?;
        let said = signet.refused(&[])?;
        assert!(said.contains(expected), "{what}: {expected:?} is not in {said}");
        assert_eq!(contents(&ca)?, before, "{what}");
        assert_eq!(said.lines().filter(|line| line.starts_with("signet: ")).count(), 1, "{what}: {said}");
    }
    Ok(())
}

#[test]
fn a_server_does_not_start_with_a_root_that_is_none_and_takes_white_space_for_what_it_is() -> Result<()> {
    let made = |folder: &Path, extensions: &str| -> Result<Signet> {
        let signet = Signet::new(folder, &[])?;
        let root = signet.data().join("ca/root");
        fs::create_dir_all(&root)?;
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout data/ca/root/key.pem";
        openssl(
            folder,
            &format!("req -x509 {key} -subj '/CN=root' -out data/ca/root/cert.pem {extensions}"),
        )?;
        fs::set_permissions(root.join("key.pem"), fs::Permissions::from_mode(0o600))?;
        Ok(signet)
    };
    for (what, extensions, expected) in MADE {
        let folder = tempfile::tempdir()?;
        let signet = made(folder.path(), extensions)?;
        let before = contents(&signet.data().join("ca"))?;
        let said = signet.refused(&[])?;
        assert!(said.contains(expected), "{what}: {expected:?} is not in {said}");
        assert_eq!(contents(&signet.data().join("ca"))?, before, "{what}");
    }
    let folder = tempfile::tempdir()?;
    let signet = expired(folder.path())?;
    let before = contents(&signet.data().join("ca"))?;
    let said = signet.refused(&[])?;
    assert!(said.contains("root/cert.pem cannot be used: it ended at"), "{said}");
    assert_eq!(contents(&signet.data().join("ca"))?, before);
    let folder = tempfile::tempdir()?;
    let good = "-days 9 -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign";
    let signet = made(folder.path(), good)?;
    let path = signet.data().join("ca/root/cert.pem");
    fs::write(&path, format!("\n\n{}\n\n\n", fs::read_to_string(&path)?))?;
    start(&signet)
}

/// A root that was good in 2020.
fn expired(folder: &Path) -> Result<Signet> {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd};
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    let key = KeyPair::generate()?;
    let signet = Signet::new(folder, &[])?;
    let root = signet.data().join("ca/root");
    fs::create_dir_all(&root)?;
    write(&root.join("key.pem"), key.serialize_pem().as_bytes())?;
    write(&root.join("cert.pem"), params.self_signed(&key)?.pem().as_bytes())?;
    Ok(signet)
}
