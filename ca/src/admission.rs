//! Who is served next when more certificates are asked for than can be made.
//!
//! ```text
//!  request ─▶ rate of its identity ─▶ one of `at_once` places? ─▶ Pass
//!                     │                      │ none is free
//!                     ▼                      ▼
//!            come back after …      queue, least remaining life first ─▶ Pass
//!                                            │ full: whoever has most life left
//!                                            ▼
//!                                   come back after …
//! ```
//!
//! An agent that joins has no certificate and so no life left: it goes first, in the order of arrival. Strangers do not
//! get here, as their tokens are looked at before. A renewal has a third of its life left as a rule, and can come back.

mod rate;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use signet_policies::time::Clock;
use thiserror::Error;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};

use rate::Rates;

/// The shortest and the longest time for which anybody is sent away.
const HINTS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// How much is done at once, and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests that are worked on at once. Those that wait for the disk share its flushes, so it is well above the
    /// number of processors.
    pub at_once: usize,
    /// Requests that wait for a place.
    pub waiting: usize,
    /// How long one waits at most; agents give up after 10 s.
    pub patience: Duration,
    /// Requests of one identity that come at once. All replicas of a virtual node are one identity.
    pub burst: u32,
    /// Requests of one identity a second, in the long run.
    pub per_second: u32,
}

impl Limits {
    /// What a server grants: one identity may have a fraction of what two processors sign.
    pub const DEFAULT: Self =
        Self { at_once: 64, waiting: 4096, patience: Duration::from_secs(8), burst: 256, per_second: 32 };
}

/// Why a request is not served now, and when to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TurnedAway {
    /// This identity asked too often.
    #[error("this identity asks for certificates too often; come back in {} ms", .0.as_millis())]
    TooOften(Duration),
    /// Others have less time left, or the wait was in vain.
    #[error("too many certificates are asked for at once; come back in {} ms", .0.as_millis())]
    Full(Duration),
}

impl TurnedAway {
    /// When to come back.
    #[must_use]
    pub fn after(self) -> Duration {
        match self {
            Self::TooOften(after) | Self::Full(after) => after,
        }
    }
}

/// How often requests came to what, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Served.
    pub admitted: u64,
    /// Of these, after a wait.
    pub waited: u64,
    /// Turned away as their identity asked too often.
    pub too_often: u64,
    /// Turned away as the queue was full, or the wait too long.
    pub full: u64,
    /// In the queue now.
    pub waiting: usize,
}

/// Lets requests in. Clones share the places.
#[derive(Clone)]
pub struct Admission(Arc<Inner>);

struct Inner {
    limits: Limits,
    clock: Clock,
    state: Mutex<State>,
}

/// Remaining life, then the order of arrival.
type Rank = (Duration, u64);

struct State {
    rates: Rates,
    busy: usize,
    queue: BTreeMap<Rank, oneshot::Sender<Result<Pass, TurnedAway>>>,
    arrivals: u64,
    /// What a request takes, from its place to its end: a moving average.
    pace: Duration,
    counts: Counts,
}

/// A place. The next one in the queue gets it when this is dropped.
#[must_use]
pub struct Pass {
    admission: Option<Admission>,
    since: Instant,
}

impl Admission {
    /// An empty queue.
    #[must_use]
    pub fn new(limits: Limits, clock: Clock) -> Self {
        let state = State {
            rates: Rates::new(limits.burst, limits.per_second),
            busy: 0,
            queue: BTreeMap::new(),
            arrivals: 0,
            pace: Duration::from_millis(1),
            counts: Counts::default(),
        };
        Self(Arc::new(Inner { limits, clock, state: Mutex::new(state) }))
    }

    /// Waits for a place. `identity` is who asks, as it was proved; `left` is what is left of its certificate's life,
    /// zero where it has none.
    ///
    /// # Errors
    /// [`TurnedAway`].
    pub async fn admit(&self, identity: &str, left: Duration) -> Result<Pass, TurnedAway> {
        let (rank, waiting) = match self.enter(identity, left)? {
            Entry::Place(pass) => return Ok(pass),
            Entry::Queue(rank, waiting) => (rank, waiting),
        };
        let _leaving = Leaving(self, rank);
        match timeout(self.0.limits.patience, waiting).await {
            Ok(Ok(answer)) => answer,
            // Nobody drops a sender unanswered; a wait may end in vain.
            Ok(Err(_)) | Err(_) => {
                let mut state = self.lock();
                state.counts.full += 1;
                Err(TurnedAway::Full(state.hint(self.0.limits.at_once)))
            }
        }
    }

    /// How often requests came to what.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let state = self.lock();
        Counts { waiting: state.queue.len(), ..state.counts }
    }

    fn enter(&self, identity: &str, left: Duration) -> Result<Entry, TurnedAway> {
        let Limits { at_once, waiting, .. } = self.0.limits;
        let now = (self.0.clock)();
        let mut state = self.lock();
        if let Err(after) = state.rates.take(identity, now) {
            state.counts.too_often += 1;
            return Err(TurnedAway::TooOften(after));
        }
        if state.busy < at_once {
            state.busy += 1;
            state.counts.admitted += 1;
            return Ok(Entry::Place(self.pass()));
        }
        let rank = (left, state.arrivals);
        state.arrivals += 1;
        if state.queue.len() >= waiting {
            let hint = TurnedAway::Full(state.hint(at_once));
            state.counts.full += 1;
            match state.queue.pop_last() {
                // It may have gone already.
                Some((last, other)) if rank < last => drop(other.send(Err(hint))),
                Some((last, other)) => {
                    state.queue.insert(last, other);
                    return Err(hint);
                }
                None => return Err(hint),
            }
        }
        let (sender, receiver) = oneshot::channel();
        state.queue.insert(rank, sender);
        Ok(Entry::Queue(rank, receiver))
    }

    fn pass(&self) -> Pass {
        Pass { admission: Some(self.clone()), since: Instant::now() }
    }

    /// A place is free: the first in the queue that is still there gets it.
    fn release(&self, took: Duration) {
        let mut state = self.lock();
        state.pace = (state.pace * 15 + took) / 16;
        while let Some((_, next)) = state.queue.pop_first() {
            match next.send(Ok(self.pass())) {
                Ok(()) => {
                    state.counts.admitted += 1;
                    state.counts.waited += 1;
                    return;
                }
                // It has gone. Its pass must not come back here, where the state is held.
                Err(Ok(mut pass)) => pass.admission = None,
                Err(Err(_)) => {}
            }
        }
        state.busy = state.busy.saturating_sub(1);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Entry {
    Place(Pass),
    Queue(Rank, oneshot::Receiver<Result<Pass, TurnedAway>>),
}

/// Takes whoever waits no longer out of the queue.
struct Leaving<'a>(&'a Admission, Rank);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.lock().queue.remove(&self.1);
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(admission) = self.admission.take() {
            admission.release(self.since.elapsed());
        }
    }
}

impl State {
    /// When the queue of now will have been worked off.
    fn hint(&self, at_once: usize) -> Duration {
        let queue = u32::try_from(self.queue.len() / at_once.max(1)).unwrap_or(u32::MAX);
        self.pace.saturating_mul(queue).clamp(HINTS.0, HINTS.1)
    }
}

impl std::fmt::Debug for Admission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admission").field("limits", &self.0.limits).finish_non_exhaustive()
    }
}
