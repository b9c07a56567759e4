//! One Envoy, one SDS server, and an authority for both.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rcgen::ExtendedKeyUsagePurpose;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use signet::local::{
    admin::Admin,
    probe::{ClientCertificate, serial_of, tls_connector},
    process::Process,
};
use signet_policies::identity::SpiffeId;
use signet_sds::{
    attest::AllowedUsers,
    deliveries::Deliveries,
    keypair::KeyPair,
    secret::Secrets,
    server::{self, EmptyList, Serving},
    socket,
    testing::{Answer, FakeSigner, MiniCa, Order},
    verify::{trust, verify},
};
use signet_tests::{clock, envoy_binary, eventually};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UnixListener},
    sync::watch,
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

const OWN: &str = "spiffe://signet.internal/mesh/m/virtual-node/a";
/// A further identity.
pub(crate) const TEAM: &str = "spiffe://signet.internal/team/a";
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Makes certificates.
pub(crate) struct Authority {
    own: FakeSigner,
}

impl Authority {
    pub(crate) fn new() -> Result<Self> {
        let life = Duration::from_secs(3600);
        Ok(Self { own: FakeSigner::new(&OWN.parse()?, clock(), life) })
    }

    pub(crate) fn issue(&self) -> Result<Arc<Secrets>> {
        let identity: SpiffeId = OWN.parse()?;
        let key = KeyPair::generate()?;
        let signed = self.own.certificate(Answer::Good, &key.request(&identity)?);
        Ok(Arc::new(verify(signed, key, &identity, clock()().into())?))
    }

    /// For another identity, by the same authority.
    pub(crate) fn issue_for(&self, identity: &str) -> Result<Arc<Secrets>> {
        let id: SpiffeId = identity.parse()?;
        let key = KeyPair::generate()?;
        let now = clock()();
        let usages = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let not_after = now + Duration::from_secs(3600);
        let order = Order { uris: &[identity], not_before: now, not_after, usages: &usages };
        let signed = self.own.authority().issue(&key.request(&id)?, &order);
        Ok(Arc::new(verify(signed, key, &id, now.into())?))
    }

    /// The same leaf with roots that Envoy refuses: with a revocation list of a version that does not exist.
    pub(crate) fn with_bad_list(&self, held: &Secrets) -> Result<Arc<Secrets>> {
        let list = bad_list(self.own.authority())?;
        let roots = held.bundle().roots().to_vec();
        Ok(Arc::new(trust(held, roots, vec![list.into()], clock()().into())?))
    }
}

/// A revocation list of a version that does not exist, which agents hand on and Envoys refuse.
pub(crate) fn bad_list(authority: &MiniCa) -> Result<Vec<u8>> {
    let mut list = authority.revocation_list(clock()());
    let version = list.windows(3).position(|bytes| bytes == [2, 1, 1]).context("no version")?;
    list[version + 2] = 5;
    Ok(list)
}

/// The agent's SDS server, in this process.
pub(crate) struct Sds {
    pub(crate) folder: TempDir,
    secrets: watch::Sender<Option<Arc<Secrets>>>,
    pub(crate) further: watch::Sender<Vec<Arc<Secrets>>>,
    pub(crate) deliveries: Deliveries,
    uid: u32,
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
}

