//! Revocation over the real ports: by the server itself, by OpenSSL, and by real Envoys under load.

mod foreign;
mod proofs;
pub(crate) mod wire;

use std::{
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::{Value, json};
use signet::{
    client::Client,
    local::mesh::{Server, create_token, put},
};
use signet_policies::identity::Workload;
use signet_tests::{
    Outsider, channel, clock, eventually,
    node_service::{
        JoinRequest, NodeReport, RenewRequest, SecretStatus, node_service_client::NodeServiceClient,
    },
    program,
};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, transport::Channel};

/// How long anything may take to come true.
const PATIENCE: Duration = Duration::from_secs(10);

fn id(node: &str) -> String {
    format!("spiffe://signet.internal/mesh/m/virtual-node/{node}")
}

/// Runs `signet ca …` against a server.
fn ca(server: &Server, arguments: &[&str]) -> Result<Output> {
    let output = Command::new(program()?)
        .arg("ca")
        .args(arguments)
        .env("SIGNET_ENDPOINT", &server.ready.api)
        .env("AWS_SHARED_CREDENTIALS_FILE", server.credentials())
        .output()?;
    Ok(output)
}

/// The same, where it must do what it is told.
fn told(server: &Server, arguments: &[&str]) -> Result<String> {
    let output = ca(server, arguments)?;
    let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
    ensure!(output.status.success(), "signet ca {arguments:?}: {said}");
    Ok(said)
}

fn request() -> Result<Vec<u8>> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name.remove(DnType::CommonName);
    Ok(params.serialize_request(&KeyPair::generate()?)?.der().to_vec())
}

async fn renew(channel: &Channel) -> Result<(), Status> {
    let csr = request().map_err(|error| Status::internal(error.to_string()))?;
    let request = RenewRequest { csr, lifetime_secs: 0 };
    NodeServiceClient::new(channel.clone()).renew(request).await.map(drop)
}

/// A server with a mesh `m` of the nodes `a` and `b`.
struct Place {
    folder: tempfile::TempDir,
    server: Server,
    client: Client,
}

impl Place {
    async fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let server = Server::start(&program()?, folder.path()).await?;
        let client = server.client(clock())?;
        put(&client, "meshes", json!({"meshName": "m"})).await?;
        for name in ["a", "b"] {
            put(&client, "meshes/m/virtualNodes", json!({"virtualNodeName": name, "spec": {}})).await?;
        }
        Ok(Self { folder, server, client })
    }

    async fn joined(&self, node: &str) -> Result<Outsider> {
        Outsider::join(&self.server, &self.client, "m", node).await
    }

    async fn channel(&self, holder: &Outsider) -> Result<Channel> {
        channel(self.server.grpc_address(), holder.roots(), Some(holder.certificate())).await
    }

    /// Whether a holder gets a certificate over a connection of its own.
    async fn renews(&self, holder: &Outsider) -> bool {
        match self.channel(holder).await {
            Ok(channel) => renew(&channel).await.is_ok(),
            Err(_) => false,
        }
    }

    async fn revocations(&self) -> Result<Value> {
        self.client.call(http::Method::GET, "/v1/ca/revocations", None).await
    }
}

