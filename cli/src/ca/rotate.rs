//! `signet ca rotate …`: replacing the root, or an issuer, while everything goes on.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use signet_policies::{identity::ResourceName, time::Clock};
use tokio::time::Instant;

use crate::{client::Client, connect::ConnectArgs, format::Format};

/// Examples for `--help`.
pub(super) const HELP: &str = "Examples:\n  \
    signet ca rotate --plan --root\n  \
    signet ca rotate start --root --wait --timeout 3600\n  \
    signet ca rotate start --root --root-file new-root.pem        (its key stays with you; see docs/rotation.md)\n  \
    signet ca rotate start --issuer shop --spread 3600\n  \
    signet ca rotate status --format json\n  \
    signet ca rotate resume --override mesh/shop/virtualNode/cart\n  \
    signet ca rotate abort --wait\n\n\
    A change goes through four phases, and none ends by time alone:\n  \
    distribute  every proxy is given old and new root, and has accepted both (Envoy's own ACK on its agent's socket)\n  \
    issue       the new one signs; holders are advised to renew, spread over --spread seconds; it ends when no agent holds, \
    no Envoy has loaded and no listener presents a certificate of the old one, and none is valid whose holder is not \
    known\n  \
    retire      the new root alone is trusted, and every proxy has accepted that\n  \
    completed   what was replaced is kept without its keys\n\
    Between a proof and what it was waited for lies as long as a handshake may take (signet server --handshake-grace).\n\
    With --issuer only that mesh's issuer is replaced, under the root that stays, and only its proxies renew.\n\n\
    A proxy that refuses the roots stops it: everybody goes back to the old, and the status says who and why. One that is \
    silent holds it up, by name, until it is back, its certificate ends, or `resume --override NODE` says not to wait; that is \
    kept in the ledger. Such a proxy must join again with a new token and the new ca.pem. `abort` goes back from any phase but \
    the moment in which the old is put aside.\n\
    A server that is killed goes on where it was.\n\n\
    Exit codes: 0 done, with --wait the change ended as it was meant to, with --plan it can begin; 1 it failed, did not end so \
    in time, or cannot begin; 2 wrong usage.";

/// Flags of `signet ca rotate`.
#[derive(Args, Clone, Debug)]
pub struct RotateArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Clone, Debug)]
enum Action {
    /// What a change would do, and who would hold it up; changes nothing, and fails where it cannot begin
    #[command(long_flag = "plan")]
    Plan(PlanArgs),
    /// Begin a change
    Start(StartArgs),
    /// How far it is, who has not moved yet and why, and how long each phase took
    Status(StatusArgs),
    /// Have it wait where it is
    Pause(OrderArgs),
    /// Let it go on
    Resume(ResumeArgs),
    /// Turn it round: everybody goes back to the old
    Abort(StatusArgs),
}

/// What is to be replaced.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
struct Target {
    /// The root, and with it every issuer
    #[arg(long)]
    root: bool,
    /// The issuer of one mesh
    #[arg(long, value_name = "MESH")]
    issuer: Option<ResourceName>,
}

/// What takes its place.
#[derive(Args, Clone, Debug)]
struct Given {
    /// The certificate of the new root, PEM, whose key is elsewhere [default: a root is made]
    #[arg(long, value_name = "FILE", conflicts_with = "issuer")]
    root_file: Option<PathBuf>,
}

impl Given {
    fn read(&self) -> Result<Option<String>> {
        self.root_file.as_deref().map(super::import::read).transpose()
    }
}

/// Whether to wait for the end of a change, and for how long.
#[derive(Args, Clone, Copy, Debug)]
struct WaitArgs {
    /// Wait for the end, and show how it goes
    #[arg(long)]
    wait: bool,
    /// Wait for so many seconds at most, and fail then; the change goes on
    #[arg(long, value_name = "SECONDS", requires = "wait", value_parser = clap::value_parser!(u64).range(1..=MAX_WAIT))]
    timeout: Option<u64>,
}

/// How a change is to end, and when nobody waits any more.
struct Wanted {
    end: &'static str,
    until: Option<Instant>,
}

