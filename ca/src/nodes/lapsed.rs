//! Agents whose certificates ended while they were away. None of them can renew: an operator lets it in again, and must
//! learn of it.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use signet_policies::{
    identity::{Workload, WorkloadKind},
    time::Timestamp,
};
use tracing::warn;

use super::{NodeKey, NodeView, Nodes};
use crate::Serial;

/// How long after the end of its certificate such an agent is shown.
pub const LAPSED_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// How many are; beyond that, whose certificate ended first is shown no more.
pub const MAX_LAPSED: usize = 10_000;

/// An agent that was away until its certificate had ended, without having left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lapsed {
    /// Which.
    pub key: NodeKey,
    /// When its certificate ended; when it was last seen, where it did not say what it held.
    pub ended: Timestamp,
    /// The certificate that it said last that it held.
    pub serial: Option<Serial>,
    /// When it reported last, by the server's clock.
    pub reported_at: SystemTime,
    /// Where it came from.
    pub address: Option<IpAddr>,
    /// Of its program.
    pub agent_version: String,
}

impl From<&NodeView> for Lapsed {
    fn from(view: &NodeView) -> Self {
        let held = view.report.held.as_ref();
        Self {
            key: view.key.clone(),
            ended: held.map_or_else(|| view.since.into(), |leaf| leaf.not_after),
            serial: held.and_then(|leaf| leaf.serial),
            reported_at: view.reported_at,
            address: view.line.address,
            agent_version: view.report.agent_version.clone(),
        }
    }
}

impl Nodes {
    /// Agents that were away until their certificates had ended, for [`LAPSED_FOR`] after that: none that has come back, and
    /// none that is forgotten. A restart of the server forgets them.
    #[must_use]
    pub fn lapsed(&self) -> Vec<Lapsed> {
        self.lapsed_lock().values().cloned().collect()
    }

    /// Shows these from now on, and those no more that are due.
    pub(super) fn note_lapsed(&self, lapsed: Vec<Lapsed>, now: Timestamp) {
        let mut shown = self.lapsed_lock();
        for one in lapsed {
            one.tell();
            shown.insert(one.key.clone(), one);
        }
        shown.retain(|_, one| one.ended + LAPSED_FOR >= now);
        let over = shown.len().saturating_sub(MAX_LAPSED);
        if over > 0 {
            let mut ends: Vec<_> = shown.values().map(|one| (one.ended, one.key.clone())).collect();
            ends.sort_unstable();
            ends.iter().take(over).for_each(|(_, key)| drop(shown.remove(key)));
        }
    }

    /// Shows those of that name no more, and returns their names. A name is as for [`Nodes::forget`].
    pub(super) fn forget_lapsed(&self, name: &str) -> Vec<String> {
        let serial = name.parse::<Serial>().ok();
        let is_it = |one: &Lapsed| {
            one.key.to_string() == name
                || one.key.workload.to_string() == name
                || serial.is_some() && one.serial == serial
        };
        self.lapsed_lock().extract_if(.., |_, one| is_it(one)).map(|(key, _)| key.to_string()).collect()
    }

    pub(super) fn lapsed_lock(&self) -> MutexGuard<'_, BTreeMap<NodeKey, Lapsed>> {
        self.0.lapsed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lapsed {
    /// Says what is to be done.
    fn tell(&self) {
        let Workload { mesh, kind, name } = &self.key.workload;
        let flag = match kind {
            WorkloadKind::VirtualNode => "--virtual-node",
            WorkloadKind::VirtualGateway => "--virtual-gateway",
        };
        warn!(
            node = %self.key, ended = %self.ended,
            "this agent was away until its certificate had ended; where it is to come back, make a token with `signet token \
             create --mesh {mesh} {flag} {name} > FILE`, and start it again with --token-file FILE"
        );
    }
}
