//! `signet audit`.

mod cert;
mod certificates;
mod collect;
mod entries;
mod probe;
mod selection;
mod standings;

use std::{
    io::IsTerminal as _,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, anyhow};
use clap::{Args, Subcommand, ValueEnum};
use signet_audit::{CHECKS, Inventory, Report, Severity, Thresholds, audit, find, format};
use signet_policies::time::{Clock, Timestamp};

use self::selection::SelectionArgs;
use crate::{WrongUsage, connect::ConnectArgs};

/// Examples for `--help`.
pub const HELP: &str = "Examples:\n  signet audit\n  signet audit --mesh shop --horizon 30d --format json > audit.json\n  \
    signet audit --baseline audit.json --fail-on warning      (only what is new)\n  \
    signet audit --waive id=B05,until=2027-01-31,reason='bought CA, replaced in January'\n  \
    signet audit --only 'E*' --skip clock-skew\n  \
    signet audit --revoked decoy.pem                          (does every listener refuse it?)\n  \
    signet audit --list\n  signet audit explain B03\n  signet audit cert chain.pem\n\n\
    Exit codes:\n  0  nothing at or above --fail-on\n  1  it failed\n  2  wrong usage\n  3  warnings\n  4  critical findings\n  \
    5  incomplete: something could not be looked at, or may not be\n  \
    6  stale: the inventory or the ledger's checkpoint is too old\n\
    Findings go before 6, and that before 5. What was not looked at never counts as clean.";

/// Flags of `signet audit`.
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct AuditArgs {
    #[command(subcommand)]
    command: Option<AuditCommand>,
    #[command(flatten)]
    whole: WholeArgs,
}

/// Subcommands of `signet audit`.
#[derive(Subcommand, Clone, Debug)]
pub enum AuditCommand {
    /// All that is to be said about one check
    #[command(
        after_help = "Examples:\n  signet audit explain B03\n  signet audit explain revoked-still-served"
    )]
    Explain {
        /// Its id or its name
        check: String,
    },
    /// Judge a certificate from a file, a leaf's, an issuer's or a root's, without a server
    #[command(after_help = cert::HELP)]
    Cert(cert::CertArgs),
}

/// Flags of an audit of everything.
#[derive(Args, Clone, Debug)]
struct WholeArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    selection: SelectionArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// Show the forty checks, and look at nothing
    #[arg(long)]
    list: bool,
    /// A checkpoint of the ledger that was kept elsewhere, which the ledger must still begin with
    #[arg(long, env = "SIGNET_ANCHOR", value_name = "FILE")]
    anchor: Option<PathBuf>,
    /// A revoked certificate with its chain and key, PEM: each listener that asks for a certificate is called with it,
    /// from here, and must refuse
    #[arg(long, value_name = "FILE", conflicts_with = "inventory")]
    revoked: Option<PathBuf>,
    /// Write what was looked at to a file, for --inventory
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Audit what --save wrote, without a server
    #[arg(long, value_name = "FILE", conflicts_with_all = ["save", "anchor"])]
    inventory: Option<PathBuf>,
}

/// From where on, and how it is printed.
#[derive(Args, Clone, Debug)]
struct OutputArgs {
    /// One JSON object with limits of checks; what it does not name keeps its default
    #[arg(long, value_name = "FILE")]
    thresholds: Option<PathBuf>,
    /// From which severity on the exit code says so [default: critical on a terminal, else warning]
    #[arg(long, value_name = "SEVERITY")]
    fail_on: Option<FailOn>,
    /// How to print; csv are the certificates, in the columns of AWS Private CA's audit reports
    #[arg(long, default_value = "table")]
    format: AuditFormat,
}

/// A severity, on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum FailOn {
    /// Anything.
    Info,
    /// Warnings and critical findings.
    Warning,
    /// Critical findings.
    Critical,
}

/// How an audit is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AuditFormat {
    /// For people.
    Table,
    /// One JSON document.
    Json,
    /// A line of JSON for each finding.
    Jsonl,
    /// SARIF 2.1.0.
    Sarif,
    /// JUnit XML.
    Junit,
    /// The certificates, as AWS Private CA lists them.
    Csv,
    /// OpenMetrics.
    Openmetrics,
}

