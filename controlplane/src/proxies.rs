//! The proxies that are connected: who they are, what they should hold, and what they made of it.
//!
//! ```text
//!  server ── connect ──▶ entry ◀── publish ── reconcile
//!                          │ ▲
//!               Feed ◀─────┘ └───── status ── the stream's observer
//! ```
//!
//! Invariants:
//! - An entry is fed by reconcile alone, and its status is written by its own stream alone.
//! - A stream that ends leaves its entry behind as *gone* for a while: Envoy still runs what it last accepted,
//!   and comes back. Only reconcile forgets it.
//! - Nothing here waits while it holds the lock.

mod origins;
mod view;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use signet_policies::time::Clock;
use signet_xds::{
    Rejection, Resource, ResourceType, Snapshot, Status,
    server::{Feed, Observer},
};
use tokio::{sync::watch, time::Instant};
use tracing::warn;

use crate::translate::Proxy;
use origins::Origins;

pub use view::{ProxyState, ProxyView, RejectionView};

/// The registry. Shared by the server, which adds, and reconcile, which feeds.
pub struct Proxies {
    clock: Clock,
    entries: Mutex<Entries>,
    /// Rises with every change of an entry that reconcile did not make itself.
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct Entries {
    next: u64,
    /// Of the model that every entry is fed from.
    revision: u64,
    by_key: BTreeMap<Key, Entry>,
}

/// One stream, never reused.
pub(crate) type Key = u64;

/// One proxy, connected or gone.
pub(crate) struct Entry {
    pub(crate) proxy: Proxy,
    envoy: Option<String>,
    since: SystemTime,
    status: Status,
    /// What it should hold; `None` until reconcile saw it.
    wanted: Option<Arc<Snapshot>>,
    /// Which changes brought it that.
    origins: Origins,
    /// `None` when the stream has ended.
    feed: Option<watch::Sender<Option<Arc<Snapshot>>>>,
    gone: Option<Instant>,
}

/// What a proxy runs of one resource that it should hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    /// Exactly what it should.
    Wanted,
    /// Something else, or that is not known.
    Other,
    /// It is not told of such a resource.
    Nothing,
}

impl Entry {
    /// Whether the proxy runs what it should of a resource.
    ///
    /// An older version that was accepted does not count while a newer one is on its way.
    pub(crate) fn holds(&self, kind: ResourceType, name: &str) -> Holds {
        let Some(snapshot) = &self.wanted else {
            return Holds::Other;
        };
        let status = self.status.resource(kind, name);
        let Some(wanted) = snapshot.get(kind, name) else {
            // Until it has said that it let go, it may run what it was sent.
            let may_run = status.is_some_and(|status| status.sent.is_some() || status.accepted.is_some());
            return if may_run { Holds::Other } else { Holds::Nothing };
        };
        let Some(status) = status else {
            return Holds::Other;
        };
        let refused = status.rejected.as_ref().map(|rejection| &*rejection.version);
        let answered = |sent: &str| sent == wanted.version() || Some(sent) == refused;
        let is_held = status.accepted.as_deref() == Some(wanted.version())
            && refused != Some(wanted.version())
            && status.sent.as_deref().is_none_or(answered);
        if is_held { Holds::Wanted } else { Holds::Other }
    }

    /// As [`Entry::holds`], of every resource of a kind that `is_meant`, by its name.
    pub(crate) fn holds_all(&self, kind: ResourceType, is_meant: impl Fn(&str) -> bool) -> Holds {
        let Some(snapshot) = &self.wanted else {
            return Holds::Other;
        };
        let wanted = snapshot.resources(kind).map(Resource::name);
        let known = self.status.resources().filter(|(known, ..)| *known == kind).map(|(_, name, _)| name);
        let holds = wanted.chain(known).filter(|name| is_meant(name)).map(|name| self.holds(kind, name));
        holds.fold(Holds::Nothing, |all, one| match (all, one) {
            (Holds::Other, _) | (_, Holds::Other) => Holds::Other,
            (Holds::Wanted, _) | (_, Holds::Wanted) => Holds::Wanted,
            (Holds::Nothing, Holds::Nothing) => Holds::Nothing,
        })
    }

    /// Takes what the proxy says, and returns what it refuses that it did not refuse before.
    fn hear(&mut self, status: &Status) -> Vec<RejectionView> {
        let before = std::mem::replace(&mut self.status, status.clone());
        let is_new = |kind, name: &str, rejection: &Rejection| {
            let before = before.resource(kind, name).and_then(|before| before.rejected.as_ref());
            before.is_none_or(|before| before.version != rejection.version)
        };
        let rejections = self.status.rejections();
        let new = rejections.filter(|(kind, name, rejection)| is_new(*kind, name, rejection));
        new.map(|(kind, name, rejection)| RejectionView::of(self, kind, name, rejection)).collect()
    }

    /// When its stream ended; `None` while it is connected.
    pub(crate) fn gone(&self) -> Option<Instant> {
        self.gone
    }

    /// What it should hold; `None` until reconcile saw it.
    pub(crate) fn wanted(&self) -> Option<&Arc<Snapshot>> {
        self.wanted.as_ref()
    }

    pub(crate) fn is_fed(&self) -> bool {
        self.wanted.is_some()
    }
}