impl Sds {
    /// Serves to processes of one user.
    pub(crate) fn start(held: Option<Arc<Secrets>>, uid: u32) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("signet-sds-").tempdir()?;
        let (secrets, _) = watch::channel(held);
        let (further, _) = watch::channel(Vec::new());
        let (deliveries, shutdown) = (Deliveries::new(clock()), CancellationToken::new());
        let tasks = JoinSet::new();
        let mut sds = Self { folder, secrets, further, deliveries, uid, shutdown, tasks };
        let listener = socket::bind(&sds.path())?;
        sds.serve(listener);
        Ok(sds)
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("agent.sock")
    }

    fn serve(&mut self, listener: UnixListener) {
        let serving = Serving {
            own: self.secrets.subscribe(),
            further: self.further.subscribe(),
            users: AllowedUsers::new([self.uid]),
            empty_list: EmptyList::default(),
            recheck: server::RECHECK,
            deliveries: self.deliveries.clone(),
        };
        self.tasks.spawn(server::run(listener, serving, self.shutdown.clone()));
    }

    pub(crate) fn publish(&self, secrets: &Arc<Secrets>) {
        self.secrets.send_replace(Some(Arc::clone(secrets)));
    }

    /// Shuts the server down in order, and starts one that knows nothing of it.
    pub(crate) async fn replace(&mut self) -> Result<()> {
        self.shutdown.cancel();
        timeout(PATIENCE, self.tasks.join_next()).await.context("the old server ends")?;
        self.shutdown = CancellationToken::new();
        self.deliveries = Deliveries::new(clock());
        std::fs::remove_file(self.path())?;
        let listener = socket::bind(&self.path())?;
        self.serve(listener);
        Ok(())
    }
}

/// How Envoy asks, and what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    Sotw,
    Delta,
    /// State of the world, with the SPIFFE validator.
    Spiffe,
}

/// What an Envoy's listeners are to do.
pub(crate) struct Shape<'a> {
    pub(crate) variant: Variant,
    /// The secret with the roots.
    pub(crate) roots: &'a str,
    /// The secret with the certificate of a second listener.
    pub(crate) second: Option<&'a str>,
    /// The one URI that callers may have.
    pub(crate) caller: Option<&'a str>,
}

/// A real Envoy whose listeners ask for their secrets.
pub(crate) struct EnvoyBed {
    admin: Admin,
    listeners: Vec<SocketAddr>,
    _process: Process,
    _folder: TempDir,
}

fn sds_config(variant: Variant) -> Value {
    let api_type = if variant == Variant::Delta { "DELTA_GRPC" } else { "GRPC" };
    let back_off = json!({"base_interval": "0.05s", "max_interval": "0.2s"});
    let service = json!({"cluster_name": "sds", "retry_policy": {"retry_back_off": back_off}});
    json!({
        "resource_api_version": "V3", "initial_fetch_timeout": "0.5s",
        "api_config_source": {
            "api_type": api_type, "transport_api_version": "V3", "grpc_services": [{"envoy_grpc": service}],
        },
    })
}

fn listener(shape: &Shape<'_>, certificate: &str) -> Value {
    let types = "type.googleapis.com/envoy.extensions";
    let config = sds_config(shape.variant);
    let roots = json!({"name": shape.roots, "sds_config": config});
    let mut context = json!({
        "tls_certificate_sds_secret_configs": [{"name": certificate, "sds_config": config}],
    });
    match shape.caller {
        None => context["validation_context_sds_secret_config"] = roots,
        Some(uri) => {
            let names = json!([{"san_type": "URI", "matcher": {"exact": uri}}]);
            context["combined_validation_context"] = json!({
                "default_validation_context": {"match_typed_subject_alt_names": names},
                "validation_context_sds_secret_config": roots,
            });
        }
    }
    let tls = json!({
        "@type": format!("{types}.transport_sockets.tls.v3.DownstreamTlsContext"),
        "require_client_certificate": true, "common_tls_context": context,
    });
    let router = json!({
        "name": "router", "typed_config": {"@type": format!("{types}.filters.http.router.v3.Router")},
    });
    let route = json!({"match": {"prefix": "/"}, "direct_response": {"status": 200}});
    let manager = json!({
        "@type": format!("{types}.filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "http", "http_filters": [router],
        "route_config": {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [route]}]},
    });
    json!({
        "name": certificate, "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{
            "transport_socket": {"name": "tls", "typed_config": tls},
            "filters": [{"name": "http", "typed_config": manager}],
        }],
    })
}

