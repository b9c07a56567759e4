//! Two Envoys that trust each other by certificates alone, and what calls through them.
//!
//! ```text
//!  Load ──TCP──▶ egress of `caller` ══mTLS══▶ ingress of `server` ──▶ App
//!                                               ▲
//!  Observer ──handshakes───────────────────────┘          one connection of the load is one between the Envoys
//! ```

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Method;
use serde_json::{Value, json};
use signet::local::load::Plan;

use super::{Bed, Node, app::App, at, call::free_port, listening};
use crate::{eventually, program};

/// How long anything may take to come true.
const PATIENCE: Duration = Duration::from_secs(40);
/// Connections that last, and requests a second over all of them.
const KEPT: u32 = 8;
const LASTING: u32 = 40;
/// Where a change of root or issuer stands.
const ROTATION: &str = "/v1/ca/rotation";
/// Where the server's Envoy writes down each connection, in the bed's folder.
const CONNECTIONS: &str = "connections.log";
/// When it began, and its client's serial and life, in seconds since the epoch.
const LINE: &str = "%START_TIME(%s)% %DOWNSTREAM_PEER_SERIAL% %DOWNSTREAM_PEER_CERT_V_START(%s)% %DOWNSTREAM_PEER_CERT_V_END(%s)%\n";
/// Most entries of the ledger on a page.
const PAGE: usize = 1000;

/// A mesh `m` of the virtual nodes `server` and `caller`, each with its Envoy.
pub struct Pair {
    /// The Signet server, and the folder of everything.
    pub bed: Bed,
    /// The one that is called; its Envoy demands a certificate.
    pub server: Node,
    /// The one that calls.
    pub caller: Node,
    /// What [`super::trial::Trial`] sends.
    pub plan: Plan,
    /// What serves behind `server`.
    pub app: App,
}

/// What the server's Envoy wrote down of its clients' certificates.
#[derive(Clone, Debug, Default)]
pub struct Clients {
    /// Connections by the serial that their client presented.
    pub connections: BTreeMap<String, u64>,
    /// Lines of clients whose certificate had ended or not begun.
    pub untimely: Vec<String>,
}

impl Pair {
    /// Starts both, with `rate` handshakes a second planned.
    ///
    /// # Errors
    /// Something does not become ready.
    pub async fn start(rate: u32) -> Result<Self> {
        Self::start_in(Bed::start().await?, rate).await
    }

    /// As [`Pair::start`], in a bed that is there.
    ///
    /// # Errors
    /// As [`Pair::start`].
    pub async fn start_in(bed: Bed, rate: u32) -> Result<Self> {
        Self::start_in_with(bed, rate, |_| ()).await
    }

    /// As [`Pair::start_in`]; `between` may change what the caller's agent and Envoy are run from.
    ///
    /// # Errors
    /// As [`Pair::start`].
    pub async fn start_in_with(mut bed: Bed, rate: u32, between: impl FnOnce(&mut Bed)) -> Result<Self> {
        bed.mesh("m").await?;
        let app = App::http("app").await?;
        let own = json!({"sds": {"secretName": "default"}});
        let roots = json!({"trust": {"sds": {"secretName": "ROOTCA"}}});
        let log = bed.path(CONNECTIONS).display().to_string();
        // A listener of TCP: each connection of a client is one between the Envoys.
        let server = bed
            .served("m", "server", &app, "tcp", |spec| {
                spec["listeners"][0]["tls"] =
                    json!({"mode": "STRICT", "certificate": own, "validation": roots});
                spec["logging"] = json!({"accessLog": {"file": {"path": log, "format": {"text": LINE}}}});
            })
            .await?;
        between(&mut bed);
        let dialed = free_port()?;
        bed.router("m", "app.test", "r", &[(dialed, "tcp")]).await?;
        let to = json!([{"virtualNode": "server", "weight": 1}]);
        bed.route("m", "r", "all", json!({"tcpRoute": {"action": {"weightedTargets": to}}})).await?;
        let tls = json!({"enforce": true, "certificate": own, "validation": roots});
        let backend = json!({"virtualServiceName": "app.test", "clientPolicy": {"tls": tls}});
        bed.virtual_node("m", "caller", json!({"backends": [{"virtualService": backend}]})).await?;
        let caller = bed.node("m", "caller").await?;
        bed.synced().await?;
        let plan = Plan {
            address: ([127, 0, 0, 1], dialed).into(),
            host: "app.test".to_owned(),
            new_connections: rate,
            kept_alive: LASTING,
            connections: KEPT,
        };
        let pair = Self { bed, server, caller, plan, app };
        pair.until_watched(2).await?;
        Ok(pair)
    }

