//! Strangers and cheats at the CA's door, over the real port.

use std::process::Command;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequest, CustomExtension, DnType, IsCa, KeyPair,
    SanType,
};
use serde_json::json;
use signet::{
    client::Client,
    local::mesh::{Server, create_token, put},
};
use signet_policies::identity::Workload;
use signet_tests::{
    Outsider, channel, clock,
    node_service::{JoinRequest, RenewRequest, node_service_client::NodeServiceClient},
    program,
};
use tokio::task::JoinSet;
use tonic::{Code, Status, transport::Channel};

const ID: &str = "spiffe://signet.internal/mesh/m/virtual-node/a";

struct Door {
    _folder: tempfile::TempDir,
    server: Server,
    client: Client,
    channel: Channel,
}

/// A server with a mesh `m` of the nodes `a` and `b`, and an anonymous channel to its gRPC port.
async fn door() -> Result<Door> {
    let folder = tempfile::tempdir()?;
    let server = Server::start(&program()?, folder.path()).await?;
    let client = server.client(clock())?;
    put(&client, "meshes", json!({"meshName": "m"})).await?;
    for name in ["a", "b"] {
        put(&client, "meshes/m/virtualNodes", json!({"virtualNodeName": name, "spec": {}})).await?;
    }
    let outsider = Outsider::join(&server, &client, "m", "b").await?;
    let channel = channel(server.grpc_address(), outsider.roots(), None).await?;
    Ok(Door { _folder: folder, server, client, channel })
}

fn request(uris: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Result<Vec<u8>> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name.remove(DnType::CommonName);
    for uri in uris {
        params.subject_alt_names.push(SanType::URI((*uri).try_into()?));
    }
    change(&mut params);
    let request: CertificateSigningRequest = params.serialize_request(&key)?;
    Ok(request.der().to_vec())
}

fn rsa_1024() -> Result<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (key, csr) = (path("key.pem"), path("csr.der"));
    let args = [
        "req", "-new", "-newkey", "rsa:1024", "-nodes", "-subj", "/", "-outform", "DER", "-keyout", &key,
        "-out", &csr,
    ];
    let output = Command::new("openssl").args(args).output().context("openssl is not installed")?;
    anyhow::ensure!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
    Ok(std::fs::read(csr)?)
}

async fn join(channel: &Channel, token: &str, csr: Vec<u8>) -> Result<(), Status> {
    let request = JoinRequest { token: token.to_owned(), csr };
    NodeServiceClient::new(channel.clone()).join(request).await.map(|_| ())
}

