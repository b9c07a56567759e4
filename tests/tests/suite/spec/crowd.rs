//! Random meshes in which few names, hosts and ports are used for much: what a proxy of any sort is told of them, Envoy
//! takes.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context, Result, anyhow};
use proptest::{
    strategy::{BoxedStrategy, Strategy, ValueTree},
    test_runner::TestRunner,
};
use serde_json::{Value, json};
use signet_controlplane::{
    discovery::Instances,
    model::{Document, Mesh, Model, Spec},
    translate::{self, InForce, Interception, Proxy},
};
use signet_policies::identity::{TrustDomain, Workload, WorkloadKind};
use signet_tests::{dice::Dice, envoy_binary, machine};
use signet_xds::{ResourceType, Snapshot, json::shown};

use super::{legal::resource, mend::mend};
use crate::{nodes::bootstrap, verdicts::verdict};

const MESHES: usize = 20;
const PORTS: [u16; 7] = [1, 80, 443, 8080, 15_000, 15_001, 65_535];
const NODES: [&str; 4] = ["n", "N", "n_http_80", "amazonaws"];
const ROUTERS: [&str; 2] = ["r", "s"];
const ROUTES: [&str; 4] = ["w", "x", "y", "z"];
const SERVICES: [&str; 10] =
    ["a", "A", "a.b", "a.b.", "A.B", "-", "127.0.0.1", ".a", "a..b", "default_backend"];
const HOSTS: [&str; 6] = ["127.0.0.1", "::1", "localhost", "a.b.c", "A.b.", "::ffff:1.2.3.4"];
const EXACT: [&str; 6] = ["a.b", "A.B", "/\\1", "/a\\", "/%41", "/a?b#c"];
const SUFFIXES: [&str; 4] = [".a.b", ".A.B", "..", ".-"];
const EXPRESSIONS: [&str; 3] = ["/.*", "/(?P<x>[^/]+)/.*", "\\\\1"];

/// Legal specs without end, of few names.
struct Crowd {
    runner: TestRunner,
    strategy: BoxedStrategy<(&'static str, &'static str, Value)>,
    dice: Dice,
    left: BTreeMap<&'static str, Vec<Value>>,
    trust_domain: TrustDomain,
}

impl Crowd {
    /// The same one in every run.
    fn new() -> Result<Self> {
        let (runner, strategy) = (TestRunner::deterministic(), resource()?);
        let (dice, left, trust_domain) = (Dice::new(1), BTreeMap::new(), "signet.internal".parse()?);
        Ok(Self { runner, strategy, dice, left, trust_domain })
    }

    /// A random legal spec; what crowding makes illegal is left out.
    fn spec(&mut self, root: &'static str, key: &str) -> Result<Spec> {
        loop {
            let Some(mut spec) = self.left.entry(root).or_default().pop() else {
                let tree = self.strategy.new_tree(&mut self.runner).map_err(|reason| anyhow!("{reason}"))?;
                let (_, found, spec) = tree.current();
                self.left.entry(found).or_default().push(spec);
                continue;
            };
            crowd(&mut self.dice, &mut spec);
            if root == "VirtualNodeSpec" {
                calls_everybody(&mut spec);
            }
            mend(root, &mut spec);
            if let Ok(document) = Document::parse_within(key.parse()?, spec, Some(&self.trust_domain)) {
                return Ok(document.spec().clone());
            }
        }
    }

    fn provider(&mut self) -> Value {
        match self.dice.roll(4) {
            0 => json!({}),
            1 => json!({"provider": {"virtualNode": {"virtualNodeName": *self.dice.pick(&NODES)}}}),
            _ => json!({"provider": {"virtualRouter": {"virtualRouterName": *self.dice.pick(&ROUTERS)}}}),
        }
    }

