//! Many agents join and renew at once.

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use signet_tests::herd::{Wanted, run, table};

const HELP: &str = "Examples:\n  \
    herd --agents 10000\n  \
    herd --agents 1000 --format json > report.json\n\n\
    It starts a server, makes a token for each agent over the API, has all agents start within a second and join, and has\n\
    them renew all at once. Agents are this process; they run the agent's own code for certificates, and no Envoy. It takes\n\
    the signet binary beside it (cargo build --release), and twice as many open files as agents.\n\n\
    Exit codes: 0 everybody has its certificates and the ledger verifies; 1 something was broken, and the report says what.";

/// Many agents join and renew at once
#[derive(Parser)]
#[command(after_help = HELP)]
struct Args {
    /// Agents; 100 of them are replicas of one virtual node
    #[arg(long, default_value_t = 10_000)]
    agents: usize,
    /// When each starts comes out of it
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Table,
    Json,
}

#[tokio::main]
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a command")]
async fn main() -> ExitCode {
    let Args { agents, seed, format } = Args::parse();
    match run(&Wanted { agents, seed }).await {
        Ok(report) => {
            match format {
                Format::Table => print!("{}", table(&report)),
                Format::Json => println!("{}", serde_json::to_string_pretty(&report).unwrap_or_default()),
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