/// Requests that must be refused, and how.
fn bad_requests() -> Result<Vec<(&'static str, Vec<u8>, Code)>> {
    let other = "spiffe://signet.internal/mesh/m/virtual-node/b";
    let foreign = "spiffe://other.test/mesh/m/virtual-node/a";
    let server = "spiffe://signet.internal/signet/server";
    let bank = SanType::DnsName("bank.example".try_into()?);
    // basicConstraints with CA:TRUE, as a request's extension.
    let ca = CustomExtension::from_oid_content(&[2, 5, 29, 19], vec![0x30, 0x03, 0x01, 0x01, 0xff]);
    let mut broken_signature = request(&[ID], |_| {})?;
    if let Some(last) = broken_signature.last_mut() {
        *last ^= 1;
    }
    Ok(vec![
        ("CA:TRUE", request(&[ID], |params| params.custom_extensions.push(ca))?, Code::InvalidArgument),
        ("another node's name", request(&[other], |_| {})?, Code::PermissionDenied),
        ("another trust domain", request(&[foreign], |_| {})?, Code::PermissionDenied),
        ("the server's name", request(&[server], |_| {})?, Code::PermissionDenied),
        ("two URI SANs", request(&[ID, other], |_| {})?, Code::InvalidArgument),
        ("the same URI SAN twice", request(&[ID, ID], |_| {})?, Code::InvalidArgument),
        ("a DNS name", request(&[ID], |params| params.subject_alt_names.push(bank))?, Code::PermissionDenied),
        ("a broken self-signature", broken_signature, Code::InvalidArgument),
        ("RSA 1024", rsa_1024()?, Code::InvalidArgument),
        ("nothing", Vec::new(), Code::InvalidArgument),
        ("junk", vec![0x30; 4096], Code::InvalidArgument),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_request_is_refused_with_one_log_line_and_leaves_the_token_usable() -> Result<()> {
    let mut door = door().await?;
    let token = create_token(&door.client, &Workload::virtual_node("m", "a")?).await?;
    for (what, csr, code) in bad_requests()? {
        let before = door.server.log().lines().count();
        let refused =
            join(&door.channel, &token, csr).await.err().with_context(|| format!("{what} was served"))?;
        assert_eq!(refused.code(), code, "{what}: {refused}");
        let log = door.server.log();
        let lines: Vec<&str> = log.lines().skip(before).filter(|line| line.contains("refused")).collect();
        assert_eq!(lines.len(), 1, "{what} is logged once: {lines:?}");
        assert!(!log.contains(&token), "a token is in the log");
    }
    // A message this long is refused before it is read as a request.
    let megabyte =
        join(&door.channel, &token, vec![0x30; 1 << 20]).await.err().context("1 MiB was served")?;
    let too_large = [Code::OutOfRange, Code::InvalidArgument, Code::ResourceExhausted];
    assert!(too_large.contains(&megabyte.code()), "{megabyte}");

    let good = request(&[ID], |_| {})?;
    let stranger =
        join(&door.channel, "sgt_nonsense", good.clone()).await.err().context("no token, yet served")?;
    assert_eq!(stranger.code(), Code::Unauthenticated);
    let renewal = RenewRequest { csr: good.clone(), lifetime_secs: 0 };
    let anonymous = NodeServiceClient::new(door.channel.clone()).renew(renewal).await;
    assert_eq!(anonymous.err().context("renewed for nobody")?.code(), Code::Unauthenticated);

    join(&door.channel, &token, good.clone()).await.context("the token still joins")?;
    let another = request(&[ID], |_| {})?;
    let again = join(&door.channel, &token, another).await.err().context("the token joined two keys")?;
    assert_eq!(again.code(), Code::Unauthenticated);
    join(&door.channel, &token, good).await.context("the same key is answered again")?;
    door.server.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_parallel_joins_with_one_token_exactly_one_wins() -> Result<()> {
    let mut door = door().await?;
    let token = create_token(&door.client, &Workload::virtual_node("m", "a")?).await?;
    let mut racers = JoinSet::new();
    for _ in 0..64 {
        let (channel, token, csr) = (door.channel.clone(), token.clone(), request(&[ID], |_| {})?);
        racers.spawn(async move { join(&channel, &token, csr).await });
    }
    let outcomes = racers.join_all().await;
    let losers = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).map(Status::code);
    assert!(losers.clone().all(|code| code == Code::Unauthenticated), "{outcomes:?}");
    assert_eq!(losers.count(), 63);
    door.server.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_renews_its_own_certificate_and_nobody_elses() -> Result<()> {
    let mut door = door().await?;
    let a = Outsider::join(&door.server, &door.client, "m", "a").await?;
    let channel = channel(door.server.grpc_address(), a.roots(), Some(a.certificate())).await?;
    let mut nodes = NodeServiceClient::new(channel);
    let renewed =
        nodes.renew(RenewRequest { csr: request(&[ID], |_| {})?, lifetime_secs: 0 }).await?.into_inner();
    assert_eq!((renewed.chain.len(), renewed.bundle.len()), (2, 1));
    let other = request(&["spiffe://signet.internal/mesh/m/virtual-node/b"], |_| {})?;
    let refused = nodes.renew(RenewRequest { csr: other, lifetime_secs: 0 }).await;
    assert_eq!(refused.err().context("a got b's certificate")?.code(), Code::PermissionDenied);
    let for_ever = RenewRequest { csr: request(&[ID], |_| {})?, lifetime_secs: u64::MAX };
    assert!(nodes.renew(for_ever).await.is_err());

    door.client.call(http::Method::DELETE, "/v20190125/meshes/m/virtualNodes/a", None).await?;
    let gone = nodes.renew(RenewRequest { csr: request(&[ID], |_| {})?, lifetime_secs: 0 }).await;
    assert_eq!(gone.err().context("a deleted node renewed")?.code(), Code::PermissionDenied);
    door.server.stop().await;
    Ok(())
}

#[test]
fn the_ca_flag_of_the_table_is_what_rcgen_would_write_too() {
    // Guards the table above: the bytes are a request for a CA, not something that fails for another reason.
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    let needle = [0x30, 0x03, 0x01, 0x01, 0xff];
    assert!(der.der().windows(needle.len()).any(|window| window == needle));
}
