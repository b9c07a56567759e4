//! Puts the server's parts together. This is the one place that knows all of them.

use std::{
    fs::DirBuilder,
    net::SocketAddr,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use axum::Router;
use prometheus_client::registry::Registry;
use signet_ca::{
    Admission, Authority, Issuing, JoinTokens, Ledger, NodeService, Nodes, Random, Rotations, TrustFeed,
    admission::Limits, crl::RevocationList, ledger::Notary, standing::Guard,
};
use signet_controlplane::{
    api::{self, ApiSettings},
    credentials::Keyring,
    discovery::{self, Discovery},
    proxies::Proxies,
    quotas::Quotas,
    reconcile::{Pace, Ports, Reconcile},
    server::Ads,
    store::{SledStore, Store},
    translate::Generations,
};
use signet_durable::Database;
use signet_policies::{issuance::Terms, time::Clock};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    STORE, ServerArgs,
    asked::Asked,
    behind::Behind,
    bundles::Bundles,
    credentials::{self, ServerKeys},
    deliveries::Deliveries,
    grpc::Services,
    http,
    identity::ServerIdentity,
    ledger,
    ops::{self, Ops},
    refusals::{self, Counted},
    registry::MeshRegistry,
    revocation::{Carrier, Effect},
    tls, trusted,
    v1::{self, V1, audit, backup},
};

/// Connections that finished their handshake and wait to be served.
const WAITING_CONNECTIONS: usize = 64;
/// How often ended tokens are looked for.
const PRUNE: Duration = Duration::from_secs(60 * 60);

/// A server whose ports are open.
pub(super) struct Running {
    pub(super) api: SocketAddr,
    pub(super) grpc: SocketAddr,
    pub(super) ops: SocketAddr,
    /// Where the roots are for people to hand to agents.
    ca_file: PathBuf,
    /// Each ends after the drain; one that ends before is a failure.
    pub(super) tasks: JoinSet<Result<()>>,
}

/// What the parts share.
struct Parts {
    database: Database,
    store: Arc<dyn Store>,
    discovery: Arc<dyn Discovery>,
    issuing: Issuing,
    rotations: Rotations,
    notary: Arc<Notary>,
    nodes: Nodes,
    deliveries: Deliveries,
    bundles: Bundles,
    meters: Registry,
    trust: TrustFeed,
    tokens: JoinTokens,
    random: Random,
    proxies: Arc<Proxies>,
    terms: Terms,
    quotas: Quotas,
}

impl Running {
    pub(super) async fn start(args: &ServerArgs, clock: Clock, drain: CancellationToken) -> Result<Self> {
        let mut parts = Parts::open(args, &clock).await?;
        let identity =
            ServerIdentity::new(&parts.rotations, parts.issuing.clone(), parts.terms.clone(), clock.clone())
                .await?;
        let api = bind(args.api_addr, "--api-addr").await?;
        let grpc = bind(args.grpc_addr, "--grpc-addr").await?;
        let ops = bind(args.ops_addr, "--ops-addr").await?;
        let (api_addr, grpc_addr, ops_addr) = (api.local_addr()?, grpc.local_addr()?, ops.local_addr()?);
        let mut running = Self {
            api: api_addr,
            grpc: grpc_addr,
            ops: ops_addr,
            ca_file: args.data_dir.join("ca.pem"),
            tasks: JoinSet::new(),
        };
        let (carrier, carried) = parts.carrier(&clock);
        let ports = running.spawn_reconcile(&parts, carrier.generations.subscribe(), drain.clone());
        running.tasks.spawn(carrier.carry(drain.clone()));
        let routes = parts.routes(args, ports, carried.effect, &clock).await?;
        running.tasks.spawn(http::serve(api, routes, drain.clone()));
        running.spawn_grpc(grpc, &mut parts, &identity, clock.clone(), &drain)?;
        let bundles = parts.bundles.clone();
        running.tasks.spawn(bundles.watch(parts.trust.clone(), clock.clone(), drain.clone()));
        running.tasks.spawn(parts.deliveries.clone().watch(parts.nodes.clone(), drain.clone()));
        let stop = drain.clone();
        running.tasks.spawn(async move {
            identity.keep(stop).await;
            Ok(())
        });
        let refusals = parts.proxies.clone().keep_refusals(parts.database.clone(), drain.clone());
        running.tasks.spawn(async move { refusals.await.context("the history of refusals") });
        running.tasks.spawn({
            let (rotations, stop) = (parts.rotations.clone(), drain.clone());
            async move {
                rotations.run(stop).await;
                Ok(())
            }
        });
        running.tasks.spawn(ledger::keep(parts.notary.clone(), drain.clone()));
        let (whole, guard) = (parts.notary.ledger().clone(), parts.issuing.guard().clone());
        running.tasks.spawn(ledger::look_through(whole, guard, clock.clone(), drain.clone()));
        running.tasks.spawn(prune_tokens(parts.tokens, clock.clone(), drain.clone()));
        let pages = ops::router(Ops {
            proxies: parts.proxies,
            database: parts.database,
            standing: parts.issuing.guard().subscribe(),
            lists: carried.lists,
            nodes: parts.nodes,
            meters: Arc::new(parts.meters),
            clock: clock.clone(),
            draining: drain.clone(),
        });
        running.tasks.spawn(http::serve(ops, pages, drain));
        Ok(running)
    }

