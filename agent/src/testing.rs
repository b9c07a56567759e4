//! A Signet server as far as an agent sees it: the node service over TLS, with a small CA behind it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use futures::stream::{self, BoxStream};
use rcgen::ExtendedKeyUsagePurpose;
use rustls::{RootCertStore, ServerConfig, crypto::ring, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use signet_policies::{identity::SpiffeId, time::Clock};
use signet_sds::{
    keypair::KeyPair,
    testing::{Answer, FakeSigner, Order},
    verify::uri_names,
};
use tokio::{
    net::TcpListener,
    sync::{broadcast, watch},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, async_trait, transport::Server as GrpcServer};

use crate::join::pb::{
    IssuedCertificate, JoinRequest, NodeReport, NodeUpdate, RenewRequest,
    node_service_server::{NodeService, NodeServiceServer},
};

pub(crate) const NODE: &str = "spiffe://signet.internal/mesh/m/virtual-node/a";
pub(crate) const SERVER: &str = "spiffe://signet.internal/signet/server";
pub(crate) const TOKEN: &str = "one-time-token";

/// What the server was asked, in order: `join TOKEN` or `renew IDENTITY`.
pub(crate) type Asked = Arc<watch::Sender<Vec<String>>>;

/// Every report of every stream, in order.
pub(crate) type Reports = Arc<watch::Sender<Vec<NodeReport>>>;

/// Its behaviour.
pub(crate) struct Setup {
    /// The identity in its certificate.
    pub(crate) identity: &'static str,
    /// Whether it trusts client certificates of its own CA, or of nobody.
    pub(crate) trusts_its_own: bool,
    /// What every call comes to, `Ok` being a certificate.
    pub(crate) answer: Result<Answer, Status>,
    pub(crate) life: Duration,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            identity: SERVER,
            trusts_its_own: true,
            answer: Ok(Answer::Good),
            life: Duration::from_secs(3600),
        }
    }
}

/// A running server; it ends when this is dropped.
pub(crate) struct TestServer {
    pub(crate) addr: SocketAddr,
    pub(crate) root: CertificateDer<'static>,
    pub(crate) asked: Asked,
    pub(crate) clock: Clock,
    /// Sent to every stream that is open.
    pub(crate) updates: broadcast::Sender<Result<NodeUpdate, Status>>,
    pub(crate) reports: Reports,
    /// Signs for the one node.
    pub(crate) signer: Arc<FakeSigner>,
    _tasks: JoinSet<()>,
}

struct Desk {
    signer: Arc<FakeSigner>,
    updates: broadcast::Sender<Result<NodeUpdate, Status>>,
    reports: Reports,
    answer: Result<Answer, Status>,
    asked: Asked,
    tokens: Mutex<Vec<String>>,
}

impl Desk {
    fn issue(&self, csr: &[u8]) -> Result<Response<IssuedCertificate>, Status> {
        let signed = self.signer.certificate(self.answer.clone()?, csr);
        let ders =
            |certificates: Vec<CertificateDer<'_>>| certificates.iter().map(|der| der.to_vec()).collect();
        Ok(Response::new(IssuedCertificate { chain: ders(signed.chain), bundle: ders(signed.bundle) }))
    }
}

#[async_trait]
impl NodeService for Desk {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<IssuedCertificate>, Status> {
        let JoinRequest { token, csr } = request.into_inner();
        self.asked.send_modify(|asked| asked.push(format!("join {token}")));
        let mut tokens = self.tokens.lock().unwrap();
        let found = tokens.iter().position(|known| *known == token);
        let found = found.ok_or_else(|| Status::unauthenticated("the token is unknown or used"))?;
        tokens.remove(found);
        self.issue(&csr)
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<IssuedCertificate>, Status> {
        let certificates = request.peer_certs().unwrap_or_default();
        let leaf = certificates.first().ok_or_else(|| Status::unauthenticated("no certificate"))?;
        let names = uri_names(leaf).unwrap().join(" ");
        self.asked.send_modify(|asked| asked.push(format!("renew {names}")));
        self.issue(&request.into_inner().csr)
    }

    type WatchStream = BoxStream<'static, Result<NodeUpdate, Status>>;

    async fn watch(
        &self,
        request: Request<tonic::Streaming<NodeReport>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let state = (request.into_inner(), self.updates.subscribe(), self.reports.clone());
        Ok(Response::new(Box::pin(stream::unfold(
            state,
            |(mut incoming, mut updates, reports)| async move {
                loop {
                    tokio::select! {
                        report = incoming.message() => {
                            let report = report.ok()??;
                            reports.send_modify(|all| all.push(report.clone()));
                            if report.leaving {
                                return None;
                            }
                        }
                        update = updates.recv() => return Some((update.ok()?, (incoming, updates, reports))),
                    }
                }
            },
        ))))
    }
}

/// The system's time: the server's TLS goes by it too.
pub(crate) fn wall_clock() -> Clock {
    #[expect(clippy::disallowed_methods, reason = "certificates are checked against the time of day")]
    Arc::new(SystemTime::now)
}

/// Starts a server on a free port of 127.0.0.1; [`TOKEN`] is good for one join.
pub(crate) async fn start(setup: Setup) -> TestServer {
    let clock = wall_clock();
    let identity: SpiffeId = NODE.parse().unwrap();
    let signer = Arc::new(FakeSigner::new(&identity, Arc::clone(&clock), setup.life));
    let config = tls_config(&signer, &setup, clock());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let asked = Asked::default();
    let root = signer.authority().root().clone();
    let tokens = Mutex::new(vec![TOKEN.to_owned()]);
    let (updates, reports) = (broadcast::channel(8).0, Reports::default());
    let desk = Desk {
        signer: Arc::clone(&signer),
        updates: updates.clone(),
        reports: Arc::clone(&reports),
        answer: setup.answer,
        asked: Arc::clone(&asked),
        tokens,
    };
    let (sender, connections) = tokio::sync::mpsc::channel(8);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                let _ = sender.send(Ok::<_, std::io::Error>(stream)).await;
            }
        }
    });
    tasks.spawn(async move {
        let server = GrpcServer::builder().add_service(NodeServiceServer::new(desk));
        server.serve_with_incoming(ReceiverStream::new(connections)).await.unwrap();
    });
    TestServer { addr, root, asked, clock, updates, reports, signer, _tasks: tasks }
}

fn tls_config(signer: &FakeSigner, setup: &Setup, now: SystemTime) -> ServerConfig {
    let key = KeyPair::generate().unwrap();
    let request = key.request(&setup.identity.parse().unwrap()).unwrap();
    let usages = &[ExtendedKeyUsagePurpose::ServerAuth];
    let day = Duration::from_secs(86_400);
    let order = Order { uris: &[setup.identity], not_before: now - day, not_after: now + day, usages };
    let chain = signer.authority().issue(&request, &order).chain;
    let key = PrivatePkcs8KeyDer::from(key.pkcs8().to_vec());
    let mut roots = RootCertStore::empty();
    let stranger = FakeSigner::new(&NODE.parse().unwrap(), Arc::new(move || now), day);
    let trusted = if setup.trusts_its_own { signer } else { &stranger };
    roots.add(trusted.authority().root().clone()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()
        .unwrap();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key.into())
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}
