//! The latest moment at which anything was issued. A clock that is behind it was set back, or that moment was wrong.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use signet_policies::time::Timestamp;
use tracing::{error, info};

/// As far as a clock is corrected every day without anybody's harm.
const SLACK: Duration = Duration::from_secs(2);

/// Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Latest(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    moment: AtomicI64,
    was_said: AtomicBool,
}

impl Latest {
    /// Nothing is known to have happened after `moment`.
    pub(super) fn new(moment: Timestamp) -> Self {
        Self(Arc::new(Inner { moment: AtomicI64::new(moment.unix()), was_said: AtomicBool::new(false) }))
    }

    /// How far `now` is behind; zero where it is not by more than any clock is corrected.
    pub(super) fn behind(&self, now: Timestamp) -> Duration {
        let behind = Timestamp::from_unix(self.0.moment.load(Ordering::Relaxed)).since(now);
        if behind > SLACK { behind } else { Duration::ZERO }
    }

    /// Something is issued at `now`. A clock that was set back is an error in the log, once.
    pub(super) fn note(&self, now: Timestamp) {
        let behind = self.behind(now);
        self.0.moment.fetch_max(now.unix(), Ordering::Relaxed);
        let is_behind = behind > Duration::ZERO;
        if self.0.was_said.swap(is_behind, Ordering::Relaxed) == is_behind {
            return;
        }
        if is_behind {
            error!(
                behind_secs = behind.as_secs(),
                "the clock is behind certificates that were issued before: it was set back, or was ahead; what is issued \
                 now ends that much sooner for those whose clocks are right. Set the clock, and look at its source"
            );
        } else {
            info!("the clock is where it was before it was set back");
        }
    }
}
