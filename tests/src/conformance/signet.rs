//! Our own server, changed through its signed API.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use async_trait::async_trait;
use http::Method;
use serde_json::{Value, json};
use signet::client::Client;
use signet_xds::{
    ResourceType,
    pb::{
        envoy::config::core::v3::Node,
        google::protobuf::{Struct, Value as Field, value::Kind},
    },
};
use tokio::sync::Mutex;

use super::{Driver, World};
use crate::eventually;

/// The virtual node that the conformance client stands for.
pub const NODE: &str = "caller";

/// A mesh of its own on a Signet server.
pub struct Signet {
    client: Client,
    mesh: String,
    log: Option<PathBuf>,
    /// What was last written under each path.
    written: Mutex<BTreeMap<String, Value>>,
}

/// How long the server may take to feed proxies what was written.
const FED: Duration = Duration::from_secs(10);

impl Signet {
    /// Makes the mesh. `log` is the server's, where it can be read.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn start(client: Client, mesh: &str, log: Option<PathBuf>) -> Result<Self> {
        let signet = Self { client, mesh: mesh.to_owned(), log, written: Mutex::default() };
        signet.publish(World::Base).await?;
        Ok(signet)
    }

    /// The node as its agent would describe it.
    #[must_use]
    pub fn node(&self) -> Node {
        let place = [("interception", "none"), ("ingressAddress", "127.0.0.77"), ("egressPort", "15001")];
        let text = |value: &str| Field { kind: Some(Kind::StringValue(value.to_owned())) };
        let fields = place.into_iter().map(|(key, value)| (key.to_owned(), text(value))).collect();
        let signet = Field { kind: Some(Kind::StructValue(Struct { fields })) };
        let metadata = Some(Struct { fields: [("signet".to_owned(), signet)].into() });
        Node { id: format!("mesh/{}/virtualNode/{NODE}", self.mesh), metadata, ..Node::default() }
    }

    fn cluster(&self, node: &str) -> String {
        format!("cds_egress_{}_{node}_http_8080", self.mesh)
    }

    /// Every resource of a world: its path below the mesh, and what is written there.
    fn resources(&self, world: World) -> Vec<(String, Value)> {
        let callee = |name: &str, discovery: Value| {
            let listeners = json!([{"portMapping": {"port": 8080, "protocol": "http"}}]);
            let spec = json!({"listeners": listeners, "serviceDiscovery": discovery});
            (format!("virtualNodes/{name}"), json!({"virtualNodeName": name, "spec": spec}))
        };
        let dns = |name: &str, is_changed: bool| {
            let domain = if is_changed { "changed" } else { "local" };
            json!({"dns": {"hostname": format!("{name}.{domain}.invalid")}})
        };
        let service = |name: &str, provider: Value| {
            let name = format!("{name}.{}.local", self.mesh);
            (
                format!("virtualServices/{name}"),
                json!({"virtualServiceName": name, "spec": {"provider": provider}}),
            )
        };
        let to_node = |name: &str| json!({"virtualNode": {"virtualNodeName": name}});
        let target = if world == World::Moved { "y" } else { "x" };
        let route = json!({"httpRoute": {
            "match": {"prefix": "/"},
            "action": {"weightedTargets": [{"virtualNode": target, "weight": 1}]},
        }});
        let mut backends = vec!["routed", "z", "eds"];
        if world == World::Grown {
            backends.push("fresh");
        }
        let backends: Vec<Value> = backends
            .iter()
            .map(|name| json!({"virtualService": {"virtualServiceName": format!("{name}.{}.local", self.mesh)}}))
            .collect();
        let caller = json!({
            "listeners": [{"portMapping": {"port": 8081, "protocol": "http"}}],
            "serviceDiscovery": {"dns": {"hostname": "caller.invalid"}},
            "backends": backends,
        });
        let router = json!({"listeners": [{"portMapping": {"port": 8080, "protocol": "http"}}]});
        let cloud_map =
            json!({"awsCloudMap": {"namespaceName": "conformance.invalid", "serviceName": "eds"}});
        let mut resources = vec![
            callee("x", dns("x", world == World::Changed)),
            callee("y", dns("y", false)),
            callee("z", dns("z", world == World::ChangedOther)),
            callee("fresh", dns("fresh", false)),
            callee("eds", cloud_map),
            ("virtualRouters/r".to_owned(), json!({"virtualRouterName": "r", "spec": router})),
            ("virtualRouter/r/routes/all".to_owned(), json!({"routeName": "all", "spec": route})),
            service("routed", json!({"virtualRouter": {"virtualRouterName": "r"}})),
            service("z", to_node("z")),
            service("fresh", to_node("fresh")),
            service("eds", to_node("eds")),
        ];
        if world != World::NoNode {
            let path = format!("virtualNodes/{NODE}");
            resources.push((path, json!({"virtualNodeName": NODE, "spec": caller})));
        }
        resources
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        self.client.call(method, &format!("/v20190125/meshes{path}"), body).await
    }

    /// Writes one resource: updates it, or creates it where it is not there.
    async fn write(&self, path: &str, body: &Value) -> Result<()> {
        let at = format!("/{}/{path}", self.mesh);
        if self.call(Method::PUT, &at, Some(&json!({"spec": body["spec"]}))).await.is_ok() {
            return Ok(());
        }
        let (collection, _) = at.rsplit_once('/').context("a path of two parts")?;
        self.call(Method::PUT, collection, Some(body))
            .await
            .with_context(|| format!("cannot make {path}"))?;
        Ok(())
    }

    async fn proxies(&self) -> Result<Value> {
        self.client.call(Method::GET, "/v1/proxies", None).await
    }
}

