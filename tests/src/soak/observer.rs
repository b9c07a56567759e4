//! Looks all the time, whatever goes wrong: what the ledger has, and what processes hold.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustix::process::Pid;
use serde_json::Value;
use signet::client::Client;
use tokio::time::{Instant, interval};

use super::Memory;
use crate::bed::ledger::entries;

/// Between two looks.
const PULSE: Duration = Duration::from_secs(1);

/// What was seen. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Seen(Arc<Mutex<Sights>>);

#[derive(Default)]
pub(super) struct Sights {
    /// Processes that run, by their part.
    pub(super) pids: BTreeMap<&'static str, Pid>,
    pub(super) memory: Memory,
    /// Entries of the ledger that were read.
    position: u64,
    /// Certificates that were renewed.
    pub(super) rotations: u64,
}

impl Seen {
    pub(super) fn lock(&self) -> MutexGuard<'_, Sights> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks until it is dropped.
    pub(super) async fn look(self, client: Client) {
        let (started, mut pulse) = (Instant::now(), interval(PULSE));
        loop {
            pulse.tick().await;
            let from = {
                let mut seen = self.lock();
                for (part, pid) in seen.pids.clone() {
                    seen.memory.look(part, pid, started.elapsed());
                }
                seen.position
            };
            // A server that is away has issued nothing.
            if let Ok(new) = entries(&client, from).await {
                let mut seen = self.lock();
                seen.position += new.len() as u64;
                seen.rotations += rotations(&new);
            }
        }
    }
}

/// Certificates that were renewed, among entries of the ledger.
pub(super) fn rotations(entries: &[Value]) -> u64 {
    entries.iter().filter(|entry| entry["attestation"] == "renew").count() as u64
}
