//! Places for agents: so many in all, and so many of one workload.

use std::sync::Arc;

use signet_policies::identity::Workload;

use super::{NodeKey, NodeView, NodeViews};

/// Agents that are known at once, connected or not.
pub const MAX_NODES: usize = 50_000;
/// The same of one workload, so that none takes the places of all others, however many state folders it makes.
pub const MAX_OF_WORKLOAD: usize = 10_000;

/// Why an agent's stream is not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooManyNodes {
    /// All places are taken.
    #[error("{MAX_NODES} agents are connected, which is the most")]
    Here,
    /// Those of one workload are.
    #[error("{MAX_OF_WORKLOAD} agents of {0} are connected, which is the most of one workload")]
    Of(Workload),
}

impl NodeViews {
    /// Who goes for an agent to come: where its places are taken, whoever is gone the longest. Its certificate is in the
    /// ledger, so a change of the root waits for it by its serial number then.
    pub(super) fn make_room(&self, key: &NodeKey) -> Result<Option<NodeKey>, TooManyNodes> {
        // Nothing is counted where not even all of them together could be too many.
        if self.get(key).is_some() || self.len() < MAX_OF_WORKLOAD {
            return Ok(None);
        }
        let first = NodeKey { workload: key.workload.clone(), instance: String::new() };
        let of_workload = || {
            self.0
                .range(first.clone()..)
                .take_while(|(other, _)| other.workload == key.workload)
                .map(|(_, view)| view)
        };
        if of_workload().count() >= MAX_OF_WORKLOAD {
            return longest_gone(of_workload()).ok_or_else(|| TooManyNodes::Of(key.workload.clone()));
        }
        if self.len() >= MAX_NODES {
            return longest_gone(self.iter()).ok_or(TooManyNodes::Here);
        }
        Ok(None)
    }
}

fn longest_gone<'a>(views: impl Iterator<Item = &'a Arc<NodeView>>) -> Option<Option<NodeKey>> {
    let gone = views.filter(|view| !view.connected);
    gone.min_by_key(|view| view.since).map(|view| Some(view.key.clone()))
}