impl WaitArgs {
    fn wanted(self, end: &'static str) -> Option<Wanted> {
        let until = self.timeout.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        self.wait.then_some(Wanted { end, until })
    }
}

#[derive(Args, Clone, Debug)]
struct PlanArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    given: Given,
    /// How to print
    #[arg(long, default_value = "table")]
    format: Format,
}

#[derive(Args, Clone, Debug)]
struct StartArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    given: Given,
    /// Over how many seconds renewals are spread, 0 to 604800
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(0..=604_800))]
    spread: u64,
    #[command(flatten)]
    wait: WaitArgs,
    /// How to print
    #[arg(long, default_value = "table")]
    format: Format,
}

#[derive(Args, Clone, Debug)]
struct StatusArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    wait: WaitArgs,
    /// How to print
    #[arg(long, default_value = "table")]
    format: Format,
}

#[derive(Args, Clone, Debug)]
struct OrderArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// How to print
    #[arg(long, default_value = "table")]
    format: Format,
}

#[derive(Args, Clone, Debug)]
struct ResumeArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// Wait no longer for a proxy: mesh/MESH/virtualNode/NAME, one instance of it as the status names it, or a serial
    /// number; may be repeated. A name that nobody has is refused, and then nothing is changed
    #[arg(long = "override", value_name = "NODE")]
    overrides: Vec<String>,
    #[command(flatten)]
    wait: WaitArgs,
    /// How to print
    #[arg(long, default_value = "table")]
    format: Format,
}

impl Target {
    fn what(&self) -> String {
        self.issuer.as_ref().map_or_else(|| "root".to_owned(), |mesh| format!("mesh/{mesh}"))
    }
}

/// What the server tells of a change, as far as it is printed.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    id: Option<String>,
    what: Option<String>,
    phase: Option<String>,
    is_over: bool,
    paused: bool,
    reason: String,
    looked: bool,
    total: usize,
    proven: usize,
    coverage: u8,
    laggards: Vec<Laggard>,
    settled_at_unix_ms: Option<i64>,
    overrides: Vec<Override>,
    phases: Vec<PhaseTime>,
}

