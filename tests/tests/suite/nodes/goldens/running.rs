//! One Envoy that runs every golden, one after the other, as a proxy's configuration changes: by our own xDS server and
//! protocol, with secrets by SDS and names by a resolver of the test's.
//!
//! What is altered of a golden is where it listens (port 0 of loopback: the ports of goldens are other people's) and where
//! certificates lie. Routes that no listener of a golden names get one.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use http::Extensions;
use prost::{Message, Name};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use serde_json::{Value, json};
use signet::local::admin::Admin;
use signet_tests::{bed::resolver::Resolver, envoy_binary, eventually, machine};
use signet_xds::{
    Resource, ResourceType, Snapshot, Status,
    json::{encoded, shown},
    pb::envoy::{
        config::{
            cluster::v3::Cluster, core::v3::Node, endpoint::v3::ClusterLoadAssignment,
            listener::v3::Listener, route::v3::RouteConfiguration,
        },
        extensions::transport_sockets::tls::v3::Secret,
    },
    server::{Feed, Observer, Source, ads, sds},
};
use tokio::{
    net::{TcpListener, UdpSocket},
    process::{Child, Command},
    sync::watch,
    task::JoinSet,
};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use super::goldens;

const PATIENCE: Duration = Duration::from_secs(10);
/// The cluster through which goldens ask for secrets.
const SDS: &str = "static_cluster_sds_unix_socket";

/// Serves whatever is put into it to whoever asks, and keeps what the newest stream says.
struct Scripted {
    snapshots: watch::Sender<Option<Arc<Snapshot>>>,
    status: watch::Sender<Status>,
}

struct Ear(watch::Sender<Status>);

impl Observer for Ear {
    fn changed(&mut self, status: &Status) {
        self.0.send_replace(status.clone());
    }
}

impl Source for Scripted {
    fn open(&self, _: &Extensions, _: Option<&Node>) -> Result<Feed, tonic::Status> {
        let (snapshots, observer) = (self.snapshots.subscribe(), Box::new(Ear(self.status.clone())));
        Ok(Feed { snapshots, observer, end: Box::pin(std::future::pending()) })
    }
}

impl Scripted {
    fn new(snapshot: Option<Snapshot>) -> Arc<Self> {
        let snapshots = watch::Sender::new(snapshot.map(Arc::new));
        Arc::new(Self { snapshots, status: watch::Sender::new(Status::default()) })
    }
}

/// A certificate that anybody may have, as files and as what an agent would give.
struct Material {
    folder: PathBuf,
    secrets: Vec<Value>,
}

