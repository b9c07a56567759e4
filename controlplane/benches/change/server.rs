//! The server, from the store to the streams, and one that has nothing to do but push.

use std::{
    future::{Future, pending},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use http::Extensions;
use signet_controlplane::{
    discovery::{Discovery, Registry},
    proxies::{Proxies, Said},
    quotas::Quotas,
    reconcile::{Forgetful, Pace, Reconcile},
    store::{SledStore, Store},
    translate::{Interception, Proxy},
};
use signet_durable::Database;
use signet_policies::identity::Workload;
use signet_xds::{
    Resource, ResourceType, Snapshot, Status,
    pb::envoy::config::{cluster::v3::Cluster, core::v3::Node},
    server::{Feed, Observer, Source, ads},
};
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    sync::watch,
    task::JoinSet,
    time::{Instant, interval},
};
use tokio_stream::{StreamExt as _, wrappers::TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::{Status as Refusal, transport::Server};

use super::{
    mesh::{self, Change},
    process::Process,
};

/// Counts what clients say.
struct Count {
    heard: Arc<AtomicUsize>,
    inner: Option<Box<dyn Observer>>,
}

impl Observer for Count {
    fn changed(&mut self, status: &Status) {
        if let Some(inner) = &mut self.inner {
            inner.changed(status);
        }
        self.heard.fetch_add(1, Ordering::Relaxed);
    }
}

/// Streams that clients have, and what they are known to have said.
struct Fleet {
    clients: Process,
    streams: usize,
    heard: Arc<AtomicUsize>,
    due: usize,
    _tasks: JoinSet<()>,
}

impl Fleet {
    /// Opens the streams; each has had its first message, and taken it.
    async fn start<S: Source>(source: Arc<S>, streams: usize, heard: Arc<AtomicUsize>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let incoming = TcpListenerStream::new(listener)
            .map(|tcp| tcp.and_then(|tcp| tcp.set_nodelay(true).map(|()| tcp)));
        let router = Server::builder().add_service(ads(source, CancellationToken::new()));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { router.serve_with_incoming(incoming).await.unwrap() });
        let mut clients = Process::clients();
        clients.say(&format!("open {port} {streams} delta plain"));
        clients.seconds();
        clients.expect_one();
        clients.seconds();
        let mut fleet = Self { clients, streams, heard, due: 2 * streams, _tasks: tasks };
        fleet.acknowledge().await;
        fleet
    }

    /// Until everybody has what comes next, in seconds from now; `begin` makes it come.
    async fn receive(&mut self, begin: impl Future<Output = ()>) -> f64 {
        self.clients.expect_one();
        begin.await;
        let seconds = self.clients.seconds();
        self.due += self.streams;
        self.acknowledge().await;
        seconds
    }

    async fn acknowledge(&mut self) {
        self.clients.say("ack");
        assert_eq!(self.clients.hear(), self.streams.to_string(), "a client has ended");
        self.due += self.streams;
        let (mut pulse, deadline) =
            (interval(Duration::from_millis(1)), Instant::now() + Duration::from_secs(30));
        while self.heard.load(Ordering::Relaxed) < self.due {
            assert!(Instant::now() < deadline, "{:?} of {} calls of observers", self.heard, self.due);
            pulse.tick().await;
        }
    }
}

/// Takes each stream for a proxy of the next caller.
struct Callers {
    proxies: Arc<Proxies>,
    opened: AtomicUsize,
    heard: Arc<AtomicUsize>,
}

impl Source for Callers {
    fn open(&self, _: &Extensions, _: Option<&Node>) -> Result<Feed, Refusal> {
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        let proxy = Proxy {
            workload: Workload::virtual_node("m", &mesh::caller(number)).unwrap(),
            interception: Interception::None,
            ingress_address: [127, 0, 0, 1].into(),
            egress_port: 15001.try_into().unwrap(),
        };
        let feed = self.proxies.connect(proxy, Said::default());
        let observer = Box::new(Count { heard: Arc::clone(&self.heard), inner: Some(feed.observer) });
        Ok(Feed { observer, ..feed })
    }
}

/// The whole way of a change.
pub(super) struct World {
    store: Arc<SledStore>,
    registry: Arc<Registry>,
    proxies: Arc<Proxies>,
    fleet: Fleet,
    round: usize,
    _task: JoinSet<()>,
    _folder: TempDir,
}

