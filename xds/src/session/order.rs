//! Make before break: which kind may say what at this moment.
//!
//! ```text
//!  clusters, endpoints ─ACK▶ listeners, routes ─ACK▶ − listeners ─ACK▶ − routes ─ACK▶ − clusters ─ACK▶ − endpoints
//!  secrets: whenever they change
//! ```
//!
//! A NACK ends a step as an ACK does, with one difference: while a listener or route of the snapshot is not in
//! force at the client, nothing is removed, because the one that is in force may need it.
//! What a client newly asks for is answered at once and is subject to no gate: it holds nothing of it yet, and
//! asks in the order in which it needs things.

use super::watch::Watch;
use crate::{by_kind::ByKind, resource::ResourceType, snapshot::Snapshot, status::Status};

/// The order in which resources are taken away: users first.
pub(super) const REMOVALS: [ResourceType; 5] = [
    ResourceType::Listener,
    ResourceType::Route,
    ResourceType::Cluster,
    ResourceType::Endpoint,
    ResourceType::Secret,
];

/// The two passes over the kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Additions,
    Removals,
}

/// What a kind may send now beyond what the client asked for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gate {
    pub(super) additions: bool,
    pub(super) removals: bool,
}

/// Decides for one kind. It is asked for the kinds in order, so an earlier kind that still has something to
/// send has sent it, or waits for the ACK of what it sent before.
pub(super) fn gate(
    watches: &ByKind<Watch>,
    status: &Status,
    kind: ResourceType,
    step: Step,
    snapshot: &Snapshot,
) -> Gate {
    use ResourceType::{Cluster, Endpoint, Listener, Route, Secret};
    let idle = |kinds: &[ResourceType]| kinds.iter().all(|kind| watches.of(*kind).is_idle());
    let before: &[ResourceType] = match kind {
        Cluster | Endpoint | Secret => &[],
        Listener | Route => &[Cluster, Endpoint],
    };
    let additions = idle(&[kind]) && idle(before);
    let removals = step == Step::Removals
        && match kind {
            Secret => idle(&[Secret]),
            Cluster | Endpoint | Listener | Route => {
                let in_force = |kind| watches.of(kind).is_in_force(snapshot, status);
                idle(&[Cluster, Endpoint, Listener, Route]) && in_force(Listener) && in_force(Route)
            }
        };
    Gate { additions, removals }
}
