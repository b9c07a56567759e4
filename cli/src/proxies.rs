//! `signet proxies`.

mod diff;
mod list;
mod refused;
mod secrets;
mod show;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use http::Method;
use serde::Deserialize;
use signet_controlplane::proxies::ProxyDetail;
use signet_policies::{
    identity::{Workload, WorkloadKind},
    time::Clock,
};

use crate::{client::Client, connect::ConnectArgs, format::Format};

/// Examples for `--help`.
pub const HELP: &str = "Examples:\n  signet proxies\n  signet proxies --mesh shop --format json\n  \
    signet proxies show mesh/shop/virtualNode/cart\n  \
    signet proxies diff mesh/shop/virtualNode/cart --admin-addr 127.0.0.1:9901\n  \
    signet proxies history\n\n\
    STATUS is synced (Envoy accepted everything), pending (something was sent and not answered), or rejected \
    (Envoy refused a resource; what, why, and which change brought it is said below: the operation, what was \
    written, by whose key pair and when. It is sent again once it changes).";

/// Flags of `signet proxies`.
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct ProxiesArgs {
    #[command(subcommand)]
    command: Option<ProxiesCommand>,
    #[command(flatten)]
    list: list::ListArgs,
}

/// Subcommands of `signet proxies`.
#[derive(Subcommand, Clone, Debug)]
pub enum ProxiesCommand {
    /// Every connected Envoy, as `signet proxies` alone shows them
    List(list::ListArgs),
    /// What each proxy of a node or gateway was sent, and what it made of it
    #[command(after_help = "Examples:\n  signet proxies show mesh/shop/virtualNode/cart\n  \
        signet proxies show mesh/shop/virtualGateway/front --format json\n  \
        signet proxies show mesh/shop/virtualNode/cart --config --format json\n\n\
        STATE is acked (it runs what it should), pending (not answered), rejected (it runs what it had before), \
        unasked (nothing that it runs names the resource), or leaving (it is to let go, and has not said that it did).\n\
        Below stand the secrets that the agents served, as each reported last: a certificate by its serial number, roots by \
        their version. One that is unserved was asked for, and there is none of that name.")]
    Show(show::ShowArgs),
    /// What the server sent against what an Envoy says it runs
    #[command(after_help = "Examples:\n  \
        signet proxies diff mesh/shop/virtualNode/cart\n  \
        signet proxies diff mesh/shop/virtualNode/cart --admin-addr 127.0.0.1:9902 --format json\n\n\
        Run it where the Envoy's admin interface can be reached. Resources are compared field by field, and endpoints by \
        their hosts. FIELD says where one differs, SENT what the server sent there and RUNS what Envoy has in its place.\n\n\
        Exit codes: 0 they agree, 1 they differ, 2 wrong usage, or they could not be compared.")]
    Diff(diff::DiffArgs),
    /// What was refused lately, also what is mended by now
    #[command(
        after_help = "Examples:\n  signet proxies history\n  signet proxies history --mesh shop --format json\n\n\
        The newest 500 refusals, those before the server's last start among them. What was refused when it \
        ended is shown to have ended when it was back."
    )]
    History(list::ListArgs),
}

/// Runs it.
///
/// # Errors
/// The server or an Envoy refuses, or cannot be reached.
pub async fn run(args: ProxiesArgs, clock: Clock) -> Result<ExitCode> {
    match args.command {
        None => list::run(args.list, clock).await.map(|()| ExitCode::SUCCESS),
        Some(ProxiesCommand::List(args)) => list::run(args, clock).await.map(|()| ExitCode::SUCCESS),
        Some(ProxiesCommand::Show(args)) => show::run(args, clock).await.map(|()| ExitCode::SUCCESS),
        Some(ProxiesCommand::Diff(args)) => Ok(diff::run(args, clock).await),
        Some(ProxiesCommand::History(args)) => list::history(args, clock).await.map(|()| ExitCode::SUCCESS),
    }
}

/// Which node or gateway, and how to print.
#[derive(Args, Clone, Debug)]
struct NodeArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// mesh/MESH/virtualNode/NAME, mesh/MESH/virtualGateway/NAME, or its ARN
    node: Workload,
    /// How to print
    #[arg(long, default_value = "table")]
    format: Format,
}

/// What the server says of a workload's proxies.
#[derive(Deserialize)]
struct Told {
    identity: String,
    proxies: Vec<ProxyDetail>,
}

/// Asks for it, with resources in full or without; the JSON as it came, too.
async fn details(client: &Client, workload: &Workload, full: bool) -> Result<(Told, serde_json::Value)> {
    let kind = match workload.kind {
        WorkloadKind::VirtualNode => "virtualNode",
        WorkloadKind::VirtualGateway => "virtualGateway",
    };
    let query = if full { "?config=true" } else { "" };
    let path = format!("/v1/proxies/{}/{kind}/{}{query}", workload.mesh, workload.name);
    let answer = client.call(Method::GET, &path, None).await?;
    let told = Told::deserialize(&answer).context("the server's answer does not tell of proxies")?;
    Ok((told, answer))
}
