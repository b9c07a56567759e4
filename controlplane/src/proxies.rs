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

mod detail;
mod entries;
mod holds;
mod keep;
mod origins;
mod refusals;
mod stream;
mod told;
mod view;

use std::{
    fmt,
    future::pending,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use signet_policies::{identity::Workload, time::Clock};
use signet_xds::{Rejection, ResourceType, Snapshot, Status, server::Feed};
use tokio::{
    sync::{oneshot, watch},
    time::Instant,
};
use tonic::Status as Refusal;

use crate::translate::Proxy;
use entries::Entries;
pub(crate) use holds::Holds;
pub(crate) use origins::Cause;
use origins::Origins;
use stream::Stream;
pub(crate) use told::{Concerned, Told};

pub use detail::{ProxyDetail, ResourceState, ResourceView};
pub use refusals::RefusalView;
pub use view::{ChangeView, GoneView, ProxyState, ProxyView, RejectionView};

/// The registry. Shared by the server, which adds, and reconcile, which feeds.
pub struct Proxies {
    clock: Clock,
    entries: Mutex<Entries>,
    /// Rises with every change of an entry that reconcile did not make itself.
    changes: watch::Sender<u64>,
    encoded: AtomicU64,
    /// How old connections may be by what all of them were told.
    generation: AtomicU64,
}

/// What a proxy says of itself that its configuration does not depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Its version, such as `1.40.0`.
    pub envoy: Option<String>,
    /// Which of its workload's proxies it is, where its agent has written that into its metadata.
    pub instance: Option<String>,
}

/// One stream, never reused.
pub(crate) type Key = u64;

/// One proxy, connected or gone.
pub(crate) struct Entry {
    pub(crate) proxy: Proxy,
    envoy: Option<String>,
    instance: Option<String>,
    since: SystemTime,
    status: Status,
    /// What it should hold; `None` until reconcile saw it.
    wanted: Option<Arc<Snapshot>>,
    /// Which changes brought it that.
    origins: Origins,
    /// `None` when the stream has ended.
    feed: Option<Tap>,
    gone: Option<Instant>,
    /// Since when it does not run what it should.
    stale_since: Option<SystemTime>,
}

/// The end of a feed that reconcile holds.
struct Tap {
    snapshots: watch::Sender<Option<Arc<Snapshot>>>,
    /// Ends the stream with a status.
    end: oneshot::Sender<Refusal>,
}

impl Entry {
    /// Whether it asked for everything, and took it.
    fn is_synced(&self) -> bool {
        let mut asked = [ResourceType::Cluster, ResourceType::Listener].into_iter();
        let asks = asked.all(|kind| self.status.is_subscribed(kind));
        self.wanted.as_ref().is_some_and(|wanted| asks && self.status.is_synced(wanted))
    }

    /// Takes what the proxy says, and returns what it refuses that it did not refuse before.
    fn hear(&mut self, status: &Status) -> Vec<RejectionView> {
        let before = std::mem::replace(&mut self.status, status.clone());
        let is_new = |kind, name: &str, rejection: &Rejection| {
            let before = before.resource(kind, name).and_then(|before| before.rejected);
            before.is_none_or(|before| before.version != rejection.version)
        };
        let rejections = self.status.rejections();
        let new = rejections.filter(|(kind, name, rejection)| is_new(*kind, name, rejection));
        new.map(|(kind, name, rejection)| RejectionView::of(self, kind, name, rejection)).collect()
    }

    /// What it should hold; `None` until reconcile saw it.
    #[cfg(test)]
    pub(crate) fn wanted(&self) -> Option<&Arc<Snapshot>> {
        self.wanted.as_ref()
    }

    /// When its stream ended; `None` while it is connected.
    pub(crate) fn gone(&self) -> Option<Instant> {
        self.gone
    }
}

