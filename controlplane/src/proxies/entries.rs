//! The entries of the registry, and the indexes over them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::SystemTime,
};

use signet_policies::identity::Workload;
use signet_xds::Status;
use tokio::time::Instant;

use super::{Entry, Key, ProxyDetail, ProxyView, RejectionView, ResourceState, refusals::Refusals};
use crate::translate::Proxy;

/// All of them, and how they are found.
#[derive(Default)]
pub(super) struct Entries {
    pub(super) next: u64,
    /// Of the model that every entry is fed from.
    pub(super) revision: u64,
    pub(super) by_key: BTreeMap<Key, Entry>,
    pub(super) by_workload: HashMap<Workload, BTreeSet<Key>>,
    /// Whoever may run something else than it should.
    pub(super) unsynced: BTreeSet<Key>,
    /// Whom reconcile has not seen.
    pub(super) unfed: BTreeSet<Key>,
    /// Whose stream has ended, and when.
    pub(super) gone: BTreeSet<(Instant, Key)>,
    /// Also of those that have left.
    pub(super) refusals: Refusals,
}

impl Entries {
    pub(super) fn insert(&mut self, entry: Entry) -> Key {
        let key = self.next;
        self.next += 1;
        self.by_workload.entry(entry.proxy.workload.clone()).or_default().insert(key);
        self.unfed.insert(key);
        self.unsynced.insert(key);
        self.by_key.insert(key, entry);
        key
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Entry> {
        let entry = self.by_key.remove(&key)?;
        let workload = &entry.proxy.workload;
        if let Some(keys) = self.by_workload.get_mut(workload) {
            keys.remove(&key);
            if keys.is_empty() {
                self.by_workload.remove(workload);
            }
        }
        self.unfed.remove(&key);
        self.unsynced.remove(&key);
        if let Some(gone) = entry.gone {
            self.gone.remove(&(gone, key));
        }
        Some(entry)
    }

    /// Takes what a proxy says; where it refuses what it did not refuse before, returns that and who it is.
    pub(super) fn hear(
        &mut self,
        key: Key,
        status: &Status,
        now: SystemTime,
    ) -> Option<(Proxy, Vec<RejectionView>)> {
        let entry = self.by_key.get_mut(&key)?;
        let new = entry.hear(status);
        if entry.is_synced() {
            entry.stale_since = None;
            self.unsynced.remove(&key);
        } else {
            entry.stale_since.get_or_insert(now);
            self.unsynced.insert(key);
        }
        let Proxy { workload, ingress_address, .. } = &entry.proxy;
        let who = (!new.is_empty()).then(|| (workload.to_string(), ingress_address.to_string()));
        let who = who.as_ref().map_or(("", ""), |(workload, address)| (workload, address));
        let stands = |refused: &RejectionView| {
            let mut standing = entry.status.rejections();
            standing.any(|(kind, name, rejection)| {
                *rejection.version == *refused.version
                    && name == refused.name
                    && kind.to_string() == refused.kind
            })
        };
        self.refusals.note(key, who, &new, stands, now);
        (!new.is_empty()).then(|| (entry.proxy.clone(), new))
    }

    /// With the changes that brought what a proxy refuses, as far as they are known from earlier refusals.
    pub(super) fn explained(&self, mut view: ProxyView) -> ProxyView {
        view.rejections.iter_mut().for_each(|rejection| self.refusals.explain(&view.workload, rejection));
        view
    }

    /// As [`Entries::explained`], resource by resource.
    pub(super) fn explained_in_detail(
        &self,
        ProxyDetail { proxy, mut resources }: ProxyDetail,
    ) -> ProxyDetail {
        let proxy = self.explained(proxy);
        for one in resources.iter_mut().filter(|one| one.state == ResourceState::Rejected) {
            let is_it = |refused: &&RejectionView| refused.kind == one.kind && refused.name == one.name;
            if let Some(refused) = proxy.rejections.iter().find(is_it) {
                (one.revision, one.changes) = (refused.revision, refused.changes.clone());
            }
        }
        ProxyDetail { proxy, resources }
    }

    /// The proxies of these workloads, and everybody who may run something else than it should; each once.
    pub(super) fn of_and_unsynced<'a>(
        &self,
        workloads: impl IntoIterator<Item = &'a Workload>,
    ) -> impl Iterator<Item = &Entry> {
        let of = workloads.into_iter().filter_map(|workload| self.by_workload.get(workload)).flatten();
        let keys: BTreeSet<Key> = of.chain(&self.unsynced).copied().collect();
        keys.into_iter().filter_map(|key| self.by_key.get(&key))
    }

    /// How many proxies of a workload are connected.
    pub(super) fn connected(&self, workload: &Workload) -> usize {
        let keys = self.by_workload.get(workload).into_iter().flatten();
        keys.filter(|key| self.by_key.get(key).is_some_and(|entry| entry.gone.is_none())).count()
    }

    /// The entry that a proxy left behind when its stream ended: of the same instance, if both say which they are.
    pub(super) fn left_behind(&self, proxy: &Proxy, instance: Option<&str>) -> Option<Key> {
        let keys = self.by_workload.get(&proxy.workload)?;
        let entries = keys.iter().filter_map(|key| Some((*key, self.by_key.get(key)?)));
        let mut gone = entries.filter(|(_, entry)| entry.gone.is_some() && entry.proxy == *proxy);
        gone.find(|(_, entry)| entry.instance.as_deref() == instance).map(|(key, _)| key)
    }
}