#[async_trait]
impl Driver for Signet {
    async fn publish(&self, world: World) -> Result<()> {
        let mut written = self.written.lock().await;
        if written.is_empty() && self.call(Method::GET, &format!("/{}", self.mesh), None).await.is_err() {
            self.call(Method::PUT, "", Some(&json!({"meshName": self.mesh}))).await?;
        }
        let wanted = self.resources(world);
        for (path, body) in &wanted {
            if written.get(path) != Some(body) {
                self.write(path, body).await?;
                written.insert(path.clone(), body.clone());
            }
        }
        let own = format!("virtualNodes/{NODE}");
        if world == World::NoNode && written.remove(&own).is_some() {
            self.call(Method::DELETE, &format!("/{}/{own}", self.mesh), None).await?;
        }
        eventually("every proxy is fed from the newest model", FED, || async {
            let answer = self.proxies().await?;
            ensure!(answer["revision"] == answer["fedRevision"], "{answer}");
            Ok(())
        })
        .await
    }

    fn can(&self, world: World, kind: ResourceType) -> bool {
        let changes_clusters = matches!(
            world,
            World::Changed | World::ChangedOther | World::Grown | World::Moved | World::NoNode | World::Base
        );
        changes_clusters && kind == ResourceType::Cluster
    }

    fn changing(&self, _: ResourceType) -> String {
        self.cluster("x")
    }

    fn other(&self, _: ResourceType) -> String {
        self.cluster("z")
    }

    fn fresh(&self, _: ResourceType) -> String {
        self.cluster("fresh")
    }

    fn moved(&self) -> (String, String) {
        (self.cluster("x"), self.cluster("y"))
    }

    fn names(&self, kind: ResourceType) -> Vec<String> {
        match kind {
            ResourceType::Route => {
                ["rds_ingress_http_8081", "rds_egress_http_15001"].map(str::to_owned).to_vec()
            }
            ResourceType::Endpoint => vec![self.cluster("eds")],
            ResourceType::Cluster | ResourceType::Listener | ResourceType::Secret => Vec::new(),
        }
    }

    fn by_eds(&self) -> Option<(String, String)> {
        None
    }

    async fn is_synced(&self) -> Result<bool> {
        let answer = self.proxies().await?;
        let workload = format!("mesh/{}/virtualNode/{NODE}", self.mesh);
        let proxies = answer["proxies"].as_array().context("no proxies in the answer")?;
        let Some(newest) = proxies.iter().rfind(|proxy| proxy["workload"] == workload.as_str()) else {
            bail!("{workload} is not connected: {answer}");
        };
        Ok(newest["status"] == "synced")
    }

    async fn shown(&self) -> Result<String> {
        let log = self.log.as_ref().map(std::fs::read_to_string).transpose()?.unwrap_or_default();
        Ok(format!("{log}\n{}", self.proxies().await?))
    }
}
