//! A bed for arbitrary meshes: one server, and any number of nodes with real Envoys and small applications.
//!
//! ```text
//!  test ── put(spec) ──▶ server ── ADS ──▶ Envoy ◀── agent        one `Bed`
//!    │                                     │   ▲
//!    └── Call ──▶ egress of a Node ────────┘   └── ingress ──▶ App (says who it is and what it was sent)
//! ```
//!
//! A server costs a quarter of a second and an Envoy one second, so that a suite shares a bed: each case takes a
//! mesh of its own in it, or changes one route and waits until [`Bed::synced`].

pub mod app;
pub mod call;
pub mod clock;
pub mod disk;
pub mod grpc;
pub mod ledger;
pub mod namespace;
pub mod observer;
pub mod pair;
pub mod relay;
pub mod resets;
pub mod resolver;
pub mod trial;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use http::Method;
use serde_json::{Value, json};
use signet::{
    client::Client,
    local::{
        admin::Admin,
        mesh::{Server, Sidecar, SidecarPlan, put},
    },
};
use signet_policies::identity::{Workload, WorkloadKind};
use tempfile::TempDir;
use tokio::sync::SemaphorePermit;

use self::{app::App, call::Call};
use crate::{clock, envoy_binary, eventually, machine, program};

/// How long anything may take to come true.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Addresses that were given away.
static ADDRESSES: AtomicU8 = AtomicU8::new(0);

/// What a bed runs: the real programs, or something that runs them.
#[derive(Clone, Debug)]
pub struct Programs {
    /// As the server.
    pub server: PathBuf,
    /// As each agent.
    pub agent: PathBuf,
    /// As each Envoy.
    pub envoy: PathBuf,
}

impl Programs {
    /// The real ones.
    ///
    /// # Errors
    /// One is not there.
    pub fn real() -> Result<Self> {
        Ok(Self { server: program()?, agent: program()?, envoy: envoy_binary()? })
    }
}

/// A server, and what is connected to it. It has the machine for itself.
pub struct Bed {
    /// The server.
    pub server: Server,
    /// Signed calls with the administrator's keys.
    pub client: Client,
    /// The folder of everything; it goes with the bed.
    pub folder: TempDir,
    /// What is run from now on.
    pub programs: Programs,
    admins: Vec<(String, Admin)>,
    _machine: SemaphorePermit<'static>,
}

/// A virtual node or gateway with its agent and Envoy. It ends when dropped.
#[derive(Debug)]
pub struct Node {
    /// Agent and Envoy.
    pub sidecar: Sidecar,
    /// Where its listeners are.
    pub ingress: IpAddr,
}

impl Node {
    /// A GET for `/` to a virtual service, through this node's Envoy.
    #[must_use]
    pub fn call(&self, host: &str) -> Call {
        Call::to(self.sidecar.ready.egress, host)
    }

    /// Its Envoy's admin interface.
    #[must_use]
    pub fn admin(&self) -> Admin {
        self.sidecar.admin()
    }

    /// Envoy's counters whose names match, in the order of their names.
    ///
    /// # Errors
    /// Envoy does not answer.
    pub async fn stats(&self, filter: &str) -> Result<Vec<(String, u64)>> {
        let text = self.admin().text(&format!("/stats?filter={filter}")).await?;
        let pair = |line: &str| {
            let (name, value) = line.rsplit_once(": ")?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Ok(text.lines().filter_map(pair).collect())
    }

    /// The sum of Envoy's counters whose names match.
    ///
    /// # Errors
    /// As [`Node::stats`].
    pub async fn total(&self, filter: &str) -> Result<u64> {
        Ok(self.stats(filter).await?.iter().map(|(_, value)| value).sum())
    }
}

impl Bed {
    /// Starts a server.
    ///
    /// # Errors
    /// It does not become ready.
    pub async fn start() -> Result<Self> {
        Self::start_on(IpAddr::V4(Ipv4Addr::LOCALHOST)).await
    }

    /// As [`Bed::start`], with the server's gRPC port on an address that proxies elsewhere reach.
    ///
    /// # Errors
    /// As [`Bed::start`].
    pub async fn start_on(grpc: IpAddr) -> Result<Self> {
        Self::start_with(Programs::real()?, grpc).await
    }

