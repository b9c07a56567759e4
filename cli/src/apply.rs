//! `signet apply` and `signet diff`.

mod input;
mod show;

use std::{
    io::{IsTerminal as _, Write as _},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::Args;
use indicatif::ProgressBar;
use signet_manifests::{
    Bundle, Plan, State,
    apply::carry_out,
    plan::{Action, Step, meshes},
};
use signet_policies::time::Clock;

use self::input::InputArgs;
use crate::{WrongUsage, app_mesh::AppMesh, connect::ConnectArgs, format::Format};

/// Examples for `--help`.
pub const APPLY_HELP: &str = "Examples:\n  \
    signet apply -f mesh.yaml\n  \
    signet apply -f k8s/ --prune --dry-run\n  \
    signet apply -f template.yaml --parameter Stage=live --resolve Cert.Arn=arn:aws:acm:…\n  \
    kubectl get meshes,virtualnodes,virtualservices -A -o yaml | signet apply -f - --yes\n\n\
    Files are CloudFormation templates, Kubernetes manifests (appmesh.k8s.aws/v1beta2) or the input of \
    `aws appmesh create-… --cli-input-json`, in YAML or JSON. If one document is wrong, it is named by file and \
    line and nothing is applied. A second run changes nothing.\n\n\
    Exit codes: 0 the server holds what the files declare, 1 it failed (what was done is said), 2 wrong usage.";

/// Examples for `--help`.
pub const DIFF_HELP: &str = "Examples:\n  \
    signet diff -f mesh.yaml\n  \
    signet diff -f k8s/ --prune --format json\n\n\
    Exit codes: 0 no difference, 1 differences, 2 wrong usage or an error.";

/// Flags of `signet apply`.
#[derive(Args, Clone, Debug)]
pub struct ApplyArgs {
    #[command(flatten)]
    plan: PlanArgs,
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
    /// Delete without asking
    #[arg(long, short = 'y')]
    yes: bool,
}

/// Flags of `signet diff`.
#[derive(Args, Clone, Debug)]
pub struct DiffArgs {
    #[command(flatten)]
    plan: PlanArgs,
}

/// What both commands take.
#[derive(Args, Clone, Debug)]
struct PlanArgs {
    #[command(flatten)]
    input: InputArgs,
    /// Delete what is in a mesh that the files declare and is not in the files
    #[arg(long)]
    prune: bool,
    /// Say what was left out of the files, and why
    #[arg(long, short = 'v')]
    verbose: bool,
    /// How to print
    #[arg(long, default_value = "table")]
    format: Format,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// What is to be done, and whom to ask for it.
struct Prepared {
    server: AppMesh,
    plan: Plan,
}

impl PlanArgs {
    async fn prepare(&self, clock: Clock) -> Result<Prepared> {
        let bundle = self.input.read(&self.connect)?;
        self.print_notes(&bundle);
        let server = AppMesh(self.connect.client(clock)?);
        let tagged = |key: &_| bundle.resources.get(key).is_some_and(|resource| resource.tags.is_some());
        let spinner = spinner("reading what the server holds");
        let state = State::read(&server, &meshes(&bundle), tagged).await;
        spinner.set_message("comparing, and rehearsing the changes");
        let plan = state.map(|state| Plan::new(&bundle, &state, self.prune));
        spinner.finish_and_clear();
        let plan = plan?.context("nothing was applied; the server would refuse this")?;
        Ok(Prepared { server, plan })
    }

    fn print_notes(&self, bundle: &Bundle) {
        if self.verbose {
            bundle.notes.iter().for_each(|note| eprintln!("note: {note}"));
        }
    }
}

/// Says what is waited for, on a terminal only.
fn spinner(message: &'static str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(message);
    spinner.enable_steady_tick(Duration::from_millis(200));
    spinner
}

/// Applies files, or shows what that would do.
///
/// # Errors
/// A document is wrong, or the server refuses, or cannot be reached.
pub async fn run(args: ApplyArgs, clock: Clock) -> Result<ExitCode> {
    let Prepared { server, plan } = args.plan.prepare(clock).await?;
    let format = args.plan.format;
    if args.dry_run || plan.steps.is_empty() {
        show::plan(&plan, format, args.dry_run)?;
        return Ok(ExitCode::SUCCESS);
    }
    confirm(&args, &plan)?;
    let report = |step: &Step| {
        if format == Format::Table {
            show::done(step);
        }
    };
    let stopped = carry_out(&server, &plan, report).await.err();
    show::applied(&plan, stopped.as_ref(), format)?;
    stopped.map_or(Ok(ExitCode::SUCCESS), |stopped| Err(stopped.into()))
}

/// Shows what applying files would change; the exit code says whether it is anything.
///
/// # Errors
/// Never: an error has an exit code of its own.
pub async fn diff(args: DiffArgs, clock: Clock) -> Result<ExitCode> {
    let shown = async {
        let Prepared { plan, .. } = args.plan.prepare(clock).await?;
        show::differences(&plan, args.plan.format)?;
        anyhow::Ok(plan.steps.is_empty())
    };
    Ok(match shown.await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("signet: {error:#}");
            ExitCode::from(2)
        }
    })
}

/// Deletions are confirmed by a person, or by a flag.
fn confirm(args: &ApplyArgs, plan: &Plan) -> Result<()> {
    let deletions = plan.deletions();
    if deletions == 0 || args.yes {
        return Ok(());
    }
    let is_person = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if !is_person || args.plan.input.reads_stdin() {
        let what =
            format!("{deletions} resource(s) would be deleted; say --yes, or look first with --dry-run");
        return Err(WrongUsage(what).into());
    }
    for step in plan.steps.iter().filter(|step| step.action == Action::Delete) {
        eprintln!("delete {}", step.key);
    }
    eprint!("Delete these {deletions} and make the other changes? [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(WrongUsage("nothing was changed".to_owned()).into()),
    }
}
