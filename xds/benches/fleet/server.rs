//! Our server with its fleet.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::StreamExt as _;
use http::Extensions;
use prost::Message as _;
use signet_xds::{
    Resource, ResourceType, Snapshot, Status,
    pb::{
        envoy::{
            config::{cluster::v3::Cluster, core::v3::Node},
            service::discovery::v3::{self, DeltaDiscoveryResponse, DiscoveryResponse},
        },
        google::protobuf::Any,
    },
    server::{Feed, Observer, PATIENCE, Source, ads},
};
use tokio::{net::TcpListener, sync::watch, task::JoinSet, time::Instant};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{
    Server,
    server::{Connected, Router},
};

use super::{
    frugal::Frugal,
    meter::{Meter, Start, memory},
    process::Process,
    tls,
};

/// Feeds every stream the same, and counts what clients say.
struct Shared {
    snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    heard: Arc<AtomicUsize>,
}

struct Count(Arc<AtomicUsize>);

impl Observer for Count {
    fn changed(&mut self, _: &Status) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Source for Shared {
    fn open(&self, _: &Extensions, _: Option<&Node>) -> Result<Feed, tonic::Status> {
        Ok(Feed {
            snapshots: self.snapshots.clone(),
            observer: Box::new(Count(Arc::clone(&self.heard))),
            end: Box::pin(std::future::pending()),
        })
    }
}

impl Connected for Frugal {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

/// A server of tonic's and the streams to it, each of which has had its first message.
pub(super) struct Served {
    pub(super) clients: Process,
    baseline: f64,
    opened: Meter,
    _tasks: JoinSet<()>,
}

impl Served {
    pub(super) async fn start(router: Router, streams: usize, mutual_tls: bool, variant: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut clients = Process::clients();
        let mut tasks = JoinSet::new();
        let acceptor = mutual_tls.then(tls::acceptor);
        let (baseline, start) = (memory(), Start::now());
        let incoming = TcpListenerStream::new(listener)
            .map(|tcp| tcp.and_then(|tcp| tcp.set_nodelay(true).map(|()| tcp)));
        if let Some(acceptor) = acceptor {
            let incoming = incoming
                .map(move |tcp| {
                    let acceptor = acceptor.clone();
                    async move { Frugal::accept(&acceptor, tcp?).await }
                })
                .buffer_unordered(256);
            tasks.spawn(async move { router.serve_with_incoming(incoming).await.unwrap() });
        } else {
            tasks.spawn(async move { router.serve_with_incoming(incoming).await.unwrap() });
        }
        let security = if mutual_tls { "tls" } else { "plain" };
        clients.say(&format!("open {port} {streams} {variant} {security}"));
        let connecting = clients.seconds();
        clients.expect_one();
        clients.seconds();
        Self { clients, baseline, opened: start.end(connecting), _tasks: tasks }
    }

