//! What one client wants, was told and answered about one kind of resource.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use tracing::{debug, info};

use super::{
    nonce::Nonce,
    reason::{self, Blame},
};
use crate::{
    batch::Resources,
    interest::{Interest, Unnamed},
    layer::{Layer, Value},
    resource::{Name, Resource, ResourceType, Version},
    snapshot::{Kind, Snapshot},
    status::{Rejection, Status},
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

impl Value for Told {
    fn of(resource: &Resource) -> Self {
        Self::Sent(resource.clone())
    }

    fn is_of(&self, resource: &Resource) -> bool {
        matches!(self, Self::Sent(sent) if sent.is_of(resource))
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
    pub(super) nonce: Nonce,
    pub(super) resources: Resources,
    pub(super) removed: Vec<Name>,
}

/// A response in the making.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) resources: Resources,
    pub(super) removed: Vec<Name>,
    /// The set that the client then holds, where it is known as a whole: always of SotW whole sets.
    pub(super) whole: Option<Layer<Resource>>,
}

/// The state of one kind on one stream.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) kind: ResourceType,
    /// What a client asks for that names nothing, or `*`.
    pub(super) wildcard: Unnamed,
    /// Whether a request for this kind has arrived.
    pub(super) opened: bool,
    pub(super) interest: Arc<Interest>,
    /// The name that is asked for, where it is the only one; shared with the resource, once it is known.
    pub(super) only: Option<Name>,
    pub(super) told: Layer<Told>,
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
    pub(super) nonce: Option<Nonce>,
    /// SotW: names were listed once, so an empty list means nothing rather than everything.
    pub(super) listed: bool,
    /// SotW whole sets: the set as it was wanted when the last response was sent.
    pub(super) posted: Option<Layer<Resource>>,
    /// SotW whole sets: what stands in for a resource that was refused.
    pub(super) accepted: Layer<Resource>,
    /// The last removal was refused, and nothing accepted since.
    pub(super) removal_refused: bool,
    groups: u64,
}

impl Watch {
    pub(super) fn new(kind: ResourceType) -> Self {
        Self {
            kind,
            wildcard: if kind.is_wildcard() { Unnamed::Everything } else { Unnamed::Nothing },
            opened: false,
            interest: Arc::default(),
            only: None,
            told: Layer::default(),
            asked: BTreeSet::new(),
            owes: false,
            again: BTreeSet::new(),
            refused: BTreeMap::new(),
            flights: VecDeque::new(),
            nonce: None,
            listed: false,
            posted: None,
            accepted: Layer::default(),
            removal_refused: false,
            groups: 0,
        }
    }

    /// Whether no response waits for an answer.
    pub(super) fn is_idle(&self) -> bool {
        self.flights.is_empty()
    }

