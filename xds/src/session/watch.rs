//! What one client wants, was told and answered about one kind of resource.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use sha2::{Digest, Sha256};
use tracing::{debug, info};

use super::{
    Variant,
    reason::{self, Blame},
};
use crate::{
    resource::{Name, Resource, ResourceType, Version},
    snapshot::Snapshot,
    status::{Interest, Rejection, Status},
};

/// What the client was told of a name.
#[derive(Clone, Debug)]
pub(super) enum Told {
    /// That it does not exist.
    Absent,
    /// Nothing by us: the client brought this version along when it reconnected.
    Held(Version),
    /// This resource.
    Sent(Resource),
}

impl Told {
    pub(super) fn version(&self) -> Option<&str> {
        match self {
            Self::Absent => None,
            Self::Held(version) => Some(version),
            Self::Sent(resource) => Some(resource.version()),
        }
    }
}

/// A version that the client rejected.
#[derive(Clone, Debug)]
pub(super) struct Refused {
    version: Version,
    /// Which NACK it was part of, when that did not say which of its resources was bad. The others of the
    /// group are let go again as soon as one of them changes, as that may have been the bad one.
    group: Option<u64>,
}

/// A response that waits for its ACK or NACK.
#[derive(Debug)]
pub(super) struct Flight {
    nonce: String,
    resources: Vec<Resource>,
    removed: Vec<Name>,
}

/// A response in the making.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) resources: Vec<Resource>,
    pub(super) removed: Vec<Name>,
}

/// The state of one kind on one stream.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) kind: ResourceType,
    /// Whether a request for this kind has arrived.
    pub(super) opened: bool,
    pub(super) interest: Interest,
    pub(super) told: BTreeMap<Name, Told>,
    /// Names to be answered at once, whether or not the client was told of them before.
    pub(super) asked: BTreeSet<Name>,
    /// The client asked for everything and is owed a response, even an empty one.
    pub(super) owes: bool,
    /// Unchanged resources to be sent again: endpoints whose cluster changed, and what went down with a message
    /// that the client refused for another resource's sake.
    pub(super) again: BTreeSet<Name>,
    pub(super) refused: BTreeMap<Name, Refused>,
    pub(super) flights: VecDeque<Flight>,
    /// SotW: the nonce of the last response, the only one that a request may carry.
    pub(super) nonce: Option<String>,
    /// SotW: names were listed once, so an empty list means nothing rather than everything.
    pub(super) listed: bool,
    /// SotW whole sets: the set as it was wanted when the last response was sent.
    pub(super) posted: Option<BTreeMap<Name, Resource>>,
    /// SotW whole sets: what stands in for a resource that was refused.
    pub(super) accepted: BTreeMap<Name, Resource>,
    /// The last removal was refused, and nothing accepted since.
    pub(super) removal_refused: bool,
    groups: u64,
}

impl Watch {
    pub(super) fn new(kind: ResourceType) -> Self {
        Self {
            kind,
            opened: false,
            interest: Interest::default(),
            told: BTreeMap::new(),
            asked: BTreeSet::new(),
            owes: false,
            again: BTreeSet::new(),
            refused: BTreeMap::new(),
            flights: VecDeque::new(),
            nonce: None,
            listed: false,
            posted: None,
            accepted: BTreeMap::new(),
            removal_refused: false,
            groups: 0,
        }
    }

    /// Whether no response waits for an answer.
    pub(super) fn is_idle(&self) -> bool {
        self.flights.is_empty()
    }

    /// Whether the client runs everything of the snapshot that it asks for, and took the last removal.
    pub(super) fn is_in_force(&self, snapshot: &Snapshot, status: &Status) -> bool {
        let mut wanted = snapshot.resources(self.kind).filter(|it| self.interest.covers(it.name()));
        !self.removal_refused && wanted.all(|resource| status.runs(resource))
    }

    /// Whether the client has some version of a resource, as far as it was told.
    pub(super) fn holds(&self, name: &str) -> bool {
        self.told.get(name).is_some_and(|told| told.version().is_some())
    }

