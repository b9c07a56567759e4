//! `signet credentials`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use comfy_table::{Table, presets::NOTHING};
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use signet_controlplane::{access::Policy, credentials::KeyView};
use signet_policies::{
    identity::ResourceName,
    time::{Clock, Timestamp},
};

use crate::{
    WrongUsage,
    client::{Client, KeyPair},
    connect::ConnectArgs,
    format::Format,
};

/// Subcommands of `signet credentials`.
#[derive(Subcommand, Clone, Debug)]
pub enum CredentialsCommand {
    /// Make a key pair and say what it may do
    #[command(after_help = "Examples:\n  \
        signet credentials create ci --mesh shop >> ~/.aws/credentials\n  \
        signet credentials create dashboards --read-only\n  \
        signet credentials create deploys --policy-file policy.json --as-profile shop\n  \
        signet credentials create alice --admin\n\n\
        The secret is shown once, as lines of an AWS credentials file. A policy file is IAM's JSON, with Effect, \
        Action or NotAction, Resource or NotResource: actions are appmesh:… as at AWS and signet:…, resources are \
        ARNs, * and ? are wildcards. What no statement allows is forbidden, and a Deny wins over every Allow.")]
    Create(Box<CreateArgs>),
    /// Every key pair, what it may do, and whether it may sign; no secrets
    #[command(after_help = "Examples:\n  signet credentials list\n  signet credentials list --format json")]
    List(ListArgs),
    /// Let a key pair sign nothing more, from the next request on
    #[command(after_help = "Example:\n  signet credentials disable AKIAIOSFODNN7EXAMPLE\n\n\
        The last enabled administrator cannot be disabled.")]
    Disable(OneArgs),
    /// Let a disabled key pair sign again
    #[command(after_help = "Example:\n  signet credentials enable AKIAIOSFODNN7EXAMPLE")]
    Enable(OneArgs),
    /// Forget a key pair for good
    #[command(after_help = "Example:\n  signet credentials delete AKIAIOSFODNN7EXAMPLE\n\n\
        The last enabled administrator cannot be deleted.")]
    Delete(OneArgs),
}

/// Flags of `signet credentials create`.
#[derive(Args, Clone, Debug)]
pub struct CreateArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// Whose it is: 1 to 64 letters, digits and +=,.@_-
    name: String,
    /// Everything, key pairs included
    #[arg(long, conflicts_with_all = ["read_only", "mesh", "policy_file"])]
    admin: bool,
    /// Describe and list, and change nothing; with --mesh, of that mesh alone
    #[arg(long, conflicts_with = "policy_file")]
    read_only: bool,
    /// One mesh and all in it, with the join tokens of its nodes and gateways
    #[arg(long, value_name = "NAME", conflicts_with = "policy_file")]
    mesh: Option<ResourceName>,
    /// What a policy in a file allows
    #[arg(long, value_name = "FILE")]
    policy_file: Option<PathBuf>,
    /// The profile that is printed [default: NAME]
    #[arg(long, value_name = "PROFILE")]
    as_profile: Option<String>,
    /// `table` prints lines for an AWS credentials file
    #[arg(long, default_value = "table")]
    format: Format,
}

/// Flags of `signet credentials list`.
#[derive(Args, Clone, Debug)]
pub struct ListArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// How to print
    #[arg(long, default_value = "table")]
    format: Format,
}

/// Flags of the subcommands that are about one key pair.
#[derive(Args, Clone, Debug)]
pub struct OneArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// Which, as `signet credentials list` shows it
    access_key_id: String,
    /// How to print
    #[arg(long, default_value = "table")]
    format: Format,
}

/// What the server answers to a creation.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Created {
    access_key_id: String,
    secret_access_key: String,
}

/// What the server answers to a list.
#[derive(Deserialize)]
struct Listed {
    credentials: Vec<KeyView>,
}

/// Runs a subcommand.
///
/// # Errors
/// The server refuses, or cannot be reached; a policy file cannot be read, or is none.
pub async fn run(command: CredentialsCommand, clock: Clock) -> Result<()> {
    match command {
        CredentialsCommand::Create(args) => create(*args, clock).await,
        CredentialsCommand::List(args) => {
            let answer = args.connect.client(clock)?.call(Method::GET, "/v1/credentials", None).await?;
            match args.format {
                Format::Json => println!("{}", serde_json::to_string_pretty(&answer)?),
                Format::Table => {
                    println!("{}", table(&serde_json::from_value::<Listed>(answer)?.credentials))
                }
            }
            Ok(())
        }
        CredentialsCommand::Disable(args) => args.change(clock, Method::POST, "/disable", "disabled").await,
        CredentialsCommand::Enable(args) => args.change(clock, Method::POST, "/enable", "enabled").await,
        CredentialsCommand::Delete(args) => args.change(clock, Method::DELETE, "", "deleted").await,
    }
}

