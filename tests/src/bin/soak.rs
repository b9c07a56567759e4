//! A mesh lives through a thousand rotations while chance does what it can.

use std::{process::ExitCode, time::Duration};

use clap::{Parser, ValueEnum};
use signet_tests::soak::{Progress, Step, Wanted, run, script, table};
use tokio::time::Instant;

const HELP: &str = "Examples:\n  \
    soak --seed 7 --rotations 1000 --root-changes 20\n  \
    soak --seed 7 --rotations 100 --root-changes 2 --format json > report.json\n  \
    soak --seed 7 --plan\n\n\
    It starts a server and two Envoys with their agents on loopback, calls one through the other with a handshake for each\n\
    request and over connections that last, and plays the steps that the seed gives: renewals, faults, changes of the\n\
    root. The same seed and numbers give the same steps. It takes root, as it fills a disk and cuts connections, the\n\
    signet binary beside it (cargo build --release), and the Envoy of `cargo xtask setup`; --no-faults needs no root.\n\n\
    Exit codes: 0 everything held; 1 something was broken, and the report says what; 2 it could not be run.";

/// A mesh lives through a thousand rotations while chance does what it can
#[derive(Parser)]
#[command(after_help = HELP)]
struct Args {
    /// All chance comes out of it
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Certificates that the two agents renew at least
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    rotations: u64,
    /// Changes of the root
    #[arg(long, default_value_t = 20)]
    root_changes: u64,
    /// Requests a second, each with a handshake of its own
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    handshakes: u32,
    /// Life of a leaf in seconds
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(10..=300))]
    leaf_lifetime: u64,
    /// Only rotations and changes of the root; nothing goes wrong
    #[arg(long)]
    no_faults: bool,
    /// Print the steps, and play none
    #[arg(long)]
    plan: bool,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

impl Args {
    fn wanted(&self) -> Wanted {
        let Self { seed, rotations, root_changes, handshakes, leaf_lifetime, no_faults, .. } = *self;
        let wanted = Wanted { seed, rotations, root_changes, handshakes, ..Wanted::default() };
        Wanted { leaf_secs: leaf_lifetime, faults: !no_faults, ..wanted }
    }
}

/// Between two lines of progress.
const PULSE: Duration = Duration::from_secs(5);

#[tokio::main]
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a command")]
async fn main() -> ExitCode {
    let args = Args::parse();
    let wanted = args.wanted();
    if args.plan {
        return plan(&args, &script(&wanted));
    }
    let mut last = None::<Instant>;
    let report = run(&wanted, |progress| {
        if last.is_none_or(|last| last.elapsed() >= PULSE) || progress.done == progress.steps {
            last = Some(Instant::now());
            eprintln!("{}", line(progress));
        }
    });
    match report.await {
        Ok(report) => {
            match args.format {
                Format::Table => print!("{}", table(&report)),
                Format::Json => println!("{}", serde_json::to_string_pretty(&report).unwrap_or_default()),
            }
            ExitCode::from(u8::from(!report.holds()))
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn line(progress: &Progress) -> String {
    let Progress { elapsed, done, steps, next, rotations, requests, failed } = progress;
    format!(
        "{:>5} s  step {done}/{steps}  {rotations} rotations  {requests} requests, {failed} failed  next: {next}",
        elapsed.as_secs()
    )
}

#[expect(clippy::print_stdout, reason = "this is a command")]
fn plan(args: &Args, steps: &[Step]) -> ExitCode {
    match args.format {
        Format::Table => steps.iter().enumerate().for_each(|(number, step)| println!("{number:>4}  {step}")),
        Format::Json => println!("{}", serde_json::to_string_pretty(steps).unwrap_or_default()),
    }
    ExitCode::SUCCESS
}
