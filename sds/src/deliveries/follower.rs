//! Follows one stream.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, atomic::Ordering},
    time::SystemTime,
};

use signet_xds::{ResourceType, Snapshot, Status, server::Observer, status::ResourceStatus};
use tokio::sync::watch;
use tracing::warn;

use super::{Content, Deliveries, Delivery, lock};
use crate::attest::Peer;

/// As much of a name that nobody serves as is logged, in characters.
const SHOWN: usize = 128;

/// What is known of one open stream.
pub(super) struct Slot {
    stream: String,
    peer: Peer,
    names: Mutex<BTreeMap<String, Known>>,
}

/// One secret: as the protocol has it, and as it is told.
struct Known {
    status: ResourceStatus,
    accepted: Option<Content>,
    delivery: Delivery,
}

impl Slot {
    pub(super) fn list(&self) -> Vec<Delivery> {
        lock(&self.names).values().map(|known| known.delivery.clone()).collect()
    }

    pub(super) fn accepted(&self) -> Vec<Content> {
        lock(&self.names).values().filter_map(|known| known.accepted.clone()).collect()
    }
}

/// Writes down what one stream's client says, until the stream ends.
pub(crate) struct Follower {
    deliveries: Deliveries,
    number: u64,
    slot: Arc<Slot>,
    snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    stale_nonces: u64,
}

impl Deliveries {
    /// Follows a new stream.
    pub(crate) fn follow(&self, peer: Peer, snapshots: watch::Receiver<Option<Arc<Snapshot>>>) -> Follower {
        let number = self.0.opened.fetch_add(1, Ordering::Relaxed);
        let stream = format!("{}-{number}", peer.pid.unwrap_or(0));
        let slot = Arc::new(Slot { stream, peer, names: Mutex::default() });
        lock(&self.0.streams).insert(number, Arc::clone(&slot));
        Follower { deliveries: self.clone(), number, slot, snapshots, stale_nonces: 0 }
    }
}

impl Follower {
    /// Takes in how a secret stands now; says whether that is news.
    fn note(&self, name: &str, status: &ResourceStatus, now: SystemTime) -> bool {
        let mut names = lock(&self.slot.names);
        let before = names.get(name).map(|known| &known.status);
        if before == Some(status) {
            return false;
        }
        let before = before.cloned().unwrap_or_default();
        let content = |version: &Arc<str>| self.deliveries.0.contents.of(version);
        let accepted = status.accepted.as_ref().map(content);
        let rejected = status.rejected.as_ref().map(|it| (content(&it.version), it.reason.to_string()));
        let delivery = Delivery {
            sent: status.sent.as_ref().map(|sent| content(sent).version()),
            accepted: accepted.as_ref().map(Content::version),
            rejected: rejected.as_ref().map(|(what, why)| (what.version(), why.clone())),
            ..self.nothing(name, now)
        };
        self.count(&before, status, &delivery);
        names.insert(name.to_owned(), Known { status: status.clone(), accepted: accepted.clone(), delivery });
        drop(names);
        let answers = [
            accepted.filter(|_| status.accepted != before.accepted),
            rejected.filter(|_| status.rejected != before.rejected).map(|(what, _)| what),
        ];
        for answer in answers.into_iter().flatten() {
            if let Content::Leaf { serial, .. } = answer {
                self.deliveries.settled(&self.slot.stream, name, Some(&serial));
            }
        }
        true
    }

    /// A name of which nothing is known.
    fn nothing(&self, name: &str, at: SystemTime) -> Delivery {
        let (stream, name) = (self.slot.stream.clone(), name.to_owned());
        Delivery { stream, name, sent: None, accepted: None, rejected: None, at }
    }

    fn count(&self, before: &ResourceStatus, status: &ResourceStatus, delivery: &Delivery) {
        let mut totals = lock(&self.deliveries.0.totals);
        totals.sent += u64::from(status.sent.is_some() && status.sent != before.sent);
        totals.accepted += u64::from(status.accepted.is_some() && status.accepted != before.accepted);
        if let Some((version, reason)) =
            delivery.rejected.as_ref().filter(|_| status.rejected != before.rejected)
        {
            let secret = &delivery.name;
            *totals.rejected.entry(secret.clone()).or_default() += 1;
            let Peer { uid, pid, .. } = self.slot.peer;
            warn!(uid, pid, secret, version, reason, "the proxy refuses a secret");
        }
    }

    /// Names that are asked for and that there is nothing for; says whether any of them is news.
    fn note_unserved(&self, status: &Status, now: SystemTime) -> bool {
        let Some(snapshot) = self.snapshots.borrow().clone() else { return false };
        let mut news = false;
        for name in status.names(ResourceType::Secret) {
            let is_served = snapshot.get(ResourceType::Secret, name).is_some();
            if is_served || lock(&self.slot.names).contains_key(name) {
                continue;
            }
            lock(&self.deliveries.0.totals).unserved += 1;
            let shown: String = name.chars().take(SHOWN).collect();
            let Peer { uid, pid, .. } = self.slot.peer;
            warn!(uid, pid, secret = ?shown, "a secret was asked for that is not served here; the others are");
            let delivery = self.nothing(name, now);
            let known = Known { status: ResourceStatus::default(), accepted: None, delivery };
            lock(&self.slot.names).insert(name.to_owned(), known);
            news = true;
        }
        news
    }

    /// Forgets what the client gave up.
    fn forget(&self, status: &Status) -> bool {
        let asked: BTreeSet<&str> = status.names(ResourceType::Secret).collect();
        let mut names = lock(&self.slot.names);
        let before = names.len();
        names.retain(|name, _| asked.contains(name.as_str()));
        before != names.len()
    }
}

impl Observer for Follower {
    fn changed(&mut self, status: &Status) {
        let now = self.deliveries.now();
        let mut news = false;
        for (kind, name, resource) in status.resources() {
            if kind == ResourceType::Secret {
                news |= self.note(name, &resource, now);
            }
        }
        news |= self.note_unserved(status, now);
        news |= self.forget(status);
        let stale = status.stale_nonces().saturating_sub(self.stale_nonces);
        if stale > 0 {
            self.stale_nonces = status.stale_nonces();
            lock(&self.deliveries.0.totals).stale_nonces += stale;
        }
        if news {
            self.deliveries.told();
        }
    }

    /// An expired certificate is not sent, even where nobody has noticed yet that it has expired.
    fn may_send(&self, snapshot: &Snapshot) -> bool {
        self.deliveries.0.contents.are_alive(snapshot, self.deliveries.now().into())
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        lock(&self.deliveries.0.streams).remove(&self.number);
        for delivery in self.slot.list() {
            self.deliveries.settled(&self.slot.stream, &delivery.name, None);
        }
        self.deliveries.told();
    }
}
