//! A [`Pair`] under load while something goes wrong, and what must hold all the same.
//!
//! | | holds | seen by |
//! |---|---|---|
//! | I1 | no request fails, and no handshake between the Envoys | the load; Envoy's counters |
//! | I2 | nobody presents a certificate that has ended, or not begun | handshakes of an independent client; Envoy's log |
//! | I3 | how long it takes until all proxies show what they should | [`Trial::converged`], [`Trial::renewed`] |
//! | I4 | `signet ca verify` finds the ledger whole | a proof that it only grew; all of it in [`Pair::end`] |
//! | I5 | no serial number twice | the ledger's entries |
//! | I6 | memory comes back | `VmRSS` of every process, told and not judged: two minutes are too short |

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use rustix::process::Pid;
use signet::local::load::{Load, Tally};
use signet_policies::time::Clock;
use tokio::time::Instant;

use super::{
    observer::{Observed, Observer},
    pair::Pair,
};
use crate::{clock, eventually};

/// How long anything may take to come true.
const PATIENCE: Duration = Duration::from_secs(60);

/// What runs meanwhile.
pub struct Trial {
    load: Load,
    observer: Observer,
    started: Instant,
    shaken: (u64, u64),
    troubles: BTreeMap<String, u64>,
    checkpoint: PathBuf,
    memory: BTreeMap<String, u64>,
    convergences: Vec<Duration>,
}

/// What came of it.
#[derive(Debug)]
pub struct Verdict {
    /// I1: the requests of both kinds of connections.
    pub tally: Tally,
    /// I1: handshakes between the Envoys, and those that failed, by Envoy's counters.
    pub handshakes: (u64, u64),
    /// Handshakes a second.
    pub rate: f64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Envoys' counters of failed connections that grew.
    pub troubles: Vec<(String, u64)>,
    /// I2: what the server's listener presented.
    pub observed: Observed,
    /// I3: in the order in which they were measured.
    pub convergences: Vec<Duration>,
    /// I5: serial numbers that the ledger has more than once.
    pub doubled: Vec<String>,
    /// Certificates in the ledger.
    pub issued: usize,
    /// I6: kilobytes before and after, by process.
    pub memory: Vec<(String, u64, u64)>,
}

impl Trial {
    /// Starts load and observer.
    ///
    /// # Errors
    /// A part does not answer.
    pub async fn begin(pair: &Pair) -> Result<Self> {
        Self::begin_by(pair, &clock()).await
    }

    /// As [`Trial::begin`], where another clock tells what has ended (I2).
    ///
    /// # Errors
    /// As [`Trial::begin`].
    pub async fn begin_by(pair: &Pair, now: &Clock) -> Result<Self> {
        let checkpoint = pair.bed.path("begin.checkpoint");
        std::fs::write(&checkpoint, pair.told(&["checkpoint"])?)?;
        let (memory, shaken) = (memory(pair), pair.handshakes().await?);
        let troubles = pair.troubles().await?;
        Ok(Self {
            troubles,
            load: Load::start(&pair.plan),
            observer: Observer::start(&[pair.listener()], now),
            started: Instant::now(),
            shaken,
            checkpoint,
            memory,
            convergences: Vec::new(),
        })
    }

    /// What the load met since this was asked last; the verdict then knows nothing of it.
    #[must_use]
    pub fn take(&self) -> Tally {
        self.load.take()
    }

    /// What the server's listener presented so far.
    #[must_use]
    pub fn observed(&self, pair: &Pair) -> Observed {
        self.observer.observed(pair.listener())
    }

    /// Waits until so many more requests have been answered, so that what happens next happens under load.
    ///
    /// # Errors
    /// They are not.
    pub async fn answered(&self, pair: &Pair, more: u64) -> Result<()> {
        let before = pair.app.requests();
        eventually("requests are answered", PATIENCE, || async {
            let after = pair.app.requests();
            ensure!(after - before >= more, "{}", after - before);
            Ok(())
        })
        .await
    }

    /// Waits until both proxies show what their agents hold, and notes how long that took since `since` (I3).
    ///
    /// # Errors
    /// That takes more than a minute.
    pub async fn converged(&mut self, pair: &Pair, since: Instant) -> Result<Duration> {
        pair.until_converged(PATIENCE).await?;
        let took = since.elapsed();
        self.convergences.push(took);
        Ok(took)
    }

    /// Has the called node renew, and waits until the first handshake that presents the new certificate (I3).
    ///
    /// # Errors
    /// That takes more than a minute.
    pub async fn renewed(&mut self, pair: &Pair) -> Result<Duration> {
        let (before, asked) = (self.observed(pair).serials(), Instant::now());
        pair.server.sidecar.rotate()?;
        let seen = eventually("a new certificate is presented", PATIENCE, || async {
            let observed = self.observed(pair);
            let new = observed.first_seen.into_iter().find(|(serial, _)| !before.contains(serial));
            new.map(|(_, at)| at).context("none yet")
        })
        .await?;
        let took = seen.duration_since(asked);
        self.convergences.push(took);
        Ok(took)
    }