    fn mesh(&mut self) -> Result<Mesh> {
        let mut mesh = Mesh::default();
        if let Spec::Mesh(settings) = self.spec("MeshSpec", "mesh/m")? {
            mesh.settings = settings;
        }
        for name in NODES {
            if let Spec::VirtualNode(node) =
                self.spec("VirtualNodeSpec", &format!("mesh/m/virtualNode/{name}"))?
            {
                mesh.virtual_nodes.insert(name.parse()?, node);
            }
        }
        for name in ROUTERS {
            let key = format!("mesh/m/virtualRouter/{name}");
            let Spec::VirtualRouter(mut router) = self.spec("VirtualRouterSpec", &key)? else { continue };
            for route in ROUTES {
                if let Spec::Route(spec) = self.spec("RouteSpec", &format!("{key}/route/{route}"))? {
                    Arc::make_mut(&mut router).routes.insert(route.parse()?, spec);
                }
            }
            mesh.virtual_routers.insert(name.parse()?, router);
        }
        for name in SERVICES {
            let key = format!("mesh/m/virtualService/{name}").parse()?;
            if let Spec::VirtualService(service) = Document::parse(key, self.provider())?.spec() {
                mesh.virtual_services.insert(name.parse()?, Arc::clone(service));
            }
        }
        let key = "mesh/m/virtualGateway/g";
        if let Spec::VirtualGateway(mut gateway) = self.spec("VirtualGatewaySpec", key)? {
            for route in ROUTES {
                if let Spec::GatewayRoute(spec) =
                    self.spec("GatewayRouteSpec", &format!("{key}/gatewayRoute/{route}"))?
                {
                    Arc::make_mut(&mut gateway).routes.insert(route.parse()?, spec);
                }
            }
            mesh.virtual_gateways.insert("g".parse()?, gateway);
        }
        Ok(mesh)
    }

    /// One proxy of each sort.
    fn proxies(&mut self) -> Result<[Proxy; 3]> {
        let ingress_address = self.dice.pick(&["127.0.0.11", "0.0.0.0"]).parse()?;
        let egress_port = 15_001.try_into()?;
        let node = Workload::virtual_node("m", self.dice.pick::<&str>(&NODES))?;
        let gateway = Workload { kind: WorkloadKind::VirtualGateway, ..Workload::virtual_node("m", "g")? };
        let redirected = Interception::Redirected { ingress_port: 15_000.try_into()? };
        let sorts = [(node.clone(), Interception::None), (node, redirected), (gateway, Interception::None)];
        Ok(sorts.map(|(workload, interception)| Proxy {
            workload,
            interception,
            ingress_address,
            egress_port,
        }))
    }
}

/// Gives few names, ports and texts to much.
fn crowd(dice: &mut Dice, value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let of_few: Option<&[&str]> = match name.as_str() {
                    "virtualServiceName" => Some(&SERVICES),
                    "virtualNode" => Some(&NODES),
                    "hostname" => Some(&HOSTS),
                    "exact" => Some(&EXACT),
                    "suffix" => Some(&SUFFIXES),
                    "regex" => Some(&EXPRESSIONS),
                    _ => None,
                };
                match of_few {
                    Some(few) if member.is_string() && dice.roll(4) > 0 => *member = json!(*dice.pick(few)),
                    None if name == "port" => *member = json!(*dice.pick(&PORTS)),
                    None if name == "accessLog" => member["file"]["path"] = json!("/dev/null"),
                    _ => crowd(dice, member),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| crowd(dice, item)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Every service is a backend, beside those that have a policy of their own.
fn calls_everybody(spec: &mut Value) {
    let mut backends = spec["backends"].as_array().cloned().unwrap_or_default();
    for name in SERVICES {
        let is_it = |backend: &Value| backend["virtualService"]["virtualServiceName"] == name;
        if !backends.iter().any(is_it) {
            backends.push(json!({"virtualService": {"virtualServiceName": name}}));
        }
    }
    spec["backends"] = backends.into();
}

fn shown_whole(snapshot: &Snapshot) -> Result<Value> {
    let mut whole = json!({});
    // Secrets are not shown, and asked for where they are not.
    for kind in ResourceType::ALL.into_iter().filter(|kind| *kind != ResourceType::Secret) {
        let resources = snapshot.resources(kind).map(|one| shown(one).context("a resource of ours"));
        whole[kind.to_string()] = resources.collect::<Result<Value>>()?;
    }
    Ok(whole)
}

#[tokio::test]
async fn whatever_names_and_ports_meet_envoy_takes_what_proxies_of_each_sort_are_told() -> Result<()> {
    let (_machine, envoy, mut crowd) = (machine().await?, envoy_binary()?, Crowd::new()?);
    let mut judged = 0;
    for _ in 0..MESHES {
        let meshes = [("m".parse()?, Arc::new(crowd.mesh()?))].into();
        let model = Model { revision: 1, meshes, ..Model::default() };
        for proxy in crowd.proxies()? {
            let (in_force, instances) = (InForce::default(), Instances::default());
            let told = translate::snapshot(&model, &proxy, &in_force, &instances, &crowd.trust_domain);
            judged += told.resources(ResourceType::Listener).count();
            let said = verdict(&envoy, &bootstrap(&shown_whole(&told)?))?;
            assert_eq!(said, None, "{proxy:?}");
        }
    }
    assert!(judged > 3 * MESHES, "only {judged} listeners");
    Ok(())
}