#[derive(Clone, Debug, Deserialize)]
struct Laggard {
    node: String,
    why: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Override {
    node: String,
    by: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PhaseTime {
    phase: String,
    took_ms: Option<i64>,
}

const PATH: &str = "/v1/ca/rotation";
/// What is waited for when everybody has moved.
const HANDSHAKES: &str = "handshakes that began before";
/// Said while the server has not looked.
const UNKNOWN: &str = "the server has not looked yet who has moved";
/// Longest time that is waited for the end of a change, in seconds.
const MAX_WAIT: u64 = 30 * 24 * 60 * 60;
/// Between two looks.
const PULSE: Duration = Duration::from_millis(250);

/// Runs a subcommand.
pub(super) async fn run(args: RotateArgs, clock: Clock) -> Result<()> {
    match args.action {
        Action::Plan(PlanArgs { connect, target, given, format }) => {
            let body = json!({"what": target.what(), "root": given.read()?});
            let client = connect.client(clock)?;
            let answer = client.call(Method::POST, &format!("{PATH}/plan"), Some(&body)).await?;
            report_plan(&answer, &start_command(&target, &given), format)
        }
        Action::Start(StartArgs { connect, target, given, spread, wait, format }) => {
            let body = json!({"what": target.what(), "root": given.read()?, "spreadSeconds": spread});
            let client = connect.client(clock)?;
            let answer = client.call(Method::POST, PATH, Some(&body)).await?;
            report(&client, answer, wait.wanted("completed"), format).await
        }
        Action::Status(StatusArgs { connect, wait, format }) => {
            let client = connect.client(clock)?;
            let answer = client.call(Method::GET, PATH, None).await?;
            report(&client, answer, wait.wanted("completed"), format).await
        }
        Action::Pause(OrderArgs { connect, format }) => {
            let client = connect.client(clock)?;
            let answer = client.call(Method::POST, &format!("{PATH}/pause"), Some(&json!({}))).await?;
            report(&client, answer, None, format).await
        }
        Action::Resume(ResumeArgs { connect, overrides, wait, format }) => {
            let client = connect.client(clock)?;
            let body = json!({"overrides": overrides});
            let answer = client.call(Method::POST, &format!("{PATH}/resume"), Some(&body)).await?;
            report(&client, answer, wait.wanted("completed"), format).await
        }
        Action::Abort(StatusArgs { connect, wait, format }) => {
            let client = connect.client(clock)?;
            let answer = client.call(Method::POST, &format!("{PATH}/abort"), Some(&json!({}))).await?;
            report(&client, answer, wait.wanted("aborted"), format).await
        }
    }
}

/// Prints a status; where an end is waited for, each news until then, and fails where it ends otherwise.
async fn report(client: &Client, answer: Value, wanted: Option<Wanted>, format: Format) -> Result<()> {
    let mut answer = answer;
    let mut told = String::new();
    loop {
        let status = read(&answer)?;
        let is_late =
            wanted.as_ref().is_some_and(|wanted| wanted.until.is_some_and(|end| end <= Instant::now()));
        let line = progress(&status);
        if wanted.is_some() && format == Format::Table && line != told {
            println!("{line}");
            told = line;
        }
        if wanted.is_none() || status.is_over || is_late {
            match format {
                Format::Json => println!("{}", serde_json::to_string_pretty(&answer)?),
                Format::Table => print_status(&status),
            }
            return judge(&status, wanted);
        }
        tokio::time::sleep(PULSE).await;
        answer = client.call(Method::GET, PATH, None).await?;
    }
}

/// Fails where a change did not end as it was to.
fn judge(status: &Status, wanted: Option<Wanted>) -> Result<()> {
    let phase = status.phase.as_deref().unwrap_or_default();
    match wanted {
        Some(_) if !status.is_over => {
            bail!("the change is not over yet, in phase {phase}; it goes on: signet ca rotate status --wait")
        }
        Some(wanted) if status.id.is_some() && wanted.end != phase => {
            bail!("the change ended as {phase}: {}", status.reason)
        }
        Some(_) | None => Ok(()),
    }
}

fn read(answer: &Value) -> Result<Status> {
    Status::deserialize(answer).context("the server's answer is no status of a change")
}

fn progress(status: &Status) -> String {
    let phase = status.phase.as_deref().unwrap_or("none");
    let waits = if status.paused { ", paused" } else { "" };
    match (status.looked, status.is_over) {
        (true, _) => {}
        (false, true) => return phase.to_owned(),
        (false, false) => return format!("{phase}{waits}: {UNKNOWN}"),
    }
    let handshakes = status.settled_at_unix_ms.map(|_| format!("; waiting for {HANDSHAKES}"));
    let first =
        status.laggards.first().map(|laggard| format!("; waiting for {}", laggard.node)).or(handshakes);
    let Status { proven, total, coverage, .. } = status;
    format!("{phase}{waits}: {proven} of {total} ({coverage} %){}", first.unwrap_or_default())
}

fn print_status(status: &Status) {
    let (Some(id), Some(what)) = (&status.id, &status.what) else {
        println!("no change of root or issuer was ever begun");
        return;
    };
    println!("change {id} of {what}: {}", progress(status));
    if !status.reason.is_empty() {
        println!("goes back: {}", status.reason);
    }
    for phase in &status.phases {
        let took = phase.took_ms.map_or_else(|| "…".to_owned(), |took| format!("{took} ms"));
        println!("  {:<12}{took}", phase.phase);
    }
    for laggard in &status.laggards {
        println!("  {}: {}", laggard.node, laggard.why);
    }
    for excused in &status.overrides {
        println!("  {}: nobody waits for it, as {} said", excused.node, excused.by);
    }
}

/// The command that begins what was planned, for a shell.
fn start_command(target: &Target, given: &Given) -> String {
    let target =
        target.issuer.as_ref().map_or_else(|| "--root".to_owned(), |mesh| format!("--issuer {mesh}"));
    let file =
        given.root_file.as_ref().map(|file| format!(" --root-file {}", quoted(&file.to_string_lossy())));
    format!("signet ca rotate start {target}{}", file.unwrap_or_default())
}

/// A word as a POSIX shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+=:@%,".contains(&byte);
    match word.bytes().all(is_plain) && !word.is_empty() {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// Prints a plan, and fails where the change cannot begin.
fn report_plan(answer: &Value, start: &str, format: Format) -> Result<()> {
    let obstacles =
        Vec::<String>::deserialize(&answer["obstacles"]).context("the server's answer is no plan")?;
    match format {
        Format::Json => println!("{}", serde_json::to_string_pretty(answer)?),
        Format::Table => print_plan(answer, &obstacles, start),
    }
    if obstacles.is_empty() { Ok(()) } else { bail!("the change cannot begin") }
}

fn print_plan(answer: &Value, obstacles: &[String], start: &str) {
    let what = answer["what"].as_str().unwrap_or_default();
    println!("{what}: {} of {} proxies could begin now", answer["ready"], answer["total"]);
    let laggards = Vec::<Laggard>::deserialize(&answer["laggards"]).unwrap_or_default();
    for laggard in laggards {
        println!("  {}: {}", laggard.node, laggard.why);
    }
    let steps = Vec::<String>::deserialize(&answer["steps"]).unwrap_or_default();
    if !steps.is_empty() {
        println!("what you do:");
        steps.iter().enumerate().for_each(|(number, step)| println!("  {}. {step}", number + 1));
    }
    match obstacles {
        [] => println!("it can begin: {start}"),
        obstacles => obstacles.iter().for_each(|obstacle| println!("cannot begin: {obstacle}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(issuer: Option<&str>, file: Option<&str>) -> String {
        let target = Target { root: issuer.is_none(), issuer: issuer.map(|mesh| mesh.parse().unwrap()) };
        start_command(&target, &Given { root_file: file.map(PathBuf::from) })
    }

    #[test]
    fn nobody_is_said_to_have_moved_before_the_server_has_looked() {
        let told = |phase: &str, is_over: bool, looked: bool| {
            let status = json!({"id": "r", "what": "root", "phase": phase, "isOver": is_over, "paused": false, "reason": "",
                "looked": looked, "total": 0, "proven": 0, "coverage": 100, "laggards": [], "settledAtUnixMs": null,
                "overrides": [], "phases": []});
            progress(&read(&status).unwrap())
        };
        assert_eq!(told("issue", false, true), "issue: 0 of 0 (100 %)");
        assert_eq!(told("issue", false, false), "issue: the server has not looked yet who has moved");
        assert_eq!(told("completed", true, false), "completed", "nobody counts after the end");
    }

    #[test]
    fn a_plan_fails_where_the_change_cannot_begin_and_not_where_proxies_would_hold_it_up() {
        let plan = |obstacles: &[&str]| {
            let late = json!([{"node": "mesh/m/virtualNode/a/1", "why": "its agent is not connected"}]);
            json!({"what": "root", "total": 2, "ready": 1, "laggards": late, "obstacles": obstacles, "steps": []})
        };
        for format in [Format::Table, Format::Json] {
            report_plan(&plan(&[]), "start", format).unwrap();
            let error = report_plan(&plan(&["another is under way"]), "start", format).unwrap_err();
            assert_eq!(error.to_string(), "the change cannot begin");
        }
        assert!(report_plan(&json!({}), "start", Format::Json).is_err(), "no plan says that it can begin");
    }

    #[test]
    fn a_plan_ends_with_the_command_that_begins_what_was_planned() {
        assert_eq!(command(None, None), "signet ca rotate start --root");
        assert_eq!(command(Some("shop"), None), "signet ca rotate start --issuer shop");
        assert_eq!(command(None, Some("/a/b-c.pem")), "signet ca rotate start --root --root-file /a/b-c.pem");
        let odd = command(None, Some("it's new.pem"));
        assert_eq!(odd, r"signet ca rotate start --root --root-file 'it'\''s new.pem'");
    }
}
