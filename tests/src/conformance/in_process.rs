//! Our own protocol, served in this process to whoever connects: every kind, every service, every world.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Result;
use async_trait::async_trait;
use http::Extensions;
use signet_xds::{
    Resource, ResourceType, Snapshot, Status,
    pb::envoy::{
        config::{
            cluster::v3::{
                Cluster,
                cluster::{ClusterDiscoveryType, DiscoveryType},
            },
            core::v3::Node,
            endpoint::v3::ClusterLoadAssignment,
            listener::v3::Listener,
            route::v3::RouteConfiguration,
        },
        extensions::transport_sockets::tls::v3::Secret,
    },
    server::{Clusters, Discovery, Endpoints, Feed, Listeners, Observer, Routes, Source, ads, sds},
};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use super::{Driver, World};

/// A server whose worlds differ in one kind.
pub struct InProcess {
    kind: ResourceType,
    source: Arc<Worlds>,
    /// Where it listens.
    pub address: SocketAddr,
    _tasks: JoinSet<()>,
}

struct Worlds {
    snapshots: watch::Sender<Option<Arc<Snapshot>>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    world: Option<World>,
    /// Cancelled when the node may not be served any more.
    right: CancellationToken,
    /// What the client of the newest stream made of it.
    status: Status,
    /// What was refused on any stream.
    refused: String,
}

impl Worlds {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Watcher(Arc<Worlds>);

impl Observer for Watcher {
    fn changed(&mut self, status: &Status) {
        let mut state = self.0.lock();
        state.status = status.clone();
        let refused: Vec<_> = status.rejections().collect();
        if !refused.is_empty() {
            state.refused.push_str(&format!("{refused:?}\n"));
        }
    }
}

struct Served(Arc<Worlds>);

impl Source for Served {
    fn open(&self, _: &Extensions, _: Option<&Node>) -> Result<Feed, tonic::Status> {
        let right = self.0.lock().right.clone();
        Ok(Feed {
            snapshots: self.0.snapshots.subscribe(),
            observer: Box::new(Watcher(Arc::clone(&self.0))),
            end: Box::pin(async move {
                right.cancelled_owned().await;
                tonic::Status::permission_denied("the node may not be served any more")
            }),
        })
    }
}

impl InProcess {
    /// Serves on a free port of loopback, until it is dropped.
    ///
    /// # Errors
    /// There is no port.
    pub async fn start(kind: ResourceType) -> Result<Self> {
        let worlds = Arc::new(Worlds { snapshots: watch::Sender::new(None), state: Mutex::default() });
        let source = Arc::new(Served(Arc::clone(&worlds)));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let server = Server::builder()
            .add_service(ads(source.clone(), stop.clone()))
            .add_service(sds(source.clone(), stop.clone()))
            .add_service(Discovery::<Clusters, _>::new(source.clone(), stop.clone()))
            .add_service(Discovery::<Endpoints, _>::new(source.clone(), stop.clone()))
            .add_service(Discovery::<Listeners, _>::new(source.clone(), stop.clone()))
            .add_service(Discovery::<Routes, _>::new(source, stop))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { drop(server.await) });
        Ok(Self { kind, source: worlds, address, _tasks: tasks })
    }

    fn snapshot(&self, world: World) -> Option<Snapshot> {
        let mut names = vec![("eds", 1), ("x", 1), ("z", 1)];
        match world {
            World::Unknown => return None,
            World::Empty => return Some(Snapshot::default()),
            World::Base | World::NoNode => {}
            World::Changed => names[0].1 = 2,
            World::ChangedOther => names[2].1 = 2,
            World::Grown => names.push(("fresh", 1)),
            World::Moved => return Some(self.moved_to_y()),
        }
        let base = [("eds", 1), ("x", 1), ("z", 1)];
        let of_kind = |kind| if kind == self.kind { names.clone() } else { base.to_vec() };
        let resources = ResourceType::ALL.into_iter().flat_map(|kind| {
            of_kind(kind).into_iter().map(move |(name, content)| resource(kind, name, content))
        });
        Some(resources.collect())
    }