impl World {
    pub(super) async fn start(others: usize, callers: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).unwrap();
        let store = Arc::new(SledStore::open(database.clone(), Quotas::default()).unwrap());
        let registry = Arc::new(Registry::open(database).unwrap());
        mesh::furnish(&store, &registry, others, callers).await;
        let proxies = Proxies::new(Arc::new(|| SystemTime::UNIX_EPOCH));
        let reconcile = Reconcile {
            model: store.subscribe(),
            instances: registry.subscribe(),
            generations: watch::channel(Arc::default()).1,
            proxies: Arc::clone(&proxies),
            memory: Forgetful,
            trust_domain: "td".parse().unwrap(),
            pace: Pace::default(),
            progress: watch::Sender::default(),
        };
        let mut task = JoinSet::new();
        task.spawn(async move { reconcile.run(CancellationToken::new()).await.unwrap() });
        let heard = Arc::<AtomicUsize>::default();
        let source =
            Callers { proxies: Arc::clone(&proxies), opened: AtomicUsize::new(0), heard: Arc::clone(&heard) };
        let fleet = Fleet::start(Arc::new(source), callers, heard).await;
        Self { store, registry, proxies, fleet, round: 0, _task: task, _folder: folder }
    }

    /// Makes a change; how many seconds it takes from there until everybody has it.
    pub(super) async fn change(&mut self, change: Change) -> f64 {
        self.round += 1;
        let (store, registry, round) = (&self.store, &self.registry, self.round);
        match change {
            Change::Node => {
                let write = mesh::update(round);
                self.fleet.receive(async { store.write(write).await.map(drop).unwrap() }).await
            }
            // Nobody has asked for endpoints, so it is over when all proxies are to hold others.
            Change::Instance => {
                let (start, before) = (Instant::now(), self.proxies.encoded());
                mesh::register(registry, "found", round).await;
                while self.proxies.encoded() == before {
                    tokio::task::yield_now().await;
                }
                start.elapsed().as_secs_f64()
            }
        }
    }

    /// A durable write that concerns nobody, in seconds.
    pub(super) async fn time_a_write(&mut self) -> f64 {
        self.round += 1;
        let write = mesh::aside(self.round);
        let start = Instant::now();
        self.store.write(write).await.map(drop).unwrap();
        start.elapsed().as_secs_f64()
    }

    /// How many resources were encoded so far.
    pub(super) fn encoded(&self) -> u64 {
        self.proxies.encoded()
    }
}

/// Feeds every stream the same.
struct Same {
    snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    heard: Arc<AtomicUsize>,
}

impl Source for Same {
    fn open(&self, _: &Extensions, _: Option<&Node>) -> Result<Feed, Refusal> {
        let observer = Box::new(Count { heard: Arc::clone(&self.heard), inner: None });
        Ok(Feed { snapshots: self.snapshots.clone(), observer, end: Box::pin(pending()) })
    }
}

/// A server that pushes what is ready.
pub(super) struct Ready {
    snapshots: watch::Sender<Option<Arc<Snapshot>>>,
    fleet: Fleet,
    round: usize,
}

/// About as large as the cluster of a node that is called.
fn snapshot(round: usize) -> Option<Arc<Snapshot>> {
    let name = "cds_egress_m_server_http_8080".to_owned();
    let message =
        Cluster { name: name.clone(), alt_stat_name: format!("{round:0400}"), ..Default::default() };
    Some(Arc::new([Resource::new(ResourceType::Cluster, name, &message)].into_iter().collect()))
}

impl Ready {
    pub(super) async fn start(streams: usize) -> Self {
        let (snapshots, receiver) = watch::channel(snapshot(0));
        let heard = Arc::<AtomicUsize>::default();
        let source = Same { snapshots: receiver, heard: Arc::clone(&heard) };
        Self { snapshots, fleet: Fleet::start(Arc::new(source), streams, heard).await, round: 0 }
    }

    /// A change to everybody, in seconds until everybody has it.
    pub(super) async fn push(&mut self) -> f64 {
        self.round += 1;
        let (snapshots, next) = (&self.snapshots, snapshot(self.round));
        self.fleet.receive(async { drop(snapshots.send_replace(next)) }).await
    }
}