    /// Whether exactly this version was rejected.
    pub(super) fn is_refused(&self, resource: &Resource) -> bool {
        self.refused.get(resource.name()).is_some_and(|it| *it.version == *resource.version())
    }

    /// Whether exactly this version was rejected, and no other resource can be to blame for it.
    pub(super) fn is_surely_refused(&self, resource: &Resource) -> bool {
        self.is_refused(resource) && self.refused.get(resource.name()).is_some_and(|it| it.group.is_none())
    }

    /// Forgets rejections that a new snapshot makes void: of resources that changed or are gone, and of a group
    /// of suspects of which one has.
    pub(super) fn look_at(&mut self, snapshot: &Snapshot, status: &mut Status) {
        let current = |name: &str| snapshot.get(self.kind, name).map(Resource::version);
        let changed: BTreeSet<u64> = self
            .refused
            .iter()
            .filter(|(name, refused)| current(name) != Some(&refused.version))
            .filter_map(|(_, refused)| refused.group)
            .collect();
        let (again, told, posted) = (&mut self.again, &self.told, &self.posted);
        self.refused.retain(|name, refused| {
            let Some(version) = current(name) else {
                let held = told.get(name).is_some_and(|told| told.version().is_some());
                if !held {
                    status.remove(self.kind, name);
                }
                return false;
            };
            let released = refused.group.is_some_and(|group| changed.contains(&group));
            if released && version == &*refused.version && told.contains_key(name) {
                again.insert(Arc::clone(name));
            }
            let posted = posted.as_ref().and_then(|posted| posted.get(name)).map(Resource::version);
            !released && (version == &*refused.version || posted == Some(&refused.version))
        });
    }

    /// Endpoints whose cluster has just been sent in a new version: Envoy keeps that cluster in warming until
    /// they come again, and does not ask for them.
    pub(super) fn send_again(&mut self, names: Vec<Name>) {
        let wanted = |name: &Name| !self.opened || self.interest.covers(name);
        self.again.extend(names.into_iter().filter(wanted));
    }

    /// Takes an ACK or a NACK of an earlier response; says whether the nonce was that of one.
    pub(super) fn settle(&mut self, nonce: &str, rejection: Option<&str>, status: &mut Status) -> bool {
        let Some(index) = self.flights.iter().position(|flight| flight.nonce == nonce) else {
            return false;
        };
        if let Some(flight) = self.flights.remove(index) {
            match rejection {
                None => self.accept(flight, status),
                Some(text) => self.refuse(flight, text, status),
            }
        }
        true
    }

    fn accept(&mut self, flight: Flight, status: &mut Status) {
        debug!(kind = %self.kind, nonce = flight.nonce, resources = flight.resources.len(), "acknowledged");
        self.removal_refused = false;
        for resource in flight.resources {
            let name = resource.shared_name();
            if !self.told.contains_key(name) {
                continue;
            }
            status.set_accepted(self.kind, name, resource.shared_version());
            // Another version, as the one that stands in for what was refused, does not clear that.
            if self.refused.get(name).is_none_or(|refused| *refused.version == *resource.version()) {
                self.refused.remove(name);
                status.clear_rejection(self.kind, name);
            }
            if self.posted.is_some() {
                self.accepted.insert(Arc::clone(name), resource);
            }
        }
        for name in flight.removed {
            if !self.holds(&name) {
                status.remove(self.kind, &name);
            }
        }
        if self.posted.is_some() {
            // What an accepted whole set lacks is gone, even if its removal was refused once.
            let (told, refused) = (&self.told, &self.refused);
            status.retain(self.kind, |name| told.contains_key(name) || refused.contains_key(name));
        }
    }