    /// Stops load and observer, and looks at all that must hold.
    ///
    /// # Errors
    /// I4: the ledger did not only grow. A part does not answer.
    pub async fn end(self, pair: &Pair) -> Result<Verdict> {
        let Self { load, observer, started, shaken, troubles, checkpoint, memory: before, convergences } =
            self;
        let tally = load.stop().await;
        let seconds = started.elapsed().as_secs_f64();
        let mut observed = observer.stop().await;
        let after = pair.handshakes().await?;
        let shaken = (after.0.saturating_sub(shaken.0), after.1.saturating_sub(shaken.1));
        let grown = pair.troubles().await?.into_iter().filter_map(|(name, count)| {
            let more = count.saturating_sub(troubles.get(&name).copied().unwrap_or_default());
            (more > 0).then_some((name, more))
        });
        let troubles = grown.collect();
        let (old, key) =
            (checkpoint.display().to_string(), pair.bed.server.ready.data_dir.join("ledger.pub"));
        let growth = pair.bed.path("growth.json").display().to_string();
        std::fs::write(&growth, pair.told(&["checkpoint", "--since", &old])?)?;
        pair.told(&["verify", &growth, "--key-file", &key.display().to_string(), "--since", &old])?;
        let issued = pair.issued().await?;
        let now = memory(pair);
        let grown = before.into_iter().filter_map(|(name, before)| {
            let after = *now.get(&name)?;
            Some((name, before, after))
        });
        Ok(Verdict {
            tally,
            handshakes: shaken,
            rate: f64::from(u32::try_from(shaken.0)?) / seconds,
            seconds,
            troubles,
            observed: observed.remove(&pair.listener()).unwrap_or_default(),
            convergences,
            issued: issued.len(),
            doubled: issued.into_iter().filter(|(_, count)| *count > 1).map(|(serial, _)| serial).collect(),
            memory: grown.collect(),
        })
    }
}

impl Verdict {
    /// Whether I1, I2 and I5 hold; I4 did, or there were no verdict.
    ///
    /// # Errors
    /// One does not, and which.
    pub fn flawless(&self) -> Result<()> {
        let Tally { failed, failures, .. } = &self.tally;
        let all = self.tally.requests();
        ensure!(*failed == 0, "I1: {failed} of {all} failed: {failures:?}; {:?}", self.troubles);
        ensure!(self.handshakes.1 == 0, "I1: {} handshakes failed", self.handshakes.1);
        self.sound()
    }

    /// Whether I2 and I5 hold, where the fault itself makes requests fail.
    ///
    /// # Errors
    /// One does not, and which.
    pub fn sound(&self) -> Result<()> {
        let observed = &self.observed;
        ensure!(observed.handshakes > 0, "I2: nothing was seen: {:?}", observed.misses);
        ensure!(observed.untimely == 0, "I2: {}: {:?}", observed.untimely, observed.untimely_ones);
        ensure!(self.doubled.is_empty(), "I5: issued twice: {:?}", self.doubled);
        Ok(())
    }

    /// The time below which `percent` of what was measured for I3 stays; zero where nothing was.
    #[must_use]
    pub fn convergence(&self, percent: usize) -> Duration {
        let mut sorted = self.convergences.clone();
        sorted.sort_unstable();
        let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
        sorted.get(index).copied().unwrap_or_default()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tally, observed) = (&self.tally, &self.observed);
        write!(f, "I1 {} of {} requests failed, ", tally.failed, tally.requests())?;
        let (shaken, failed) = self.handshakes;
        write!(f, "{failed} of {shaken} handshakes ({:.0}/s for {:.1} s), ", self.rate, self.seconds)?;
        writeln!(f, "{} long-lived connections were reopened", tally.reopened)?;
        write!(f, "I2 {} of {} looks saw ", observed.untimely, observed.handshakes)?;
        writeln!(f, "a certificate out of its time; {} serials", observed.first_seen.len())?;
        if !self.convergences.is_empty() {
            let [p50, p99, max] = [50, 99, 100].map(|percent| self.convergence(percent).as_millis());
            writeln!(f, "I3 {p50} / {p99} / {max} ms (p50/p99/max of {})", self.convergences.len())?;
        }
        writeln!(f, "I4 the ledger only grew; I5 {} of {} serials twice", self.doubled.len(), self.issued)?;
        write!(f, "I6")?;
        self.memory.iter().try_for_each(|(name, before, after)| write!(f, " {name} {before} → {after} kB;"))
    }
}

/// Resident memory of each process of the pair, in kilobytes, by its name.
#[must_use]
pub fn memory(pair: &Pair) -> BTreeMap<String, u64> {
    let mut pids = vec![("signet server".to_owned(), pair.bed.server.pid())];
    for (name, node) in [("server", &pair.server), ("caller", &pair.caller)] {
        pids.push((format!("agent of {name}"), node.sidecar.agent_pid()));
        pids.push((format!("envoy of {name}"), Pid::from_raw(node.sidecar.ready.envoy_pid)));
    }
    pids.into_iter().filter_map(|(name, pid)| Some((name, resident(pid?)?))).collect()
}

/// Resident memory of a process, in kilobytes; nothing once it has ended.
#[must_use]
pub fn resident(pid: Pid) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().trim_end_matches(" kB").parse().ok()
}