/// What such an Envoy is started with.
pub(crate) fn bootstrap(socket: &Path, shape: &Shape<'_>) -> Value {
    let mut listeners = vec![listener(shape, "default")];
    listeners.extend(shape.second.map(|name| listener(shape, name)));
    let endpoint = json!({"endpoint": {"address": {"pipe": {"path": socket}}}});
    let options = json!({
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    });
    let cluster = json!({
        "name": "sds", "type": "STATIC", "connect_timeout": "1s",
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
        "load_assignment": {"cluster_name": "sds", "endpoints": [{"lb_endpoints": [endpoint]}]},
    });
    let mut node = json!({"id": "proxy", "cluster": "proxy"});
    if shape.variant == Variant::Spiffe {
        node["metadata"] = json!({"signet.sds.validator": "spiffe"});
    }
    json!({
        "node": node,
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "static_resources": {"listeners": listeners, "clusters": [cluster]},
    })
}

fn folder() -> Result<TempDir> {
    Ok(tempfile::Builder::new().prefix("signet-envoy-").tempdir()?)
}

/// A listener that an Envoy reads from a file, again and again.
pub(crate) struct ListenerFile {
    path: PathBuf,
    listener: Value,
}

impl ListenerFile {
    /// Has the listener close every connection of an identity, as `docs/revocation.md` tells.
    pub(crate) fn deny(&self, identity: &str) -> Result<()> {
        let principal = json!({"authenticated": {"principal_name": {"exact": identity}}});
        let filter = json!({
            "name": "revoked",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC",
                "stat_prefix": "revoked",
                "rules": {"action": "DENY", "policies": {
                    "revoked": {"permissions": [{"any": true}], "principals": [principal]},
                }},
            },
        });
        let mut listener = self.listener.clone();
        let filters = listener["filter_chains"][0]["filters"].as_array_mut().context("no filters")?;
        filters.insert(0, filter);
        self.write(&listener)
    }

    /// Envoy sees a file that is put into another's place.
    fn write(&self, listener: &Value) -> Result<()> {
        let mut listener = listener.clone();
        listener["@type"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
        let beside = self.path.with_extension("new");
        std::fs::write(&beside, json!({"resources": [listener]}).to_string())?;
        Ok(std::fs::rename(&beside, &self.path)?)
    }
}

impl EnvoyBed {
    pub(crate) async fn start(sds: &Sds, variant: Variant, roots: &str) -> Result<Self> {
        Self::shaped(sds, &Shape { variant, roots, second: None, caller: None }).await
    }

    pub(crate) async fn shaped(sds: &Sds, shape: &Shape<'_>) -> Result<Self> {
        Self::at(&sds.path(), shape).await
    }

    /// An Envoy that asks whoever serves at `socket`.
    pub(crate) async fn at(socket: &Path, shape: &Shape<'_>) -> Result<Self> {
        let wanted = 1 + usize::from(shape.second.is_some());
        Self::of(&bootstrap(socket, shape), folder()?, wanted).await
    }

    /// The same with its first listener in a file, which its operator changes.
    pub(crate) async fn with_file(socket: &Path, shape: &Shape<'_>) -> Result<(Self, ListenerFile)> {
        let folder = folder()?;
        let file =
            ListenerFile { path: folder.path().join("listeners.json"), listener: listener(shape, "default") };
        file.write(&file.listener)?;
        let mut config = bootstrap(socket, shape);
        config["static_resources"]["listeners"] = json!([]);
        config["dynamic_resources"]["lds_config"] =
            json!({"resource_api_version": "V3", "path_config_source": {"path": file.path}});
        Ok((Self::of(&config, folder, 1).await?, file))
    }

