//! `signet interception`.

use anyhow::Result;
use clap::{Args, Subcommand, builder::BoolishValueParser};
use serde_json::json;
use signet_agent::interception::{Applied, Family, Network, Rules, apply, remove};

use crate::{WrongUsage, format::Format};

const HELP: &str = "Examples:\n  \
    signet interception apply --app-ports 8080,9090 --ignore-uid 1337 --ignore-ips 169.254.170.2,169.254.169.254\n  \
    APPMESH_APP_PORTS=8080 APPMESH_IGNORE_UID=1337 signet interception apply\n  \
    signet interception render --app-ports 8080 --ignore-uid 1337 | iptables-restore --noflush\n\n\
    Run it before the application starts: rules that come later cut, or miss, the connections that are open. Applied \
    twice it changes nothing; other rules take the place of those that are there; what is there by half is refused.";

/// What `signet interception` can do.
#[derive(Subcommand, Clone, Debug)]
pub enum InterceptionCommand {
    /// Print the rules as iptables-restore reads them
    #[command(after_help = HELP)]
    Render(RulesArgs),
    /// Redirect this network namespace's TCP traffic to Envoy; needs root or CAP_NET_ADMIN
    #[command(after_help = HELP)]
    Apply(ApplyArgs),
    /// Take the rules away, also a half of them; open connections may be cut
    Remove(RemoveArgs),
}

/// The rules. The variables are those of App Mesh's init container.
#[derive(Args, Clone, Debug)]
pub struct RulesArgs {
    /// Envoy's port for others' calls
    #[arg(long, env = "APPMESH_ENVOY_INGRESS_PORT", value_name = "PORT", default_value_t = 15000)]
    ingress_port: u16,
    /// Envoy's port for the application's calls
    #[arg(long, env = "APPMESH_ENVOY_EGRESS_PORT", value_name = "PORT", default_value_t = 15001)]
    egress_port: u16,
    /// Ports that the application serves; without any, only its own calls are redirected
    #[arg(long, env = "APPMESH_APP_PORTS", value_name = "PORTS", value_delimiter = ',')]
    app_ports: Vec<u16>,
    /// The user that Envoy runs as; this or --ignore-gid must be given
    #[arg(long, env = "APPMESH_IGNORE_UID", value_name = "UID")]
    ignore_uid: Option<u32>,
    /// The group that Envoy runs as
    #[arg(long, env = "APPMESH_IGNORE_GID", value_name = "GID")]
    ignore_gid: Option<u32>,
    /// Ports elsewhere that the application calls directly; 22 always is
    #[arg(long, env = "APPMESH_EGRESS_IGNORED_PORTS", value_name = "PORTS", value_delimiter = ',')]
    ignore_ports: Vec<u16>,
    /// Addresses elsewhere, or ranges of them, that the application calls directly
    #[arg(long, env = "APPMESH_EGRESS_IGNORED_IP", value_name = "IPS", value_delimiter = ',')]
    ignore_ips: Vec<Network>,
    #[command(flatten)]
    families: FamilyArgs,
}

/// Which tables.
#[derive(Args, Clone, Copy, Debug)]
struct FamilyArgs {
    /// IPv6 too
    #[arg(
        long,
        env = "APPMESH_ENABLE_IPV6",
        value_parser = BoolishValueParser::new(),
        num_args = 0..=1,
        default_value = "false",
        default_missing_value = "true",
        value_name = "BOOL"
    )]
    ipv6: bool,
}

/// Flags of `signet interception apply`.
#[derive(Args, Clone, Debug)]
pub struct ApplyArgs {
    #[command(flatten)]
    rules: RulesArgs,
    /// How to print
    #[arg(long, default_value = "table")]
    format: Format,
}

/// Flags of `signet interception remove`.
#[derive(Args, Clone, Copy, Debug)]
pub struct RemoveArgs {
    #[command(flatten)]
    families: FamilyArgs,
    /// How to print
    #[arg(long, default_value = "table")]
    format: Format,
}

impl FamilyArgs {
    fn families(self) -> Vec<Family> {
        if self.ipv6 { vec![Family::V4, Family::V6] } else { vec![Family::V4] }
    }
}

impl RulesArgs {
    fn rules(&self) -> Result<Rules> {
        let rules = Rules {
            ingress_port: self.ingress_port,
            egress_port: self.egress_port,
            app_ports: self.app_ports.clone(),
            ignored_uid: self.ignore_uid,
            ignored_gid: self.ignore_gid,
            ignored_ports: self.ignore_ports.clone(),
            ignored_ips: self.ignore_ips.clone(),
        };
        rules.check().map_err(|error| WrongUsage(error.to_string()))?;
        Ok(rules)
    }
}

/// Runs it.
///
/// # Errors
/// The rules make no sense, or iptables refuses.
pub async fn run(command: InterceptionCommand) -> Result<()> {
    match command {
        InterceptionCommand::Render(args) => {
            let rules = args.rules()?;
            for family in args.families.families() {
                print!("{}", rules.render(family));
            }
        }
        InterceptionCommand::Apply(ApplyArgs { rules, format }) => {
            let families = rules.families.families();
            print_done(&families, &apply(&rules.rules()?, &families).await?, format);
        }
        InterceptionCommand::Remove(RemoveArgs { families, format }) => {
            let families = families.families();
            print_done(&families, &remove(&families).await?, format);
        }
    }
    Ok(())
}

fn print_done(families: &[Family], done: &[Applied], format: Format) {
    for (family, done) in families.iter().zip(done) {
        let family = match family {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        };
        let (word, told) = match done {
            Applied::Now => ("applied", "TCP traffic is redirected to Envoy"),
            Applied::Already => ("unchanged", "these rules were there already"),
            Applied::Replaced => ("replaced", "other rules were there, and these took their place"),
            Applied::Removed => ("removed", "nothing is redirected any more"),
            Applied::Absent => ("absent", "there was nothing to remove"),
        };
        match format {
            Format::Json => println!("{}", json!({"family": family, "result": word})),
            Format::Table => println!("{family}: {told}"),
        }
    }
}
