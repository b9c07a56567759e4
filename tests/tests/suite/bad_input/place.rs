//! A server, what is sent to it, and what it remembers.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use http::Method;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use signet::{
    client::{Client, KeyPair, Refusal},
    local::{
        mesh::{REGION, Server, create_token, put},
        probe::{ClientCertificate, tls_connector},
    },
};
use signet_policies::identity::Workload;
use signet_tests::{
    Outsider, ceremony, channel, clock, eventually,
    node_service::{JoinRequest, RenewRequest, node_service_client::NodeServiceClient},
    program,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::{Code, Status, transport::Channel};

use super::{names, requests};

/// Something bad, and how it is to be refused.
pub(super) enum Attack {
    /// A first certificate, with a token of the node `a`.
    Join { csr: Vec<u8>, codes: &'static [Code] },
    /// The next certificate, asked for by the holder of the node `b`'s, or by nobody.
    Renew { csr: Vec<u8>, life: u64, by_holder: bool, code: Code },
    /// A connection to the gRPC port with a client certificate.
    Connect(ClientCertificate),
    /// A signed request.
    Api { method: Method, path: String, body: Option<Value>, code: &'static str, as_reader: bool },
    /// An unsigned one.
    Stranger { request: String, status: u16 },
}

pub(super) struct Place {
    _folder: tempfile::TempDir,
    pub(super) server: Server,
    pub(super) client: Client,
    /// Of nobody known.
    pub(super) channel: Channel,
    /// Holds the certificate of the node `b`.
    pub(super) holder: Outsider,
    held: Channel,
    reader: Client,
    token: String,
}

impl Place {
    /// A server with a mesh `m` of the nodes `a` and `b`.
    pub(super) async fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let server = Server::start(&program()?, folder.path()).await?;
        let client = server.client(clock())?;
        put(&client, "meshes", json!({"meshName": "m"})).await?;
        for name in ["a", "b"] {
            put(&client, "meshes/m/virtualNodes", json!({"virtualNodeName": name, "spec": {}})).await?;
        }
        let holder = Outsider::join(&server, &client, "m", "b").await?;
        let held = channel(server.grpc_address(), holder.roots(), Some(holder.certificate())).await?;
        let channel = channel(server.grpc_address(), holder.roots(), None).await?;
        let token = create_token(&client, &Workload::virtual_node("m", "a")?).await?;
        let credentials = server.credentials().display().to_string();
        let made = ceremony::run(
            &program()?,
            &[
                "credentials",
                "create",
                "reader",
                "--read-only",
                "--endpoint",
                &server.ready.api,
                "--credentials",
                &credentials,
            ],
        )?;
        let file = folder.path().join("reader");
        std::fs::write(&file, made)?;
        let reader = Client::new(&server.ready.api, REGION, KeyPair::from_file(&file, "reader")?, clock())?;
        Ok(Self { _folder: folder, server, client, channel, holder, held, reader, token })
    }

    /// Everything that a refused request must leave as it was.
    pub(super) async fn state(&self) -> Result<Value> {
        let get = async |path: &str| self.client.call(Method::GET, path, None).await;
        let shown = get("/v1/ca").await?;
        Ok(json!({
            "meshes": get("/v20190125/meshes").await?,
            "nodes": get("/v20190125/meshes/m/virtualNodes").await?,
            "credentials": get("/v1/credentials").await?,
            "authorities": names(&shown),
            "waiting": shown["waiting"],
            "issued": self.issued(),
        }))
    }

    /// How many certificates were issued.
    fn issued(&self) -> usize {
        self.server.log().lines().filter(|line| line.contains("issued a certificate")).count()
    }

    pub(super) fn audit_lines(&self) -> usize {
        self.server.log().lines().filter(|line| line.contains(" audit: ")).count()
    }

    pub(super) async fn until_audited(&self, lines: usize) -> Result<()> {
        eventually("the audit line", Duration::from_secs(20), || async {
            ensure!(self.audit_lines() >= lines, "{} lines\n{}", self.audit_lines(), self.server.log());
            Ok(())
        })
        .await
    }

    /// The token of the node `a` gets its certificate.
    pub(super) async fn joins(&self) -> Result<()> {
        Ok(join(&self.channel, &self.token, requests::good()?).await?)
    }

    /// Sends something, and holds what comes back against what should.
    pub(super) async fn refused(&self, attack: &Attack) -> Result<()> {
        match attack {
            Attack::Join { csr, codes } => {
                let status = join(&self.channel, &self.token, csr.clone()).await;
                let status = status.err().context("it was served")?;
                ensure!(codes.contains(&status.code()), "{status}");
            }
            Attack::Renew { csr, life, by_holder, code } => {
                let channel = if *by_holder { &self.held } else { &self.channel };
                let request = RenewRequest { csr: csr.clone(), lifetime_secs: *life };
                let status = NodeServiceClient::new(channel.clone()).renew(request).await;
                let status = status.err().context("it was served")?;
                ensure!(status.code() == *code, "{status}");
            }
            Attack::Connect(certificate) => {
                let (chain, key) = (certificate.chain.clone(), certificate.key.clone_key());
                self.turned_away(ClientCertificate { chain, key }).await?;
            }
            Attack::Api { method, path, body, code, as_reader } => {
                let client = if *as_reader { &self.reader } else { &self.client };
                let error =
                    client.call(method.clone(), path, body.as_ref()).await.err().context("it was served")?;
                let refusal = error.downcast_ref::<Refusal>().with_context(|| format!("{error:#}"))?;
                ensure!(refusal.code == *code, "{refusal}");
            }
            Attack::Stranger { request, status } => {
                let answer = exchange(&self.server.ready.api, request).await?;
                ensure!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
            }
        }
        Ok(())
    }

    /// With TLS 1.3 a client is done before the server has seen its certificate, so that the refusal is read.
    async fn turned_away(&self, certificate: ClientCertificate) -> Result<()> {
        let connector = tls_connector(self.holder.roots(), Some(certificate), &[b"h2"])?;
        let address: std::net::SocketAddr = self.server.grpc_address().parse()?;
        let tcp = TcpStream::connect(address).await?;
        let Ok(mut stream) = connector.connect(ServerName::IpAddress(address.ip().into()), tcp).await else {
            return Ok(());
        };
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(8), stream.read_to_end(&mut answer)).await;
        match read.context("the connection stays open")? {
            Err(_) => Ok(()),
            Ok(_) if answer.is_empty() => Ok(()),
            Ok(_) => bail!("it was served: {answer:?}"),
        }
    }
}

/// Trades a token for a certificate.
pub(super) async fn join(channel: &Channel, token: &str, csr: Vec<u8>) -> Result<(), Status> {
    let request = JoinRequest { token: token.to_owned(), csr };
    NodeServiceClient::new(channel.clone()).join(request).await.map(|_| ())
}

/// Sends bytes to `http://…`, and reads the answer to its end.
pub(super) async fn exchange(base: &str, request: &str) -> Result<String> {
    let mut stream = TcpStream::connect(base.trim_start_matches("http://")).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