    async fn of(bootstrap: &Value, folder: TempDir, wanted: usize) -> Result<Self> {
        let (config, address) = (folder.path().join("bootstrap.json"), folder.path().join("admin"));
        std::fs::write(&config, bootstrap.to_string())?;
        let flags = ["--disable-hot-restart", "--concurrency", "1", "-l", "warning", "--drain-time-s", "2"];
        let paths =
            ["-c", &config.display().to_string(), "--admin-address-path", &address.display().to_string()]
                .map(str::to_owned);
        let args: Vec<String> = flags.map(str::to_owned).into_iter().chain(paths).collect();
        let process = Process::start("envoy", &envoy_binary()?, &args, folder.path())?;
        let admin = eventually("Envoy's admin", PATIENCE, || async {
            Ok(Admin::new(std::fs::read_to_string(&address)?.trim().parse()?))
        })
        .await?;
        let listeners = eventually("Envoy's listeners", PATIENCE, || async {
            ensure!(admin.text("/ready").await?.starts_with("LIVE"), "not live");
            let text = admin.json("/listeners?format=json").await?;
            let statuses = text["listener_statuses"].as_array().cloned().unwrap_or_default();
            let port = |status: &Value| {
                let address = &status["local_address"]["socket_address"];
                let port = u16::try_from(address["port_value"].as_u64()?).ok()?;
                Some(SocketAddr::from(([127, 0, 0, 1], port)))
            };
            let listeners: Vec<SocketAddr> = statuses.iter().filter_map(port).collect();
            ensure!(listeners.len() == wanted, "{text}");
            Ok(listeners)
        })
        .await?;
        Ok(Self { admin, listeners, _process: process, _folder: folder })
    }

    /// Where it presents `default`.
    pub(crate) fn listener(&self) -> Result<SocketAddr> {
        self.listeners.first().copied().context("a listener")
    }

    /// The sum of Envoy's counters whose names end so.
    pub(crate) async fn counter(&self, name: &str) -> Result<u64> {
        let text = self.admin.text("/stats").await?;
        let pair = |line: &str| {
            let (found, value) = line.rsplit_once(": ")?;
            found.ends_with(name).then(|| value.parse::<u64>().ok())?
        };
        Ok(text.lines().filter_map(pair).sum())
    }

    /// Waits until a new handshake shows this certificate, and its caller is served.
    pub(crate) async fn presents(&self, authority: &Authority, serial: &str) -> Result<()> {
        eventually("the certificate in a handshake", PATIENCE, || async {
            let shown = self.attempt(authority).await?;
            ensure!(shown == serial.trim_start_matches('0'), "{shown} is presented, not {serial}");
            Ok(())
        })
        .await
    }

    /// A handshake and a request with a certificate of the authority; the serial that Envoy presents.
    pub(crate) async fn attempt(&self, authority: &Authority) -> Result<String> {
        self.attempt_as(authority, &*authority.issue()?).await
    }

    /// As [`EnvoyBed::attempt`], as somebody.
    pub(crate) async fn attempt_as(&self, authority: &Authority, caller: &Secrets) -> Result<String> {
        self.attempt_at(self.listener()?, authority, caller).await
    }

    /// As [`EnvoyBed::attempt`], at the second listener.
    pub(crate) async fn attempt_second(&self, authority: &Authority) -> Result<String> {
        self.attempt_at(*self.listeners.get(1).context("a listener")?, authority, &*authority.issue()?).await
    }

    async fn attempt_at(&self, at: SocketAddr, authority: &Authority, caller: &Secrets) -> Result<String> {
        let roots = [authority.own.authority().root().clone()];
        let connector = tls_connector(&roots, Some(ClientCertificate::of(caller)), &[])?;
        let attempt = async {
            let tcp = TcpStream::connect(at).await?;
            let mut stream = connector.connect(ServerName::IpAddress(at.ip().into()), tcp).await?;
            let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            let serial = serial_of(leaf.context("no certificate")?)?;
            stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            ensure!(answer.starts_with(b"HTTP/1.1 200"), "{:?}", String::from_utf8_lossy(&answer));
            Ok(serial)
        };
        timeout(Duration::from_secs(3), attempt).await.context("no answer in 3 s")?
    }
}
