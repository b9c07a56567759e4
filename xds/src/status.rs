//! What a client made of what it was sent.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    by_kind::ByKind,
    interest::Interest,
    layer::Layer,
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

/// What one client asked for, was sent, accepted and refused on one stream.
///
/// A clone is cheap: what all clients have in common is shared.
#[derive(Clone, Debug, Default)]
pub struct Status {
    kinds: ByKind<OfKind>,
    stale_nonces: u64,
}

/// What is known of the resources of one kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct OfKind {
    interest: Arc<Interest>,
    pub(crate) sent: Layer<Version>,
    pub(crate) accepted: Layer<Version>,
    pub(crate) rejected: BTreeMap<Name, Rejection>,
}

impl Status {
    /// Whether the client asks for anything of this kind.
    pub fn is_subscribed(&self, kind: ResourceType) -> bool {
        !self.of(kind).interest.is_empty()
    }

    /// The names of this kind that the client asks for, whether or not there is anything to send for them.
    pub fn names(&self, kind: ResourceType) -> impl Iterator<Item = &str> {
        self.of(kind).interest.names.names().map(|name| &**name)
    }

    /// Whether the client asks for this resource.
    pub fn asks_for(&self, kind: ResourceType, name: &str) -> bool {
        self.of(kind).interest.covers(name)
    }

    /// Whether the client asks for more of this kind than it names.
    pub fn asks_unnamed(&self, kind: ResourceType) -> bool {
        self.of(kind).interest.is_wildcard()
    }

    /// Whether the client accepted every resource of `snapshot` that it asks for, at the snapshot's version,
    /// and holds no cluster or listener that the snapshot no longer has.
    ///
    /// A client that has not asked for anything yet is vacuously synced; ask [`Self::is_subscribed`] too.
    pub fn is_synced(&self, snapshot: &Snapshot) -> bool {
        ResourceType::ALL.into_iter().all(|kind| {
            let known = self.of(kind);
            let wanted = Layer::<Version>::of(Arc::clone(snapshot.kind(kind)));
            // What it brought along was not sent.
            let has_more = |layer: &Layer<Version>| !layer.beyond(&wanted).is_empty();
            let holds_more = kind.is_wildcard() && (has_more(&known.sent) || has_more(&known.accepted));
            known.runs_all(snapshot, kind, &known.interest) && !holds_more
        })
    }

    /// The versions of a kind that were sent last on this stream, by name.
    pub fn sent(&self, kind: ResourceType) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        let sent = &self.of(kind).sent;
        sent.names().filter_map(|name| Some((name, sent.version(name)?)))
    }

    /// The version of a resource that the client accepted last.
    pub fn accepted(&self, kind: ResourceType, name: &str) -> Option<&str> {
        self.of(kind).accepted.version(name).map(|version| &**version)
    }

    /// What is known of one resource; `None` when it was neither sent nor brought along, or is gone.
    pub fn resource(&self, kind: ResourceType, name: &str) -> Option<ResourceStatus> {
        let OfKind { sent, accepted, rejected, interest: _ } = self.of(kind);
        let (sent, accepted, rejected) = (sent.get(name), accepted.get(name), rejected.get(name).cloned());
        let is_known = sent.is_some() || accepted.is_some() || rejected.is_some();
        is_known.then_some(ResourceStatus { sent, accepted, rejected })
    }

    /// The names of a kind of which something is known, in order.
    pub fn known(&self, kind: ResourceType) -> impl Iterator<Item = &str> {
        let OfKind { sent, accepted, rejected, interest: _ } = self.of(kind);
        let mut names: Vec<&Name> = sent.names().chain(accepted.names()).chain(rejected.keys()).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().map(|name| &**name)
    }

    /// Every resource that something is known of, by kind and name.
    pub fn resources(&self) -> impl Iterator<Item = (ResourceType, &str, ResourceStatus)> {
        let of_kind = move |kind| self.resources_of(kind).map(move |(name, status)| (kind, name, status));
        ResourceType::ALL.into_iter().flat_map(of_kind)
    }

    /// Those of one kind, by name.
    pub fn resources_of(&self, kind: ResourceType) -> impl Iterator<Item = (&str, ResourceStatus)> {
        self.known(kind).filter_map(move |name| Some((name, self.resource(kind, name)?)))
    }

    /// What the client refuses at present.
    pub fn rejections(&self) -> impl Iterator<Item = (ResourceType, &str, &Rejection)> {
        self.kinds
            .iter()
            .flat_map(|(kind, known)| known.rejected.iter().map(move |(name, it)| (kind, &**name, it)))
    }

    /// How many requests carried a nonce that was not, or no longer, that of a response of this stream.
    pub const fn stale_nonces(&self) -> u64 {
        self.stale_nonces
    }

    pub(crate) const fn of(&self, kind: ResourceType) -> &OfKind {
        self.kinds.of(kind)
    }

    pub(crate) const fn of_mut(&mut self, kind: ResourceType) -> &mut OfKind {
        self.kinds.of_mut(kind)
    }

    pub(crate) fn set_interest(&mut self, kind: ResourceType, interest: &Arc<Interest>) {
        self.of_mut(kind).interest = Arc::clone(interest);
    }

    pub(crate) const fn count_stale_nonce(&mut self) {
        self.stale_nonces = self.stale_nonces.saturating_add(1);
    }
}

impl OfKind {
    /// Whether exactly this version is in force at the client, as far as it said.
    pub(crate) fn runs(&self, resource: &Resource) -> bool {
        let is_version = |version: &Version| **version == *resource.version();
        let is_refused = self.rejected.get(resource.name()).is_some_and(|it| is_version(&it.version));
        self.accepted.version(resource.name()).is_some_and(is_version) && !is_refused
    }

    /// Whether all that a client asks for of a kind is in force.
    pub(crate) fn runs_all(&self, snapshot: &Snapshot, kind: ResourceType, interest: &Interest) -> bool {
        let wanted = snapshot.kind(kind);
        let apart = self.accepted.apart(&Layer::<Version>::of(Arc::clone(wanted)));
        // Whatever else is in the snapshot was accepted.
        let mut doubtful = apart.iter().chain(self.rejected.keys()).filter_map(|name| wanted.get(name));
        doubtful.all(|resource| !interest.covers(resource.name()) || self.runs(resource))
    }

    /// Nothing is known of it any more.
    pub(crate) fn remove(&mut self, name: &Name) {
        self.forget(name);
        self.rejected.remove(name);
    }

    /// The client gave a resource up: only what it once refused stays known.
    pub(crate) fn forget(&mut self, name: &Name) {
        self.sent.put(name, None);
        self.accepted.put(name, None);
    }
}
