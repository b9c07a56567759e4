//! Puts the server's parts together. This is the one place that knows all of them.

use std::{
    fs::DirBuilder, net::SocketAddr, os::unix::fs::DirBuilderExt as _, path::Path, sync::Arc, time::Duration,
};

use anyhow::{Context, Result};
use axum::Router;
use signet_ca::{Authority, Issuing, JoinTokens, NodeService, Random, SledLedger};
use signet_controlplane::{
    api::{
        self, ApiSettings,
        sigv4::{KeyPairs, Secret},
    },
    proxies::Proxies,
    reconcile::{Pace, Reconcile},
    server::Ads,
    store::{SledStore, Store},
};
use signet_durable::Database;
use signet_policies::{issuance::Terms, time::Clock};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{service::InterceptorLayer, transport::Server};

use super::{
    ServerArgs, credentials,
    identity::ServerIdentity,
    ops::{self, Ops},
    registry::MeshRegistry,
    tls,
    v1::{self, V1},
};

/// Connections that finished their handshake and wait to be served.
const WAITING_CONNECTIONS: usize = 64;
/// A peer that does not answer HTTP/2 pings is gone.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// A server whose ports are open.
pub(super) struct Running {
    pub(super) api: SocketAddr,
    pub(super) grpc: SocketAddr,
    pub(super) ops: SocketAddr,
    /// Each ends after the drain; one that ends before is a failure.
    pub(super) tasks: JoinSet<Result<()>>,
}

/// What the parts share.
struct Parts {
    database: Database,
    store: Arc<dyn Store>,
    issuing: Issuing,
    tokens: JoinTokens,
    random: Random,
    proxies: Arc<Proxies>,
    terms: Terms,
}

impl Running {
    pub(super) async fn start(args: &ServerArgs, clock: Clock, drain: CancellationToken) -> Result<Self> {
        let parts = Parts::open(args, &clock)?;
        parts.tokens.prune(clock().into()).await?;
        let keys = credentials::open(&args.data_dir.join("credentials"), &mut rand::rng())?;
        let identity = ServerIdentity::new(parts.issuing.clone(), parts.terms.clone(), clock.clone()).await?;
        let [api, grpc, ops] = [args.api_addr, args.grpc_addr, args.ops_addr];
        let (api, grpc, ops) = (
            bind(api, "--api-addr").await?,
            bind(grpc, "--grpc-addr").await?,
            bind(ops, "--ops-addr").await?,
        );
        let mut running = Self {
            api: api.local_addr()?,
            grpc: grpc.local_addr()?,
            ops: ops.local_addr()?,
            tasks: JoinSet::new(),
        };

        let (progress, ports) = watch::channel(Arc::default());
        let reconcile = Reconcile {
            model: parts.store.subscribe(),
            proxies: parts.proxies.clone(),
            memory: parts.database.clone(),
            trust_domain: parts.terms.trust_domain.clone(),
            pace: Pace::default(),
            progress,
        };
        let stop = drain.clone();
        running
            .tasks
            .spawn(async move { reconcile.run(stop).await.context("reconcile") });

        let settings = ApiSettings {
            account_id: args.account_id.clone(),
            region: args.region.clone(),
        };
        let secret = Secret::new(keys.secret_access_key);
        let pairs: KeyPairs = [(keys.access_key_id, secret)].into_iter().collect();
        let model = parts.store.subscribe();
        let own = V1 {
            tokens: parts.tokens.clone(),
            random: parts.random.clone(),
            proxies: parts.proxies.clone(),
            ports,
            model,
            clock: clock.clone(),
        };
        let routes = api::router(parts.store.clone(), settings, clock.clone()).merge(v1::router(own));
        let routes = api::signed(routes, Arc::new(pairs), &args.region, clock.clone());
        running.tasks.spawn(serve_http(api, routes, drain.clone()));

        running.spawn_grpc(grpc, &parts, &identity, clock, &drain)?;
        running.tasks.spawn({
            let stop = drain.clone();
            async move {
                identity.keep(stop).await;
                Ok(())
            }
        });
        let pages = ops::router(Ops {
            proxies: parts.proxies,
            draining: drain.clone(),
        });
        running.tasks.spawn(serve_http(ops, pages, drain));
        Ok(running)
    }

    fn spawn_grpc(
        &mut self,
        listener: TcpListener,
        parts: &Parts,
        identity: &ServerIdentity,
        clock: Clock,
        drain: &CancellationToken,
    ) -> Result<()> {
        let config = tls::config(&parts.issuing.authority().bundle(), identity.certificate.clone())?;
        let (connections, incoming) = mpsc::channel(WAITING_CONNECTIONS);
        let stop = drain.clone();
        self.tasks.spawn(async move {
            tls::accept(listener, config, connections, stop).await;
            Ok(())
        });
        let nodes = NodeService {
            issuing: parts.issuing.clone(),
            tokens: parts.tokens.clone(),
            registry: Arc::new(MeshRegistry(parts.store.subscribe())),
            terms: parts.terms.clone(),
            clock,
        };
        let ads = Ads::new(
            parts.proxies.clone(),
            parts.store.subscribe(),
            parts.terms.trust_domain.clone(),
        );
        let server = Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE))
            .layer(InterceptorLayer::new(tls::identify))
            .add_service(nodes.into_server())
            .add_service(signet_xds::server::ads(Arc::new(ads), drain.clone()));
        let stop = drain.clone();
        let incoming = ReceiverStream::new(incoming);
        self.tasks.spawn(async move {
            server
                .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
                .await
                .context("the gRPC port")
        });
        Ok(())
    }
}

impl Parts {
    fn open(args: &ServerArgs, clock: &Clock) -> Result<Self> {
        let data_dir = &args.data_dir;
        let made = DirBuilder::new().recursive(true).mode(0o700).create(data_dir);
        made.with_context(|| format!("cannot make the data folder {}", data_dir.display()))?;
        let database = Database::open(&data_dir.join("store"))?;
        let random = Random::system();
        let now = clock().into();
        let authority = Authority::open(&data_dir.join("ca"), &args.trust_domain, random.clone(), now)?;
        publish_root(&data_dir.join("ca.pem"), &authority.root_pem())?;
        let ledger = SledLedger::new(database.clone())?;
        let tokens = JoinTokens::new(database.clone())?;
        let default_lifetime = Duration::from_secs(args.leaf_lifetime);
        Ok(Self {
            store: Arc::new(SledStore::open(database.clone())?),
            issuing: Issuing::new(
                Arc::new(authority),
                Arc::new(ledger),
                random.clone(),
                clock.clone(),
            ),
            tokens,
            random,
            proxies: Proxies::new(clock.clone()),
            terms: Terms {
                trust_domain: args.trust_domain.clone(),
                default_lifetime,
            },
            database,
        })
    }
}

/// The root for people to hand to agents; written whole, and only where it changed.
fn publish_root(path: &Path, pem: &str) -> Result<()> {
    if std::fs::read_to_string(path).is_ok_and(|there| there == pem) {
        return Ok(());
    }
    let beside = path.with_extension("new");
    let written = std::fs::write(&beside, pem).and_then(|()| std::fs::rename(&beside, path));
    written.with_context(|| format!("cannot write {}", path.display()))
}

async fn bind(address: SocketAddr, flag: &str) -> Result<TcpListener> {
    let bound = TcpListener::bind(address).await;
    bound.with_context(|| format!("cannot listen on {address}; choose another address with {flag}"))
}

async fn serve_http(listener: TcpListener, routes: Router, stop: CancellationToken) -> Result<()> {
    let serving = axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned());
    serving.await.context("an HTTP port")
}
