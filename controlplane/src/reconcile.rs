//! The one task that decides what every proxy should hold, and when.
//!
//! ```text
//!  Model ──▶ asked ──▶ Port (may move as far as both ends allow) ──▶ InForce ──▶ translate ──▶ Proxies
//!                       ▲                                          Instances ──▶ ┘               │
//!                       └────────────── who accepted what, who is gone ◀─────────────────────────┘
//! ```
//!
//! A change of what a port accepts is made before it is broken: the server takes the new way beside the old one,
//! then clients change over, then the server drops the old one; each after everybody concerned has accepted
//! the one before.
//!
//! Whom it waits for: every proxy that is connected, or was until [`Pace::reconnect_grace`] ago. A proxy that is
//! connected and does not accept, or refuses, holds the change up for as long as it does: what was in force
//! stays in force, a warning names it, and [`PortView::waiting_for`] shows it. Cutting it off would be an outage
//! that nobody asked for; ending its connection, or mending what it refuses, is the operator's choice.
//!
//! Invariants: one writer; nothing is published that memory was not told of first; a proxy whose snapshot
//! comes out equal is not woken.

mod audience;
mod endpoints;
mod memory;
mod port;
mod task;
mod view;
mod wait;

use std::{sync::Arc, time::Duration};

use signet_policies::identity::TrustDomain;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{discovery::Instances, model::Model, proxies::Proxies, translate::Generations};
use task::Task;

pub use memory::{Forgetful, Memory, MemoryError};
pub use view::{PortView, Ports};

/// How long things are given.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// From the last acceptance to the next step: Envoy accepts a resource a moment before it runs it, and a
    /// cluster that resolves its name serves with the one before until it has.
    pub settle: Duration,
    /// How long a proxy without a stream counts as one that comes back.
    pub reconnect_grace: Duration,
    /// After how long a warning names those who hold a port up.
    pub report_after: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            settle: Duration::from_millis(500),
            // Envoy's bootstrap retries after 5 s at most.
            reconnect_grace: Duration::from_secs(10),
            report_after: Duration::from_secs(15),
        }
    }
}

/// What the task works with.
pub struct Reconcile<M> {
    /// The newest model.
    pub model: watch::Receiver<Arc<Model>>,
    /// Where the instances are that are found by Cloud Map's names; must be complete from the start.
    pub instances: watch::Receiver<Arc<Instances>>,
    /// How old connections may be.
    pub generations: watch::Receiver<Arc<Generations>>,
    /// Whom to feed.
    pub proxies: Arc<Proxies>,
    /// What survives a restart.
    pub memory: M,
    /// Whose identities are dialed.
    pub trust_domain: TrustDomain,
    /// How long things are given.
    pub pace: Pace,
    /// How every port stands; changes only when something does.
    pub progress: watch::Sender<Ports>,
}

impl<M: Memory> Reconcile<M> {
    /// Runs until `shutdown`, or until the model's sender is gone.
    ///
    /// # Errors
    /// Memory cannot be read at the start. Later failures are logged and tried again with the next change.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), MemoryError> {
        let mut proxy_changes = self.proxies.changes();
        let mut task = Task::new(self).await?;
        loop {
            proxy_changes.mark_unchanged();
            let wake = task.pass().await;
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                more = task.changed() => if !more { return Ok(()) },
                // The task itself holds the registry, so its sender lives.
                _ = proxy_changes.changed() => {}
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
