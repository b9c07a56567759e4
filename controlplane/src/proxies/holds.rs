//! Whether proxies run what they should.

use signet_xds::{Resource, ResourceType};

use super::Entry;

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
        let names = wanted.chain(self.status.known(kind));
        let holds = names.filter(|name| is_meant(name)).map(|name| self.holds(kind, name));
        holds.fold(Holds::Nothing, |all, one| match (all, one) {
            (Holds::Other, _) | (_, Holds::Other) => Holds::Other,
            (Holds::Wanted, _) | (_, Holds::Wanted) => Holds::Wanted,
            (Holds::Nothing, Holds::Nothing) => Holds::Nothing,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

    use signet_policies::identity::Workload;
    use signet_xds::{
        Session,
        pb::envoy::config::cluster::v3::Cluster,
        server::Feed,
        session::{Ask, Request, Service, Variant},
    };

    use super::*;
    use crate::{
        proxies::{Proxies, Said, Told},
        translate::{Interception, Proxy},
    };

    const NAME: &str = "c";

    /// A proxy that asks for one cluster, and what the registry makes of its answers.
    struct Peer {
        proxies: Arc<Proxies>,
        feed: Feed,
        session: Session,
    }

    impl Peer {
        fn new() -> Self {
            let proxies = Proxies::new(Arc::new(|| SystemTime::UNIX_EPOCH));
            let proxy = Proxy {
                workload: Workload::virtual_node("m", "a").unwrap(),
                interception: Interception::None,
                ingress_address: [127, 0, 0, 1].into(),
                egress_port: 15001.try_into().unwrap(),
            };
            let feed = proxies.connect(proxy, Said::default());
            Self { proxies, feed, session: Session::new(Variant::Delta, Service::Aggregated, 0) }
        }

        /// It should hold the cluster with this content. Returns the nonce of what it is sent, empty if that is nothing.
        fn wants(&mut self, content: &str) -> String {
            let message = Cluster { alt_stat_name: content.into(), ..Default::default() };
            let snapshot = [Resource::new(ResourceType::Cluster, NAME, &message)].into_iter().collect();
            self.proxies.publish([Told {
                key: 0,
                snapshot: Some(Arc::new(snapshot)),
                cause: Arc::default(),
            }]);
            self.is_sent()
        }

        /// It asks for the cluster, again if it did before.
        fn asks(&mut self) -> String {
            self.says("", None, vec![NAME.to_owned()]);
            self.is_sent()
        }

        /// It answers a response, and is not sent anything yet.
        fn answers(&mut self, nonce: &str, rejection: Option<&str>) {
            self.says(nonce, rejection, Vec::new());
        }

        fn says(&mut self, nonce: &str, rejection: Option<&str>, subscribe: Vec<String>) {
            let request = Request {
                node: Some("n".into()),
                type_url: ResourceType::Cluster.type_url().into(),
                nonce: nonce.into(),
                rejection: rejection.map(Into::into),
                ask: Ask::Changes { subscribe, unsubscribe: Vec::new(), initial: BTreeMap::new() },
            };
            self.session.on_request(request).unwrap();
            self.feed.observer.changed(self.session.status());
        }

        fn is_sent(&mut self) -> String {
            let snapshot = self.feed.snapshots.borrow().clone().unwrap();
            let response = self.session.next_response(&snapshot);
            self.feed.observer.changed(self.session.status());
            response.map(|response| response.nonce).unwrap_or_default()
        }

        fn holds(&self) -> Holds {
            self.proxies.look(|entries| {
                let (_, entry) = entries.next().unwrap();
                let one = entry.holds(ResourceType::Cluster, NAME);
                assert_eq!(one, entry.holds_all(ResourceType::Cluster, |_| true));
                one
            })
        }

        fn is_synced(&self) -> bool {
            self.proxies.look(|entries| {
                let (_, entry) = entries.next().unwrap();
                entry.status.is_synced(entry.wanted().unwrap())
            })
        }
    }

    /// Which took the cluster with the content `1`.
    fn synced() -> Peer {
        let mut peer = Peer::new();
        peer.wants("1");
        let first = peer.asks();
        assert_eq!(peer.holds(), Holds::Other, "it has not answered");
        peer.answers(&first, None);
        assert_eq!((peer.holds(), peer.is_synced()), (Holds::Wanted, true));
        peer
    }

    #[test]
    fn what_was_accepted_once_and_refused_when_it_was_sent_again_does_not_count_as_held() {
        let mut peer = synced();
        let again = peer.asks();
        assert_ne!(again, "", "whoever asks is answered");
        assert_eq!(peer.holds(), Holds::Wanted, "it runs what it is sent again");
        peer.answers(&again, Some("no"));
        assert_eq!((peer.holds(), peer.is_synced()), (Holds::Other, false));
    }

    #[test]
    fn what_was_accepted_counts_when_it_is_wanted_again_once_the_newer_one_is_known_to_be_refused() {
        let mut peer = synced();
        let newer = peer.wants("2");
        assert_eq!(peer.holds(), Holds::Other, "what it runs is not what it should");
        assert_eq!(peer.wants("1"), "", "one after the other");
        assert_eq!(peer.holds(), Holds::Other, "it may be about to run the newer one");
        peer.answers(&newer, Some("no"));
        assert_eq!(peer.holds(), Holds::Wanted, "it never ran anything else");
        let first = peer.is_sent();
        assert_eq!(peer.holds(), Holds::Wanted, "nor will it");
        peer.answers(&first, None);
        assert_eq!((peer.holds(), peer.is_synced()), (Holds::Wanted, true));
    }

    #[test]
    fn an_older_version_does_not_count_while_the_newer_one_is_wanted_and_refused() {
        let mut peer = synced();
        let newer = peer.wants("2");
        peer.answers(&newer, Some("no"));
        assert_eq!((peer.holds(), peer.is_synced()), (Holds::Other, false));
    }
}
