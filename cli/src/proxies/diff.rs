//! What the server sent against what an Envoy says it runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    process::ExitCode,
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use comfy_table::{Table, presets::NOTHING};
use serde::Serialize;
use serde_json::{Value, json};
use signet_controlplane::proxies::{ProxyDetail, ResourceState, ResourceView};
use signet_policies::{identity::Workload, time::Clock};

use super::{NodeArgs, details};
use crate::{format::Format, local::admin::Admin};

/// Flags of `signet proxies diff`.
#[derive(Args, Clone, Debug)]
pub struct DiffArgs {
    #[command(flatten)]
    node: NodeArgs,
    /// The Envoy's admin interface
    #[arg(long, env = "SIGNET_ADMIN_ADDR", value_name = "IP:PORT", default_value = "127.0.0.1:9901")]
    admin_addr: SocketAddr,
}

/// What an Envoy runs of one resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Runs {
    active: Option<String>,
    warming: Option<String>,
    /// Its words on the last version that it refused.
    refused: Option<String>,
}

/// One resource in which the two differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Difference {
    kind: String,
    name: String,
    difference: String,
}

pub(super) async fn run(DiffArgs { node, admin_addr }: DiffArgs, clock: Clock) -> Result<ExitCode> {
    let admin = Admin::new(admin_addr);
    let dump = admin.json("/config_dump").await?;
    let (id, ingress, instance) = who(&dump).context("the config dump does not say whose Envoy it is")?;
    let is_it = id.parse::<Workload>().is_ok_and(|workload| workload == node.node);
    ensure!(
        is_it,
        "the Envoy at {admin_addr} is {id}'s, not {}'s; name its admin address with --admin-addr",
        node.node
    );
    let (told, _) = details(&node.connect.client(clock)?, &node.node).await?;
    let is_same =
        |detail: &&ProxyDetail| detail.proxy.ingress_address == ingress && detail.proxy.instance == instance;
    let detail = told.proxies.iter().find(is_same);
    let detail = detail.with_context(|| format!("the server knows no Envoy of {id} on {ingress}"))?;
    let hosts = hosts(&admin.json("/clusters?format=json").await?);
    let differences = compare(detail, &running(&dump), &hosts);
    match node.format {
        Format::Json => {
            let answer = json!({"workload": id, "ingressAddress": ingress, "differences": differences});
            println!("{}", serde_json::to_string_pretty(&answer)?);
        }
        Format::Table if differences.is_empty() => {
            let count = detail.resources.iter().filter(|one| one.state == ResourceState::Acked).count();
            println!("{id} on {ingress} runs what it was sent: {count} resources");
        }
        Format::Table => println!("{}", table(&differences)),
    }
    Ok(if differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The node's id, the address that the agent gave it, and which of the node's proxies it is.
fn who(dump: &Value) -> Option<(String, String, Option<String>)> {
    let node = dump["configs"].as_array()?.iter().find_map(|config| config["bootstrap"].get("node"))?;
    let ingress = node["metadata"]["signet"]["ingressAddress"].as_str()?;
    let instance = node["metadata"]["signet"]["instance"].as_str().map(str::to_owned);
    Some((node["id"].as_str()?.to_owned(), ingress.to_owned(), instance))
}

/// What the dump says of everything that came over xDS, by kind and name. Each version is the hash of a content.
fn running(dump: &Value) -> BTreeMap<(&'static str, String), Runs> {
    let mut all: BTreeMap<(&'static str, String), Runs> = BTreeMap::new();
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let each = |member: &'static str| {
        let lists = dump["configs"].as_array().into_iter().flatten();
        lists.filter_map(move |config| config[member].as_array()).flatten()
    };
    for (member, is_active) in [("dynamic_active_clusters", true), ("dynamic_warming_clusters", false)] {
        for cluster in each(member) {
            let Some(name) = text(&cluster["cluster"]["name"]) else { continue };
            let runs = all.entry(("cluster", name)).or_default();
            let version = text(&cluster["version_info"]);
            if is_active {
                runs.active = version
            } else {
                runs.warming = version
            }
            runs.refused = text(&cluster["error_state"]["details"]).or(runs.refused.take());
        }
    }
    for listener in each("dynamic_listeners") {
        let Some(name) = text(&listener["name"]) else { continue };
        let runs = all.entry(("listener", name)).or_default();
        runs.active = text(&listener["active_state"]["version_info"]);
        runs.warming = text(&listener["warming_state"]["version_info"]);
        runs.refused = text(&listener["error_state"]["details"]);
    }
    for routes in each("dynamic_route_configs") {
        let Some(name) = text(&routes["route_config"]["name"]) else { continue };
        let runs = all.entry(("route", name)).or_default();
        runs.active = text(&routes["version_info"]);
        runs.refused = text(&routes["error_state"]["details"]);
    }
    all
}

/// The hosts of every cluster, as `address:port`.
fn hosts(clusters: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let statuses = clusters["cluster_statuses"].as_array().into_iter().flatten();
    let host = |host: &Value| {
        let socket = &host["address"]["socket_address"];
        let (address, port) = (socket["address"].as_str()?, socket["port_value"].as_u64()?);
        Some(if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") })
    };
    let hosts = |status: &Value| {
        let hosts = status["host_statuses"].as_array().into_iter().flatten().filter_map(host).collect();
        Some((status["name"].as_str()?.to_owned(), hosts))
    };
    statuses.filter_map(hosts).collect()
}

fn compare(
    detail: &ProxyDetail,
    running: &BTreeMap<(&'static str, String), Runs>,
    hosts: &BTreeMap<String, BTreeSet<String>>,
) -> Vec<Difference> {
    let none = Runs::default();
    let mut differences = Vec::new();
    let mut differs = |kind: &str, name: &str, difference: String| {
        differences.push(Difference { kind: kind.to_owned(), name: name.to_owned(), difference });
    };
    let mut known = BTreeSet::new();
    for one in &detail.resources {
        known.insert((one.kind.as_str(), one.name.as_str()));
        if one.kind == "endpoint" {
            let runs = hosts.get(&one.name).cloned().unwrap_or_default();
            if let Some(difference) = of_hosts(one, &runs) {
                differs(&one.kind, &one.name, difference);
            }
            continue;
        }
        let runs = running.iter().find(|((kind, name), _)| *kind == one.kind && *name == one.name);
        if let Some(difference) = of_version(one, runs.map_or(&none, |(_, runs)| runs)) {
            differs(&one.kind, &one.name, difference);
        }
    }
    for ((kind, name), _) in
        running.iter().filter(|((kind, name), _)| !known.contains(&(*kind, name.as_str())))
    {
        differs(kind, name, "Envoy runs it, and the server did not send it".to_owned());
    }
    differences
}

fn of_version(one: &ResourceView, runs: &Runs) -> Option<String> {
    let refused = runs.refused.as_ref().map_or(String::new(), |why| format!("; it refused another: {why}"));
    match (one.wanted.as_deref(), runs.active.as_deref(), runs.warming.as_deref()) {
        (Some(wanted), Some(active), None) if wanted == active => None,
        (Some(wanted), _, Some(warming)) if wanted == warming => {
            Some("Envoy warms it, and does not use it yet".to_owned())
        }
        (Some(wanted), Some(active), _) => {
            Some(format!("Envoy runs version {active}, and is to run {wanted}{refused}"))
        }
        // Nothing that it runs names it, so it need not ask for it.
        (Some(_), None, None) if one.state == ResourceState::Unasked => None,
        (Some(wanted), None, _) => Some(format!("Envoy runs none, and is to run version {wanted}{refused}")),
        (None, Some(_), _) => Some("Envoy runs it, and is to let go of it".to_owned()),
        (None, None, _) => None,
    }
}

fn of_hosts(one: &ResourceView, runs: &BTreeSet<String>) -> Option<String> {
    let wanted = one.hosts.as_ref()?;
    if one.state == ResourceState::Unasked || wanted == runs {
        return None;
    }
    let list = |hosts: Vec<&String>| hosts.into_iter().cloned().collect::<Vec<_>>().join(", ");
    let missing = list(wanted.difference(runs).collect());
    let extra = list(runs.difference(wanted).collect());
    Some(match (missing.is_empty(), extra.is_empty()) {
        (false, true) => format!("Envoy does not call {missing}"),
        (true, false) => format!("Envoy calls {extra}, which is gone"),
        _ => format!("Envoy calls {extra} in place of {missing}"),
    })
}

fn table(differences: &[Difference]) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(["TYPE", "NAME", "DIFFERENCE"]);
    for Difference { kind, name, difference } in differences {
        table.add_row([kind, name, difference]);
    }
    table
}

#[cfg(test)]
mod tests;
