//! One node's proxies, resource by resource.

use anyhow::Result;
use clap::Args;
use comfy_table::{Table, presets::NOTHING};
use signet_controlplane::proxies::{ProxyDetail, ResourceView};
use signet_policies::time::Clock;

use super::{NodeArgs, Told, details, refused, secrets};
use crate::{WrongUsage, format::Format};

/// Digits of a version that are shown to people.
const DIGITS: usize = 12;

/// Flags of `signet proxies show`.
#[derive(Args, Clone, Debug)]
pub struct ShowArgs {
    #[command(flatten)]
    node: NodeArgs,
    /// With every resource in full, as Envoy's /config_dump writes it; for --format json
    #[arg(long)]
    config: bool,
}

pub(super) async fn run(ShowArgs { node, config }: ShowArgs, clock: Clock) -> Result<()> {
    if config && node.format == Format::Table {
        return Err(WrongUsage("--config shows what no table holds; say --format json too".to_owned()).into());
    }
    let client = node.connect.client(clock)?;
    let (told, mut json) = details(&client, &node.node, config).await?;
    // Whoever may see this workload's proxies alone may not list agents.
    let agents = secrets::told(&client, &node.node).await;
    match node.format {
        Format::Json => {
            if let Ok(agents) = agents {
                json["agents"] = serde_json::to_value(agents)?;
            }
            println!("{}", serde_json::to_string_pretty(&json)?);
        }
        Format::Table => {
            match told.proxies.is_empty() {
                true => println!("no Envoy of {} is connected", node.node),
                false => print(&told),
            }
            match agents {
                Ok(agents) => agents.iter().for_each(secrets::Agent::print),
                Err(error) => println!("secrets are not shown: {error:#}"),
            }
        }
    }
    Ok(())
}

/// As much of a version as is shown to people.
pub(super) fn digits(version: &str) -> String {
    version.chars().take(DIGITS).collect()
}

fn print(Told { identity, proxies }: &Told) {
    for ProxyDetail { proxy, resources } in proxies {
        let envoy = proxy.envoy.as_deref().unwrap_or("of unknown version");
        println!("{} on {}, Envoy {envoy}", proxy.workload, proxy.ingress_address);
        println!("  identity   {identity}\n  connected  since {}", proxy.connected_since);
        let stale = proxy.stale_since.as_ref().map_or(String::new(), |since| format!(" since {since}"));
        println!("  status     {}{stale}\n", format!("{:?}", proxy.status).to_lowercase());
        println!("{}\n", table(resources));
        let refused = refused::now(proxy);
        if !refused.is_empty() {
            println!("{refused}");
        }
    }
}

fn table(resources: &[ResourceView]) -> Table {
    let mut table = Table::new();
    let header = ["TYPE", "NAME", "VERSION", "STATE", "SINCE REVISION", "HOSTS"];
    table.load_preset(NOTHING).set_header(header);
    for one in resources {
        let version = one.wanted.as_ref().or(one.accepted.as_ref()).or(one.sent.as_ref());
        let hosts = one.hosts.iter().flatten().cloned().collect::<Vec<_>>().join(" ");
        table.add_row([
            one.kind.clone(),
            one.name.clone(),
            version.map_or("-".to_owned(), |version| digits(version)),
            format!("{:?}", one.state).to_lowercase(),
            one.revision.map_or("-".to_owned(), |revision| revision.to_string()),
            hosts,
        ]);
    }
    table
}