    /// What the client may be told of, of the resources that there are. Most clients of a secret want nothing else, and
    /// what many hold is compared once for all of them; so it is that resource alone which they hold.
    pub(super) fn view<'a>(&self, all: &'a Arc<Kind>) -> Cow<'a, Arc<Kind>> {
        self.only.as_ref().map_or(Cow::Borrowed(all), |name| all.alone(name))
    }

    /// Whether the client was told of just these resources, and asks for nothing more.
    pub(super) fn is_told_all(&self, newest: &Arc<Kind>) -> bool {
        let asks = self.owes || !self.asked.is_empty() || !self.again.is_empty();
        !asks
            && self.told.is_all_of(newest)
            && self.posted.as_ref().is_none_or(|posted| posted.is_all_of(newest))
    }

    /// Whether there is no rejection that another snapshot could make void.
    pub(super) fn has_refused_nothing(&self) -> bool {
        self.refused.is_empty()
    }

    /// Whether the client runs everything of the snapshot that it asks for, and took the last removal.
    pub(super) fn is_in_force(&self, snapshot: &Snapshot, status: &Status) -> bool {
        !self.removal_refused && status.of(self.kind).runs_all(snapshot, self.kind, &self.interest)
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
        if self.refused.is_empty() {
            return;
        }
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
                    status.of_mut(self.kind).remove(name);
                }
                return false;
            };
            let released = refused.group.is_some_and(|group| changed.contains(&group));
            if released && version == &*refused.version && told.contains(name) {
                again.insert(Arc::clone(name));
            }
            let posted = posted.as_ref().and_then(|posted| posted.get(name));
            let is_posted = posted.is_some_and(|posted| *posted.version() == *refused.version);
            !released && (version == &*refused.version || is_posted)
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
        let Some(index) = self.flights.iter().position(|flight| flight.nonce == *nonce) else {
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
        debug!(kind = %self.kind, nonce = %flight.nonce, resources = flight.resources.len(), "acknowledged");
        self.removal_refused = false;
        let known = status.of_mut(self.kind);
        let clears = |name: &Name, version: Option<&str>| {
            // Another version, as the one that stands in for what was refused, does not clear that.
            let refused = self.refused.get(name).map(|refused| &*refused.version);
            version.is_some() && self.told.contains(name) && (refused.is_none() || refused == version)
        };
        let suspects = self.refused.keys().chain(known.rejected.keys());
        let cleared: Vec<Name> =
            suspects.filter(|name| clears(name, flight.resources.version(name))).cloned().collect();
        for name in cleared {
            self.refused.remove(&name);
            known.rejected.remove(&name);
        }
        if let Some(kind) = flight.resources.as_kind() {
            let mut accepted = Layer::of(Arc::clone(kind));
            for given_up in accepted.beyond(&self.told) {
                accepted.put(&given_up, None);
            }
            known.accepted.overlay(&accepted);
            if self.posted.is_some() {
                self.accepted.overlay(&accepted);
            }
        } else {
            for resource in flight.resources.iter().filter(|it| self.told.contains(it.name())) {
                let name = resource.shared_name();
                known.accepted.put(name, Some(Arc::clone(resource.shared_version())));
                if self.posted.is_some() {
                    self.accepted.put(name, Some(resource.clone()));
                }
            }
        }
        for name in flight.removed {
            if !self.holds(&name) {
                known.remove(&name);
            }
        }
        if self.posted.is_some() {
            // What an accepted whole set lacks is gone, even if its removal was refused once.
            let mut gone = known.sent.beyond(&self.told);
            gone.extend(known.accepted.beyond(&self.told));
            gone.retain(|name| !self.refused.contains_key(name));
            gone.iter().for_each(|name| known.forget(name));
            known.rejected.retain(|name, _| self.told.contains(name) || self.refused.contains_key(name));
        }
        let base = Arc::clone(self.told.base());
        self.accepted.lay_on(&base);
        known.sent.lay_on(&base);
        known.accepted.lay_on(&base);
    }

    fn refuse(&mut self, flight: Flight, text: &str, status: &mut Status) {
        let known = status.of_mut(self.kind);
        let Blame { guilty, suspects, innocent } =
            reason::blame(text, flight.resources.iter().cloned().collect(), |resource| known.runs(resource));
        let reason = reason::clean(text);
        info!(
            kind = %self.kind, nonce = %flight.nonce, rejected = guilty.len(), suspected = suspects.len(),
            %reason, "rejected by the client"
        );
        self.removal_refused |= !flight.removed.is_empty();
        for name in flight.removed {
            // It may be there still; it is taken away again after the next response that is accepted.
            let version = known.accepted.get(&name).or_else(|| known.sent.get(&name));
            if let Some(version) = version.filter(|_| self.posted.is_none() && !self.holds(&name)) {
                self.told.put(&name, Some(Told::Held(version)));
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
                known.rejected.insert(Arc::clone(name), rejection);
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
        if self.only.as_ref() != interest.only() {
            self.only = interest.only().cloned();
        }
        if interest.unnamed == Unnamed::Everything {
            return;
        }
        let unwanted = self.told.beyond(&interest.names).into_iter().filter(|name| !interest.covers(name));
        for name in unwanted.collect::<Vec<_>>() {
            self.told.put(&name, None);
            status.of_mut(self.kind).forget(&name);
        }
        self.asked.retain(|name| interest.covers(name));
        self.again.retain(|name| interest.covers(name));
        for layer in self.posted.iter_mut().chain([&mut self.accepted]) {
            layer.beyond(&interest.names).iter().for_each(|name| layer.put(name, None));
        }
    }
}