impl Proxies {
    /// An empty registry; `clock` tells since when a proxy is connected.
    #[must_use]
    pub fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            clock,
            entries: Mutex::default(),
            changes: watch::Sender::new(0),
            encoded: AtomicU64::new(0),
            generation: AtomicU64::new(0),
        })
    }

    /// Registers a stream of `proxy`. It is fed as soon as reconcile has seen it.
    ///
    /// `said` is what the proxy says of itself beside that. If the same proxy is gone, this one takes its place.
    #[must_use]
    pub fn connect(self: &Arc<Self>, proxy: Proxy, said: Said) -> Feed {
        self.register(self.lock(), proxy, said)
    }

    /// As [`Proxies::connect`], unless `limit` proxies of the workload are connected already.
    #[must_use]
    pub fn connect_within(self: &Arc<Self>, limit: usize, proxy: Proxy, said: Said) -> Option<Feed> {
        let entries = self.lock();
        (entries.connected(&proxy.workload) < limit).then(|| self.register(entries, proxy, said))
    }

    fn register(self: &Arc<Self>, mut entries: MutexGuard<'_, Entries>, proxy: Proxy, said: Said) -> Feed {
        let (feed, snapshots) = watch::channel(None);
        let (end, told_to_end) = oneshot::channel();
        let Said { envoy, instance } = said;
        let since = (self.clock)();
        let left_behind = entries.left_behind(&proxy, instance.as_deref());
        // It comes back to what it was given before, so that is as old as it was.
        let left_behind = left_behind.and_then(|key| entries.remove(key));
        let origins = left_behind.map(|entry| entry.origins).unwrap_or_default();
        let key = entries.insert(Entry {
            proxy,
            envoy,
            instance,
            since,
            status: Status::default(),
            wanted: None,
            origins,
            feed: Some(Tap { snapshots: feed, end }),
            gone: None,
            stale_since: Some(since),
        });
        drop(entries);
        self.touch();
        let end = async {
            match told_to_end.await {
                Ok(refusal) => refusal,
                Err(_) => pending().await,
            }
        };
        Feed { snapshots, observer: Box::new(Stream { key, proxies: Arc::clone(self) }), end: Box::pin(end) }
    }

    /// Every connected proxy, by workload and then by age.
    #[must_use]
    pub fn list(&self) -> Vec<ProxyView> {
        let entries = self.lock();
        let connected = entries.by_key.values().filter(|entry| entry.gone.is_none());
        let mut listed: Vec<_> = connected.map(|entry| entries.explained(ProxyView::of(entry))).collect();
        listed.sort_by(|a, b| a.workload.cmp(&b.workload));
        listed
    }

    /// Those that left a moment ago and may come back, by workload.
    #[must_use]
    pub fn gone(&self) -> Vec<GoneView> {
        let entries = self.lock();
        let view = |entry: &Entry| {
            let Proxy { workload, ingress_address, .. } = &entry.proxy;
            let (workload, ingress_address) = (workload.to_string(), ingress_address.to_string());
            let gone_for_seconds = entry.gone?.elapsed().as_secs();
            Some(GoneView { workload, ingress_address, gone_for_seconds })
        };
        let mut gone: Vec<_> = entries.by_key.values().filter_map(view).collect();
        gone.sort_by(|a, b| a.workload.cmp(&b.workload));
        gone
    }

    /// The connected proxies of one workload, resource by resource.
    #[must_use]
    pub fn details(&self, workload: &Workload) -> Vec<ProxyDetail> {
        self.details_and_wanted(workload).into_iter().map(|(detail, _)| detail).collect()
    }

    /// As [`Proxies::details`], with what each proxy is to hold in full: some hundred kilobytes for a large mesh.
    #[must_use]
    pub fn details_in_full(&self, workload: &Workload) -> Vec<ProxyDetail> {
        let details = self.details_and_wanted(workload).into_iter();
        let full = details.map(|(mut detail, wanted)| {
            wanted.iter().for_each(|wanted| detail.show_config(wanted));
            detail
        });
        full.collect()
    }

    fn details_and_wanted(&self, workload: &Workload) -> Vec<(ProxyDetail, Option<Arc<Snapshot>>)> {
        let entries = self.lock();
        let keys = entries.by_workload.get(workload).into_iter().flatten();
        let connected = keys.filter_map(|key| entries.by_key.get(key)).filter(|entry| entry.gone.is_none());
        let detail =
            |entry: &Entry| (entries.explained_in_detail(ProxyDetail::of(entry)), entry.wanted.clone());
        connected.map(detail).collect()
    }

    /// What was refused lately, the newest first: also what is mended, and by proxies that are gone.
    #[must_use]
    pub fn refusals(&self) -> Vec<RefusalView> {
        self.lock().refusals.list()
    }

    /// The revision of the model that all of them are fed from.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.lock().revision
    }

    /// All of them are fed from the model at this revision.
    pub(crate) fn fed(&self, revision: u64) {
        self.lock().revision = revision;
    }

    /// How old the connections of clients that were verified may be, by what all of them were told.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// What all of them are to hold says that connections may be so old.
    pub(crate) fn told_generation(&self, generation: u64) {
        self.generation.store(generation, Ordering::Release);
    }

    /// How many resources have been encoded for all of them so far.
    #[must_use]
    pub fn encoded(&self) -> u64 {
        self.encoded.load(Ordering::Relaxed)
    }

    /// More have been.
    pub(crate) fn count_encoded(&self, more: u64) {
        self.encoded.fetch_add(more, Ordering::Relaxed);
    }

    /// Tells of every proxy that comes, goes, or says something.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Looks at the proxies of these workloads, and at everybody who may run something else than it should. `look` must
    /// not wait and must not call this registry.
    pub(crate) fn look_at<'a, T>(
        &self,
        workloads: impl IntoIterator<Item = &'a Workload>,
        look: impl FnOnce(&mut dyn Iterator<Item = &Entry>) -> T,
    ) -> T {
        look(&mut self.lock().of_and_unsynced(workloads))
    }

    /// Looks at every entry.
    #[cfg(test)]
    pub(crate) fn look<T>(&self, look: impl FnOnce(&mut dyn Iterator<Item = (Key, &Entry)>) -> T) -> T {
        look(&mut self.lock().by_key.iter().map(|(key, entry)| (*key, entry)))
    }

    /// Whether a workload has a proxy here, connected or gone.
    pub(crate) fn has(&self, workload: &Workload) -> bool {
        self.lock().by_workload.contains_key(workload)
    }

    /// How many workloads have.
    pub(crate) fn workloads(&self) -> usize {
        self.lock().by_workload.len()
    }

    /// When the stream ended that ended first of those that are gone.
    pub(crate) fn first_gone(&self) -> Option<Instant> {
        self.lock().gone.first().map(|(gone, _)| *gone)
    }

    /// Forgets the proxies that have been gone since `moment` or longer.
    pub(crate) fn forget_gone(&self, moment: Instant) {
        let mut entries = self.lock();
        while let Some((_, key)) = entries.gone.first().copied().filter(|(gone, _)| *gone <= moment) {
            entries.remove(key);
        }
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