async fn create(args: CreateArgs, clock: Clock) -> Result<()> {
    let body = json!({"name": args.name, "policy": args.policy()?});
    let client: Client = args.connect.client(clock)?;
    let answer = client.call(Method::POST, "/v1/credentials", Some(&body)).await?;
    if args.format == Format::Json {
        println!("{}", serde_json::to_string_pretty(&answer)?);
        return Ok(());
    }
    let Created { access_key_id, secret_access_key } = serde_json::from_value(answer)?;
    let profile = args.as_profile.as_deref().unwrap_or(&args.name);
    print!("{}", KeyPair { access_key_id, secret_access_key }.profile(profile));
    Ok(())
}

impl CreateArgs {
    /// IAM's JSON.
    fn policy(&self) -> Result<Value> {
        match (self.admin, self.read_only, &self.mesh, &self.policy_file) {
            (true, ..) => Ok(Policy::administrator()),
            (_, is_read_only, Some(mesh), _) => Ok(Policy::one_mesh(mesh, is_read_only)),
            (_, true, None, _) => Ok(Policy::read_only()),
            (_, _, _, Some(path)) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read the policy in {}", path.display()))?;
                let policy = Policy::from_json(&text);
                let policy =
                    policy.map_err(|invalid| WrongUsage(format!("{}: {invalid}", path.display())))?;
                Ok(policy.document().clone())
            }
            (false, false, None, None) => {
                let usage =
                    "say what the key pair may do: --read-only, --mesh NAME, --policy-file FILE or --admin";
                Err(WrongUsage(usage.to_owned()).into())
            }
        }
    }
}

impl OneArgs {
    async fn change(self, clock: Clock, method: Method, verb: &str, done: &str) -> Result<()> {
        // An id has no character that a path could take for its own.
        if !self.access_key_id.bytes().all(|byte| byte.is_ascii_alphanumeric())
            || self.access_key_id.is_empty()
        {
            return Err(WrongUsage(format!("{:?} is no access key id", self.access_key_id)).into());
        }
        let path = format!("/v1/credentials/{}{verb}", self.access_key_id);
        let answer = self.connect.client(clock)?.call(method, &path, None).await?;
        match self.format {
            Format::Json => println!("{}", serde_json::to_string_pretty(&answer)?),
            Format::Table => {
                let key: KeyView = serde_json::from_value(answer)?;
                println!("{done} {} ({})", key.access_key_id, key.name);
            }
        }
        Ok(())
    }
}

fn table(keys: &[KeyView]) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(["ACCESS KEY ID", "NAME", "STATE", "CREATED", "MAY"]);
    for key in keys {
        let state = match (key.enabled, &key.unusable) {
            (false, _) => "disabled".to_owned(),
            (true, None) => "enabled".to_owned(),
            (true, Some(why)) => format!("unusable: {why}"),
        };
        let created = Timestamp::from_unix(key.created_at).to_string();
        table.add_row([key.access_key_id.clone(), key.name.clone(), state, created, rights(key)]);
    }
    table
}

/// The gist of a policy; `--format json` shows it whole.
fn rights(key: &KeyView) -> String {
    if key.administrator {
        return "everything".to_owned();
    }
    // IAM lets one of anything stand for a list of one.
    let list = |value: &Value| value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
    let statements = list(&key.policy["Statement"]);
    let texts = |value: &Value| list(value).iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
    let said = statements.iter().map(|one| {
        let effect = one["Effect"].as_str().unwrap_or_default().to_lowercase();
        let part = |plain: &str, inverted: &str| match one.get(plain) {
            Some(value) => texts(value),
            None => format!("all but {}", texts(&one[inverted])),
        };
        format!("{effect} {} on {}", part("Action", "NotAction"), part("Resource", "NotResource"))
    });
    said.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_pair_is_shown_with_its_state_and_what_it_may_do() {
        let key = KeyView {
            access_key_id: "AKIAX".into(),
            name: "ci".into(),
            enabled: false,
            unusable: None,
            administrator: false,
            created_at: 1_764_000_000,
            policy: Policy::one_mesh(&"shop".parse().unwrap(), true),
        };
        let text = table(&[key]).to_string();
        let expected = "allow appmesh:Describe*, appmesh:List*, signet:*Proxies on arn:*:appmesh:*:*:mesh/shop, \
                        arn:*:appmesh:*:*:mesh/shop/*";
        for part in ["AKIAX", "ci", "disabled", "2025-11-24T16:00:00Z", expected] {
            assert!(text.contains(part), "{text} lacks {part}");
        }
    }
}
