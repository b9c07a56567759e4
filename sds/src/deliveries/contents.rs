//! What the versions of secrets stand for.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, PoisonError, RwLock},
};

use signet_policies::time::Timestamp;
use signet_xds::{Resource, ResourceType, Snapshot};

use super::{Convergence, Deliveries, Flight, lock};
use crate::translate::{DEFAULT, Held, Validator};

/// How many versions are remembered at least: those of the last hundred certificates, and more.
const REMEMBERED: usize = 1024;
/// How many times as many as are served are remembered, where that is more.
const GENERATIONS: usize = 4;

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
    /// Of a certificate.
    pub(super) fn serial(&self) -> Option<&str> {
        match self {
            Self::Leaf { serial, .. } => Some(serial),
            Self::Trust { .. } | Self::Unknown { .. } => None,
        }
    }

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
    /// From the oldest on; what is served is not forgotten.
    order: VecDeque<Arc<str>>,
    /// What is served, in each of its forms, and the last second of what ends first in it.
    served: [Option<(Snapshot, Option<Timestamp>)>; 2],
}

impl Contents {
    pub(super) fn of(&self, version: &Arc<str>) -> Arc<Content> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let unknown = || Arc::new(Content::Unknown { version: Arc::clone(version) });
        known.contents.get(version).cloned().unwrap_or_else(unknown)
    }

    /// Whether nothing of the snapshot has ended. Every stream asks before every message.
    pub(super) fn are_alive(&self, snapshot: &Snapshot, now: Timestamp) -> bool {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let is_it = |(served, _): &&(Snapshot, _)| served.shares(ResourceType::Secret, snapshot);
        let end = match known.served.iter().flatten().find(is_it) {
            Some((_, end)) => *end,
            None => known.end(snapshot),
        };
        end.is_none_or(|end| now <= end)
    }

    /// Notes what a snapshot holds that will be served in one of the forms.
    fn remember(&self, form: Validator, snapshot: &Snapshot, content: impl Fn(&Resource) -> Content) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for resource in snapshot.resources(ResourceType::Secret) {
            let version: Arc<str> = resource.version().into();
            if known.contents.insert(Arc::clone(&version), Arc::new(content(resource))).is_none() {
                known.order.push_back(version);
            }
        }
        let end = known.end(snapshot);
        let [trusted_ca, spiffe] = &mut known.served;
        let served = match form {
            Validator::TrustedCa => trusted_ca,
            Validator::Spiffe => spiffe,
        };
        *served = Some((snapshot.clone(), end));
        known.forget();
    }
}

impl Known {
    /// The last second of what ends first.
    fn end(&self, snapshot: &Snapshot) -> Option<Timestamp> {
        let end = |resource: &Resource| match self.contents.get(resource.version()).map(|it| &**it) {
            Some(Content::Leaf { not_after, .. }) => Some(*not_after),
            Some(Content::Trust { .. } | Content::Unknown { .. }) | None => None,
        };
        snapshot.resources(ResourceType::Secret).filter_map(end).min()
    }

    /// Lets go of the oldest that are not served.
    fn forget(&mut self) {
        let resources = |it: &(Snapshot, _)| it.0.count(ResourceType::Secret);
        let count: usize = self.served.iter().flatten().map(resources).sum();
        let most = REMEMBERED.max(GENERATIONS * count);
        if self.order.len() <= most {
            return;
        }
        let served = self.served.iter().flatten();
        let served = served.flat_map(|(snapshot, _)| snapshot.resources(ResourceType::Secret));
        let served: HashSet<&str> = served.map(Resource::version).collect();
        let over = self.order.len() - most;
        let oldest = self.order.iter().filter(|version| !served.contains(&***version)).take(over);
        let oldest: HashSet<Arc<str>> = oldest.cloned().collect();
        self.order.retain(|version| !oldest.contains(version));
        self.contents.retain(|version, _| !oldest.contains(version));
    }
}

impl Deliveries {
    /// Notes what the versions of a snapshot stand for, before it is served.
    pub(crate) fn about_to_serve(&self, snapshot: &Snapshot, form: Validator, held: &Held) {
        let trust = held.bundle.version();
        let leaves = held.leaves();
        self.0.contents.remember(form, snapshot, |resource| match leaves.get(resource.name()) {
            Some(leaf) => {
                Content::Leaf { serial: leaf.serial().to_owned(), not_after: leaf.validity().not_after() }
            }
            None => Content::Trust { version: trust.clone() },
        });
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
        let owed = Arc::from(serial);
        let mut latest = lock(&self.0.latest);
        // Whoever ends meanwhile ends before, and owes nothing, or afterwards, and says so.
        let streams = lock(&self.0.streams);
        let waiting = streams.values().map(|slot| slot.owe(&owed, is_owed)).sum();
        drop(streams);
        let convergence = Convergence { serial: serial.to_owned(), took: None, streams: waiting };
        *latest = Some(Flight { serial: owed, convergence, published: self.now(), waiting });
    }
}

#[cfg(test)]
mod tests {
    use signet_xds::pb::envoy::extensions::transport_sockets::tls::v3::Secret;

    use super::*;

    fn resource(name: &str, content: &str) -> Resource {
        Resource::new(ResourceType::Secret, name, &Secret { name: content.to_owned(), ..Default::default() })
    }

    #[test]
    fn what_is_served_is_not_forgotten_however_often_another_secret_changes() {
        let (contents, roots) = (Contents::default(), resource("ROOTCA", "roots"));
        let content = |resource: &Resource| Content::Trust { version: resource.name().to_owned() };
        let leaf = |number: usize| resource("default", &number.to_string());
        for number in 0..2 * REMEMBERED {
            let snapshot = [roots.clone(), leaf(number)].into_iter().collect();
            contents.remember(Validator::TrustedCa, &snapshot, content);
        }
        let is_known = |resource: &Resource| {
            !matches!(&*contents.of(&resource.version().into()), Content::Unknown { .. })
        };
        assert!(is_known(&roots) && is_known(&leaf(2 * REMEMBERED - 1)), "what is served");
        assert!(is_known(&leaf(REMEMBERED + 2)) && !is_known(&leaf(REMEMBERED)), "the last of what was");
    }
}