impl Proxies {
    /// An empty registry; `clock` tells since when a proxy is connected.
    #[must_use]
    pub fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self { clock, entries: Mutex::default(), changes: watch::Sender::new(0) })
    }

    /// Registers a stream of `proxy`. It is fed as soon as reconcile has seen it.
    ///
    /// `envoy` is the version that the proxy says it is. If an equal proxy is gone, this one takes its place.
    #[must_use]
    pub fn connect(self: &Arc<Self>, proxy: Proxy, envoy: Option<String>) -> Feed {
        self.register(self.lock(), proxy, envoy)
    }

    /// As [`Proxies::connect`], unless `limit` proxies of the workload are connected already.
    #[must_use]
    pub fn connect_within(
        self: &Arc<Self>,
        limit: usize,
        proxy: Proxy,
        envoy: Option<String>,
    ) -> Option<Feed> {
        let entries = self.lock();
        let is_one = |entry: &&Entry| entry.gone.is_none() && entry.proxy.workload == proxy.workload;
        let count = entries.by_key.values().filter(is_one).count();
        (count < limit).then(|| self.register(entries, proxy, envoy))
    }

    fn register(
        self: &Arc<Self>,
        mut entries: MutexGuard<'_, Entries>,
        proxy: Proxy,
        envoy: Option<String>,
    ) -> Feed {
        let (feed, snapshots) = watch::channel(None);
        let predecessor =
            entries.by_key.iter().find(|(_, entry)| entry.gone.is_some() && entry.proxy == proxy);
        // It comes back to what it was given before, so that is as old as it was.
        let origins = match predecessor.map(|(key, _)| *key) {
            Some(key) => entries.by_key.remove(&key).map(|entry| entry.origins).unwrap_or_default(),
            None => Origins::default(),
        };
        let key = entries.next;
        entries.next += 1;
        let since = (self.clock)();
        let (status, wanted, gone, feed) = (Status::default(), None, None, Some(feed));
        entries.by_key.insert(key, Entry { proxy, envoy, since, status, wanted, origins, feed, gone });
        drop(entries);
        self.touch();
        Feed {
            snapshots,
            observer: Box::new(Stream { key, proxies: Arc::clone(self) }),
            end: Box::pin(std::future::pending()),
        }
    }

    /// Every connected proxy, by workload and then by age.
    #[must_use]
    pub fn list(&self) -> Vec<ProxyView> {
        let entries = self.lock();
        let connected = entries.by_key.values().filter(|entry| entry.gone.is_none());
        let mut listed: Vec<_> = connected.map(ProxyView::of).collect();
        listed.sort_by(|a, b| a.workload.cmp(&b.workload));
        listed
    }

    /// The revision of the model that all of them are fed from.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.lock().revision
    }

    /// Tells of every proxy that comes, goes, or says something.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Looks at every entry. `look` must not wait and must not call this registry.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&mut dyn Iterator<Item = (Key, &Entry)>) -> T) -> T {
        look(&mut self.lock().by_key.iter().map(|(key, entry)| (*key, entry)))
    }

    /// Gives proxies what they should hold by the model at `revision`; equal snapshots wake nobody. `None` ends
    /// the stream for good.
    pub(crate) fn publish(&self, revision: u64, snapshots: Vec<(Key, Option<Arc<Snapshot>>)>) {
        let mut entries = self.lock();
        entries.revision = revision;
        for (key, snapshot) in snapshots {
            let Some(snapshot) = snapshot else {
                entries.by_key.remove(&key);
                continue;
            };
            let Some(entry) = entries.by_key.get_mut(&key) else {
                continue;
            };
            if entry.wanted.as_ref() == Some(&snapshot) {
                continue;
            }
            entry.origins = entry.origins.after(&snapshot, revision);
            entry.wanted = Some(Arc::clone(&snapshot));
            if let Some(feed) = &entry.feed {
                feed.send_replace(Some(snapshot));
            }
        }
    }

    /// Forgets the proxies that have been gone since `moment` or longer.
    pub(crate) fn forget_gone(&self, moment: Instant) {
        self.lock().by_key.retain(|_, entry| entry.gone.is_none_or(|gone| gone > moment));
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        // Every change of the entries is complete in itself, so a panic elsewhere leaves them sound.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn touch(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.list()).finish()
    }
}

/// A stream's hand on its entry.
struct Stream {
    key: Key,
    proxies: Arc<Proxies>,
}

impl Observer for Stream {
    fn changed(&mut self, status: &Status) {
        let mut entries = self.proxies.lock();
        let entry = entries.by_key.get_mut(&self.key);
        let heard = entry.map(|entry| (entry.proxy.clone(), entry.hear(status)));
        // A log line may take its time.
        drop(entries);
        if let Some((Proxy { workload, ingress_address, .. }, rejections)) = heard {
            for RejectionView { kind, name, version, suspected, revision, .. } in rejections {
                warn!(
                    %workload, %ingress_address, kind, name, version, suspected, revision,
                    "a proxy refuses a resource"
                );
            }
        }
        self.proxies.touch();
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(entry) = self.proxies.lock().by_key.get_mut(&self.key) {
            entry.gone = Some(Instant::now());
            entry.feed = None;
        }
        self.proxies.touch();
    }
}