/// Runs it.
///
/// # Errors
/// A file cannot be read or written, or the server cannot be reached.
pub async fn run(args: AuditArgs, clock: Clock) -> Result<ExitCode> {
    match args.command {
        None if args.whole.list => {
            print!("{}", format::list());
            Ok(ExitCode::SUCCESS)
        }
        None => whole(args.whole, clock).await,
        Some(AuditCommand::Explain { check }) => explain(&check),
        Some(AuditCommand::Cert(args)) => cert::run(&args, clock().into()),
    }
}

fn explain(name: &str) -> Result<ExitCode> {
    let known = || CHECKS.map(|check| check.id).join(", ");
    let check =
        find(name).ok_or_else(|| WrongUsage(format!("{name:?} is no check; there are {}", known())))?;
    print!("{}", format::explain(check));
    Ok(ExitCode::SUCCESS)
}

async fn whole(args: WholeArgs, clock: Clock) -> Result<ExitCode> {
    let thresholds = args.output.thresholds()?;
    let selection = args.selection.selection()?;
    let mut inventory = match &args.inventory {
        Some(path) => read_inventory(path)?,
        None => {
            let client = args.connect.client(clock.clone())?;
            match collect::collect(&client, args.anchor.as_deref()).await {
                Ok(inventory) => inventory,
                Err(error) if collect::is_forbidden(&error) => {
                    eprintln!(
                        "signet: {error:#}\nthe audit is incomplete: this key pair may not look (signet:Audit)"
                    );
                    return Ok(ExitCode::from(5));
                }
                Err(error) => return Err(error),
            }
        }
    };
    if let Some(mesh) = selection.mesh.as_deref().filter(|mesh| !inventory.knows(mesh)) {
        let message =
            format!("nothing is known of a mesh {mesh:?}: it has no node, no issuer and no certificate");
        return Err(WrongUsage(message).into());
    }
    if let Some(path) = &args.revoked {
        probe::run(path, &mut inventory).await?;
    }
    if let Some(path) = &args.save {
        let text = serde_json::to_vec(&inventory)?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let ran_at = Timestamp::from(clock()).unix();
    let report = audit(&inventory, &selection, &thresholds, ran_at, threads);
    let code = report.exit_code(args.output.fail_on());
    print!("{}", args.output.render(&report, &inventory, code)?);
    Ok(ExitCode::from(code))
}

fn read_inventory(path: &Path) -> Result<Inventory> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text)
        .with_context(|| format!("{} is no inventory of `signet audit --save`", path.display()))
}

impl OutputArgs {
    fn thresholds(&self) -> Result<Thresholds> {
        let Some(path) = &self.thresholds else {
            return Ok(Thresholds::default());
        };
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Thresholds::from_json(&text).map_err(|error| {
            anyhow!("{} holds no thresholds as docs/audit.md has them: {error}", path.display())
        })
    }

    fn fail_on(&self) -> Severity {
        match self.fail_on {
            Some(FailOn::Info) => Severity::Info,
            Some(FailOn::Warning) => Severity::Warning,
            Some(FailOn::Critical) => Severity::Critical,
            // In a pipeline nobody reads warnings.
            None if std::io::stdout().is_terminal() => Severity::Critical,
            None => Severity::Warning,
        }
    }

    fn render(&self, report: &Report, inventory: &Inventory, code: u8) -> Result<String> {
        Ok(match self.format {
            AuditFormat::Table => {
                let text = format!("{}\nexit status {code}\n", format::table(report));
                width().map_or_else(|| text.clone(), |width| format::folded(&text, width))
            }
            AuditFormat::Json => format::json(report)?,
            AuditFormat::Jsonl => format::jsonl(report)?,
            AuditFormat::Sarif => format::sarif(report)?,
            AuditFormat::Junit => format::junit(report),
            AuditFormat::Csv => format::csv(inventory, report.mesh.as_deref()),
            AuditFormat::Openmetrics => format::openmetrics(report),
        })
    }
}

/// Columns of the terminal that the report goes to; `None` where it goes elsewhere.
fn width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}