impl Material {
    fn make(folder: &Path) -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(["a.test".to_owned()])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let (certificate, key) = (params.self_signed(&key)?.pem(), key.serialize_pem());
        for name in ["ca.pem", "one.pem", "client.pem"] {
            std::fs::write(folder.join(name), &certificate)?;
        }
        for name in ["one.key", "client.key"] {
            std::fs::write(folder.join(name), &key)?;
        }
        let text = |text: &str| json!({"inline_string": text});
        let pair = json!({"certificate_chain": text(&certificate), "private_key": text(&key)});
        let secrets = vec![
            json!({"name": "default", "tls_certificate": pair}),
            json!({"name": "ROOTCA", "validation_context": {"trusted_ca": text(&certificate)}}),
        ];
        Ok(Self { folder: folder.to_owned(), secrets })
    }

    /// Moves what a golden names to where it is.
    fn place(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if text == "/certs" || text.starts_with("/certs/") {
                    *text = format!("{}{}", self.folder.display(), &text["/certs".len()..]);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.place(item)),
            Value::Object(members) => members.values_mut().for_each(|member| self.place(member)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

fn resource(kind: ResourceType, json: &Value) -> Result<Resource> {
    fn of<M: Message + Name + Default>(kind: ResourceType, name: &str, bytes: &[u8]) -> Result<Resource> {
        Ok(Resource::new(kind, name, &M::decode(bytes)?))
    }
    let name = json["name"].as_str().or(json["cluster_name"].as_str()).context("no name")?;
    let bytes = encoded(kind, json)?;
    match kind {
        ResourceType::Cluster => of::<Cluster>(kind, name, &bytes),
        ResourceType::Endpoint => of::<ClusterLoadAssignment>(kind, name, &bytes),
        ResourceType::Listener => of::<Listener>(kind, name, &bytes),
        ResourceType::Route => of::<RouteConfiguration>(kind, name, &bytes),
        ResourceType::Secret => of::<Secret>(kind, name, &bytes),
    }
}

/// A listener that asks for a route.
fn asking_for(route: &str) -> Value {
    let types = "type.googleapis.com/envoy.extensions.filters";
    let router =
        json!({"name": "router", "typed_config": {"@type": format!("{types}.http.router.v3.Router")}});
    let manager = json!({
        "@type": format!("{types}.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "s", "http_filters": [router],
        "rds": {"route_config_name": route, "config_source": {"ads": {}, "resource_api_version": "V3"}},
    });
    json!({"name": format!("for {route}"), "address": {}, "filter_chains": [
        {"filters": [{"name": "manager", "typed_config": manager}]}]})
}

/// A golden as it can run here.
fn snapshot(golden: &Value, material: &Material) -> Result<Snapshot> {
    let mut golden = golden.clone();
    material.place(&mut golden);
    let of = |kind: ResourceType| golden[kind.to_string()].as_array().cloned().unwrap_or_default();
    let (mut listeners, routes) = (of(ResourceType::Listener), of(ResourceType::Route));
    let text = Value::from(listeners.clone()).to_string();
    let names = routes.iter().filter_map(|route| route["name"].as_str());
    let unasked = names.filter(|name| !text.contains(&format!("\"route_config_name\":\"{name}\"")));
    listeners.extend(unasked.map(asking_for).collect::<Vec<_>>());
    for listener in &mut listeners {
        listener["address"] = json!({"socket_address": {"address": "127.0.0.1", "port_value": 0}});
    }
    let mut snapshot = Snapshot::default();
    for kind in ResourceType::ALL {
        let all = if kind == ResourceType::Listener { listeners.clone() } else { of(kind) };
        for json in &all {
            snapshot.insert(resource(kind, json)?);
        }
    }
    Ok(snapshot)
}

async fn serve(
    source: &Arc<Scripted>,
    secrets: &Arc<Scripted>,
    tasks: &mut JoinSet<()>,
) -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let stop = CancellationToken::new();
    let server = Server::builder()
        .add_service(ads(Arc::clone(source), stop.clone()))
        .add_service(sds(Arc::clone(secrets), stop))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tasks.spawn(async move { drop(server.await) });
    Ok(address)
}

fn bootstrap(server: SocketAddr, resolver: SocketAddr) -> Value {
    let socket =
        |at: SocketAddr| json!({"socket_address": {"address": at.ip().to_string(), "port_value": at.port()}});
    let cluster = |name: &str| {
        json!({
            "name": name, "type": "STATIC", "connect_timeout": "1s",
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [
                {"endpoint": {"address": socket(server)}}]}]},
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}}}}
        })
    };
    let grpc = json!([{"envoy_grpc": {"cluster_name": "ads"}}]);
    let source = json!({"ads": {}, "resource_api_version": "V3"});
    json!({
        "node": {"id": "golden", "cluster": "golden"},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "dynamic_resources": {
            "ads_config": {"api_type": "DELTA_GRPC", "transport_api_version": "V3", "grpc_services": grpc},
            "cds_config": source, "lds_config": source
        },
        "static_resources": {"clusters": [cluster("ads"), cluster(SDS)]},
        "typed_dns_resolver_config": {"name": "envoy.network.dns_resolver.cares", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
            "resolvers": [socket(resolver)]}},
        "layered_runtime": {"layers": [{"name": "s", "static_layer": {"re2.max_program_size.error_level": 1000}}]}
    })
}

async fn start(folder: &Path, bootstrap: &Value) -> Result<(Child, Admin)> {
    let (file, told) = (folder.join("bootstrap.json"), folder.join("admin"));
    std::fs::write(&file, bootstrap.to_string())?;
    let mut envoy = Command::new(envoy_binary()?);
    envoy.args(["--disable-hot-restart", "--concurrency", "1", "--drain-time-s", "1", "-l", "warning", "-c"]);
    envoy.arg(&file).arg("--admin-address-path").arg(&told).kill_on_drop(true);
    envoy.stdout(Stdio::null()).stderr(std::fs::File::create(folder.join("log"))?);
    let child = envoy.spawn()?;
    let admin = eventually("Envoy's admin", PATIENCE, || async {
        let address: SocketAddr = std::fs::read_to_string(&told)?.trim().parse()?;
        let admin = Admin::new(address);
        admin.text("/ready").await.or(admin.text("/server_info").await)?;
        Ok(admin)
    })
    .await?;
    Ok((child, admin))
}