    /// Of all streams together, in bytes.
    pub(super) fn memory_now(&self) -> f64 {
        memory() - self.baseline
    }
}

/// Our server with its streams.
pub(super) struct Fleet {
    served: Served,
    streams: usize,
    shape: (usize, usize),
    is_sotw: bool,
    snapshots: watch::Sender<Option<Arc<Snapshot>>>,
    heard: Arc<AtomicUsize>,
    /// How many calls of observers there will have been.
    due: usize,
    round: usize,
    /// Of all streams together, in bytes, before anything large was sent.
    pub(super) idle_memory: f64,
    pub(super) bytes_per_push: usize,
}

/// `count` clusters of about so many bytes, one of them different in every round, or all of them.
fn snapshot((count, bytes): (usize, usize), round: usize, all_change: bool) -> Snapshot {
    let cluster = |number: usize| {
        let round = if all_change || number == 0 { round } else { 0 };
        let name = format!("cds_egress_mesh_service-{number:05}_http_8080");
        let alt_stat_name = format!("{round:08}{}", "x".repeat(bytes - name.len() - 14));
        Resource::new(
            ResourceType::Cluster,
            name.clone(),
            &Cluster { name, alt_stat_name, ..Default::default() },
        )
    };
    (0..count).map(cluster).collect()
}

/// The bytes of a response with all of a snapshot.
fn wire(snapshot: &Snapshot, is_sotw: bool) -> usize {
    let url = ResourceType::Cluster.type_url().to_owned();
    let any = |it: &Resource| Any { type_url: url.clone(), value: it.value().to_vec() };
    let resources = || snapshot.resources(ResourceType::Cluster);
    let (type_url, nonce, version_info) = (url.clone(), "0-1".to_owned(), "x".repeat(32));
    let message = match is_sotw {
        true => {
            let resources = resources().map(any).collect();
            DiscoveryResponse { type_url, nonce, version_info, resources, ..Default::default() }.encoded_len()
        }
        false => {
            let versioned = |it: &Resource| v3::Resource {
                name: it.name().to_owned(),
                version: it.version().to_owned(),
                resource: Some(any(it)),
                ..Default::default()
            };
            let resources = resources().map(versioned).collect();
            DeltaDiscoveryResponse { type_url, nonce, resources, ..Default::default() }.encoded_len()
        }
    };
    5 + message
}

impl Fleet {
    /// Opens the streams; what they are fed first is one small cluster.
    pub(super) async fn start(
        streams: usize,
        mutual_tls: bool,
        shape: (usize, usize),
        is_sotw: bool,
    ) -> Self {
        let first = snapshot((1, 256), 0, false);
        let (snapshots, receiver) = watch::channel(Some(Arc::new(first)));
        let heard = Arc::new(AtomicUsize::new(0));
        let source = Arc::new(Shared { snapshots: receiver, heard: Arc::clone(&heard) });
        let router = Server::builder().add_service(ads(source, CancellationToken::new()));
        let variant = if is_sotw { "sotw" } else { "delta" };
        let served = Served::start(router, streams, mutual_tls, variant).await;
        let bytes_per_push = wire(&snapshot(shape, 1, is_sotw), is_sotw);
        let mut fleet = Self {
            served,
            streams,
            shape,
            is_sotw,
            snapshots,
            heard,
            due: 2 * streams,
            round: 0,
            idle_memory: 0.0,
            bytes_per_push,
        };
        fleet.acknowledge().await;
        fleet.idle_memory = fleet.memory_now();
        fleet
    }

    /// A change to everybody, until everybody has it; then its acknowledgements, which are not measured.
    pub(super) async fn push(&mut self) -> Meter {
        self.round += 1;
        let next = Arc::new(snapshot(self.shape, self.round, self.is_sotw));
        self.served.clients.expect_one();
        let start = Start::now();
        self.snapshots.send_replace(Some(next));
        let meter = start.end(self.served.clients.seconds());
        self.due += self.streams;
        self.acknowledge().await;
        meter
    }

    /// Has everything acknowledged, and waits until the server has heard all of it and nothing beyond.
    async fn acknowledge(&mut self) {
        let mut pulse = tokio::time::interval(Duration::from_millis(2));
        self.served.clients.say("ack");
        assert_eq!(self.served.clients.hear(), self.streams.to_string(), "a client has ended");
        self.due += self.streams;
        let deadline = Instant::now() + PATIENCE;
        while self.heard.load(Ordering::Relaxed) < self.due {
            assert!(Instant::now() < deadline, "{:?} of {} calls of observers", self.heard, self.due);
            pulse.tick().await;
        }
        assert_eq!(self.heard.load(Ordering::Relaxed), self.due, "one message and one ACK a stream");
    }

    /// What it took to open all streams.
    pub(super) const fn opened(&self) -> Meter {
        self.served.opened
    }

    /// Of all streams together, in bytes.
    pub(super) fn memory_now(&self) -> f64 {
        self.served.memory_now()
    }
}
