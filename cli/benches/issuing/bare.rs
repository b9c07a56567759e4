//! The node service over mutual TLS, with a ledger that keeps records or one that keeps none.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use signet_ca::{
    Admission, Authority, Custody, Issuing, JoinTokens, Ledger, LedgerError, NodePeer, NodeService, Nodes,
    Random, Record, Registry, Serial, SledLedger, TrustFeed,
    admission::Limits,
    ledger::{Digest, Entry, Event, Head, RawEntry},
};
use signet_durable::Database;
use signet_policies::{
    identity::{SpiffeId, Workload},
    issuance::{Caller, Registration},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Status, async_trait,
    service::InterceptorLayer,
    transport::{Certificate, Identity, Server, ServerTlsConfig, server::TcpIncoming},
};
use x509_parser::extensions::GeneralName;

use super::place;

/// Serves until its process is killed. `folder` holds chain, key and root of the server.
pub(super) async fn serve(folder: &Path, is_recorded: bool) {
    let (clock, random, terms) = (signet::clock(), Random::system(), place::terms());
    let database = Database::open(&folder.join("store")).unwrap();
    let ledger: Arc<dyn Ledger> = match is_recorded {
        true => Arc::new(SledLedger::new(database.clone()).unwrap()),
        false => Arc::new(Unrecorded::default()),
    };
    let authority = Authority::open(
        &folder.join("ca"),
        Custody::default(),
        &terms.trust_domain,
        random.clone(),
        clock().into(),
    )
    .unwrap();
    let trust = TrustFeed::new(authority.bundle());
    let nodes = NodeService {
        issuing: Issuing::new(Arc::new(authority), ledger, random, clock.clone()),
        tokens: JoinTokens::new(database).unwrap(),
        admission: Admission::new(Limits::DEFAULT, clock.clone()),
        registry: Arc::new(Everybody),
        terms,
        nodes: Nodes::default(),
        trust,
        clock,
        drain: CancellationToken::new(),
    };
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(read("chain.pem"), read("key.pem")))
        .client_ca_root(Certificate::from_pem(read("root.pem")));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    Server::builder()
        .tls_config(tls)
        .unwrap()
        .layer(InterceptorLayer::new(identify))
        .add_service(nodes.into_server())
        // An answer is several writes here, and the second would wait for the peer's word of the first.
        .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
        .await
        .unwrap();
}

/// Puts who calls into the request, as Signet's own transport does.
fn identify(mut request: Request<()>) -> Result<Request<()>, Status> {
    let certificates = request.peer_certs().ok_or_else(|| Status::unauthenticated("no certificate"))?;
    let id = certificates
        .first()
        .and_then(|leaf| id_of(leaf))
        .ok_or_else(|| Status::unauthenticated("no name"))?;
    request.extensions_mut().insert(Arc::new(NodePeer::of(Caller::Holder(id))));
    Ok(request)
}

fn id_of(leaf: &[u8]) -> Option<SpiffeId> {
    let (_, certificate) = x509_parser::parse_x509_certificate(leaf).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    let id = |name: &GeneralName<'_>| if let GeneralName::URI(uri) = name { uri.parse().ok() } else { None };
    names.value.general_names.iter().find_map(id)
}

/// Knows whoever asks.
struct Everybody;

impl Registry for Everybody {
    fn registration(&self, workload: &Workload) -> Option<Registration> {
        Some(Registration { workload: workload.clone(), dns_names: vec![], spiffe_ids: vec![] })
    }
}

/// Counts entries, and forgets them.
#[derive(Debug, Default)]
struct Unrecorded(AtomicU64);

#[async_trait]
impl Ledger for Unrecorded {
    async fn append(&self, _: Entry) -> Result<u64, LedgerError> {
        Ok(self.0.fetch_add(1, Ordering::Relaxed))
    }

    async fn get(&self, _: Serial) -> Result<Option<Record>, LedgerError> {
        Ok(None)
    }

    async fn position(&self, _: Serial) -> Result<Option<u64>, LedgerError> {
        Ok(None)
    }

    async fn list(&self, _: Option<Serial>, _: usize) -> Result<Vec<Record>, LedgerError> {
        Ok(Vec::new())
    }

    async fn read(&self, _: u64, _: usize) -> Result<Vec<RawEntry>, LedgerError> {
        Ok(Vec::new())
    }

    async fn events(&self) -> Result<Vec<(u64, Event)>, LedgerError> {
        Ok(Vec::new())
    }

    fn size(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    async fn head(&self) -> Result<Head, LedgerError> {
        Ok(Head { size: 0, root: [0; 32] })
    }

    fn hashes(&self, _: &[u64]) -> Result<Vec<Digest>, LedgerError> {
        Ok(Vec::new())
    }
}
