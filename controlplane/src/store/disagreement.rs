//! Resources that do not go together: what one of them names, another does not have.

use std::num::NonZeroU16;

use thiserror::Error;

use crate::model::{Protocol, key::Key};

/// Why a spec that is legal by itself cannot stand beside the others.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{key}, {at}: {what}")]
pub struct Disagreement {
    /// The resource that was to be written.
    pub key: Key,
    /// The member of its spec that must be another.
    pub at: String,
    /// What is wrong.
    pub what: Fault,
    /// With whom it does not go together: of a route or gateway route, its parent or target; of all else, the
    /// routes or gateway routes that rely on it, all of one kind.
    pub with: Vec<Key>,
}

/// What is wrong between a route and what it is under, or leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Fault {
    /// A route must say which of several listeners it is for (constraints C20 and C31).
    #[error("a match without port, where there are several listeners")]
    MatchNeedsPort,
    /// A route is for a port that nobody listens on.
    #[error("a match of port {0}, which has no listener")]
    NoSuchListener(NonZeroU16),
    /// A TCP route is for a listener that speaks HTTP, or the other way round (constraint C30).
    #[error("a match of a listener that speaks {0:?}")]
    MatchedProtocol(Protocol),
    /// A route must say which of a target's several listeners it leads to (constraints C11 and C37).
    #[error("a target without port, which has several listeners")]
    TargetNeedsPort,
    /// A route leads to a port that its target does not listen on.
    #[error("a target with port {0}, on which it does not listen")]
    NoSuchTargetPort(NonZeroU16),
}