    /// Has `caller` serve `server` in turn, by HTTP, and says what to send: connections that last are moved there, where
    /// those of TCP are cut.
    ///
    /// # Errors
    /// The server refuses, or nothing is answered in time.
    pub async fn and_back(&self) -> Result<(App, Plan)> {
        let web = App::http("web").await?;
        let spec = async |node: &str| {
            let node = self.get(&format!("/v20190125/meshes/m/virtualNodes/{node}")).await?;
            Ok::<_, anyhow::Error>(node["spec"].clone())
        };
        let (mut called, mut calling) = (spec("caller").await?, spec("server").await?);
        let listening = listening(&self.caller.ingress.to_string(), web.port, "http");
        called["listeners"] = listening["listeners"].clone();
        called["listeners"][0]["tls"] = calling["listeners"][0]["tls"].clone();
        called["serviceDiscovery"] = listening["serviceDiscovery"].clone();
        let mut backend = called["backends"][0].clone();
        backend["virtualService"]["virtualServiceName"] = json!("web.test");
        calling["backends"] = json!([backend]);
        self.bed.respec("m", "caller", called).await?;
        self.bed.service_of_node("m", "web.test", "caller").await?;
        self.bed.respec("m", "server", calling).await?;
        self.bed.synced().await?;
        eventually("the other direction serves", PATIENCE, || async {
            let code = self.server.call("web.test").send().await?.code();
            ensure!(code == 200, "{code}");
            Ok(())
        })
        .await?;
        let plan = Plan {
            address: self.server.sidecar.ready.egress,
            host: "web.test".to_owned(),
            new_connections: 1,
            kept_alive: LASTING,
            connections: KEPT,
        };
        Ok((web, plan))
    }

    /// Where `server`'s Envoy presents its certificate.
    #[must_use]
    pub fn listener(&self) -> SocketAddr {
        at(&self.server, self.app.port)
    }

    /// Until the Signet server knows what so many proxies hold.
    ///
    /// # Errors
    /// They do not report it in time.
    pub async fn until_watched(&self, count: usize) -> Result<()> {
        eventually("every agent reports", PATIENCE, || async {
            let answer = self.get("/v1/nodes").await?;
            let nodes = answer["nodes"].as_array().cloned().unwrap_or_default();
            let loaded = |node: &&Value| {
                node["connected"] == true && node["loaded"].as_array().is_some_and(|all| !all.is_empty())
            };
            ensure!(nodes.iter().filter(loaded).count() == count, "{answer}");
            Ok(())
        })
        .await
    }

    /// Until each of the two proxies is synced, and shows what its agent holds and nothing else.
    ///
    /// # Errors
    /// That takes longer than `patience`.
    pub async fn until_converged(&self, patience: Duration) -> Result<()> {
        eventually("both proxies show what is held", patience, || async {
            let proxies = self.get("/v1/proxies").await?;
            let synced = proxies["proxies"].as_array().into_iter().flatten();
            let synced = synced.filter(|proxy| proxy["status"] == "synced").count();
            ensure!(synced >= 2, "{synced} proxies are synced");
            for (name, serials) in self.held().await? {
                let [held, shown @ ..] = serials.as_slice() else { continue };
                ensure!(!shown.is_empty() && shown.iter().all(|one| one == held), "{name}: {serials:?}");
            }
            Ok(())
        })
        .await
    }

    /// Of each proxy that is connected: the serial that its agent holds, then those that its Envoy has loaded under
    /// its name and those that its listeners present.
    ///
    /// # Errors
    /// The server does not answer, or one of the two is not connected.
    pub async fn held(&self) -> Result<BTreeMap<String, Vec<String>>> {
        let answer = self.get("/v1/nodes").await?;
        let mut all = BTreeMap::new();
        for node in answer["nodes"].as_array().into_iter().flatten() {
            if node["connected"] != true {
                continue;
            }
            let name = node["workload"].as_str().unwrap_or_default();
            let own = format!("/{}", name.rsplit('/').next().unwrap_or_default());
            let is_own = |loaded: &&Value| {
                let uris = loaded["uris"].as_array().into_iter().flatten();
                uris.filter_map(Value::as_str).any(|uri| uri.ends_with(&own))
            };
            let loaded = node["loaded"].as_array().into_iter().flatten().filter(is_own);
            let presented = node["presented"].as_array().into_iter().flatten();
            let shown = loaded.chain(presented).filter_map(|one| one["serial"].as_str());
            let serials = node["heldSerial"].as_str().into_iter().chain(shown).map(str::to_owned);
            all.insert(name.to_owned(), serials.collect());
        }
        for node in ["mesh/m/virtualNode/server", "mesh/m/virtualNode/caller"] {
            ensure!(all.contains_key(node), "{node} is not connected: {answer}");
        }
        Ok(all)
    }

    /// What the Signet server answers.
    ///
    /// # Errors
    /// It does not, or refuses.
    pub async fn get(&self, path: &str) -> Result<Value> {
        self.bed.client.call(Method::GET, path, None).await
    }

    /// How a change of root or issuer stands.
    ///
    /// # Errors
    /// As [`Pair::get`].
    pub async fn status(&self) -> Result<Value> {
        self.get(ROTATION).await
    }

    /// Until such a change is in a phase, and how it stands then.
    ///
    /// # Errors
    /// It is not in time.
    pub async fn until(&self, phase: &str) -> Result<Value> {
        eventually(phase, PATIENCE, || async {
            let status = self.status().await?;
            ensure!(status["phase"] == phase, "{status:#}");
            Ok(status)
        })
        .await
    }

