//! Signet's one binary: where the parts are wired, the environment is read and the crypto provider installed.
//!
//! ```text
//!   main ─▶ Command ─┬─ server   API, xDS and CA in one process
//!                    ├─ agent    beside each Envoy
//!                    ├─ apply, diff, export  files to a server and back
//!                    ├─ credentials, token, proxies  speak to a server's API, signed
//!                    ├─ audit    the certificates of a server, judged from outside
//!                    ├─ ca       the authority: keys, certificates, imports, requests, ledger, revocation
//!                    └─ demo     all of it on this machine, with traffic
//! ```
//!
//! Invariant: no business rules. What is decided here is who is given which collaborator.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this crate speaks to people")]

pub mod agent;
mod app_mesh;
pub mod apply;
pub mod audit;
pub mod backup;
pub mod ca;
pub mod client;
pub mod connect;
pub mod credentials;
pub mod demo;
pub mod export;
pub mod format;
pub mod instances;
pub mod interception;
pub mod local;
mod log;
pub mod proxies;
pub mod server;
pub mod token;
mod unread;

use std::{fmt, process::ExitCode, sync::Arc};

use anyhow::Result;
use clap::{Parser, Subcommand};
use signet_policies::time::Clock;

/// A private CA, an Envoy SDS service and the mesh control plane around them
#[derive(Parser, Debug)]
#[command(
    name = "signet",
    version,
    after_help = "Start with `signet demo`: a mesh of real Envoys goes from plaintext to mutual TLS under load.\n\n\
        Exit codes: 0 done, 1 it failed, 2 wrong usage."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// What is logged, to standard error: error, warn, info, debug, or as RUST_LOG spells it [default: info for
    /// server and agent, else warn]
    #[arg(long, global = true, env = "SIGNET_LOG", value_name = "FILTER")]
    log: Option<String>,
    /// How it is logged
    #[arg(long, global = true, env = "SIGNET_LOG_FORMAT", default_value = "text")]
    log_format: log::LogFormat,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Two versions of a service behind real Envoys, live traffic, DISABLED → PERMISSIVE → STRICT, a rotation
    #[command(
        after_help = "Examples:\n  signet demo\n  signet demo --format json > report.json\n  signet demo --keep\n\n\
        Exit code 0 only if no request failed, the split was right, every stranger was served or refused as the \
        mode demands, and every certificate changed in the rotation."
    )]
    Demo(demo::DemoArgs),
    /// The App Mesh API, the xDS server and the CA
    #[command(after_help = server::HELP)]
    Server(server::ServerArgs),
    /// Beside each Envoy: joins, serves certificates over SDS, writes the bootstrap and runs Envoy
    #[command(after_help = agent::HELP)]
    Agent(Box<agent::AgentArgs>),
    /// The certificate authority: its keys, your own root or an offline one, its ledger, and who is revoked
    #[command(subcommand)]
    Ca(Box<ca::CaCommand>),
    /// Key pairs that may call the API, and what each may do
    #[command(subcommand)]
    Credentials(credentials::CredentialsCommand),
    /// Make a server hold the App Mesh resources that files declare
    #[command(after_help = apply::APPLY_HELP)]
    Apply(Box<apply::ApplyArgs>),
    /// The certificate audit: forty checks over ledger, authorities, policies and live proxies
    #[command(after_help = audit::HELP)]
    Audit(Box<audit::AuditArgs>),
    /// Show what `signet apply` would change
    #[command(after_help = apply::DIFF_HELP)]
    Diff(Box<apply::DiffArgs>),
    /// Write a server's App Mesh resources to files
    #[command(after_help = export::HELP)]
    Export(Box<export::ExportArgs>),
    /// Where the nodes are that are found by Cloud Map's names: register, deregister, health, list
    #[command(subcommand)]
    Instances(instances::InstancesCommand),
    /// Everything that a running server holds, in one file
    #[command(after_help = backup::HELP)]
    Backup(backup::BackupArgs),
    /// A data folder out of a backup
    #[command(after_help = backup::RESTORE_HELP)]
    Restore(backup::RestoreArgs),
    /// The iptables rules that redirect an application's traffic to Envoy
    #[command(subcommand)]
    Interception(interception::InterceptionCommand),
    /// Join tokens
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Every connected Envoy: synced, pending or rejected, and why
    #[command(after_help = proxies::HELP)]
    Proxies(proxies::ProxiesArgs),
}

