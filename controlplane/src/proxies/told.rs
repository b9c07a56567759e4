//! What reconcile tells proxies, and whom it has to.

use std::sync::Arc;

use signet_policies::identity::Workload;
use signet_xds::Snapshot;

use super::{Cause, Entry, Key, Proxies};
use crate::{server::Refused, translate::Proxy};

/// A proxy that is to be told of something.
pub(crate) struct Concerned<T> {
    pub(crate) key: Key,
    pub(crate) proxy: Proxy,
    /// No other one stands for its workload.
    pub(crate) is_alone: bool,
    /// What it should hold so far; `None` until reconcile saw it.
    pub(crate) wanted: Option<Arc<Snapshot>>,
    /// Why its workload is; `None` where it is new and nothing else.
    pub(crate) why: Option<T>,
}

/// What a proxy is told.
pub(crate) struct Told {
    pub(crate) key: Key,
    /// What it should hold; `None` ends its stream for good: there is no such workload any more.
    pub(crate) snapshot: Option<Arc<Snapshot>>,
    /// What brought it.
    pub(crate) cause: Arc<Cause>,
}

impl Proxies {
    /// The proxies of these workloads, each with why it is concerned, and those that are new; each once, by age.
    pub(crate) fn concerned<'a, T: Clone>(
        &self,
        workloads: impl IntoIterator<Item = (&'a Workload, T)>,
    ) -> Vec<Concerned<T>> {
        let entries = self.lock();
        let mut concerned = Vec::new();
        let mut add = |key: Key, is_alone: bool, why: Option<T>| {
            let entry = entries.by_key.get(&key);
            concerned.extend(entry.map(|Entry { proxy, wanted, .. }| Concerned {
                key,
                proxy: proxy.clone(),
                is_alone,
                wanted: wanted.clone(),
                why,
            }));
        };
        for (workload, why) in workloads {
            let keys = entries.by_workload.get(workload);
            let is_alone = keys.is_some_and(|keys| keys.len() == 1);
            keys.into_iter().flatten().for_each(|key| add(*key, is_alone, Some(why.clone())));
        }
        entries.unfed.iter().for_each(|key| add(*key, false, None));
        // Of one that was added twice, the first says why.
        concerned.sort_by_key(|concerned| concerned.key);
        concerned.dedup_by_key(|concerned| concerned.key);
        concerned
    }

    /// Gives proxies what they should hold; equal snapshots wake nobody.
    pub(crate) fn publish(&self, told: impl IntoIterator<Item = Told>) {
        let now = (self.clock)();
        let mut entries = self.lock();
        for Told { key, snapshot, cause } in told {
            let Some(snapshot) = snapshot else {
                if let Some(Entry { proxy, feed: Some(tap), .. }) = entries.remove(key) {
                    // A stream that is ending by itself does not hear it.
                    drop(tap.end.send(Refused::Unknown(proxy.workload).into()));
                }
                continue;
            };
            entries.unfed.remove(&key);
            let Some(entry) = entries.by_key.get_mut(&key) else {
                continue;
            };
            if entry.wanted.as_ref() == Some(&snapshot) {
                continue;
            }
            entry.origins.follow(&snapshot, &cause);
            entry.wanted = Some(Arc::clone(&snapshot));
            entry.stale_since.get_or_insert(now);
            if let Some(tap) = &entry.feed {
                tap.snapshots.send_replace(Some(snapshot));
            }
            entries.unsynced.insert(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        sync::atomic::{AtomicU64, Ordering},
        time::{Duration, SystemTime},
    };

    use signet_xds::{
        Resource, ResourceType, Session,
        pb::envoy::config::cluster::v3::Cluster,
        session::{Ask, Request, Service, Variant},
    };

    use super::{super::Said, *};
    use crate::translate::Interception;

    fn proxy(name: &str) -> Proxy {
        Proxy {
            workload: Workload::virtual_node("m", name).unwrap(),
            interception: Interception::None,
            ingress_address: [127, 0, 0, 1].into(),
            egress_port: 15001.try_into().unwrap(),
        }
    }

    #[test]
    fn whoever_is_concerned_or_new_is_named_once_by_age_and_with_the_first_reason() {
        let proxies = Proxies::new(Arc::new(|| SystemTime::UNIX_EPOCH));
        let feeds = ["b", "a", "b", "c"].map(|name| proxies.connect(proxy(name), Said::default()));
        let tell = |key| Told { key, snapshot: Some(Arc::default()), cause: Arc::default() };
        proxies.publish([0, 1, 2].map(tell));
        let (a, b) = (proxy("a").workload, proxy("b").workload);
        let named = |workloads: &[(&Workload, u8)]| {
            let concerned = proxies.concerned(workloads.iter().copied());
            concerned
                .into_iter()
                .map(|it| (it.key, it.is_alone, it.wanted.is_some(), it.why))
                .collect::<Vec<_>>()
        };
        let new = (3, false, false, None);
        assert_eq!(named(&[]), [new], "whom nobody has told anything is always concerned");
        assert_eq!(
            named(&[(&b, 7), (&a, 8)]),
            [(0, false, true, Some(7)), (1, true, true, Some(8)), (2, false, true, Some(7)), new]
        );
        let c = proxy("c").workload;
        assert_eq!(named(&[(&c, 9), (&c, 1)]), [(3, true, false, Some(9))]);
        drop(feeds);
    }

    #[test]
    fn a_proxy_is_stale_from_when_it_was_first_told_of_what_it_has_not_taken_and_says_nothing() {
        let seconds = Arc::new(AtomicU64::new(100));
        let clock = Arc::clone(&seconds);
        let now = move || SystemTime::UNIX_EPOCH + Duration::from_secs(clock.load(Ordering::Relaxed));
        let proxies = Proxies::new(Arc::new(now));
        let mut feed = proxies.connect(proxy("a"), Said::default());
        let tell = |content: &str| {
            let message = Cluster { alt_stat_name: content.into(), ..Default::default() };
            let resources =
                (!content.is_empty()).then(|| Resource::new(ResourceType::Cluster, "c", &message));
            let snapshot = Some(Arc::new(resources.into_iter().collect()));
            proxies.publish([Told { key: 0, snapshot, cause: Arc::default() }]);
        };
        let stale_since = || proxies.list()[0].stale_since.clone();
        assert_eq!(stale_since().as_deref(), Some("1970-01-01T00:01:40Z"), "it has not been told anything");
        tell("");
        let mut session = Session::new(Variant::Delta, Service::Aggregated, 0);
        for kind in [ResourceType::Cluster, ResourceType::Listener] {
            let ask =
                Ask::Changes { subscribe: Vec::new(), unsubscribe: Vec::new(), initial: BTreeMap::new() };
            let type_url = kind.type_url().into();
            let request =
                Request { node: Some("n".into()), type_url, nonce: String::new(), rejection: None, ask };
            session.on_request(request).unwrap();
        }
        feed.observer.changed(session.status());
        assert_eq!(stale_since(), None, "it lacks nothing");
        for (moment, content) in [(130, "1"), (160, "2")] {
            seconds.store(moment, Ordering::Relaxed);
            tell(content);
            assert_eq!(stale_since().as_deref(), Some("1970-01-01T00:02:10Z"), "at {moment}");
        }
    }
}
