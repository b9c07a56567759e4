//! `signet token create`.

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use http::Method;
use serde_json::json;
use signet_ca::{DEFAULT_TOKEN_LIFE, MAX_TOKEN_LIFE, MIN_TOKEN_LIFE};
use signet_policies::time::Clock;

use crate::{connect::ConnectArgs, format::Format};

/// Subcommands of `signet token`.
#[derive(Subcommand, Clone, Debug)]
pub enum TokenCommand {
    /// Make a one-time join token for one virtual node or gateway
    #[command(after_help = "Examples:\n  \
        signet token create --mesh my-mesh --virtual-node service-a-v1-node > token\n  \
        signet agent --resource mesh/my-mesh/virtualNode/service-a-v1-node --token-file token …\n  \
        signet token create --mesh my-mesh --virtual-gateway front > token\n\n\
        The token is shown once; the server keeps only its hash. It joins one agent, once.")]
    Create(CreateArgs),
}

/// Flags of `signet token create`.
#[derive(Args, Clone, Debug)]
pub struct CreateArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// The mesh
    #[arg(long, env = "SIGNET_MESH", value_name = "NAME")]
    mesh: String,
    /// The virtual node that joins
    #[arg(
        long,
        env = "SIGNET_VIRTUAL_NODE",
        value_name = "NAME",
        required_unless_present = "virtual_gateway"
    )]
    virtual_node: Option<String>,
    /// The virtual gateway that joins
    #[arg(long, env = "SIGNET_VIRTUAL_GATEWAY", value_name = "NAME", conflicts_with = "virtual_node")]
    virtual_gateway: Option<String>,
    /// How long the token may be used
    #[arg(long, env = "SIGNET_TOKEN_TTL", value_name = "SECONDS", default_value_t = DEFAULT_TOKEN_LIFE.as_secs(),
          value_parser = clap::value_parser!(u64).range(MIN_TOKEN_LIFE.as_secs()..=MAX_TOKEN_LIFE.as_secs()))]
    ttl: u64,
    /// `table` prints the token alone
    #[arg(long, default_value = "table")]
    format: Format,
}

/// Runs a subcommand.
///
/// # Errors
/// The server refuses, or cannot be reached.
pub async fn run(command: TokenCommand, clock: Clock) -> Result<()> {
    let TokenCommand::Create(args) = command;
    let client = args.connect.client(clock)?;
    let mut body = json!({"mesh": args.mesh, "ttlSeconds": args.ttl});
    match (args.virtual_node, args.virtual_gateway) {
        (Some(node), _) => body["virtualNode"] = node.into(),
        (None, gateway) => body["virtualGateway"] = gateway.into(),
    }
    let answer = client.call(Method::POST, "/v1/tokens", Some(&body)).await?;
    match args.format {
        Format::Json => println!("{}", serde_json::to_string_pretty(&answer)?),
        Format::Table => println!("{}", answer["token"].as_str().context("the answer holds no token")?),
    }
    Ok(())
}