impl Command {
    /// What runs for long tells its story; what answers a question speaks only of trouble.
    fn default_log(&self) -> &'static str {
        match self {
            Self::Server(_) | Self::Agent(_) => "info",
            Self::Demo(_)
            | Self::Ca(_)
            | Self::Credentials(_)
            | Self::Apply(_)
            | Self::Audit(_)
            | Self::Diff(_)
            | Self::Export(_)
            | Self::Instances(_)
            | Self::Backup(_)
            | Self::Restore(_)
            | Self::Interception(_)
            | Self::Token(_)
            | Self::Proxies(_) => "warn",
        }
    }
}

/// Parses the arguments, runs the command, and turns what came of it into an exit code.
pub fn main() -> ExitCode {
    unread::end_quietly(|| run_to_end(Cli::parse()))
}

fn run_to_end(cli: Cli) -> ExitCode {
    let filter = cli.log.as_deref().unwrap_or(cli.command.default_log());
    if let Err(error) = log::start(filter, cli.log_format) {
        eprintln!("signet: {error:#}");
        return ExitCode::from(2);
    }
    // rustls panics at first use where several providers are compiled in and none is chosen.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        eprintln!("signet: another crypto provider is installed already");
        return ExitCode::FAILURE;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(run(cli.command)));
    done.unwrap_or_else(|error| {
        eprintln!("signet: {error:#}");
        if error.is::<WrongUsage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
    })
}

/// Flags or variables that do not go together; the program ends with 2, as for a flag that it does not know.
#[derive(Debug)]
pub(crate) struct WrongUsage(pub(crate) String);

impl fmt::Display for WrongUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WrongUsage {}

/// The system's clock. It is read each time, so corrections and a suspended machine's sleep count.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place where the system's clock is read")]
pub fn clock() -> Clock {
    Arc::new(std::time::SystemTime::now)
}

async fn run(command: Command) -> Result<ExitCode> {
    let clock = clock();
    match command {
        Command::Demo(args) => demo::run(args, clock).await,
        Command::Agent(args) => agent::run(*args, clock).await,
        Command::Server(args) => server::run(args, clock).await.map(|()| ExitCode::SUCCESS),
        Command::Ca(command) => ca::run(*command, clock).await.map(|()| ExitCode::SUCCESS),
        Command::Credentials(command) => credentials::run(command, clock).await.map(|()| ExitCode::SUCCESS),
        Command::Apply(args) => apply::run(*args, clock).await,
        Command::Audit(args) => audit::run(*args, clock).await,
        Command::Diff(args) => apply::diff(*args, clock).await,
        Command::Export(args) => export::run(*args, clock).await.map(|()| ExitCode::SUCCESS),
        Command::Instances(command) => instances::run(command, clock).await.map(|()| ExitCode::SUCCESS),
        Command::Backup(args) => backup::backup(args, clock).await.map(|()| ExitCode::SUCCESS),
        Command::Restore(args) => backup::restore(args).await.map(|()| ExitCode::SUCCESS),
        Command::Interception(command) => interception::run(command).await.map(|()| ExitCode::SUCCESS),
        Command::Token(command) => token::run(command, clock).await.map(|()| ExitCode::SUCCESS),
        Command::Proxies(args) => proxies::run(args, clock).await,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    /// One would be folded a second time by a terminal that is narrower.
    #[test]
    fn no_help_breaks_a_line_within_a_sentence() {
        let mut commands = vec![Cli::command()];
        while let Some(command) = commands.pop() {
            commands.extend(command.get_subcommands().cloned());
            let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let is_prose = |line: &str| !line.is_empty() && !line.starts_with(' ');
            for pair in lines.windows(2).filter(|pair| pair.iter().all(|line| is_prose(line))) {
                assert!(pair[0].ends_with(['.', ':']), "{}: {pair:?}", command.get_name());
            }
        }
    }
}