    fn refuse(&mut self, flight: Flight, text: &str, status: &mut Status) {
        let Blame { guilty, suspects, innocent } =
            reason::blame(text, flight.resources, |resource| status.runs(resource));
        let reason = reason::clean(text);
        info!(
            kind = %self.kind, nonce = flight.nonce, rejected = guilty.len(), suspected = suspects.len(),
            %reason, "rejected by the client"
        );
        self.removal_refused |= !flight.removed.is_empty();
        for name in flight.removed {
            // It may be there still; it is taken away again after the next response that is accepted.
            let known =
                status.resource(self.kind, &name).and_then(|it| it.accepted.as_ref().or(it.sent.as_ref()));
            if let Some(version) = known.filter(|_| self.posted.is_none() && !self.holds(&name)) {
                self.told.insert(name, Told::Held(Arc::clone(version)));
            }
        }
        self.groups = self.groups.wrapping_add(1);
        let group = self.groups;
        let guilty = guilty.into_iter().map(|resource| (resource, None));
        for (resource, group) in guilty.chain(suspects.into_iter().map(|resource| (resource, Some(group)))) {
            let (name, version) = (resource.shared_name(), resource.shared_version());
            let refused = Refused { version: Arc::clone(version), group };
            self.refused.insert(Arc::clone(name), refused);
            if self.interest.covers(name) {
                let rejection = Rejection {
                    version: Arc::clone(version),
                    reason: Arc::clone(&reason),
                    suspected: group.is_some(),
                };
                status.set_rejected(self.kind, name, rejection);
            }
        }
        // A whole set waits for a change of its own: what is innocent in it will come with that.
        if self.posted.is_none() {
            let told = &self.told;
            let unchanged =
                |it: &Resource| told.get(it.name()).is_some_and(|told| told.version() == Some(it.version()));
            self.again
                .extend(innocent.iter().filter(|it| unchanged(it)).map(|it| Arc::clone(it.shared_name())));
        }
    }

    /// Forgets what the client no longer wants, so that it is sent again when it is asked for again.
    pub(super) fn forget_unwanted(&mut self, status: &mut Status) {
        let interest = &self.interest;
        let kind = self.kind;
        self.told.retain(|name, _| {
            let wanted = interest.covers(name);
            if !wanted {
                status.forget(kind, name);
            }
            wanted
        });
        self.asked.retain(|name| interest.covers(name));
        self.again.retain(|name| interest.covers(name));
        self.accepted.retain(|name, _| interest.covers(name));
        if let Some(posted) = &mut self.posted {
            posted.retain(|name, _| interest.covers(name));
        }
    }

    /// Records a response as sent; gives the endpoints for which clusters in it will wait.
    pub(super) fn commit(
        &mut self,
        draft: &Draft,
        nonce: &str,
        variant: Variant,
        status: &mut Status,
    ) -> Vec<Name> {
        let mut warming = Vec::new();
        if self.posted.is_some() {
            let kept: BTreeSet<&str> = draft.resources.iter().map(Resource::name).collect();
            self.told.retain(|name, told| kept.contains(&**name) || told.version().is_none());
        }
        for resource in &draft.resources {
            let name = resource.shared_name();
            let before = self.told.insert(Arc::clone(name), Told::Sent(resource.clone()));
            if before.as_ref().and_then(Told::version) != Some(resource.version()) {
                warming.extend(resource.endpoints().cloned());
            }
            self.again.remove(name);
            status.set_sent(resource);
        }
        for name in &draft.removed {
            self.again.remove(name);
            if self.interest.names.contains(name) {
                self.told.insert(Arc::clone(name), Told::Absent);
            } else {
                self.told.remove(name);
            }
        }
        if variant == Variant::Sotw {
            // A later response takes the place of an unanswered one: only its nonce is still good.
            self.flights.clear();
        }
        self.nonce = Some(nonce.to_owned());
        self.flights.push_back(Flight {
            nonce: nonce.to_owned(),
            resources: draft.resources.clone(),
            removed: draft.removed.clone(),
        });
        warming
    }

    /// A digest over names and versions of all that the client holds, equal on every replica.
    pub(super) fn version(&self) -> String {
        let mut digest = Sha256::new();
        for (name, version) in self.told.iter().filter_map(|(name, told)| Some((name, told.version()?))) {
            for part in [name, version] {
                digest.update(part.len().to_be_bytes());
                digest.update(part);
            }
        }
        let digest: [u8; 32] = digest.finalize().into();
        hex::encode(digest.split_at(16).0)
    }
}
