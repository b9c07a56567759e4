//! What the server sent against what an Envoy says it runs.

mod fields;
mod running;

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

use self::{
    fields::Field,
    running::{Runs, hosts, running},
};
use super::{NodeArgs, details};
use crate::{format::Format, local::admin::Admin};

/// Characters of a value that a table shows; JSON has all.
const WIDEST: usize = 120;

/// Flags of `signet proxies diff`.
#[derive(Args, Clone, Debug)]
pub struct DiffArgs {
    #[command(flatten)]
    node: NodeArgs,
    /// The Envoy's admin interface
    #[arg(long, env = "SIGNET_ADMIN_ADDR", value_name = "IP:PORT", default_value = "127.0.0.1:9901")]
    admin_addr: SocketAddr,
}

/// One resource in which the two differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Difference {
    kind: String,
    name: String,
    difference: String,
    /// Where, if they differ in some fields.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<Field>,
}

/// Prints the differences; the exit code says whether there are any, or that it could not be found out.
pub(super) async fn run(args: DiffArgs, clock: Clock) -> ExitCode {
    match differences(args, clock).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("signet: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether there are none.
async fn differences(DiffArgs { node, admin_addr }: DiffArgs, clock: Clock) -> Result<bool> {
    let admin = Admin::new(admin_addr);
    let dump = admin.json("/config_dump").await?;
    let (id, ingress, instance) = who(&dump).context("the config dump does not say whose Envoy it is")?;
    let is_it = id.parse::<Workload>().is_ok_and(|workload| workload == node.node);
    ensure!(
        is_it,
        "the Envoy at {admin_addr} is {id}'s, not {}'s; name its admin address with --admin-addr",
        node.node
    );
    let (told, _) = details(&node.connect.client(clock)?, &node.node, true).await?;
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
    Ok(differences.is_empty())
}

/// The node's id, the address that the agent gave it, and which of the node's proxies it is.
fn who(dump: &Value) -> Option<(String, String, Option<String>)> {
    let node = dump["configs"].as_array()?.iter().find_map(|config| config["bootstrap"].get("node"))?;
    let ingress = node["metadata"]["signet"]["ingressAddress"].as_str()?;
    let instance = node["metadata"]["signet"]["instance"].as_str().map(str::to_owned);
    Some((node["id"].as_str()?.to_owned(), ingress.to_owned(), instance))
}

fn compare(
    detail: &ProxyDetail,
    running: &BTreeMap<(&'static str, String), Runs>,
    hosts: &BTreeMap<String, BTreeSet<String>>,
) -> Vec<Difference> {
    let none = Runs::default();
    let mut differences = Vec::new();
    let mut differs = |kind: &str, name: &str, (difference, fields): (String, Vec<Field>)| {
        differences.push(Difference { kind: kind.to_owned(), name: name.to_owned(), difference, fields });
    };
    let mut known = BTreeSet::new();
    for one in &detail.resources {
        known.insert((one.kind.as_str(), one.name.as_str()));
        if one.kind == "endpoint" {
            let runs = hosts.get(&one.name).cloned().unwrap_or_default();
            if let Some(difference) = of_hosts(one, &runs) {
                differs(&one.kind, &one.name, (difference, Vec::new()));
            }
            continue;
        }
        let runs = running.iter().find(|((kind, name), _)| *kind == one.kind && *name == one.name);
        if let Some(difference) = of_content(one, runs.map_or(&none, |(_, runs)| runs)) {
            differs(&one.kind, &one.name, difference);
        }
    }
    for ((kind, name), _) in
        running.iter().filter(|((kind, name), _)| !known.contains(&(*kind, name.as_str())))
    {
        differs(kind, name, ("Envoy runs it, and the server did not send it".to_owned(), Vec::new()));
    }
    differences
}

/// Versions are compared only where there is no content to compare: Envoy 1.40 keeps a listener's old version where its
/// filter chains alone change.
fn of_content(one: &ResourceView, runs: &Runs) -> Option<(String, Vec<Field>)> {
    let which = if one.state == ResourceState::Rejected { "this one" } else { "another" };
    let refused = runs.refused.as_ref().map_or(String::new(), |why| format!("; it refused {which}: {why}"));
    let all = |difference: &str| Some((format!("{difference}{refused}"), Vec::new()));
    let fields = match (&one.config, &runs.config) {
        (Some(sent), Some(config)) => Some(fields::differences(sent, config)),
        _ => None,
    };
    let is_same = |wanted: &str, active: &str| fields.as_ref().map_or(wanted == active, Vec::is_empty);
    match (one.wanted.as_deref(), runs.active.as_deref(), runs.warming.as_deref()) {
        (Some(wanted), Some(active), None) if is_same(wanted, active) => None,
        (Some(wanted), _, Some(warming)) if wanted == warming => {
            all("Envoy warms it, and does not use it yet").map(|(text, _)| (text, fields.unwrap_or_default()))
        }
        (Some(_), Some(_), _) => {
            all("Envoy runs another version").map(|(text, _)| (text, fields.unwrap_or_default()))
        }
        // Nothing that it runs names it, so it need not ask for it.
        (Some(_), None, None) if one.state == ResourceState::Unasked => None,
        (Some(_), None, _) => all("Envoy runs none"),
        (None, Some(_), _) => Some(("Envoy runs it, and is to let go of it".to_owned(), Vec::new())),
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

/// One row for each field, and one for what differs as a whole.
fn table(differences: &[Difference]) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(["TYPE", "NAME", "DIFFERENCE", "FIELD", "SENT", "RUNS"]);
    for Difference { kind, name, difference, fields } in differences {
        if fields.is_empty() {
            table.add_row([kind, name, difference, "", "", ""]);
        }
        for (place, Field { path, sent, runs }) in fields.iter().enumerate() {
            let (sent, runs) = (short(sent.as_ref()), short(runs.as_ref()));
            let what = if place == 0 { [kind.as_str(), name, difference] } else { ["", "", ""] };
            table.add_row(what.into_iter().chain([path.as_str(), &sent, &runs]));
        }
    }
    table
}

/// A value on one line, as far as a table holds it.
fn short(value: Option<&Value>) -> String {
    let text = value.map_or("-".to_owned(), Value::to_string);
    match text.char_indices().nth(WIDEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests;
