//! `signet instances`.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};
use comfy_table::{Table, presets::NOTHING};
use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Value, json};
use signet_policies::time::Clock;

use crate::{client::Client, connect::ConnectArgs, format::Format, server::InstanceView};

/// What may stand in a path as it is.
const KEPT: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Subcommands of `signet instances`.
#[derive(Subcommand, Clone, Debug)]
pub enum InstancesCommand {
    /// Say where an instance of a service is; again, with other attributes, to change them
    #[command(after_help = "Examples:\n  \
        signet instances register --namespace apps.local --service colors i-1 --ipv4 10.0.3.7\n  \
        signet instances register --namespace apps.local --service colors i-2 --ipv4 10.0.3.8 --attribute stack=blue\n\n\
        Virtual nodes find it by serviceDiscovery.awsCloudMap: by namespaceName and serviceName, and by attributes, of \
        which it must have all. It is called on the port of the node's listener, within a second. It stays until it is \
        deregistered, also over a restart of the server.")]
    Register(RegisterArgs),
    /// Take an instance away; calls that are under way finish
    #[command(
        after_help = "Example:\n  signet instances deregister --namespace apps.local --service colors i-1"
    )]
    Deregister(OneArgs),
    /// Say whether an instance wants calls
    #[command(after_help = "Examples:\n  \
        signet instances health --namespace apps.local --service colors i-1 unhealthy\n  \
        signet instances health --namespace apps.local --service colors i-1 healthy\n\n\
        Unhealthy instances are called only where none is healthy.")]
    Health(HealthArgs),
    /// Every instance, where it is and how it is
    #[command(after_help = "Examples:\n  signet instances list\n  \
        signet instances list --namespace apps.local --service colors --format json")]
    List(ListArgs),
}

/// Which instance.
#[derive(Args, Clone, Debug)]
pub struct OneArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// The namespace, as virtual nodes write it
    #[arg(long, env = "SIGNET_NAMESPACE", value_name = "NAME")]
    namespace: String,
    /// The service in it
    #[arg(long, env = "SIGNET_SERVICE", value_name = "NAME")]
    service: String,
    /// The instance's own id: 1 to 64 letters, digits and _/:.@-
    id: String,
    /// How to print
    #[arg(long, default_value = "table")]
    format: Format,
}

/// Flags of `signet instances register`.
#[derive(Args, Clone, Debug)]
pub struct RegisterArgs {
    #[command(flatten)]
    one: OneArgs,
    /// Its IPv4 address: the attribute AWS_INSTANCE_IPV4
    #[arg(long, value_name = "ADDRESS", required_unless_present_any = ["ipv6", "attributes"])]
    ipv4: Option<std::net::Ipv4Addr>,
    /// Its IPv6 address: the attribute AWS_INSTANCE_IPV6
    #[arg(long, value_name = "ADDRESS")]
    ipv6: Option<std::net::Ipv6Addr>,
    /// Anything that is to be known of it; may be repeated
    #[arg(long = "attribute", value_name = "KEY=VALUE", value_parser = attribute)]
    attributes: Vec<(String, String)>,
}

/// Flags of `signet instances health`.
#[derive(Args, Clone, Debug)]
pub struct HealthArgs {
    #[command(flatten)]
    one: OneArgs,
    /// How it is
    status: Status,
}

/// How an instance is.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Status {
    Healthy,
    Unhealthy,
}

/// Flags of `signet instances list`.
#[derive(Args, Clone, Debug)]
pub struct ListArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// Of this namespace only
    #[arg(long, env = "SIGNET_NAMESPACE", value_name = "NAME")]
    namespace: Option<String>,
    /// Of this service only
    #[arg(long, env = "SIGNET_SERVICE", value_name = "NAME")]
    service: Option<String>,
    /// How to print
    #[arg(long, default_value = "table")]
    format: Format,
}

fn attribute(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    pair.map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| "it has the form KEY=VALUE".to_owned())
}

