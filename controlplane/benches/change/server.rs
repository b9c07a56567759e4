//! The server, from the store to the streams.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::SystemTime,
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
    pb::envoy::config::core::v3::Node,
    server::{Feed, Source},
};
use tempfile::TempDir;
use tokio::{sync::watch, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::Status as Refusal;

use super::{
    fleet::{Count, Fleet},
    mesh::{self, Change},
};

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