    fn spawn_reconcile(
        &mut self,
        parts: &Parts,
        generations: watch::Receiver<Arc<Generations>>,
        stop: CancellationToken,
    ) -> watch::Receiver<Ports> {
        let (progress, ports) = watch::channel(Ports::new());
        let reconcile = Reconcile {
            model: parts.store.subscribe(),
            instances: parts.discovery.subscribe(),
            generations,
            proxies: parts.proxies.clone(),
            memory: parts.database.clone(),
            trust_domain: parts.terms.trust_domain.clone(),
            pace: Pace::default(),
            progress,
        };
        self.tasks.spawn(async move { reconcile.run(stop).await.context("reconcile") });
        ports
    }

    fn spawn_grpc(
        &mut self,
        listener: TcpListener,
        parts: &mut Parts,
        identity: &ServerIdentity,
        clock: Clock,
        drain: &CancellationToken,
    ) -> Result<()> {
        let standing = parts.issuing.guard().subscribe();
        let (certificate, in_force) = (identity.certificate.clone(), standing.clone());
        let make = move |roots: &[Vec<u8>]| tls::config(roots, certificate.clone(), in_force.clone());
        let first = make(parts.trust.now().bundle())?;
        let (publisher, config) = watch::channel(first);
        let (trust, stop) = (parts.trust.subscribe(), drain.clone());
        self.tasks.spawn(trusted::follow(trust, self.ca_file.clone(), make, publisher, stop));
        let (connections, incoming) = mpsc::channel(WAITING_CONNECTIONS);
        let (stop, now) = (drain.clone(), clock.clone());
        self.tasks.spawn(async move {
            tls::accept(listener, config, connections, now, standing, stop).await;
            Ok(())
        });
        let admission = Admission::new(Limits::DEFAULT, clock.clone());
        parts.meters.register_collector(Box::new(Asked(admission.clone())));
        parts.meters.register_collector(Box::new(Behind(parts.issuing.clone())));
        let nodes = NodeService {
            issuing: parts.issuing.clone(),
            tokens: parts.tokens.clone(),
            admission,
            registry: Arc::new(MeshRegistry(parts.store.subscribe())),
            terms: parts.terms.clone(),
            nodes: parts.nodes.clone(),
            trust: parts.trust.clone(),
            clock: clock.clone(),
            drain: drain.clone(),
        };
        let nodes = Counted::new(nodes.into_server(), refusals::outcomes(&mut parts.meters));
        let trust_domain = parts.terms.trust_domain.clone();
        let ads = Ads::new(parts.proxies.clone(), parts.store.subscribe(), trust_domain, clock);
        let ads = ads.within(parts.quotas.clone());
        let services = Services { nodes, ads: signet_xds::server::ads(Arc::new(ads), drain.clone()) };
        let serving = services.serve(incoming, drain.clone());
        self.tasks.spawn(async move {
            serving.await;
            Ok(())
        });
        Ok(())
    }
}

impl Parts {
    async fn open(args: &ServerArgs, clock: &Clock) -> Result<Self> {
        let data_dir = &args.data_dir;
        let made = DirBuilder::new().recursive(true).mode(0o700).create(data_dir);
        made.with_context(|| format!("cannot make the data folder {}", data_dir.display()))?;
        let quotas = args.quotas.quotas()?;
        let database = Database::open(&data_dir.join(STORE))?;
        let random = Random::system();
        let now = clock().into();
        let custody = args.ca_keys.custody()?;
        let keys = data_dir.join("ca");
        Rotations::recover(&keys)?;
        let authority = Authority::open(&keys, custody, &args.trust_domain, random.clone(), now)?;
        let trust = TrustFeed::new(authority.bundle());
        let (ledger, notary) = ledger::open(args, database.clone()).await?;
        let ledger: Arc<dyn Ledger> = Arc::new(ledger);
        let guard = Guard::open(ledger.clone()).await.context("the ledger")?;
        let tokens = JoinTokens::new(database.clone())?;
        let default_lifetime = Duration::from_secs(args.leaf_lifetime);
        let mut meters = Registry::default();
        let deliveries = Deliveries::open(&mut meters, database.clone(), clock())?;
        let issuing = Issuing::new(Arc::new(authority), ledger.clone(), random.clone(), clock.clone());
        let issuing = issuing.guarded_by(guard).telling(deliveries.listener()).recalling().await?;
        let proxies = Proxies::new(clock.clone());
        proxies.recall_refusals(&database)?;
        let nodes = Nodes::default();
        nodes.recall(&*ledger, now).await.context("the ledger")?;
        let grace = Duration::from_secs(args.handshake_grace);
        let rotations =
            Rotations::open(&keys, issuing.clone(), nodes.clone(), trust.clone(), clock.clone(), grace)
                .await?;
        issuing.note_authorities().await.context("the ledger")?;
        publish(&data_dir.join("ca.pem"), &Authority::roots_pem(trust.now().bundle()))?;
        Ok(Self {
            store: Arc::new(SledStore::open(database.clone(), quotas.clone())?),
            discovery: Arc::new(discovery::Registry::open(database.clone())?),
            issuing,
            rotations,
            notary: Arc::new(notary),
            nodes,
            deliveries,
            bundles: Bundles::default(),
            meters,
            trust,
            tokens,
            random,
            proxies,
            terms: Terms { trust_domain: args.trust_domain.clone(), default_lifetime },
            quotas,
            database,
        })
    }
}

