//! The mesh that the demo plays on.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde_json::json;
use signet_ca::{Authority, Custody, Random, Serial};
use signet_policies::{
    identity::Workload,
    issuance::{Caller, DEFAULT_LEAF_LIFE, Registration, Request, Terms, decide},
    time::Clock,
};
use tokio::{task::JoinSet, time::Instant};

use super::{
    report::{ProbeReport, Verdict},
    steps::ModeStep,
};
use crate::{
    client::Client,
    local::{
        app,
        load::{Load, Plan},
        mesh::{Server, Sidecar, SidecarPlan, put},
        probe::{Approach, ClientCertificate, Prober, Served},
    },
};

/// The mesh's name.
pub const MESH: &str = "demo";
/// The virtual service that `service-a` calls.
pub const SERVICE: &str = "service-b.demo.internal";
/// The destinations, and the addresses of their Envoys.
const DESTINATIONS: [(&str, Ipv4Addr); 2] =
    [("service-b-v1", Ipv4Addr::new(127, 0, 0, 12)), ("service-b-v2", Ipv4Addr::new(127, 0, 0, 13))];
/// The caller.
const CALLER: (&str, Ipv4Addr) = ("service-a", Ipv4Addr::new(127, 0, 0, 11));
/// A virtual node without a proxy, whose certificate a stranger holds.
const OUTSIDER: &str = "outsider";
/// How long something may take to come into force.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at something that is about to change.
const PULSE: Duration = Duration::from_millis(20);

/// A destination: its name and where its Envoy listens.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The virtual node.
    pub node: &'static str,
    /// Envoy's ingress.
    pub address: SocketAddr,
}

/// Everything that runs.
pub struct Stage {
    /// The server.
    pub server: Server,
    /// Signed calls with the administrator's keys.
    pub client: Client,
    /// The caller's sidecar, then the destinations'.
    pub sidecars: Vec<Sidecar>,
    /// Where the service is.
    pub destinations: Vec<Destination>,
    prober: Prober,
    /// The applications run as long as this lives.
    _applications: JoinSet<()>,
}

impl Stage {
    /// Starts everything and waits until a request goes through.
    ///
    /// # Errors
    /// A part does not start; the error quotes its log.
    pub async fn set(
        program: &Path,
        envoy: &Path,
        folder: &Path,
        clock: &Clock,
        say: impl Fn(&str),
    ) -> Result<Self> {
        say("starting the server …");
        let server = Server::start(program, folder).await?;
        let client = server.client(clock.clone())?;
        let mut applications = JoinSet::new();
        let mut destinations = Vec::new();
        for (node, ip) in DESTINATIONS {
            let application =
                app::start(node, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), &mut applications).await?;
            destinations.push(Destination { node, address: SocketAddr::from((ip, application.port())) });
        }
        say("creating the mesh through the App Mesh API …");
        create_resources(&client, &destinations).await?;
        let prober = prober(&server, &client, folder, clock).await?;
        say("starting an agent and an Envoy for service-a, service-b-v1 and service-b-v2 …");
        let places = std::iter::once(CALLER).chain(DESTINATIONS);
        let mut sidecars = Vec::new();
        for (node, ip) in places {
            let workload = Workload::virtual_node(MESH, node)?;
            let plan = SidecarPlan::on_loopback(workload, IpAddr::V4(ip), envoy.to_owned());
            sidecars.push(Sidecar::start(program, &server, &client, &plan).await?);
        }
        let stage = Self { server, client, sidecars, destinations, prober, _applications: applications };
        stage.wait_for_traffic().await?;
        Ok(stage)
    }

    /// The caller's sidecar.
    ///
    /// # Errors
    /// There is none, which cannot be.
    pub fn caller(&self) -> Result<&Sidecar> {
        self.sidecars.first().context("the stage has no caller")
    }

    /// The load of the demo: 240 requests a second.
    ///
    /// # Errors
    /// There is no caller.
    pub fn load_plan(&self) -> Result<Plan> {
        Ok(Plan {
            address: self.caller()?.ready.egress,
            host: SERVICE.to_owned(),
            new_connections: 120,
            kept_alive: 120,
            connections: 4,
        })
    }

    /// Puts both destinations into a mode; returns when the API has answered.
    ///
    /// # Errors
    /// The API refuses.
    pub async fn set_mode(&self, mode: ModeStep) -> Result<()> {
        for Destination { node, address } in &self.destinations {
            let spec = mode.node_spec(&address.ip().to_string(), address.port());
            put(&self.client, &format!("meshes/{MESH}/virtualNodes/{node}"), json!({"spec": spec})).await?;
        }
        Ok(())
    }

    /// Tries every destination in every way.
    pub async fn probe(&self, mode: ModeStep) -> Vec<ProbeReport> {
        let mut reports = Vec::new();
        for Destination { node, address } in &self.destinations {
            for approach in Approach::ALL {
                let attempt = self.prober.attempt(*address, approach).await;
                reports.push(ProbeReport {
                    node: (*node).to_owned(),
                    approach,
                    expected: mode.serves(approach).into(),
                    got: Verdict::from(attempt.is_ok()),
                    detail: attempt.err().map(|error| format!("{error:#}")),
                });
            }
        }
        reports
    }

    /// Probes until everything is as the mode demands, and tells how long that took.
    ///
    /// Gives up after 20 s; the probes of the step's end then show what is wrong.
    pub async fn until_in_force(&self, mode: ModeStep) -> Duration {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            let probes = self.probe(mode).await;
            if probes.iter().all(|probe| probe.got == probe.expected) {
                break;
            }
            tokio::time::sleep(PULSE).await;
        }
        started.elapsed()
    }

    /// The serial that a handshake with each destination shows, and the one that the caller's Envoy holds.
    ///
    /// # Errors
    /// A destination refuses a certificate of the mesh, or the caller's Envoy does not answer.
    pub async fn serials(&self) -> Result<Vec<(String, String)>> {
        let mut serials = Vec::new();
        for Destination { node, address } in &self.destinations {
            let Served { serial } = self.prober.attempt(*address, Approach::TlsMeshCertificate).await?;
            serials.push(((*node).to_owned(), serial.context("the handshake showed no certificate")?));
        }
        let held = self.caller()?.admin().serials().await?;
        let [serial] = held.as_slice() else {
            bail!("{}'s Envoy holds {held:?}, not one certificate", CALLER.0)
        };
        serials.push((CALLER.0.to_owned(), serial.clone()));
        Ok(serials)
    }

    /// Has every agent renew now, and waits until every serial is another one.
    ///
    /// # Errors
    /// An agent has ended.
    pub async fn rotate(&self, before: &[(String, String)]) -> Result<Duration> {
        let started = Instant::now();
        for sidecar in &self.sidecars {
            sidecar.rotate()?;
        }
        while started.elapsed() < PATIENCE {
            // Between two certificates Envoy may hold both for a moment.
            let after = self.serials().await.unwrap_or_else(|_| before.to_vec());
            if before.iter().zip(&after).all(|(before, after)| before.1 != after.1) {
                break;
            }
            tokio::time::sleep(PULSE).await;
        }
        Ok(started.elapsed())
    }

    /// Ends everything in order.
    pub async fn strike(mut self) {
        for sidecar in &mut self.sidecars {
            sidecar.stop().await;
        }
        self.server.stop().await;
    }

    /// The load starts once calls go through, so that not one of its requests may fail.
    async fn wait_for_traffic(&self) -> Result<()> {
        let plan = Plan { new_connections: 50, kept_alive: 50, connections: 1, ..self.load_plan()? };
        let started = Instant::now();
        loop {
            let load = Load::start(&plan);
            tokio::time::sleep(Duration::from_millis(300)).await;
            let tally = load.stop().await;
            if tally.failed == 0 && tally.requests() > 0 {
                return Ok(());
            }
            let reason = tally.failures.first().map_or("", String::as_str);
            ensure!(started.elapsed() < PATIENCE, "no request went through: {reason}");
        }
    }
}