/// Runs a subcommand.
///
/// # Errors
/// The server refuses, or cannot be reached.
pub async fn run(command: InstancesCommand, clock: Clock) -> Result<()> {
    match command {
        InstancesCommand::Register(RegisterArgs { one, ipv4, ipv6, attributes }) => {
            let mut attributes: BTreeMap<String, String> = attributes.into_iter().collect();
            attributes.extend(ipv4.map(|address| ("AWS_INSTANCE_IPV4".to_owned(), address.to_string())));
            attributes.extend(ipv6.map(|address| ("AWS_INSTANCE_IPV6".to_owned(), address.to_string())));
            let body = json!({"attributes": attributes});
            one.change(clock, Method::PUT, "", Some(&body), ("registered", "was registered already")).await
        }
        InstancesCommand::Deregister(one) => {
            one.change(clock, Method::DELETE, "", None, ("deregistered", "was not registered")).await
        }
        InstancesCommand::Health(HealthArgs { one, status }) => {
            let status = match status {
                Status::Healthy => "HEALTHY",
                Status::Unhealthy => "UNHEALTHY",
            };
            let said = (format!("is {status} now"), format!("was {status} already"));
            let body = json!({"status": status});
            one.change(clock, Method::PUT, "/health", Some(&body), (&said.0, &said.1)).await
        }
        InstancesCommand::List(args) => list(args, clock).await,
    }
}

impl OneArgs {
    async fn change(
        &self,
        clock: Clock,
        method: Method,
        what: &str,
        body: Option<&Value>,
        (changed, same): (&str, &str),
    ) -> Result<()> {
        let Self { connect, namespace, service, id, format } = self;
        let path = ["/v1/instances", &encoded(namespace), &encoded(service), &encoded(id)].join("/");
        let answer = connect.client(clock)?.call(method, &format!("{path}{what}"), body).await?;
        match format {
            Format::Json => println!("{}", serde_json::to_string_pretty(&answer)?),
            Format::Table if answer["changed"] == true => println!("{id} of {service}.{namespace} {changed}"),
            Format::Table => println!("{id} of {service}.{namespace} {same}"),
        }
        Ok(())
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, &KEPT).to_string()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    instances: Vec<InstanceView>,
    next_token: Option<String>,
}

async fn list(args: ListArgs, clock: Clock) -> Result<()> {
    let ListArgs { connect, namespace, service, format } = args;
    let asked = [("namespace", namespace), ("service", service)];
    let asked = asked.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", encoded(&value?))));
    let instances = all(&connect.client(clock)?, &asked.collect::<Vec<_>>()).await?;
    match format {
        Format::Json => println!("{}", serde_json::to_string_pretty(&json!({"instances": instances}))?),
        Format::Table if instances.is_empty() => println!("no instance is registered"),
        Format::Table => println!("{}", table(&instances)),
    }
    Ok(())
}

/// Page by page.
async fn all(client: &Client, asked: &[String]) -> Result<Vec<InstanceView>> {
    let (mut all, mut token): (Vec<InstanceView>, Option<String>) = (Vec::new(), None);
    loop {
        let mut query = asked.to_vec();
        query.extend(token.as_ref().map(|token| format!("nextToken={token}")));
        let path = format!("/v1/instances?{}", query.join("&"));
        let answer = client.call(Method::GET, path.trim_end_matches('?'), None).await?;
        let page: Page =
            serde_json::from_value(answer).context("the server's answer is no list of instances")?;
        all.extend(page.instances);
        token = page.next_token;
        if token.is_none() {
            return Ok(all);
        }
    }
}

fn table(instances: &[InstanceView]) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header([
        "SERVICE",
        "ID",
        "HEALTH",
        "ADDRESS",
        "ATTRIBUTES",
        "REGISTERED AT",
    ]);
    for InstanceView { namespace, service, id, health, registered_at, attributes } in instances {
        let (addresses, others): (Vec<_>, Vec<_>) = attributes
            .iter()
            .partition(|(key, _)| ["AWS_INSTANCE_IPV4", "AWS_INSTANCE_IPV6"].contains(&key.as_str()));
        let addresses: Vec<&str> = addresses.into_iter().map(|(_, value)| value.as_str()).collect();
        let others: Vec<String> = others.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
        table.add_row([
            format!("{service}.{namespace}"),
            id.clone(),
            format!("{health:?}").to_uppercase(),
            addresses.join(" "),
            others.join(" "),
            registered_at.clone(),
        ]);
    }
    table
}