/// What is told of revocations.
struct Carried {
    effect: watch::Receiver<Effect>,
    lists: watch::Receiver<Arc<Vec<RevocationList>>>,
}

impl Parts {
    /// What brings revocations to proxies.
    fn carrier(&self, clock: &Clock) -> (Carrier, Carried) {
        let (effect, lists) = (watch::Sender::default(), watch::Sender::default());
        let carried = Carried { effect: effect.subscribe(), lists: lists.subscribe() };
        let carrier = Carrier {
            issuing: self.issuing.clone(),
            standing: self.issuing.guard().subscribe(),
            trust: self.trust.clone(),
            nodes: self.nodes.clone(),
            proxies: self.proxies.clone(),
            clock: clock.clone(),
            generations: watch::Sender::default(),
            effect,
            lists,
        };
        (carrier, carried)
    }

    /// App Mesh's API and Signet's own, behind the signature check.
    async fn routes(
        &self,
        args: &ServerArgs,
        ports: watch::Receiver<Ports>,
        effect: watch::Receiver<Effect>,
        clock: &Clock,
    ) -> Result<Router> {
        let keys = ServerKeys::open(&args.data_dir.join("server.key"), &mut rand::rng())?;
        let settings =
            ApiSettings::new(&args.account_id, &args.region, *keys.pages).within(args.trust_domain.clone());
        let keyring = self.keyring(&args.data_dir, &keys, &settings, clock).await?;
        let own = V1 {
            tokens: self.tokens.clone(),
            random: self.random.clone(),
            discovery: self.discovery.clone(),
            proxies: self.proxies.clone(),
            trust_domain: self.terms.trust_domain.clone(),
            ports,
            model: self.store.subscribe(),
            keyring: keyring.clone(),
            settings: Arc::new(settings.clone()),
            issuing: self.issuing.clone(),
            notary: self.notary.clone(),
            nodes: self.nodes.clone(),
            rotations: self.rotations.clone(),
            trust: self.trust.clone(),
            effect,
            audit: self.audit(args),
            backup: backup::Source { database: self.database.clone(), data_dir: args.data_dir.clone() },
            clock: clock.clone(),
        };
        let routes = api::router(self.store.clone(), settings, clock.clone()).merge(v1::router(own));
        Ok(api::signed(routes, Arc::new(keyring), &args.region, clock.clone()))
    }

    fn audit(&self, args: &ServerArgs) -> audit::Source {
        audit::Source {
            bundles: self.bundles.clone(),
            deliveries: self.deliveries.clone(),
            store: self.store.clone(),
            account_id: args.account_id.clone(),
            region: args.region.clone(),
            default_life: self.terms.default_lifetime.as_secs(),
        }
    }

    async fn keyring(
        &self,
        data_dir: &Path,
        keys: &ServerKeys,
        settings: &ApiSettings,
        clock: &Clock,
    ) -> Result<Keyring> {
        let (file, any) = (data_dir.join("credentials"), settings.own_arn("credentials/any"));
        credentials::open(&file, self.database.clone(), keys, &any, clock().into()).await
    }
}

/// What people hand to others, such as the root to agents; written whole, and only where it changed.
pub(super) fn publish(path: &Path, text: &str) -> Result<()> {
    if std::fs::read_to_string(path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    let beside = path.with_extension("new");
    let written = std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, path));
    written.with_context(|| format!("cannot write {}", path.display()))
}

async fn bind(address: SocketAddr, flag: &str) -> Result<TcpListener> {
    let bound = TcpListener::bind(address).await;
    bound.with_context(|| format!("cannot listen on {address}; choose another address with {flag}"))
}

/// Forgets tokens that ended long ago, now and every hour.
async fn prune_tokens(tokens: JoinTokens, clock: Clock, stop: CancellationToken) -> Result<()> {
    let mut hours = tokio::time::interval(PRUNE);
    while stop.run_until_cancelled(hours.tick()).await.is_some() {
        if let Err(error) = tokens.prune(clock().into()).await {
            warn!(%error, "cannot forget old join tokens; trying again in an hour");
        }
    }
    Ok(())
}
