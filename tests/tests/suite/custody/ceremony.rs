//! An offline root, as the page on CA keys has it: every signature but the leaves' is OpenSSL's.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::json;
use signet::local::mesh::{Server, put};
use signet_policies::identity::Workload;
use signet_tests::{
    ceremony::{Signet, openssl, run},
    clock, machine,
};

use super::{mutual_tls, verify_strictly};

const ROOT: &str = "req -x509 -newkey rsa:3072 -noenc -keyout root.key -out root.pem -days 3650 -subj '/O=Example/CN=Example root' \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign";
const INTERMEDIATE: &str = "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-384 -noenc -keyout intermediate.key \
    -out intermediate.csr -subj '/DC=org/DC=example/CN=Example mesh CA' \
    -addext basicConstraints=critical,CA:TRUE,pathlen:1 -addext keyUsage=critical,keyCertSign,cRLSign \
    -addext subjectKeyIdentifier=hash";

fn sign(folder: &Path, name: &str) -> Result<String> {
    openssl(
        folder,
        &format!(
            "x509 -req -in {name}.csr -CA root.pem -CAkey root.key -copy_extensions copyall -days 365 -out {name}.pem"
        ),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn envoys_do_mutual_tls_under_an_operators_intermediate_while_its_root_is_offline() -> Result<()> {
    let _machine = machine().await?;
    let folder = tempfile::Builder::new().prefix("signet-offline-").tempdir()?;
    // The root does not say whose it is, so that agents are told.
    let signet = Signet::new(folder.path(), &[("SIGNET_TRUST_DOMAIN", "signet.internal")])?;
    openssl(folder.path(), ROOT)?;
    openssl(folder.path(), INTERMEDIATE)?;
    sign(folder.path(), "intermediate")?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    run(Path::new("chmod"), &["600", &path("intermediate.key")])?;
    let [root, intermediate, key] = ["root.pem", "intermediate.pem", "intermediate.key"].map(path);
    let said = signet.ca(&["import", "--root", &root, "--intermediate", &intermediate, "--key", &key])?;
    assert!(said.contains("intermediate imported: serial"), "{said}");
    let presented = mutual_tls(&signet, folder.path()).await?;
    assert_eq!(presented.len(), 3, "the leaf, its issuer and the intermediate");
    verify_strictly(folder.path(), &presented)
}

#[tokio::test(flavor = "multi_thread")]
async fn with_an_offline_root_alone_each_issuer_is_asked_for_signed_and_installed() -> Result<()> {
    let folder = tempfile::Builder::new().prefix("signet-offline-").tempdir()?;
    let signet = Signet::new(folder.path(), &[])?;
    openssl(folder.path(), ROOT)?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    signet.ca(&["import", "--root", &path("root.pem")])?;
    let issuerless = signet.refused(&[])?;
    assert!(issuerless.contains("run `signet ca csr server`"), "{issuerless}");
    signet.ca(&["csr", "server", "--out", &path("server.csr")])?;
    sign(folder.path(), "server")?;
    signet.ca(&["install", "server", &path("server.pem")])?;

    let mut server = Server::start(&signet.program, folder.path()).await?;
    let client = server.client(clock())?;
    put(&client, "meshes", json!({"meshName": "m"})).await?;
    put(&client, "meshes/m/virtualNodes", json!({"virtualNodeName": "a", "spec": {}})).await?;
    let workload = Workload::virtual_node("m", "a")?;
    let too_early = server.join(&client, &workload, clock()).await.err().context("there is no issuer")?;
    assert!(format!("{too_early:#}").contains("cannot issue now"), "{too_early:#}");
    assert!(server.log().contains("run `signet ca csr mesh/m`"), "{}", server.log());

    let ca = |args: &[&str]| {
        let credentials = server.credentials().display().to_string();
        let at = ["--endpoint", &server.ready.api, "--credentials", &credentials];
        run(&signet.program, &[&["ca"], args, &at].concat())
    };
    ca(&["csr", "mesh/m", "--out", &path("m.csr")])?;
    assert!(ca(&["show"])?.contains("a request waits for its certificate"));
    let forged = openssl(folder.path(), &ROOT.replace("root.", "other."));
    forged.and_then(|_| {
        openssl(
            folder.path(),
            "x509 -req -in m.csr -CA other.pem -CAkey other.key -copy_extensions copyall -out forged.pem",
        )
    })?;
    let refused = ca(&["install", "mesh/m", &path("forged.pem")]);
    let refused = refused.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(refused.contains("it was not signed by the authority above it"), "{refused}");
    sign(folder.path(), "m")?;
    ca(&["install", "mesh/m", &path("m.pem")])?;

    let held = server.join(&client, &workload, clock()).await?;
    let presented: Vec<String> = held
        .leaf()
        .chain()
        .iter()
        .map(|der| pem::encode(&pem::Pem::new("CERTIFICATE", der.to_vec())))
        .collect();
    assert_eq!(presented.len(), 2);
    std::fs::copy(server.ca_file(), folder.path().join("trusted.pem"))?;
    verify_strictly(folder.path(), &presented)?;
    let shown = ca(&["show"])?;
    assert!(shown.contains("offline") && shown.contains("mesh/m"), "{shown}");
    assert_eq!(ca(&["bundle"])?, std::fs::read_to_string(server.ca_file())?);
    server.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_beside_a_server_that_was_killed_while_it_put_a_new_root_in_place_comes_after_that()
-> Result<()> {
    let folder = tempfile::Builder::new().prefix("signet-offline-").tempdir()?;
    let signet = Signet::new(folder.path(), &[])?;
    Server::start(&signet.program, folder.path()).await?.stop().await;
    openssl(folder.path(), ROOT)?;
    openssl(folder.path(), INTERMEDIATE)?;
    sign(folder.path(), "intermediate")?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    run(Path::new("chmod"), &["600", &path("intermediate.key")])?;
    // Killed after the old root was put away, and before the new one stood in its place.
    let ca = signet.data().join("ca");
    let (next, shelf) = (ca.join("next/root"), ca.join("retired/0a"));
    std::fs::create_dir_all(&next)?;
    std::fs::create_dir_all(&shelf)?;
    std::fs::copy(path("root.pem"), next.join("cert.pem"))?;
    std::fs::write(next.join("key.json"), r#"{"v":1,"key":"offline"}"#)?;
    std::fs::rename(ca.join("root"), shelf.join("root"))?;
    let record = json!({"version": "1", "id": "root-1", "what": "root", "phase": "promote", "paused": false,
        "spreadSecs": 0, "by": "me", "retired": "0a", "entered": [], "overrides": [], "reason": ""});
    std::fs::write(ca.join("rotation.json"), record.to_string())?;

    let [root, intermediate, key] = ["root.pem", "intermediate.pem", "intermediate.key"].map(path);
    signet.ca(&["import", "--root", &root, "--intermediate", &intermediate, "--key", &key])?;
    let there = std::fs::read(ca.join("root/cert.pem"))?;
    assert_eq!(there, std::fs::read(&root)?, "the root that was to come is there");
    assert!(!ca.join("next").exists() && shelf.join("root/cert.pem").exists());
    assert!(!shelf.join("root/key.pem").exists(), "the key of the one that went is gone");
    let mut server = Server::start(&signet.program, folder.path()).await?;
    let trusted =
        openssl(folder.path(), &format!("x509 -in {} -noout -subject", server.ca_file().display()))?;
    assert!(trusted.contains("Example root"), "{trusted}");
    server.stop().await;
    Ok(())
}
