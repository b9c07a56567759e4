//! What an operator may do.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;
use tracing::warn;

use super::{MAX_SPREAD, Phase, Plan, Record, RotationError, Rotations, Status, millis};
use crate::{Serial, Succession, certificate::sha256, nodes::PresentedLeaf};

impl Rotations {
    /// How the change stands, and every news of it.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Arc<Status>> {
        self.0.status.subscribe()
    }

    /// Changes when another issuer signs from now on; whoever holds a certificate here gets another then.
    #[must_use]
    pub fn signing(&self) -> watch::Receiver<u64> {
        self.0.signing.subscribe()
    }

    /// The server's own certificate is of the issuer that signs since `count`.
    pub fn followed(&self, count: u64) {
        self.0.followed.send_replace(count);
    }

    /// What a change would do; `given` is the root that is to come, PEM, where none is to be made.
    ///
    /// # Errors
    /// The ledger does not answer.
    pub async fn plan(&self, what: &Succession, given: Option<&str>) -> Result<Plan, RotationError> {
        let kept = self.0.record.lock().await;
        let mut obstacles = Vec::new();
        if let Some(record) = kept.as_ref().filter(|record| !record.phase.is_over()) {
            obstacles.push(RotationError::Busy(record.id.clone()).to_string());
        }
        let authority = self.0.issuing.authority();
        let now = (self.0.clock)();
        if let Err(error) = authority.can_succeed(what, given, now.into()) {
            obstacles.push(in_full(&error));
        }
        // Whoever accepts the roots of now could be told of others.
        let trial = self.record(what, Duration::ZERO, "", now);
        let standing = self.count(&trial).await?;
        let (going, _) = authority.parties(what);
        Ok(Plan {
            what: what.to_string(),
            going: going.map(|der| hex::encode(sha256(&der))),
            total: standing.total,
            ready: standing.proven,
            laggards: standing.laggards,
            obstacles,
            steps: given.map(|_| self.operators_steps()).unwrap_or_default(),
        })
    }

    /// Begins a change: makes what is to come, or takes the root that is `given`, PEM, and has everybody trust it.
    /// Renewals will be spread over `spread`.
    ///
    /// # Errors
    /// Another is under way, the authority cannot, or the disk does not keep it.
    pub async fn start(
        &self,
        what: &Succession,
        given: Option<&str>,
        spread: Duration,
        by: &str,
    ) -> Result<Arc<Status>, RotationError> {
        if spread > MAX_SPREAD {
            return Err(RotationError::Spread);
        }
        let mut kept = self.0.record.lock().await;
        if let Some(record) = kept.as_ref().filter(|record| !record.phase.is_over()) {
            return Err(RotationError::Busy(record.id.clone()));
        }
        self.take_back().await?;
        let now = (self.0.clock)();
        self.0.issuing.authority().prepare(what, given, now.into())?;
        let mut record = self.record(what, spread, by, now);
        record.enter(Phase::Distribute, now);
        if let Err(error) = self.keep(&mut kept, record, by).await {
            if let Err(error) = self.take_back().await {
                warn!(%error, "what is left of a change that did not begin is taken away when another begins");
            }
            return Err(error);
        }
        self.tell(kept.as_ref(), None).await;
        Ok(self.0.status.borrow().clone())
    }

    /// Takes away what is left of a start that could not be kept, where nothing is under way.
    async fn take_back(&self) -> Result<(), RotationError> {
        if let Some(mut last) = Record::read(&self.0.folder)? {
            if !last.phase.is_over() {
                // Said before what it speaks of is taken away.
                "it could not begin".clone_into(&mut last.reason);
                last.enter(Phase::Aborted, (self.0.clock)());
                last.write(&self.0.folder)?;
            }
            self.0.issuing.authority().discard_next()?;
            self.tell_ledger(&last, &last.by).await?;
        }
        Ok(self.0.issuing.authority().discard_next()?)
    }

    fn record(&self, what: &Succession, spread: Duration, by: &str, now: std::time::SystemTime) -> Record {
        let (going, _) = self.0.issuing.authority().parties(what);
        let serial = going.and_then(PresentedLeaf::read).and_then(|leaf| leaf.serial);
        let name = what.to_string().replace('/', "-");
        Record {
            id: format!("{name}-{}", millis(now)),
            what: what.clone(),
            phase: Phase::Distribute,
            paused: false,
            spread_secs: spread.as_secs(),
            by: by.to_owned(),
            // What has no serial number of ours, an operator's root, is told apart by the time.
            retired: serial.map_or_else(|| format!("{:x}", millis(now)), |serial: Serial| serial.to_string()),
            entered: Vec::new(),
            overrides: Vec::new(),
            reason: String::new(),
        }
    }

    /// Has a change wait where it is; what is trusted and who signs stays as it is.
    ///
    /// # Errors
    /// There is none, or disk or ledger do not keep it, and nothing was changed.
    pub async fn pause(&self, by: &str) -> Result<Arc<Status>, RotationError> {
        let mut kept = self.0.record.lock().await;
        let next = Record { paused: true, ..under_way(kept.as_ref())?.clone() };
        self.alter(&mut kept, next, by).await
    }

    /// Lets a change go on, and waits no longer for the proxies `nodes`, each named as [`Status`] names it, by its
    /// workload, or by a certificate of its own.
    ///
    /// # Errors
    /// As [`Rotations::pause`]; nobody has one of the names, or it is waited for in any case.
    pub async fn resume(&self, nodes: &[String], by: &str) -> Result<Arc<Status>, RotationError> {
        let mut kept = self.0.record.lock().await;
        let mut next = under_way(kept.as_ref())?.clone();
        self.excuse(&mut next, nodes, by).await?;
        next.paused = false;
        self.alter(&mut kept, next, by).await
    }

    /// Turns a change round: everybody goes back to what was there before.
    ///
    /// # Errors
    /// There is none, it is on its way back already, or it is over.
    pub async fn abort(&self, by: &str) -> Result<Arc<Status>, RotationError> {
        let mut kept = self.0.record.lock().await;
        let mut next = under_way(kept.as_ref())?.clone();
        let back = next.phase.back().ok_or(RotationError::NoWayBack(next.phase))?;
        next.reason = format!("aborted by {by}");
        next.paused = false;
        next.enter(back, (self.0.clock)());
        self.alter(&mut kept, next, by).await
    }

    async fn alter(
        &self,
        kept: &mut Option<Record>,
        next: Record,
        by: &str,
    ) -> Result<Arc<Status>, RotationError> {
        let current = under_way(kept.as_ref())?.clone();
        if let Err(error) = self.keep(kept, next.clone(), by).await {
            // Whoever is told that it failed does not meet it after a restart.
            let is_as_before = kept.as_ref() == Some(&current);
            if let Some(Err(again)) = is_as_before.then(|| current.write(&self.0.folder)) {
                warn!(error = %again, "an order that failed may be in force after a restart");
            }
            return Err(error);
        }
        if current.paused != next.paused && current.phase == next.phase {
            let order = if next.paused { "paused" } else { "goes on" };
            if let Err(error) = self.tell_order(&next, order, by).await {
                warn!(%error, order, "the ledger does not know of an order");
            }
        }
        self.tell(kept.as_ref(), None).await;
        Ok(self.0.status.borrow().clone())
    }
}

fn under_way(kept: Option<&Record>) -> Result<&Record, RotationError> {
    kept.filter(|record| !record.phase.is_over()).ok_or(RotationError::Idle)
}

/// An error and what caused it, on one line.
fn in_full(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

impl std::fmt::Debug for Rotations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rotations").field("folder", &self.0.folder).finish_non_exhaustive()
    }
}