    fn moved_to_y(&self) -> Snapshot {
        let clusters = ["eds", "y", "z"].map(|name| resource(ResourceType::Cluster, name, 1));
        let of = |kind| ["eds", "x", "z"].map(|name| resource(kind, name, i32::from(name == "x") + 1));
        let endpoints = ["eds", "x", "z"].map(|name| resource(ResourceType::Endpoint, name, 1));
        let routes = [of(ResourceType::Listener), of(ResourceType::Route)];
        clusters.into_iter().chain(endpoints).chain(routes.into_iter().flatten()).collect()
    }
}

/// A resource under its own name, whose bytes depend on `content`.
fn resource(kind: ResourceType, name: &str, content: i32) -> Resource {
    let (own, text) = (name.to_owned(), format!("content {content}"));
    match kind {
        ResourceType::Cluster => {
            let discovery = if name == "eds" { DiscoveryType::Eds } else { DiscoveryType::Static };
            let discovery = Some(ClusterDiscoveryType::Type(discovery.into()));
            let cluster = Cluster {
                name: own,
                alt_stat_name: text,
                cluster_discovery_type: discovery,
                ..Default::default()
            };
            Resource::new(kind, name, &cluster)
        }
        ResourceType::Endpoint => {
            let named_endpoints = [(text, Default::default())].into();
            Resource::new(
                kind,
                name,
                &ClusterLoadAssignment { cluster_name: own, named_endpoints, ..Default::default() },
            )
        }
        ResourceType::Listener => {
            Resource::new(kind, name, &Listener { name: own, stat_prefix: text, ..Default::default() })
        }
        ResourceType::Route => {
            let internal_only_headers = vec![text];
            Resource::new(
                kind,
                name,
                &RouteConfiguration { name: own, internal_only_headers, ..Default::default() },
            )
        }
        ResourceType::Secret => {
            use signet_xds::pb::envoy::extensions::transport_sockets::tls::v3::secret;
            let content = secret::Type::GenericSecret(
                signet_xds::pb::envoy::extensions::transport_sockets::tls::v3::GenericSecret {
                    secrets: [(text, Default::default())].into(),
                    ..Default::default()
                },
            );
            Resource::new(kind, name, &Secret { name: own, r#type: Some(content) })
        }
    }
}

#[async_trait]
impl Driver for InProcess {
    async fn publish(&self, world: World) -> Result<()> {
        let mut state = self.source.lock();
        if state.world.replace(world) == Some(world) {
            return Ok(());
        }
        if world == World::NoNode {
            state.right.cancel();
            return Ok(());
        }
        if state.right.is_cancelled() {
            state.right = CancellationToken::new();
        }
        self.source.snapshots.send_replace(self.snapshot(world).map(Arc::new));
        Ok(())
    }

    fn can(&self, _: World, _: ResourceType) -> bool {
        true
    }

    fn changing(&self, _: ResourceType) -> String {
        "eds".to_owned()
    }

    fn other(&self, _: ResourceType) -> String {
        "z".to_owned()
    }

    fn fresh(&self, _: ResourceType) -> String {
        "fresh".to_owned()
    }

    fn moved(&self) -> (String, String) {
        ("x".to_owned(), "y".to_owned())
    }

    fn names(&self, _: ResourceType) -> Vec<String> {
        ["eds", "x", "z"].map(str::to_owned).to_vec()
    }

    fn by_eds(&self) -> Option<(String, String)> {
        Some(("eds".to_owned(), "eds".to_owned()))
    }

    async fn is_synced(&self) -> Result<bool> {
        let snapshot = self.source.snapshots.borrow().clone();
        Ok(snapshot.is_some_and(|snapshot| self.source.lock().status.is_synced(&snapshot)))
    }

    async fn shown(&self) -> Result<String> {
        Ok(self.source.lock().refused.clone())
    }
}
