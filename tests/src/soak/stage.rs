//! The mesh of a soak, and what holds it to what must hold.

use std::{collections::BTreeMap, fs, os::unix::fs::DirBuilderExt as _, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use rustix::process::Pid;
use serde_json::{Value, json};
use signet::local::load::{Load, Tally};
use tokio::{task::JoinSet, time::Instant};

use super::{
    Invariant, Progress, Report, Step, Twist, Wanted, Who,
    observer::{Seen, rotations},
    report::{grown, row},
};
use crate::{
    bed::{Node, app::App, disk::Disk, ledger::entries, pair::Pair, trial::Trial},
    eventually,
};

/// How long everybody may take to come round.
const PATIENCE: Duration = Duration::from_secs(60);
/// The node that nobody needs.
pub(super) const NOBODY: &str = "nobody";
/// Characters of an error that are printed.
const WORDS: usize = 600;
/// Megabytes of the server's disk.
const DISK: u32 = 192;

pub(super) struct Stage {
    pub(super) pair: Pair,
    /// The server's, where it is one that can be filled.
    pub(super) disk: Option<Disk>,
    _web: App,
    /// Over connections with a handshake for each request.
    trial: Option<Trial>,
    /// Over connections that last.
    lasting: Option<Load>,
    tally: Tally,
    seen: Seen,
    _observers: JoinSet<()>,
    /// By kind of step, how long everybody took to come round.
    times: BTreeMap<String, Vec<Duration>>,
    phases: BTreeMap<String, Vec<i64>>,
    root_changes: u64,
    broken: Vec<String>,
    /// Of a leaf.
    life: Duration,
}

impl Stage {
    /// Two Envoys under load, whose certificates live for seconds.
    pub(super) async fn set(wanted: &Wanted) -> Result<Self> {
        let mut pair = Pair::start(wanted.handshakes).await?;
        // A revocation cuts connections of TCP that last: there is no gentler way. Those of HTTP are moved.
        (pair.plan.kept_alive, pair.plan.connections) = (0, 0);
        let life = wanted.leaf_secs.to_string();
        let server = &mut pair.bed.server;
        server.add_flags(&["--leaf-lifetime", &life, "--dangerously-short-leaves"]);
        server.stop().await;
        let disk = if wanted.faults { Some(on_a_disk(&server.ready.data_dir)?) } else { None };
        server.restart().await?;
        pair.until_watched(2).await?;
        let (web, plan) = pair.and_back().await?;
        pair.bed.virtual_node("m", NOBODY, json!({})).await?;
        pair.bed.synced().await?;
        let mut stage = Self {
            disk,
            _web: web,
            trial: None,
            lasting: None,
            tally: Tally::default(),
            seen: Seen::default(),
            _observers: JoinSet::new(),
            times: BTreeMap::new(),
            phases: BTreeMap::new(),
            root_changes: 0,
            broken: Vec::new(),
            life: Duration::from_secs(wanted.leaf_secs),
            pair,
        };
        stage.renewed().await?;
        stage.note_processes();
        stage.trial = Some(Trial::begin(&stage.pair).await?);
        stage.lasting = Some(Load::start(&plan));
        let client = stage.pair.bed.client.clone();
        stage._observers.spawn(stage.seen.clone().look(client));
        Ok(stage)
    }

    pub(super) fn agent(&mut self, who: Who) -> &mut Node {
        match who {
            Who::Server => &mut self.pair.server,
            Who::Caller => &mut self.pair.caller,
        }
    }

    /// Tells the observers which processes there are now.
    pub(super) fn note_processes(&self) {
        let Pair { bed, server, caller, .. } = &self.pair;
        let parts = [
            ("server", bed.server.pid()),
            ("server's agent", server.sidecar.agent_pid()),
            ("caller's agent", caller.sidecar.agent_pid()),
            ("server's Envoy", Pid::from_raw(server.sidecar.ready.envoy_pid)),
            ("caller's Envoy", Pid::from_raw(caller.sidecar.ready.envoy_pid)),
        ];
        self.seen.lock().pids = parts.into_iter().filter_map(|(part, pid)| Some((part, pid?))).collect();
    }

    /// Has everybody renew now, and waits until each Envoy runs what is new.
    pub(super) async fn renewed(&self) -> Result<()> {
        let before = self.serials().await?;
        for node in [&self.pair.server, &self.pair.caller] {
            node.sidecar.rotate()?;
        }
        self.replaced(&before, PATIENCE).await
    }

    /// Waits until each agent has renewed by itself, which it does before its certificate ends.
    async fn left_alone(&self) -> Result<()> {
        let before = self.serials().await?;
        self.replaced(&before, self.life).await
    }

    /// What each Envoy runs.
    async fn serials(&self) -> Result<[Vec<String>; 2]> {
        let [server, caller] = [&self.pair.server, &self.pair.caller].map(Node::admin);
        Ok([server.serials().await?, caller.serials().await?])
    }

    /// Until each Envoy runs another certificate than those.
    async fn replaced(&self, before: &[Vec<String>; 2], patience: Duration) -> Result<()> {
        eventually("everybody has a new certificate", patience, || async {
            let nodes = [&self.pair.server, &self.pair.caller];
            for ((node, now), before) in nodes.iter().zip(self.serials().await?).zip(before) {
                let log = || node.sidecar.log().lines().rev().take(3).collect::<Vec<_>>().join("\n");
                ensure!(now.iter().any(|serial| !before.contains(serial)), "{now:?}: {}", log());
            }
            Ok(())
        })
        .await
    }

    /// Plays a step, and waits until everybody came round.
    pub(super) async fn play(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Renew { times } => {
                for _ in 0..*times {
                    self.timed(step.to_string()).await?;
                }
                return self.look();
            }
            Step::Calm => self.left_alone().await?,
            Step::Fault(fault) => self.wrong(*fault).await?,
            Step::Issuer => {
                self.told(&["rotate", "start", "--issuer", "m", "--spread", "1"])?;
                self.over().await?;
            }
            Step::Root(twist) => self.root(*twist).await?,
        }
        self.timed(step.to_string()).await?;
        self.look()
    }

    /// Measures how long everybody takes to come round.
    async fn timed(&mut self, step: String) -> Result<()> {
        let started = Instant::now();
        self.renewed().await?;
        self.times.entry(step).or_default().push(started.elapsed());
        Ok(())
    }

    /// Takes over what the load met, and goes on only where nothing failed: what follows would hide why.
    fn look(&mut self) -> Result<()> {
        let taken = [self.trial.as_ref().map(Trial::take), self.lasting.as_ref().map(Load::take)];
        taken.into_iter().flatten().for_each(|tally| self.tally.add(tally));
        // Latencies are nobody's here, and would be what grows.
        self.tally.latencies.clear();
        let first = self.tally.failures.first();
        ensure!(self.tally.failed == 0, "{} requests failed; the first: {first:?}", self.tally.failed);
        Ok(())
    }

    async fn root(&mut self, twist: Twist) -> Result<()> {
        let start = ["rotate", "start", "--root", "--spread", "2"];
        self.told(&start)?;
        match twist {
            Twist::None => {}
            Twist::Fault { what, phase } => {
                self.phase(phase).await?;
                self.wrong(what).await?;
            }
            Twist::Abort { phase } => {
                self.phase(phase).await?;
                // Over before it could be turned round: then it was no abort.
                if self.told(&["rotate", "abort"]).is_ok() {
                    self.over().await?;
                    self.told(&start)?;
                }
            }
        }
        let status = self.over().await?;
        ensure!(status["phase"] == "completed", "{status:#}");
        for phase in status["phases"].as_array().into_iter().flatten() {
            if let (Some(name), Some(ms)) = (phase["phase"].as_str(), phase["tookMs"].as_i64()) {
                self.phases.entry(name.to_owned()).or_default().push(ms);
            }
        }
        self.root_changes += 1;
        Ok(())
    }

    /// Until the change is in a phase, or past it.
    async fn phase(&self, phase: &str) -> Result<()> {
        eventually(phase, PATIENCE, || async {
            let status = self.pair.status().await?;
            let entered = status["phases"].as_array().into_iter().flatten().any(|one| one["phase"] == phase);
            ensure!(entered || status["isOver"] == true, "{status:#}");
            Ok(())
        })
        .await
    }

    async fn over(&self) -> Result<Value> {
        eventually("the change is over", PATIENCE, || async {
            let status = self.pair.status().await?;
            ensure!(status["isOver"] == true, "{status:#}");
            Ok(status)
        })
        .await
    }

    pub(super) fn told(&self, arguments: &[&str]) -> Result<String> {
        tokio::task::block_in_place(|| self.pair.told(arguments))
    }

    pub(super) fn broke(&mut self, how: String) {
        self.broken.push(how);
    }

    pub(super) fn progress(&self, elapsed: Duration, done: usize, steps: usize, next: String) -> Progress {
        let (rotations, requests) = (self.seen.lock().rotations, self.tally.requests());
        Progress { elapsed, done, steps, next, rotations, requests, failed: self.tally.failed }
    }

    /// Ends everything, and says what came of it.
    pub(super) async fn strike(mut self, wanted: &Wanted, elapsed: Duration) -> Result<Report> {
        let accepted = "sds.default.update_success$";
        let (server, caller) =
            (self.pair.server.total(accepted).await?, self.pair.caller.total(accepted).await?);
        if let Some(lasting) = self.lasting.take() {
            self.tally.add(lasting.stop().await);
        }
        let all = entries(&self.pair.bed.client, 0).await.context("the ledger")?;
        let verdict = self.trial.take().context("there is a trial")?.end(&self.pair).await?;
        let Self { pair, disk, mut tally, seen, times, phases, root_changes, broken, .. } = self;
        let ended = pair.end().await;
        drop(disk);
        tally.add(verdict.tally);
        let mut lost = tally.failures.clone();
        if verdict.handshakes.1 > 0 {
            lost.push(format!("{} handshakes failed", verdict.handshakes.1));
        }
        let memory = seen.lock().memory.trends();
        let failed = |error: anyhow::Error| vec![format!("{error:#}").chars().take(WORDS).collect()];
        let invariant = |name, what, broken| Invariant { name, what, broken };
        let invariants = vec![
            invariant("I1", "no request and no handshake fails", lost),
            invariant("I2", "no certificate is presented that has ended", verdict.observed.untimely_ones),
            invariant("I3", "everybody comes round after each step", broken),
            invariant("I4", "the ledger verifies", ended.err().map(failed).unwrap_or_default()),
            invariant("I5", "no serial number comes twice", verdict.doubled),
            invariant("I6", "memory does not grow by more than a tenth", grown(&memory)),
        ];
        let mean =
            |times: &Vec<i64>| times.iter().sum::<i64>() / i64::try_from(times.len().max(1)).unwrap_or(1);
        Ok(Report {
            wanted: *wanted,
            seconds: elapsed.as_secs(),
            steps: times.values().map(Vec::len).sum(),
            rotations: rotations(&all),
            secrets_accepted: server + caller,
            root_changes,
            requests: tally.requests(),
            handshakes: verdict.handshakes.0,
            looks: verdict.observed.handshakes,
            reopened: tally.reopened,
            rows: times.iter().map(|(step, times)| row(step, times)).collect(),
            phases: phases.iter().map(|(phase, times)| (phase.clone(), mean(times))).collect(),
            memory,
            invariants,
        })
    }
}

/// Puts the data folder of a server that does not run on a small disk of its own.
fn on_a_disk(data: &std::path::Path) -> Result<Disk> {
    let kept = data.with_extension("kept");
    fs::rename(data, &kept)?;
    fs::DirBuilder::new().mode(0o700).create(data)?;
    let disk = Disk::mount(data, DISK)?;
    let copied = Command::new("cp").arg("-a").arg(kept.join(".")).arg(data).status()?;
    ensure!(copied.success(), "the data folder cannot be copied");
    fs::remove_dir_all(kept)?;
    Ok(disk)
}