    /// Runs `signet ca …`.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn ca(&self, arguments: &[&str]) -> Result<Output> {
        let output = Command::new(&self.bed.programs.server)
            .arg("ca")
            .args(arguments)
            .env("SIGNET_ENDPOINT", &self.bed.server.ready.api)
            .env("AWS_SHARED_CREDENTIALS_FILE", self.bed.server.credentials())
            .output()?;
        Ok(output)
    }

    /// The same, and what it said.
    ///
    /// # Errors
    /// It fails; the error says what it said.
    pub fn told(&self, arguments: &[&str]) -> Result<String> {
        let output = self.ca(arguments)?;
        let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
        ensure!(output.status.success(), "signet ca {arguments:?}: {said}");
        Ok(said)
    }

    /// The root's fingerprint.
    ///
    /// # Errors
    /// As [`Pair::get`].
    pub async fn root(&self) -> Result<String> {
        let answer = self.get("/v1/ca").await?;
        Ok(answer["authorities"][0]["fingerprint"].as_str().unwrap_or_default().to_owned())
    }

    /// The handshakes between the two Envoys so far, and those that failed.
    ///
    /// # Errors
    /// An Envoy does not answer.
    pub async fn handshakes(&self) -> Result<(u64, u64)> {
        let failed = "ssl.(connection_error|fail_verify_error|fail_verify_san|fail_verify_no_cert)$";
        let server = self.server.total(&format!("listener.ingress_.*{failed}")).await?;
        let caller = self.caller.total(&format!("cluster.cds_.*{failed}")).await?;
        let shaken = self.server.total("listener.ingress_.*ssl.handshake$").await?;
        Ok((shaken, server + caller))
    }

    /// Counters of the two Envoys that grow when connections fail.
    ///
    /// # Errors
    /// An Envoy does not answer.
    pub async fn troubles(&self) -> Result<BTreeMap<String, u64>> {
        let filter = "(connect_fail|connect_timeout|overflow|not_ready|refused|reset|no_route|none_healthy|overload|fail_verify|error)";
        let mut troubles = BTreeMap::new();
        for (name, node) in [("server", &self.server), ("caller", &self.caller)] {
            let stats = node.stats(filter).await?;
            troubles.extend(stats.into_iter().map(|(stat, count)| (format!("{name}: {stat}"), count)));
        }
        Ok(troubles)
    }

    /// How often each serial number was issued, by the ledger.
    ///
    /// # Errors
    /// The server does not answer, or an entry cannot be understood.
    pub async fn issued(&self) -> Result<BTreeMap<String, u64>> {
        let mut issued = BTreeMap::new();
        for page in 0.. {
            let path = format!("/v1/audit/entries?from={}&limit={PAGE}", page * PAGE);
            let answer = self.get(&path).await?;
            let entries = answer["entries"].as_array().cloned().unwrap_or_default();
            for entry in &entries {
                let text = STANDARD.decode(entry["text"].as_str().unwrap_or_default())?;
                let stored: Value = serde_json::from_slice(&text)?;
                if stored["kind"] == "issued" {
                    *issued.entry(stored["serial"].to_string()).or_default() += 1;
                }
            }
            if entries.len() < PAGE {
                break;
            }
        }
        Ok(issued)
    }

    /// Ends both Envoys, then the Signet server, and has `signet ca verify` read its whole ledger. Tells what the
    /// server's Envoy wrote down of its clients, which is complete only once it has ended.
    ///
    /// # Errors
    /// The ledger was altered, or a client presented what had ended or not begun.
    pub async fn end(self) -> Result<Clients> {
        let Self { bed, mut server, mut caller, .. } = self;
        caller.sidecar.stop().await;
        server.sidecar.stop().await;
        let (log, data) = (bed.path(CONNECTIONS), bed.server.ready.data_dir.clone());
        let folder = bed.end().await;
        let output = Command::new(program()?).args(["ca", "verify", "--data-dir"]).arg(&data).output()?;
        let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
        ensure!(output.status.success(), "signet ca verify: {said}");
        let clients = clients_in(&log)?;
        ensure!(clients.untimely.is_empty(), "ended or not begun: {:?}", clients.untimely);
        drop(folder);
        Ok(clients)
    }
}

fn clients_in(log: &PathBuf) -> Result<Clients> {
    let mut clients = Clients::default();
    for line in std::fs::read_to_string(log)?.lines() {
        let [began, serial, not_before, not_after] = line.split(' ').collect::<Vec<_>>()[..] else {
            continue;
        };
        // Without a certificate there is a dash: the observer, and agents, hang up before they show any.
        let (Ok(began), Ok(not_before), Ok(not_after)) =
            (began.parse::<i64>(), not_before.parse::<i64>(), not_after.parse::<i64>())
        else {
            continue;
        };
        *clients.connections.entry(serial.to_owned()).or_default() += 1;
        if !(not_before..=not_after).contains(&began) {
            clients.untimely.push(line.to_owned());
        }
    }
    Ok(clients)
}
