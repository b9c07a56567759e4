//! Replacing a root or an issuer while everything goes on.
//!
//! ```text
//!  start, pause, abort ──▶ Rotations ──▶ Authority   which signs
//!                            │   ▲  └──▶ TrustFeed   what every agent trusts
//!       record on disk ◀─────┘   └────── Nodes       what proxies accepted, hold and present; whom to advise
//! ```
//!
//! A phase ends when it is proven that everybody moved, and never by time; a short pause after the proof lets handshakes end
//! that began before it. What is written first is always safe to go on
//! from: whoever signs is trusted everywhere before, and for as long as one of its certificates is in use.

mod advice;
mod control;
mod error;
mod gate;
mod given;
mod holders;
mod machine;
mod overrides;
mod record;
mod settling;
mod status;
#[cfg(test)]
mod tests;
mod told;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use signet_policies::time::Clock;
use tokio::{
    sync::{Mutex, watch},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{Authority, Issuing, LedgerError, Nodes, TrustFeed, ledger::Entry};
pub use error::RotationError;
pub use gate::{FRESH, Laggard};
use gate::{Facts, Standing};
use holders::{Holders, Known};
pub use machine::Phase;
pub use record::{Entered, Override, Record, RecordError};
use settling::Settling;
pub use settling::{DEFAULT_GRACE, MAX_GRACE};
pub use status::{Excused, Plan, Status};
use told::Told;

/// Between two looks while a change is under way.
const LOOK: Duration = Duration::from_millis(250);
/// Entries of the ledger that are read at once.
const PAGE: usize = 1000;
/// Longest time over which renewals may be spread.
pub const MAX_SPREAD: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The time over which renewals are spread where nobody says another.
pub const DEFAULT_SPREAD: Duration = Duration::from_secs(10 * 60);

/// Replaces roots and issuers. Clones share it.
#[derive(Clone)]
pub struct Rotations(Arc<Inner>);

struct Inner {
    folder: PathBuf,
    issuing: Issuing,
    nodes: Nodes,
    trust: TrustFeed,
    clock: Clock,
    record: Mutex<Option<Record>>,
    status: watch::Sender<Arc<Status>>,
    /// Counts how often another issuer began to sign, for who holds a certificate here.
    signing: watch::Sender<u64>,
    /// The last of these that the server's own certificate followed.
    followed: watch::Sender<u64>,
    known: Mutex<Known>,
    /// How long what began before a phase's proof may take to end.
    grace: Duration,
    settling: Mutex<Settling>,
    /// What the ledger has of the change; `None` where it is to be read there.
    told: Mutex<Option<Told>>,
}

impl Rotations {
    /// Ends on disk what was about to end when the server was killed; before the authority is opened.
    ///
    /// # Errors
    /// The record cannot be read, or a folder not moved.
    pub fn recover(folder: &Path) -> Result<(), RotationError> {
        match Record::read(folder)? {
            Some(record) if record.phase == Phase::Promote => {
                Authority::finish(folder, &record.what, &record.retired)?;
            }
            Some(record) if !record.phase.is_over() => {}
            Some(_) | None => Authority::forget_unbegun(folder)?,
        }
        Ok(())
    }

    /// Takes up a change that was under way, tells the ledger what it does not know of it, and says what is to be trusted.
    /// `grace` is how long a handshake may take, at most [`MAX_GRACE`].
    ///
    /// # Errors
    /// The record, or what is to come, cannot be read, or the ledger does not answer.
    pub async fn open(
        folder: &Path,
        issuing: Issuing,
        nodes: Nodes,
        trust: TrustFeed,
        clock: Clock,
        grace: Duration,
    ) -> Result<Self, RotationError> {
        let mut record = Record::read(folder)?;
        let now = clock();
        if let Some(record) = &mut record {
            match record.phase {
                Phase::Promote => {
                    record.enter(Phase::Completed, now);
                    record.write(folder)?;
                }
                phase if !phase.is_over() => {
                    issuing.authority().resume(&record.what, now.into())?;
                    info!(change = record.id, %phase, "going on with a change of the authority");
                }
                Phase::Distribute
                | Phase::Issue
                | Phase::Retire
                | Phase::Completed
                | Phase::Restore
                | Phase::Return
                | Phase::Withdraw
                | Phase::Aborted => {}
            }
        }
        let rotations = Self(Arc::new(Inner {
            folder: folder.to_owned(),
            issuing,
            nodes,
            trust,
            clock,
            status: watch::Sender::new(Arc::new(Status::of(record.as_ref(), None))),
            signing: watch::Sender::new(0),
            followed: watch::Sender::new(0),
            known: Mutex::default(),
            grace: grace.min(MAX_GRACE),
            settling: Mutex::default(),
            told: Mutex::default(),
            record: Mutex::new(record.clone()),
        }));
        if let Some(record) = &record {
            rotations.tell_ledger(record, &record.by).await?;
        }
        rotations.apply(record.as_ref());
        Ok(rotations)
    }

    /// Looks after the change that is under way, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut views = self.0.nodes.subscribe();
        let mut began = self.0.status.subscribe();
        loop {
            let is_idle = self.0.record.lock().await.as_ref().is_none_or(|record| record.phase.is_over());
            let next = async {
                if is_idle {
                    // Whoever begins a change publishes its status.
                    let _ = began.changed().await;
                } else {
                    // News come in bursts; one look is enough for each.
                    sleep(LOOK).await;
                    let _ = tokio::time::timeout(Duration::from_secs(1), views.changed()).await;
                }
            };
            if stop.run_until_cancelled(next).await.is_none() {
                return;
            }
            if let Err(error) = self.look().await {
                warn!(%error, "a change of the authority cannot go on; trying again");
            }
        }
    }

    /// Looks whether everybody has moved, and goes on if so.
    pub(crate) async fn look(&self) -> Result<(), RotationError> {
        let mut kept = self.0.record.lock().await;
        let Some(record) = kept.as_ref().filter(|record| !record.phase.is_over()) else { return Ok(()) };
        let standing = self.standing(record).await?;
        let now = (self.0.clock)();
        let mut next = record.clone();
        if record.phase == Phase::Promote {
            // The disk failed when the folders were put in place: they are, before anything else is done.
            self.0.publish(Some(record), Some(&standing));
            self.promote(&mut kept, next).await?;
            self.0.publish(kept.as_ref(), Some(&standing));
            return Ok(());
        }
        let refusal = standing.refusals.first().map(|laggard| format!("{}: {}", laggard.node, laggard.why));
        match (refusal, record.phase.back()) {
            // Only a phase that trusts something new can be refused; in between, nothing changed. Who refuses keeps what it
            // had, so that it does not hurry where somebody has it wait.
            (Some(reason), Some(back)) if !record.phase.needs_renewal() && !record.paused => {
                warn!(change = record.id, reason, "a proxy refuses the roots: everybody goes back");
                next.reason = reason;
                next.enter(back, now);
            }
            _ if record.paused || !standing.laggards.is_empty() || standing.settled_at.is_some() => {}
            _ => next.enter(record.phase.next(), now),
        }
        if next.phase == record.phase {
            self.advise(record);
            self.0.publish(kept.as_ref(), Some(&standing));
            return Ok(());
        }
        let by = next.by.clone();
        self.keep(&mut kept, next, &by).await?;
        self.tell(kept.as_ref(), Some(standing)).await;
        Ok(())
    }

    /// Publishes how a phase stands that has just begun; of what is over, how it stood `before`. What was done is told
    /// also where nobody can be counted now.
    async fn tell(&self, record: Option<&Record>, before: Option<Standing>) {
        let standing = match record.filter(|record| !record.phase.is_over()) {
            Some(record) => match self.standing(record).await {
                Ok(standing) => Some(standing),
                Err(error) => {
                    warn!(%error, "nobody knows yet who has moved; trying again");
                    None
                }
            },
            None => before,
        };
        self.0.publish(record, standing.as_ref());
    }

    /// How far everybody is, and until when what began before is waited for.
    async fn standing(&self, record: &Record) -> Result<Standing, RotationError> {
        let mut standing = self.count(record).await?;
        let now = (self.0.clock)();
        standing.settled_at = self.0.settling.lock().await.end(record, &standing, self.0.grace, now);
        Ok(standing)
    }

    async fn count(&self, record: &Record) -> Result<Standing, RotationError> {
        let authority = self.0.issuing.authority();
        let now = (self.0.clock)();
        let good_issuers: BTreeSet<Vec<u8>> =
            authority.issuer_keys(record.phase.new_signs()).into_iter().collect();
        let holders = self.holders(now).await?;
        let views = self.0.nodes.subscribe().borrow().clone();
        let trust = self.0.trust.now();
        let facts = Facts {
            phase: record.phase,
            what: &record.what,
            trust_domain: authority.trust_domain(),
            trust: trust.version(),
            good_issuers: &good_issuers,
            views: &views,
            holders: &holders,
            overrides: &record.overrides,
            now,
        };
        let mut standing = facts.standing();
        self.await_operator(record, &mut standing);
        if *self.0.followed.borrow() < *self.0.signing.borrow() && record.phase.needs_renewal() {
            let why = "its own certificate is of the issuer that is to go".to_owned();
            standing.need(Laggard { node: "signet/server".to_owned(), why });
        }
        Ok(standing)
    }

    /// Reads what was issued since the last look, and says who may hold what.
    async fn holders(&self, now: SystemTime) -> Result<Holders, LedgerError> {
        let mut known = self.0.known.lock().await;
        loop {
            let page = self.0.issuing.ledger().read(known.position, PAGE).await?;
            let Some(last) = page.last() else { break };
            let position = last.position + 1;
            for entry in &page {
                if let Entry::Issued(issued) = entry.entry()? {
                    known.note(issued);
                }
            }
            known.position = position;
        }
        known.forget_ended(now.into());
        Ok(known.holders(&self.0.nodes.departed(), now.into()))
    }

    /// Keeps a record, and then does what it says. What it replaces is safe to go on from until then.
    /// Its phase was entered as `by` says.
    async fn keep(&self, kept: &mut Option<Record>, next: Record, by: &str) -> Result<(), RotationError> {
        next.write(&self.0.folder)?;
        self.tell_ledger(&next, by).await?;
        if next.phase == Phase::Promote {
            *kept = Some(next.clone());
            return self.promote(kept, next).await;
        }
        if next.phase == Phase::Aborted {
            self.0.issuing.authority().discard_next()?;
        }
        self.enter(kept, next).await;
        Ok(())
    }

    /// Puts what is new in the place of what was, and ends the change. Until it succeeds the new one signs, and is
    /// trusted alone, from where it is.
    async fn promote(&self, kept: &mut Option<Record>, mut next: Record) -> Result<(), RotationError> {
        let heir = self.0.issuing.authority().promote(&next.what, &next.retired)?;
        if let Some(heir) = heir {
            self.0.issuing.succeed(heir);
        }
        next.enter(Phase::Completed, (self.0.clock)());
        next.write(&self.0.folder)?;
        self.tell_ledger(&next, &next.by).await?;
        self.enter(kept, next).await;
        Ok(())
    }

    async fn enter(&self, kept: &mut Option<Record>, next: Record) {
        info!(change = next.id, phase = %next.phase, "a change of the authority entered a phase");
        self.apply(Some(&next));
        *kept = Some(next);
        // What came or went with the phase. It has come to pass, and the next phase or start notes it otherwise.
        if let Err(error) = self.0.issuing.note_authorities().await {
            warn!(%error, "the ledger does not know yet which certificates the authority has");
        }
    }

    /// Brings what signs and what is trusted to where the record stands.
    fn apply(&self, record: Option<&Record>) {
        let Some(record) = record else { return };
        let authority = self.0.issuing.authority();
        // Trusted first, signing then: nobody is shown a certificate that the server's own peers refuse.
        self.0.trust.set_bundle(authority.roots(record.phase.trusted()));
        let signs = record.phase.new_signs() && record.phase != Phase::Promote;
        if authority.sign_with_next(signs) {
            self.0.signing.send_modify(|count| *count += 1);
        }
        self.advise(record);
    }
}

impl Inner {
    fn publish(&self, record: Option<&Record>, standing: Option<&Standing>) {
        let status = Status::of(record, standing);
        self.status.send_if_modified(|before| {
            let is_new = **before != status;
            *before = Arc::new(status);
            is_new
        });
    }
}

/// Milliseconds since the epoch.
fn millis(moment: SystemTime) -> i64 {
    moment.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
