//! The repository's own commands, run as `cargo xtask <command>`.
//!
//! ```text
//! setup ──▶ target/tools/{venv,envoy}      what judges Signet from outside
//! tidy  ──▶ layers · rooms · budgets       what the compiler and clippy cannot say
//! test  ──▶ setup, fmt, clippy, tidy, build, every test
//! ```
//!
//! Exit codes: 0 all is well, 1 something failed or a rule is broken, 2 wrong usage.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "these commands speak to whoever runs them")]

mod setup;
mod suite;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Tools for working on Signet", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install the test tools under target/tools
    ///
    /// A Python environment with the AWS CLI, boto3 and pkilint, and the Envoy binary, each at a pinned
    /// version; what is already there at that version is left alone. Debian packages that the tests need
    /// (iptables, openssl, …) are installed when this runs as root, and named otherwise.
    Setup,
    /// Check layer rules and code budgets
    ///
    /// Reads sources only, builds nothing. Prints one line per breach, `path:line: what; how to mend`, and
    /// exits with 1 when there is any.
    Tidy,
    /// Set up, then run fmt, clippy, tidy and every test
    ///
    /// All steps run even when an earlier check fails, so one run shows everything; only the tests are left
    /// out when the build before them fails. Ends with the number of tests that passed and failed.
    Test,
}

fn main() -> ExitCode {
    let Args { command } = Args::parse();
    let workspace = Workspace::here();
    let outcome = match command {
        Command::Setup => setup::run(&workspace).map(|()| true),
        Command::Tidy => tidy::run(&workspace),
        Command::Test => suite::run(&workspace),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
