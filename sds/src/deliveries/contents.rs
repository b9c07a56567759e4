//! What the versions of secrets stand for.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{Arc, PoisonError, RwLock},
};

use signet_policies::time::Timestamp;
use signet_xds::{Resource, ResourceType, Snapshot};

use super::{Convergence, Deliveries, Flight, Slot, lock};
use crate::translate::{DEFAULT, Held};

/// How many versions are remembered: those of the last hundred certificates, and more.
const REMEMBERED: usize = 1024;

/// What a version of a secret holds, in terms that the authority knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// A certificate with its key.
    Leaf {
        /// Lower-case hex, two digits a byte.
        serial: String,
        /// The last second of its use.
        not_after: Timestamp,
    },
    /// Roots and revocation lists.
    Trust {
        /// As [`crate::secret::Bundle::version`].
        version: String,
    },
    /// Something that an earlier life of the agent sent, or that was sent too long ago.
    Unknown {
        /// The secret's own version.
        version: Arc<str>,
    },
}

impl Content {
    /// In the words of whoever issued it.
    pub(super) fn version(&self) -> String {
        match self {
            Self::Leaf { serial, .. } => serial.clone(),
            Self::Trust { version } => version.clone(),
            Self::Unknown { version } => version.to_string(),
        }
    }
}

/// The contents of what was served, by the versions of secrets.
#[derive(Default)]
pub(super) struct Contents(RwLock<Known>);

#[derive(Default)]
struct Known {
    contents: HashMap<Arc<str>, Arc<Content>>,
    order: VecDeque<Arc<str>>,
}

impl Contents {
    pub(super) fn of(&self, version: &Arc<str>) -> Arc<Content> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let unknown = || Arc::new(Content::Unknown { version: Arc::clone(version) });
        known.contents.get(version).cloned().unwrap_or_else(unknown)
    }

    /// Whether nothing of the snapshot has ended.
    pub(super) fn are_alive(&self, snapshot: &Snapshot, now: Timestamp) -> bool {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let has_ended =
            |resource: &Resource| match known.contents.get(resource.version()).map(|content| &**content) {
                Some(Content::Leaf { not_after, .. }) => *not_after < now,
                Some(Content::Trust { .. } | Content::Unknown { .. }) | None => false,
            };
        !snapshot.resources(ResourceType::Secret).any(has_ended)
    }

    fn remember(&self, version: &str, content: Content) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let version: Arc<str> = version.into();
        if known.contents.insert(Arc::clone(&version), Arc::new(content)).is_none() {
            known.order.push_back(version);
        }
        if known.order.len() > REMEMBERED
            && let Some(oldest) = known.order.pop_front()
        {
            known.contents.remove(&oldest);
        }
    }
}

impl Deliveries {
    /// Notes what the versions of a snapshot stand for, before it is served.
    pub(crate) fn about_to_serve(&self, snapshot: &Snapshot, held: &Held) {
        let trust = held.bundle.version();
        for resource in snapshot.resources(ResourceType::Secret) {
            let content = match held.leaf(resource.name()) {
                Some(leaf) => {
                    Content::Leaf { serial: leaf.serial().to_owned(), not_after: leaf.validity().not_after() }
                }
                None => Content::Trust { version: trust.clone() },
            };
            self.0.contents.remember(resource.version(), content);
        }
    }

    /// From now on the streams that hold another certificate owe an answer to the own one.
    pub(crate) fn expect(&self, held: &Held) {
        let Some(own) = &held.own else { return };
        let serial = own.leaf().serial();
        if lock(&self.0.latest).as_ref().is_some_and(|flight| flight.convergence.serial == serial) {
            return;
        }
        let own = [DEFAULT, &own.leaf().identity().to_string()];
        let is_owed = |name: &str, sent: &Content| {
            let has_another = !matches!(sent, Content::Leaf { serial: had, .. } if had == serial);
            has_another && own.contains(&name)
        };
        let of_slot = |slot: &Arc<Slot>| {
            let number = slot.number;
            slot.holding(is_owed).into_iter().map(move |name| (number, name))
        };
        let waiting: BTreeSet<(u64, Arc<str>)> = self.streams().iter().flat_map(of_slot).collect();
        let convergence = Convergence { serial: serial.to_owned(), took: None, streams: waiting.len() };
        *lock(&self.0.latest) = Some(Flight { convergence, published: self.now(), waiting });
    }
}
