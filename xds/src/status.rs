//! What a client made of what it was sent.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    resource::{Name, Resource, ResourceType, Version},
    snapshot::Snapshot,
};

/// Why a client does not run a version of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The version that was refused.
    pub version: Arc<str>,
    /// The client's own words, bounded and cleaned of anything that looks like key material.
    pub reason: Arc<str>,
    /// The client refused a message of several resources without naming this one: it may be innocent, and
    /// may even be in force.
    pub suspected: bool,
}

/// What is known of one resource at one client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceStatus {
    /// The version that was sent last on this stream.
    pub sent: Option<Arc<str>>,
    /// The version that the client acknowledged last, or brought along when it reconnected.
    pub accepted: Option<Arc<str>>,
    /// The version that the client refused, until another one is accepted.
    pub rejected: Option<Rejection>,
}

/// Which resources of one kind a client asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interest {
    pub(crate) all: bool,
    pub(crate) names: BTreeSet<Name>,
}

impl Interest {
    pub(crate) fn covers(&self, name: &str) -> bool {
        self.all || self.names.contains(name)
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.all && self.names.is_empty()
    }
}

/// What one client asked for, was sent, accepted and refused on one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    resources: BTreeMap<(ResourceType, Name), ResourceStatus>,
    interests: BTreeMap<ResourceType, Interest>,
    stale_nonces: u64,
}

impl Status {
    /// Whether the client asks for anything of this kind.
    pub fn is_subscribed(&self, kind: ResourceType) -> bool {
        self.interests.get(&kind).is_some_and(|interest| !interest.is_empty())
    }

    /// The names of this kind that the client asks for, whether or not there is anything to send for them.
    pub fn names(&self, kind: ResourceType) -> impl Iterator<Item = &str> {
        self.interests.get(&kind).into_iter().flat_map(|interest| interest.names.iter().map(|name| &**name))
    }

    /// Whether the client accepted every resource of `snapshot` that it asks for, at the snapshot's version,
    /// and holds no cluster or listener that the snapshot no longer has.
    ///
    /// A client that has not asked for anything yet is vacuously synced; ask [`Self::is_subscribed`] too.
    pub fn is_synced(&self, snapshot: &Snapshot) -> bool {
        let wanted = self.interests.iter().all(|(kind, interest)| {
            let mut subscribed =
                snapshot.resources(*kind).filter(|resource| interest.covers(resource.name()));
            subscribed.all(|resource| self.runs(resource))
        });
        let mut held =
            self.resources().filter(|(kind, _, status)| kind.is_wildcard() && status.sent.is_some());
        wanted && held.all(|(kind, name, _)| snapshot.get(kind, name).is_some())
    }

    /// The version of a resource that the client accepted last.
    pub fn accepted(&self, kind: ResourceType, name: &str) -> Option<&str> {
        self.resource(kind, name)?.accepted.as_deref()
    }

    /// What is known of one resource; `None` when it was neither sent nor brought along, or is gone.
    pub fn resource(&self, kind: ResourceType, name: &str) -> Option<&ResourceStatus> {
        self.resources.get(&(kind, Name::from(name)))
    }

    /// Every resource that something is known of, by kind and name.
    pub fn resources(&self) -> impl Iterator<Item = (ResourceType, &str, &ResourceStatus)> {
        self.resources.iter().map(|((kind, name), status)| (*kind, &**name, status))
    }

    /// What the client refuses at present.
    pub fn rejections(&self) -> impl Iterator<Item = (ResourceType, &str, &Rejection)> {
        self.resources().filter_map(|(kind, name, status)| Some((kind, name, status.rejected.as_ref()?)))
    }

    /// How many requests carried a nonce that was not, or no longer, that of a response of this stream.
    pub const fn stale_nonces(&self) -> u64 {
        self.stale_nonces
    }

    /// Whether exactly this version is in force at the client, as far as it said.
    pub(crate) fn runs(&self, resource: &Resource) -> bool {
        self.resources.get(&(resource.kind(), Arc::clone(resource.shared_name()))).is_some_and(|status| {
            let refused = status.rejected.as_ref().is_some_and(|it| *it.version == *resource.version());
            status.accepted.as_deref() == Some(resource.version()) && !refused
        })
    }

    pub(crate) fn set_interest(&mut self, kind: ResourceType, interest: &Interest) {
        if self.interests.get(&kind) != Some(interest) {
            self.interests.insert(kind, interest.clone());
        }
    }

    pub(crate) fn set_sent(&mut self, resource: &Resource) {
        self.entry(resource.kind(), resource.shared_name()).sent =
            Some(Arc::clone(resource.shared_version()));
    }

    pub(crate) fn set_accepted(&mut self, kind: ResourceType, name: &Name, version: &Version) {
        self.entry(kind, name).accepted = Some(Arc::clone(version));
    }

    pub(crate) fn clear_rejection(&mut self, kind: ResourceType, name: &Name) {
        self.entry(kind, name).rejected = None;
    }

    pub(crate) fn set_rejected(&mut self, kind: ResourceType, name: &Name, rejection: Rejection) {
        self.entry(kind, name).rejected = Some(rejection);
    }

    pub(crate) fn remove(&mut self, kind: ResourceType, name: &Name) {
        self.resources.remove(&(kind, Arc::clone(name)));
    }

    pub(crate) fn retain(&mut self, kind: ResourceType, keep: impl Fn(&Name) -> bool) {
        self.resources.retain(|(it, name), _| *it != kind || keep(name));
    }

    /// The client gave a resource up: only what it once refused stays known.
    pub(crate) fn forget(&mut self, kind: ResourceType, name: &Name) {
        let key = (kind, Arc::clone(name));
        if let Some(status) = self.resources.get_mut(&key) {
            (status.sent, status.accepted) = (None, None);
            if status.rejected.is_none() {
                self.resources.remove(&key);
            }
        }
    }

    pub(crate) const fn count_stale_nonce(&mut self) {
        self.stale_nonces = self.stale_nonces.saturating_add(1);
    }

    fn entry(&mut self, kind: ResourceType, name: &Name) -> &mut ResourceStatus {
        self.resources.entry((kind, Arc::clone(name))).or_default()
    }
}