fn serial(holder: &Outsider) -> Result<String> {
    let serial = signet::local::probe::serial_of(&holder.certificate().chain[0])?;
    Ok(format!("{serial:0>32}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_certificate_is_refused_at_once_in_open_connections_and_after_a_kill() -> Result<()> {
    let mut place = Place::new().await?;
    let (stolen, other) = (place.joined("a").await?, place.joined("a").await?);
    let open = place.channel(&stolen).await?;
    renew(&open).await?;
    told(&place.server, &["revoke", &serial(&stolen)?, "--reason", "keyCompromise"])?;
    assert!(renew(&open).await.is_err(), "the connection that was open goes on");
    assert!(!place.renews(&stolen).await);
    assert!(place.renews(&other).await, "only the one certificate was revoked");
    eventually("the refusal is in the log", PATIENCE, || async {
        ensure!(place.server.log().contains("refused a client certificate on the grpc port"));
        Ok(())
    })
    .await?;
    for _ in 0..2 {
        place.server.kill().await?;
        place.server.restart().await?;
        assert!(!place.renews(&stolen).await, "the first handshake after the start is let in");
        assert!(place.renews(&other).await);
    }
    let said = ca(&place.server, &["revoke", &serial(&stolen)?])?;
    assert_eq!(said.status.code(), Some(1), "it was revoked before");
    place.server.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_banned_identity_neither_joins_nor_renews_until_it_is_allowed() -> Result<()> {
    let mut place = Place::new().await?;
    let (banned, neighbour) = (place.joined("a").await?, place.joined("b").await?);
    let token = create_token(&place.client, &Workload::virtual_node("m", "a")?).await?;
    let stranger = channel(place.server.grpc_address(), neighbour.roots(), None).await?;
    told(&place.server, &["revoke", &id("a"), "--reason", "privilegeWithdrawn"])?;
    let joined =
        NodeServiceClient::new(stranger.clone()).join(JoinRequest { token, csr: request()? }).await.map(drop);
    let refused = joined.err().context("a banned identity has joined")?;
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().contains("signet ca allow"), "{refused}");
    assert!(!place.renews(&banned).await);
    assert!(place.renews(&neighbour).await);
    let listed = place.revocations().await?;
    assert_eq!(listed["banned"][0]["identity"], id("a"));
    assert_eq!(listed["certificates"][0]["serial"], serial(&banned)?);
    assert_eq!(listed["certificates"][0]["reason"], "privilegeWithdrawn");

    told(&place.server, &["allow", &id("a")])?;
    place.joined("a").await?;
    assert!(!place.renews(&banned).await, "what was revoked stays revoked");
    place.server.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_served_over_http_and_openssl_reads_them() -> Result<()> {
    let mut place = Place::new().await?;
    let (stolen, good) = (place.joined("a").await?, place.joined("b").await?);
    told(&place.server, &["revoke", &serial(&stolen)?, "--reason", "keyCompromise"])?;
    let key_id = key_id_of_issuer(&stolen)?;
    let ops = place.server.ready.ops.trim_start_matches("http://").parse()?;
    let (head, list) = fetch(&place.server, &format!("/crl/{key_id}.crl")).await?;
    assert!(head.contains("application/pkix-crl"), "{head}");
    let path = |name: &str| place.folder.path().join(name).display().to_string();
    std::fs::write(path("list.crl"), &list)?;
    let said = openssl(&["crl", "-inform", "DER", "-in", &path("list.crl"), "-noout", "-text"])?;
    assert!(said.contains(&serial(&stolen)?.to_ascii_uppercase()), "{said}");
    assert!(!said.contains(&serial(&good)?.to_ascii_uppercase()), "{said}");
    let metrics = signet_tests::bed::call::Call::to(ops, "ops").path("/metrics").send().await?;
    assert!(metrics.body.contains("signet_revoked_certificates 1"), "{}", metrics.body);
    place.server.stop().await;
    Ok(())
}

async fn fetch(server: &Server, path: &str) -> Result<(String, Vec<u8>)> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let address = server.ready.ops.trim_start_matches("http://");
    let mut tcp = tokio::net::TcpStream::connect(address).await?;
    tcp.write_all(format!("GET {path} HTTP/1.1\r\nhost: ops\r\nconnection: close\r\n\r\n").as_bytes())
        .await?;
    let mut bytes = Vec::new();
    tcp.read_to_end(&mut bytes).await?;
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").context("no answer")? + 4;
    let body = bytes.split_off(end);
    let head = String::from_utf8(bytes)?;
    ensure!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
    Ok((head, body))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "whatever else it is, it is not looked for")]
fn key_id_of_issuer(holder: &Outsider) -> Result<String> {
    let certificate = holder.certificate();
    let (_, parsed) = x509_parser::parse_x509_certificate(&certificate.chain[0])?;
    let ids = parsed.iter_extensions().filter_map(|extension| match extension.parsed_extension() {
        x509_parser::extensions::ParsedExtension::AuthorityKeyIdentifier(id) => {
            id.key_identifier.as_ref().map(|id| id.0)
        }
        _ => None,
    });
    Ok(hex::encode(ids.last().context("no authority key identifier")?))
}

fn openssl(arguments: &[&str]) -> Result<String> {
    let output = Command::new("openssl").args(arguments).output().context("openssl is not installed")?;
    Ok(String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned())
}

pub(super) fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name()))?,
            false => drop(std::fs::copy(entry.path(), to.join(entry.file_name()))?),
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_in_the_ledger_is_proven_offline_and_an_older_folder_is_refused() -> Result<()> {
    let mut place = Place::new().await?;
    let data = place.server.ready.data_dir.clone();
    let path = |name: &str| place.folder.path().join(name).display().to_string();
    let (key, old, evidence) = (path("ledger.pub"), path("old"), path("evidence.json"));
    std::fs::copy(data.join("ledger.pub"), &key)?;
    let holder = place.joined("a").await?;
    std::fs::write(&old, told(&place.server, &["checkpoint"])?)?;
    place.server.stop().await;
    copy(&data, Path::new(&path("before")))?;
    place.server.restart().await?;
    told(&place.server, &["revoke", &serial(&holder)?, "--wait", "0"])?;
    std::fs::write(&evidence, told(&place.server, &["why", &serial(&holder)?, "--format", "json"])?)?;
    let story = told(&place.server, &["why", &serial(&holder)?])?;
    let proven = story.lines().find(|line| line.starts_with("PROVEN BY")).unwrap_or_default();
    assert!(
        proven.contains("with the one-time join token ") && proven.contains(", made by admin"),
        "{story}"
    );
    let verify = |arguments: &[&str]| -> Result<(bool, String)> {
        let output = Command::new(program()?).args(["ca", "verify"]).args(arguments).output()?;
        let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
        Ok((output.status.success(), said))
    };
    let (is_proven, said) = verify(&[&evidence, "--key-file", &key])?;
    assert!(is_proven, "{said}");
    // Who altered the evidence is found out.
    let text = std::fs::read_to_string(&evidence)?;
    std::fs::write(&evidence, text.replace("virtualNode/a\\\"", "virtualNode/b\\\""))?;
    let (is_proven, said) = verify(&[&evidence, "--key-file", &key])?;
    assert!(!is_proven && said.contains("was altered"), "{said}");
    std::fs::write(&evidence, told(&place.server, &["checkpoint", "--since", &old])?)?;
    let (is_proven, said) = verify(&[&evidence, "--key-file", &key, "--since", &old])?;
    assert!(is_proven, "{said}");
    let anchor = path("anchor");
    std::fs::write(&anchor, told(&place.server, &["checkpoint"])?)?;
    place.server.stop().await;
    let data = data.display().to_string();
    let (is_whole, said) = verify(&["--data-dir", &data, "--since", &anchor])?;
    assert!(is_whole, "{said}");

    // The folder of before the revocation is sound, and older than the anchor.
    let before = path("before");
    let (is_sound, said) = verify(&["--data-dir", &before])?;
    assert!(is_sound, "{said}");
    let start = Command::new(program()?)
        .args(["server", "--data-dir", &before, "--anchor", &anchor])
        .args(["--api-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--ops-addr", "127.0.0.1:0"])
        .output()?;
    let said = String::from_utf8_lossy(&start.stderr).into_owned();
    assert_eq!(start.status.code(), Some(1), "{said}");
    assert!(said.contains("the data folder is older than its last checkpoint"), "{said}");
    assert!(start.stdout.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_whose_validator_passes_lists_over_is_named_and_the_command_fails_though_it_revoked()
-> Result<()> {
    let mut place = Place::new().await?;
    let (holder, stolen) = (place.joined("a").await?, place.joined("b").await?);
    let report = |version: &str| NodeReport {
        instance: "i-1".to_owned(),
        trust_version: version.to_owned(),
        secrets: vec![SecretStatus {
            stream: "1-0".to_owned(),
            name: "ROOTCA".to_owned(),
            sent_version: version.to_owned(),
            accepted_version: version.to_owned(),
            ignores_crls: true,
            ..SecretStatus::default()
        }],
        ..NodeReport::default()
    };
    let (reports, sent) = mpsc::channel(4);
    reports.send(report("")).await?;
    let mut client = NodeServiceClient::new(place.channel(&holder).await?);
    let mut updates = client.watch(ReceiverStream::new(sent)).await?.into_inner();
    let mut agent = JoinSet::new();
    agent.spawn(async move {
        while let Ok(Some(update)) = updates.message().await {
            let Some(trust) = update.trust else { continue };
            if reports.send(report(&trust.version)).await.is_err() {
                return;
            }
        }
    });
    let output = ca(&place.server, &["revoke", &serial(&stolen)?, "--reason", "keyCompromise"])?;
    let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("SPIFFE validator") && said.contains("mesh/m/virtualNode/a/i-1"), "{said}");
    assert!(!place.renews(&stolen).await, "it is revoked all the same");
    place.server.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_does_not_accept_the_lists_is_named_and_the_command_fails_though_it_revoked()
-> Result<()> {
    let mut place = Place::new().await?;
    let (holder, stolen) = (place.joined("a").await?, place.joined("b").await?);
    let (reports, sent) = mpsc::channel(4);
    reports.send(NodeReport { instance: "i-1".to_owned(), ..NodeReport::default() }).await?;
    let mut client = NodeServiceClient::new(place.channel(&holder).await?);
    let mut updates = client.watch(ReceiverStream::new(sent)).await?.into_inner();
    updates.message().await?.context("the server says nothing")?;
    let output = ca(&place.server, &["revoke", &serial(&stolen)?, "--wait", "1"])?;
    let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("not everywhere after 1 s; waiting for: mesh/m/virtualNode/a/i-1"), "{said}");
    // Whoever waits to the end is told that it failed.
    eventually("it is over", Duration::from_secs(30), || async {
        let effect = &place.revocations().await?["effect"];
        let problem = effect["problem"].as_str().unwrap_or_default();
        let is_named =
            problem.contains("have not accepted the lists") && problem.contains("virtualNode/a/i-1");
        ensure!(is_named && effect["isOver"] == true, "{effect}");
        Ok(())
    })
    .await?;
    assert!(!place.renews(&stolen).await, "it is revoked all the same");
    drop(reports);
    place.server.stop().await;
    Ok(())
}