    /// As [`Bed::start_on`], of given programs.
    ///
    /// # Errors
    /// As [`Bed::start`].
    pub async fn start_with(programs: Programs, grpc: IpAddr) -> Result<Self> {
        let machine = machine().await?;
        let folder = tempfile::Builder::new().prefix("signet-bed-").tempdir()?;
        let server = Server::start_on(&programs.server, folder.path(), grpc).await?;
        let client = server.client(clock())?;
        Ok(Self { server, client, folder, programs, admins: Vec::new(), _machine: machine })
    }

    /// Creates or updates an App Mesh resource; `path` is relative to the API's version.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn put(&self, path: &str, body: Value) -> Result<Value> {
        let told = body.to_string();
        put(&self.client, path, body).await.with_context(|| format!("PUT {path} {told}"))
    }

    /// Deletes an App Mesh resource.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn delete(&self, path: &str) -> Result<Value> {
        self.client.call(Method::DELETE, &format!("/v20190125/{path}"), None).await
    }

    /// Creates a mesh that drops what goes elsewhere.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn mesh(&self, name: &str) -> Result<()> {
        self.put("meshes", json!({"meshName": name, "spec": {}})).await.map(drop)
    }

    /// Creates a virtual node.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn virtual_node(&self, mesh: &str, name: &str, spec: Value) -> Result<()> {
        let body = json!({"virtualNodeName": name, "spec": spec});
        self.put(&format!("meshes/{mesh}/virtualNodes"), body).await.map(drop)
    }

    /// Gives a virtual node another spec.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn respec(&self, mesh: &str, name: &str, spec: Value) -> Result<()> {
        self.put(&format!("meshes/{mesh}/virtualNodes/{name}"), json!({"spec": spec})).await.map(drop)
    }

    /// Creates a virtual service that one node provides.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn service_of_node(&self, mesh: &str, name: &str, node: &str) -> Result<()> {
        let provider = json!({"virtualNode": {"virtualNodeName": node}});
        let body = json!({"virtualServiceName": name, "spec": {"provider": provider}});
        self.put(&format!("meshes/{mesh}/virtualServices"), body).await.map(drop)
    }

    /// Creates a virtual router with listeners, given as ports and protocols, and the service of its name.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn router(&self, mesh: &str, service: &str, name: &str, ports: &[(u16, &str)]) -> Result<()> {
        let listeners: Vec<_> = ports
            .iter()
            .map(|(port, protocol)| json!({"portMapping": {"port": port, "protocol": protocol}}))
            .collect();
        let body = json!({"virtualRouterName": name, "spec": {"listeners": listeners}});
        self.put(&format!("meshes/{mesh}/virtualRouters"), body).await?;
        let provider = json!({"virtualRouter": {"virtualRouterName": name}});
        let body = json!({"virtualServiceName": service, "spec": {"provider": provider}});
        self.put(&format!("meshes/{mesh}/virtualServices"), body).await.map(drop)
    }

    /// Creates a route.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn route(&self, mesh: &str, router: &str, name: &str, spec: Value) -> Result<()> {
        let body = json!({"routeName": name, "spec": spec});
        self.put(&format!("meshes/{mesh}/virtualRouter/{router}/routes"), body).await.map(drop)
    }

    /// An address of loopback that nobody else has. Not in another bed of this process either: Envoys share ports,
    /// and one that is still ending would take calls that are meant for the next.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let last = 1 + ADDRESSES.fetch_add(1, Ordering::SeqCst) % 254;
        IpAddr::V4(Ipv4Addr::new(127, 64 | (high & 63), low, last))
    }

    /// Starts agent and Envoy of a virtual node that exists, on an address of its own.
    ///
    /// # Errors
    /// One of them does not become ready.
    pub async fn node(&mut self, mesh: &str, name: &str) -> Result<Node> {
        let address = self.address();
        self.node_at(mesh, name, address).await
    }

    /// As [`Bed::node`], on a given address: the one that its spec names as its host.
    ///
    /// # Errors
    /// As [`Bed::node`].
    pub async fn node_at(&mut self, mesh: &str, name: &str, ingress: IpAddr) -> Result<Node> {
        self.sidecar(Workload::virtual_node(mesh, name)?, ingress).await
    }

    /// As [`Bed::node_at`], of a virtual gateway.
    ///
    /// # Errors
    /// As [`Bed::node`].
    pub async fn gateway_at(&mut self, mesh: &str, name: &str, ingress: IpAddr) -> Result<Node> {
        let node = Workload::virtual_node(mesh, name)?;
        self.sidecar(Workload { kind: WorkloadKind::VirtualGateway, ..node }, ingress).await
    }

    async fn sidecar(&mut self, workload: Workload, ingress: IpAddr) -> Result<Node> {
        let plan = SidecarPlan::on_loopback(workload, ingress, self.programs.envoy.clone());
        self.start_sidecar(&plan, ingress).await
    }

    /// Starts what a plan says, whose listeners are to be reached on `ingress`.
    ///
    /// # Errors
    /// It does not become ready.
    pub async fn start_sidecar(&mut self, plan: &SidecarPlan, ingress: IpAddr) -> Result<Node> {
        let sidecar = Sidecar::start(&self.programs.agent, &self.server, &self.client, plan)
            .await
            .map_err(|error| anyhow!("{error:#}\nthe server logged\n{}", self.server.log()))?;
        // One in another namespace cannot be asked from here.
        if plan.namespace.is_none() {
            self.admins.push((plan.workload.to_string(), sidecar.admin()));
        }
        Ok(Node { sidecar, ingress })
    }

    /// A virtual node that serves one application, with its Envoy: the application is on loopback, the spec names
    /// this node's own address. `spec` may change the spec before it is sent.
    ///
    /// # Errors
    /// The server refuses, or something does not become ready.
    pub async fn served(
        &mut self,
        mesh: &str,
        name: &str,
        app: &App,
        protocol: &str,
        spec: impl FnOnce(&mut Value),
    ) -> Result<Node> {
        let address = self.address();
        let mut wanted = listening(&address.to_string(), app.port, protocol);
        spec(&mut wanted);
        self.virtual_node(mesh, name, wanted).await?;
        self.node_at(mesh, name, address).await
    }

    /// A virtual node that only calls, with its Envoy.
    ///
    /// # Errors
    /// As [`Bed::served`].
    pub async fn caller(&mut self, mesh: &str, name: &str, services: &[&str]) -> Result<Node> {
        self.virtual_node(mesh, name, calling(services)).await?;
        self.node(mesh, name).await
    }

    /// Waits until every proxy accepted everything that the API was told, and runs it: no port changes over, no
    /// cluster and no listener is warming.
    ///
    /// # Errors
    /// That takes too long, or a proxy refuses something; the error says what.
    pub async fn synced(&self) -> Result<()> {
        eventually("every proxy is synced", PATIENCE, || async {
            // Ports are shown a moment after proxies are fed.
            for _ in 0..2 {
                self.looks_synced().await?;
            }
            Ok(())
        })
        .await
    }

    async fn looks_synced(&self) -> Result<()> {
        let answer = self.client.call(Method::GET, "/v1/proxies", None).await?;
        ensure!(answer["revision"] == answer["fedRevision"], "reconcile is behind");
        let proxies = answer["proxies"].as_array().cloned().unwrap_or_default();
        let waiting: Vec<_> = proxies.iter().filter(|proxy| proxy["status"] != "synced").collect();
        ensure!(waiting.is_empty(), "not synced: {waiting:?}");
        let ports = answer["ports"].as_array().cloned().unwrap_or_default();
        let moving: Vec<_> = ports.iter().filter(|port| port["settled"] != true).collect();
        ensure!(moving.is_empty(), "on their way: {moving:?}");
        for (name, admin) in &self.admins {
            // One that has been stopped since has nothing to wait for.
            let Ok(stats) = admin.text("/stats?filter=warming").await else { continue };
            ensure!(stats.lines().all(|line| line.ends_with(": 0")), "{name} is warming: {stats}");
        }
        Ok(())
    }

    /// What all proxies are said to be.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn proxies(&self) -> Result<Value> {
        self.client.call(Method::GET, "/v1/proxies", None).await
    }

    /// A path in the bed's folder, for files that Envoys read or write.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Ends the server, and returns the folder with all that was written; nodes end when they are dropped.
    pub async fn end(mut self) -> TempDir {
        self.server.stop().await;
        self.folder
    }
}

/// The spec of a node that serves one port of a host.
#[must_use]
pub fn listening(host: &str, port: u16, protocol: &str) -> Value {
    json!({
        "listeners": [{"portMapping": {"port": port, "protocol": protocol}}],
        "serviceDiscovery": {"dns": {"hostname": host}}
    })
}

/// The spec of a node that only calls.
#[must_use]
pub fn calling(services: &[&str]) -> Value {
    let backends: Vec<_> =
        services.iter().map(|name| json!({"virtualService": {"virtualServiceName": name}})).collect();
    json!({"backends": backends})
}

/// Where a node's listener is.
#[must_use]
pub fn at(node: &Node, port: u16) -> SocketAddr {
    SocketAddr::new(node.ingress, port)
}
