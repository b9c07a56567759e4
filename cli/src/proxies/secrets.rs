//! What the agents of a workload say of its proxies' secrets.

use anyhow::{Context as _, Result};
use comfy_table::{Table, presets::NOTHING};
use http::Method;
use serde::{Deserialize, Serialize};
use signet_policies::identity::Workload;

use super::show::digits;
use crate::client::Client;

/// One agent's last report.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Agent {
    workload: String,
    instance: String,
    connected: bool,
    /// When its certificate ended while it was away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expired_at: Option<String>,
    reported_at: String,
    secrets: Vec<Secret>,
}

/// One secret on one stream; what is empty was not said.
#[derive(Deserialize, Serialize)]
struct Secret {
    stream: String,
    name: String,
    sent: String,
    accepted: String,
    rejected: String,
    reason: String,
}

#[derive(Deserialize)]
struct Nodes {
    nodes: Vec<Agent>,
}

/// Asks the server for it.
pub(super) async fn told(client: &Client, workload: &Workload) -> Result<Vec<Agent>> {
    let workload = workload.to_string();
    Ok(all(client).await?.into_iter().filter(|agent| agent.workload == workload).collect())
}

/// Asks the server for agents whose certificates ended while they were away.
pub(super) async fn expired(client: &Client) -> Result<Vec<Agent>> {
    Ok(all(client).await?.into_iter().filter(|agent| agent.expired_at.is_some()).collect())
}

async fn all(client: &Client) -> Result<Vec<Agent>> {
    let answer = client.call(Method::GET, "/v1/nodes", None).await?;
    let Nodes { nodes } =
        Nodes::deserialize(answer).context("the server's answer does not tell of agents")?;
    Ok(nodes)
}

impl Agent {
    /// Whose it is.
    pub(super) fn workload(&self) -> &str {
        &self.workload
    }

    /// Its secrets as a table, and why any of them is refused.
    pub(super) fn print(&self) {
        let Self { workload, instance, connected, expired_at, reported_at, secrets } = self;
        if let Some(expired_at) = expired_at {
            println!(
                "the certificate of {workload} on {instance} ended at {expired_at} while its agent was away; it needs a token to \
                 come back (signet token create, --token-file), or is forgotten (signet ca forget {workload}/{instance})"
            );
            return;
        }
        let gone = if *connected { "" } else { ", not connected now" };
        println!("secrets from the agent of {workload} on {instance}, as of {reported_at}{gone}\n");
        if secrets.is_empty() {
            println!("nothing asks it for a secret\n");
            return;
        }
        let mut table = Table::new();
        table.load_preset(NOTHING).set_header(["STREAM", "SECRET", "VERSION", "STATE"]);
        for secret in secrets {
            let version = if secret.sent.is_empty() { &secret.accepted } else { &secret.sent };
            let Secret { stream, name, .. } = secret;
            table.add_row([stream.clone(), name.clone(), digits(version), secret.state().to_owned()]);
        }
        println!("{table}\n");
        for Secret { name, rejected, reason, .. } in secrets.iter().filter(|it| !it.rejected.is_empty()) {
            println!("{name} {} was refused: {reason}\n", digits(rejected));
        }
    }
}

impl Secret {
    /// In the words of the other resources.
    fn state(&self) -> &'static str {
        match (&*self.sent, &*self.accepted, &*self.rejected) {
            (sent, _, rejected) if !rejected.is_empty() && rejected == sent => "rejected",
            ("", "", _) => "unserved",
            (sent, accepted, _) if sent == accepted || sent.is_empty() => "acked",
            _ => "pending",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_acked_pending_rejected_or_unserved() {
        let state = |[sent, accepted, rejected]: [&str; 3]| {
            let [sent, accepted, rejected] = [sent, accepted, rejected].map(ToOwned::to_owned);
            let (stream, name, reason) = (String::new(), String::new(), String::new());
            Secret { stream, name, sent, accepted, rejected, reason }.state()
        };
        assert_eq!(state(["02", "02", ""]), "acked");
        assert_eq!(state(["", "02", ""]), "acked", "it brought along what is served");
        assert_eq!(state(["02", "01", ""]), "pending");
        assert_eq!(state(["02", "01", "02"]), "rejected");
        assert_eq!(state(["03", "01", "02"]), "pending", "what was refused has been followed");
        assert_eq!(state(["", "", ""]), "unserved");
    }
}