/// What runs, by kind and name, in canonical JSON. What warms or was refused is not in it, and of a secret only that it
/// is there: the rest is withheld.
///
/// Versions say less: Envoy 1.40 keeps a listener's old one where only its filter chains change.
fn active(dump: &Value) -> Result<BTreeMap<(ResourceType, String), Value>> {
    use ResourceType::{Cluster, Listener, Route, Secret};
    let kinds = [
        ("dynamic_active_clusters", Cluster, "/cluster"),
        ("dynamic_listeners", Listener, "/active_state/listener"),
        ("dynamic_route_configs", Route, "/route_config"),
        ("dynamic_active_secrets", Secret, "/secret"),
    ];
    let mut all = BTreeMap::new();
    for (member, kind, pointer) in kinds {
        let lists = dump["configs"].as_array().into_iter().flatten();
        for one in lists.filter_map(|config| config[member].as_array()).flatten() {
            // A listener that only warms is none yet.
            let Some(mut json) = one.pointer(pointer).cloned() else { continue };
            json.as_object_mut().context("no object")?.remove("@type");
            let name = json["name"].as_str().context("no name")?.to_owned();
            all.insert((kind, name), canonical(&resource(kind, &json)?)?);
        }
    }
    Ok(all)
}

fn canonical(resource: &Resource) -> Result<Value> {
    match resource.kind() {
        ResourceType::Secret => Ok(Value::Null),
        ResourceType::Cluster | ResourceType::Endpoint | ResourceType::Listener | ResourceType::Route => {
            Ok(shown(resource)?)
        }
    }
}

/// Gives a golden to the Envoy, and waits until it runs all of it and nothing else that came by xDS.
async fn run(source: &Scripted, admin: &Admin, wanted: Snapshot) -> Result<()> {
    let wanted = Arc::new(wanted);
    source.snapshots.send_replace(Some(Arc::clone(&wanted)));
    let kinds = [ResourceType::Cluster, ResourceType::Listener, ResourceType::Route, ResourceType::Secret];
    let expected = kinds.into_iter().flat_map(|kind| wanted.resources(kind));
    let expected = expected.map(|one| Ok(((one.kind(), one.name().to_owned()), canonical(one)?)));
    let expected: BTreeMap<_, _> = expected.collect::<Result<_>>()?;
    let refused = eventually("Envoy runs it", PATIENCE, || async {
        let rejections =
            source.status.borrow().rejections().map(|one| format!("{one:?}")).collect::<Vec<_>>();
        if !rejections.is_empty() {
            return Ok(rejections);
        }
        let mut found = active(&admin.json("/config_dump").await?)?;
        // Those of the agent's have no place in a golden.
        found.retain(|(kind, name), _| {
            *kind != ResourceType::Secret || !["default", "ROOTCA"].contains(&&**name)
        });
        let missing: Vec<_> = expected.iter().filter(|(what, json)| found.get(what) != Some(json)).collect();
        let extra: Vec<_> = found.keys().filter(|what| !expected.contains_key(what)).collect();
        ensure!(found == expected, "it does not run {missing:?} and runs {extra:?}");
        Ok(Vec::new())
    })
    .await?;
    ensure!(refused.is_empty(), "it refuses {refused:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_envoy_runs_every_golden_in_turn() -> Result<()> {
    let _machine = machine().await?;
    let (folder, mut tasks) = (tempfile::tempdir()?, JoinSet::new());
    let material = Material::make(folder.path())?;
    let held = material.secrets.iter().map(|secret| resource(ResourceType::Secret, secret));
    let (source, secrets) = (Scripted::new(None), Scripted::new(Some(held.collect::<Result<_>>()?)));
    let server = serve(&source, &secrets, &mut tasks).await?;
    // Nobody knows any name, and says so at once.
    let free = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?.local_addr()?;
    let _resolver = Resolver::start(&[&free.to_string()]).await?;
    source.snapshots.send_replace(Some(Arc::default()));
    let (_envoy, admin) = start(folder.path(), &bootstrap(server, free)).await?;
    for (name, golden) in goldens()? {
        let wanted = snapshot(&golden, &material).with_context(|| name.clone())?;
        let log = || std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        run(&source, &admin, wanted).await.with_context(|| format!("{name}; Envoy logged\n{}", log()))?;
    }
    let stats = admin.text("/stats?filter=update_rejected|update_failure").await?;
    let bad: Vec<&str> = stats.lines().filter(|line| !line.ends_with(": 0")).collect();
    assert!(bad.is_empty(), "{bad:?}");
    Ok(())
}
