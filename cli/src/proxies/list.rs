//! The list of proxies, and of what they refused.

use anyhow::{Context, Result};
use clap::Args;
use comfy_table::{Table, presets::NOTHING};
use http::Method;
use serde::{Deserialize, Serialize};
use signet_controlplane::{
    proxies::{GoneView, ProxyState, ProxyView, RefusalView},
    reconcile::PortView,
};
use signet_policies::{
    identity::{ResourceName, Workload},
    time::Clock,
};

use super::{
    refused,
    secrets::{self, Agent},
};
use crate::{connect::ConnectArgs, format::Format};

/// Flags of `signet proxies` alone, and of `signet proxies history`.
#[derive(Args, Clone, Debug)]
pub struct ListArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    filter: Filter,
    /// How to print
    #[arg(long, default_value = "table")]
    format: Format,
}

#[derive(Args, Clone, Debug)]
struct Filter {
    /// Those of this mesh only
    #[arg(long, value_name = "NAME")]
    mesh: Option<ResourceName>,
    /// Those of this node or gateway only: mesh/MESH/virtualNode/NAME
    #[arg(long, value_name = "WORKLOAD")]
    workload: Option<Workload>,
}

impl Filter {
    fn passes(&self, workload: &str) -> bool {
        let of_mesh = |mesh: &ResourceName| workload.starts_with(&format!("mesh/{mesh}/"));
        let is_it = |wanted: &Workload| wanted.to_string() == workload;
        self.mesh.as_ref().is_none_or(of_mesh) && self.workload.as_ref().is_none_or(is_it)
    }
}

/// What `/v1/proxies` answers.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    revision: u64,
    fed_revision: u64,
    proxies: Vec<ProxyView>,
    #[serde(default)]
    gone: Vec<GoneView>,
    /// Agents whose certificates ended while they were away.
    #[serde(default)]
    expired: Vec<Agent>,
    ports: Vec<PortView>,
}

/// What `/v1/proxies/refusals` answers.
#[derive(Deserialize, Serialize)]
struct Refusals {
    refusals: Vec<RefusalView>,
}

/// Prints the proxies.
pub(super) async fn run(args: ListArgs, clock: Clock) -> Result<()> {
    let client = args.connect.client(clock)?;
    let answer = client.call(Method::GET, "/v1/proxies", None).await?;
    let mut answer: Answer =
        serde_json::from_value(answer).context("the server's answer is no list of proxies")?;
    answer.expired = secrets::expired(&client).await?;
    answer.expired.retain(|agent| args.filter.passes(agent.workload()));
    answer.proxies.retain(|proxy| args.filter.passes(&proxy.workload));
    answer.gone.retain(|proxy| args.filter.passes(&proxy.workload));
    let of_port = |port: &PortView| port.port.rsplit_once(':').map(|(workload, _)| workload.to_owned());
    answer.ports.retain(|port| of_port(port).is_some_and(|workload| args.filter.passes(&workload)));
    match args.format {
        Format::Json => println!("{}", serde_json::to_string_pretty(&answer)?),
        Format::Table => print_table(&answer),
    }
    Ok(())
}

/// Prints what was refused.
pub(super) async fn history(args: ListArgs, clock: Clock) -> Result<()> {
    let answer = args.connect.client(clock)?.call(Method::GET, "/v1/proxies/refusals", None).await?;
    let mut answer: Refusals =
        serde_json::from_value(answer).context("the server's answer is no list of refusals")?;
    answer.refusals.retain(|refusal| args.filter.passes(&refusal.workload));
    match args.format {
        Format::Json => println!("{}", serde_json::to_string_pretty(&answer)?),
        Format::Table if answer.refusals.is_empty() => {
            println!("nothing was refused, as far as the server remembers")
        }
        Format::Table => answer.refusals.iter().for_each(|refusal| println!("{}", refused::then(refusal))),
    }
    Ok(())
}

fn print_table(answer: &Answer) {
    if answer.proxies.is_empty() {
        println!("no Envoy is connected");
    } else {
        println!("{}\n\n{}", table(&answer.proxies), counts(&answer.proxies));
    }
    let refused: Vec<String> =
        answer.proxies.iter().map(refused::now).filter(|text| !text.is_empty()).collect();
    if !refused.is_empty() {
        println!("\n{}", refused.join("\n").trim_end());
    }
    for GoneView { workload, ingress_address, gone_for_seconds } in &answer.gone {
        println!("{workload} on {ingress_address} left {gone_for_seconds} s ago and is waited for");
    }
    answer.expired.iter().for_each(Agent::print);
    for port in answer.ports.iter().filter(|port| !port.settled) {
        println!("{} is changing its TLS mode; waiting for {}", port.port, port.waiting_for.join(", "));
    }
}

fn counts(proxies: &[ProxyView]) -> String {
    let count = |state| proxies.iter().filter(|proxy| proxy.status == state).count();
    let (synced, pending) = (count(ProxyState::Synced), count(ProxyState::Pending));
    let rejected = count(ProxyState::Rejected);
    format!("{} connected: {synced} synced, {pending} pending, {rejected} rejected", proxies.len())
}

/// The table of proxies.
fn table(proxies: &[ProxyView]) -> Table {
    let mut table = Table::new();
    let header = ["WORKLOAD", "ADDRESS", "STATUS", "STALE SINCE", "ENVOY", "CONNECTED SINCE"];
    table.load_preset(NOTHING).set_header(header);
    for proxy in proxies {
        table.add_row([
            proxy.workload.clone(),
            proxy.ingress_address.clone(),
            format!("{:?}", proxy.status).to_lowercase(),
            proxy.stale_since.clone().unwrap_or_else(|| "-".to_owned()),
            proxy.envoy.clone().unwrap_or_else(|| "-".to_owned()),
            proxy.connected_since.clone(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use signet_controlplane::proxies::RejectionView;

    use super::*;

    #[test]
    fn a_rejected_proxy_is_counted_and_shown_with_since_when() {
        let rejection = RejectionView {
            kind: "listener".into(),
            name: "lds_ingress".into(),
            version: "1".into(),
            reason: "cannot bind".into(),
            suspected: false,
            revision: Some(7),
            changes: Vec::new(),
        };
        let proxy = ProxyView {
            workload: "mesh/m/virtualNode/a".into(),
            ingress_address: "127.0.0.1".into(),
            envoy: Some("1.40.0".into()),
            instance: None,
            connected_since: "2026-11-23T08:00:00Z".into(),
            status: ProxyState::Rejected,
            stale_since: Some("2026-11-23T08:05:00Z".into()),
            rejections: vec![rejection],
        };
        assert_eq!(counts(std::slice::from_ref(&proxy)), "1 connected: 0 synced, 0 pending, 1 rejected");
        let text = table(&[proxy]).to_string();
        assert!(
            text.contains("mesh/m/virtualNode/a")
                && text.contains("rejected")
                && text.contains("2026-11-23T08:05:00Z"),
            "{text}"
        );
    }

    #[test]
    fn a_filter_takes_the_mesh_by_its_whole_name() {
        let filter = Filter { mesh: Some("shop".parse().unwrap()), workload: None };
        assert!(filter.passes("mesh/shop/virtualNode/a") && !filter.passes("mesh/shop-2/virtualNode/a"));
        let one = Filter { mesh: None, workload: Some("mesh/shop/virtualNode/a".parse().unwrap()) };
        assert!(one.passes("mesh/shop/virtualNode/a") && !one.passes("mesh/shop/virtualGateway/a"));
    }
}