async fn create_resources(client: &Client, destinations: &[Destination]) -> Result<()> {
    put(client, "meshes", json!({"meshName": MESH, "spec": {"egressFilter": {"type": "DROP_ALL"}}})).await?;
    let nodes = format!("meshes/{MESH}/virtualNodes");
    for Destination { node, address } in destinations {
        let spec = ModeStep::Disabled.node_spec(&address.ip().to_string(), address.port());
        put(client, &nodes, json!({"virtualNodeName": node, "spec": spec})).await?;
    }
    let backends = json!([{"virtualService": {"virtualServiceName": SERVICE}}]);
    put(client, &nodes, json!({"virtualNodeName": CALLER.0, "spec": {"backends": backends}})).await?;
    put(client, &nodes, json!({"virtualNodeName": OUTSIDER, "spec": {}})).await?;
    let router = "service-b-router";
    let listeners = json!([{"portMapping": {"port": 8080, "protocol": "http"}}]);
    let body = json!({"virtualRouterName": router, "spec": {"listeners": listeners}});
    put(client, &format!("meshes/{MESH}/virtualRouters"), body).await?;
    let targets: Vec<_> = destinations
        .iter()
        .zip([90, 10])
        .map(|(destination, weight)| json!({"virtualNode": destination.node, "weight": weight}))
        .collect();
    let route = json!({"httpRoute": {"match": {"prefix": "/"}, "action": {"weightedTargets": targets}}});
    let body = json!({"routeName": "canary-route", "spec": route});
    put(client, &format!("meshes/{MESH}/virtualRouter/{router}/routes"), body).await?;
    let provider = json!({"virtualRouter": {"virtualRouterName": router}});
    let body = json!({"virtualServiceName": SERVICE, "spec": {"provider": provider}});
    put(client, &format!("meshes/{MESH}/virtualServices"), body).await?;
    Ok(())
}

/// A stranger with a certificate of the mesh, and one that another CA issued for the same name.
async fn prober(server: &Server, client: &Client, folder: &Path, clock: &Clock) -> Result<Prober> {
    let secrets = server.join(client, &Workload::virtual_node(MESH, OUTSIDER)?, clock.clone()).await?;
    let foreign = foreign_certificate(folder, clock)?;
    Prober::new(secrets.bundle().roots(), ClientCertificate::of(&secrets), foreign)
}

fn foreign_certificate(folder: &Path, clock: &Clock) -> Result<ClientCertificate> {
    let terms = Terms { trust_domain: "other.test".parse()?, default_lifetime: DEFAULT_LEAF_LIFE };
    let now = clock().into();
    let random = Random::system();
    let authority = Authority::open(
        &folder.join("other-ca"),
        Custody::default(),
        &terms.trust_domain,
        random.clone(),
        now,
    )?;
    let workload = Workload::virtual_node(MESH, CALLER.0)?;
    let registration = Registration { workload: workload.clone(), dns_names: vec![], spiffe_ids: vec![] };
    let grant = decide(&Caller::Joining(workload), &Request::default(), Some(&registration), &terms)?;
    let (key, certificate) = authority.issue_with_new_key(&grant, Serial::draw(&random), now)?;
    let chain = certificate.chain_der().into_iter().map(CertificateDer::from).collect();
    Ok(ClientCertificate { chain, key: PrivatePkcs8KeyDer::from(key.pkcs8_der().to_vec()).into() })
}
