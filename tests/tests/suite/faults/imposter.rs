//! Whoever stole the authority's keys and its address: agents take it for the Signet server, and it answers wrongly.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result};
use rcgen::ExtendedKeyUsagePurpose;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};
use signet_policies::identity::SpiffeId;
use signet_sds::{
    keypair::KeyPair,
    signer::Signed,
    testing::{Answer, FakeSigner, MiniCa, Order},
    verify::uri_names,
};
use signet_tests::{
    clock,
    node_service::{
        IssuedCertificate, JoinRequest, NodeReport, NodeUpdate, RenewRequest, Trust,
        node_service_server::{NodeService, NodeServiceServer},
    },
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, async_trait, transport::Server};

/// Lives of what it signs.
const LIFE: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const SERVER: &str = "spiffe://signet.internal/signet/server";

/// A running one; it ends when it is dropped.
pub(super) struct Imposter {
    /// Where it listens.
    pub(super) address: SocketAddr,
    desk: Arc<Desk>,
    _tasks: JoinSet<()>,
}

struct Desk {
    /// The keys of the authority that it pretends to be.
    root: String,
    issuer: String,
    key: String,
    answer: watch::Sender<Answer>,
    streams: Mutex<Streams>,
    /// By identity, how often it asked for a certificate.
    asked: Mutex<BTreeMap<String, u64>>,
}

/// The streams of agents that are open.
#[derive(Default)]
struct Streams {
    /// What everybody is told to trust, once somebody is.
    trust: Option<Trust>,
    open: Vec<mpsc::Sender<Result<NodeUpdate, Status>>>,
    readers: JoinSet<()>,
}

impl Imposter {
    /// Takes over the keys in a server's data folder, of which it signs with those of mesh `m`.
    pub(super) async fn start(data: &Path) -> Result<Self> {
        let read = |name: &str| {
            let path = data.join("ca").join(name);
            std::fs::read_to_string(&path).with_context(|| format!("no {}", path.display()))
        };
        let root = read("root/cert.pem")?;
        let own = MiniCa::of(&root, &read("server/cert.pem")?, &read("server/key.pem")?);
        let config = tls(&own)?;
        let (issuer, key) = (read("meshes/m/cert.pem")?, read("meshes/m/key.pem")?);
        let answer = watch::Sender::new(Answer::Good);
        let desk =
            Arc::new(Desk { root, issuer, key, answer, streams: Mutex::default(), asked: Mutex::default() });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (sender, connections) = mpsc::channel(8);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let acceptor = TlsAcceptor::from(Arc::new(config));
            while let Ok((stream, _)) = listener.accept().await {
                if let Ok(stream) = acceptor.accept(stream).await {
                    drop(sender.send(Ok::<_, std::io::Error>(stream)).await);
                }
            }
        });
        let service = NodeServiceServer::from_arc(desk.clone());
        tasks.spawn(async move {
            let served = Server::builder().add_service(service);
            drop(served.serve_with_incoming(ReceiverStream::new(connections)).await);
        });
        Ok(Self { address, desk, _tasks: tasks })
    }

    /// Answers so from now on.
    pub(super) fn answer(&self, answer: Answer) {
        self.desk.answer.send_replace(answer);
    }

    /// The authority of mesh `m`, whose keys it has.
    pub(super) fn authority(&self) -> MiniCa {
        self.desk.authority()
    }

    /// Tells everybody to trust this from now on.
    pub(super) fn trust(&self, version: &str, root: &CertificateDer<'_>, crls: Vec<Vec<u8>>) {
        let bundle = vec![root.to_vec()];
        let mut streams = self.desk.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.trust = Some(Trust { version: version.to_owned(), bundle, crls });
        let update = streams.update();
        streams.open.retain(|open| open.try_send(Ok(update.clone())).is_ok());
    }

    /// How often somebody asked for a certificate.
    pub(super) fn asked(&self) -> BTreeMap<String, u64> {
        self.desk.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The certificate of a Signet server, by the authority that agents trust.
fn tls(authority: &MiniCa) -> Result<ServerConfig> {
    let (key, now) = (KeyPair::generate()?, clock()());
    let usages = &[ExtendedKeyUsagePurpose::ServerAuth];
    let order = Order { uris: &[SERVER], not_before: now - DAY, not_after: now + DAY, usages };
    let chain = authority.issue(&key.request(&SERVER.parse()?)?, &order).chain;
    let mut roots = RootCertStore::empty();
    roots.add(authority.root().clone())?;
    let provider = Arc::new(ring::default_provider());
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build()?;
    let key = PrivatePkcs8KeyDer::from(key.pkcs8().to_vec());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key.into())?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

impl Streams {
    fn update(&self) -> NodeUpdate {
        NodeUpdate { trust: self.trust.clone(), ..NodeUpdate::default() }
    }
}

impl Desk {
    fn authority(&self) -> MiniCa {
        MiniCa::of(&self.root, &self.issuer, &self.key)
    }
}

fn ders(certificates: &[CertificateDer<'_>]) -> Vec<Vec<u8>> {
    certificates.iter().map(|der| der.to_vec()).collect()
}

#[async_trait]
impl NodeService for Desk {
    async fn join(&self, _request: Request<JoinRequest>) -> Result<Response<IssuedCertificate>, Status> {
        Err(Status::unavailable("nobody joins here"))
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<IssuedCertificate>, Status> {
        let certificates = request.peer_certs().unwrap_or_default();
        let leaf = certificates.first().ok_or_else(|| Status::unauthenticated("no certificate"))?;
        let names = uri_names(leaf).map_err(|error| Status::internal(error.to_string()))?.join(" ");
        let identity: SpiffeId = names.parse().map_err(|_| Status::internal(names.clone()))?;
        let signer = FakeSigner::of(self.authority(), &identity, clock(), LIFE);
        let Signed { chain, bundle } = signer.certificate(*self.answer.borrow(), &request.into_inner().csr);
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner).entry(names).or_default() += 1;
        Ok(Response::new(IssuedCertificate { chain: ders(&chain), bundle: ders(&bundle) }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<NodeUpdate, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<tonic::Streaming<NodeReport>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (open, updates) = mpsc::channel(8);
        let mut reports = request.into_inner();
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.readers.spawn(async move { while let Ok(Some(_)) = reports.message().await {} });
        drop(open.try_send(Ok(streams.update())));
        streams.open.push(open);
        Ok(Response::new(Box::pin(ReceiverStream::new(updates))))
    }
}
