//! `signet proxies`.

use anyhow::Result;
use clap::Args;
use comfy_table::{Table, presets::NOTHING};
use http::Method;
use serde::Deserialize;
use signet_controlplane::{
    proxies::{ProxyView, RejectionView},
    reconcile::PortView,
};
use signet_policies::time::Clock;

use crate::{connect::ConnectArgs, format::Format};

/// Examples for `--help`.
pub const HELP: &str = "Examples:\n  signet proxies\n  signet proxies --format json\n\n\
    STATUS is synced (Envoy accepted everything), pending (something was sent and not answered), or rejected\n\
    (Envoy refused a resource; REASON says which and why; it is sent again once it changes).";

/// Flags of `signet proxies`.
#[derive(Args, Clone, Debug)]
pub struct ProxiesArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// How to print
    #[arg(long, default_value = "table")]
    format: Format,
}

/// Prints every connected proxy.
///
/// # Errors
/// The server refuses, or cannot be reached.
pub async fn run(args: ProxiesArgs, clock: Clock) -> Result<()> {
    let answer = args.connect.client(clock)?.call(Method::GET, "/v1/proxies", None).await?;
    match args.format {
        Format::Json => println!("{}", serde_json::to_string_pretty(&answer)?),
        Format::Table => print_table(&serde_json::from_value(answer)?),
    }
    Ok(())
}

/// What `/v1/proxies` answers.
#[derive(Deserialize)]
struct Answer {
    proxies: Vec<ProxyView>,
    ports: Vec<PortView>,
}

fn print_table(answer: &Answer) {
    if answer.proxies.is_empty() {
        println!("no Envoy is connected");
    } else {
        println!("{}", table(&answer.proxies));
    }
    for port in answer.ports.iter().filter(|port| !port.settled) {
        println!("{} is changing its TLS mode; waiting for {}", port.port, port.waiting_for.join(", "));
    }
}

/// The table of proxies.
fn table(proxies: &[ProxyView]) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(["WORKLOAD", "STATUS", "ENVOY", "CONNECTED SINCE", "REASON"]);
    for proxy in proxies {
        let reasons: Vec<String> = proxy.rejections.iter().map(reason).collect();
        table.add_row([
            proxy.workload.clone(),
            format!("{:?}", proxy.status).to_lowercase(),
            proxy.envoy.clone().unwrap_or_else(|| "-".to_owned()),
            proxy.connected_since.clone(),
            reasons.join("; "),
        ]);
    }
    table
}

/// What was refused, why, and since which change of the mesh.
fn reason(one: &RejectionView) -> String {
    let change = one.revision.map_or(String::new(), |revision| format!(" (since revision {revision})"));
    format!("{} {}: {}{change}", one.kind, one.name, one.reason)
}

#[cfg(test)]
mod tests {
    use signet_controlplane::proxies::ProxyState;

    use super::*;

    #[test]
    fn a_rejected_proxy_is_shown_with_resource_and_reason() {
        let rejection = RejectionView {
            kind: "listener".into(),
            name: "lds_ingress".into(),
            version: "1".into(),
            reason: "cannot bind".into(),
            suspected: false,
            revision: Some(7),
        };
        let proxy = ProxyView {
            workload: "mesh/m/virtualNode/a".into(),
            ingress_address: "127.0.0.1".into(),
            envoy: Some("1.40.0".into()),
            instance: None,
            connected_since: "2026-11-23T08:00:00Z".into(),
            status: ProxyState::Rejected,
            rejections: vec![rejection],
        };
        let text = table(&[proxy]).to_string();
        assert!(
            text.contains("mesh/m/virtualNode/a")
                && text.contains("listener lds_ingress: cannot bind (since revision 7)"),
            "{text}"
        );
    }
}
