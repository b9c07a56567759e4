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
