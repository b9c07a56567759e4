//! What a response changes when it is sent.

use std::{borrow::Cow, sync::Arc};

use super::{
    Variant,
    nonce::Nonce,
    watch::{Draft, Flight, Told, Watch},
};
use crate::{
    interest::Interest,
    layer::Layer,
    resource::{Name, Resource, ResourceType, Version},
    snapshot::{Kind, digest},
    status::Status,
};

impl Watch {
    /// Records a response as sent; gives the endpoints for which clusters in it will wait.
    pub(super) fn commit(
        &mut self,
        draft: &Draft,
        nonce: Nonce,
        variant: Variant,
        newest: &Arc<Kind>,
        status: &mut Status,
    ) -> Vec<Name> {
        let warming = self.warming(draft);
        let known = status.of_mut(self.kind);
        let of_kind = || draft.resources.as_kind().map(|kind| Cow::Owned(Layer::of(Arc::clone(kind))));
        if let Some(whole) = &draft.whole {
            for gone in self.told.beyond(whole) {
                if self.told.get(&gone).is_some_and(|told| told.version().is_some()) {
                    self.told.put(&gone, None);
                }
            }
        }
        if let Some(layer) = draft.whole.as_ref().map(Cow::Borrowed).or_else(of_kind) {
            self.told.overlay(&layer);
            known.sent.overlay(&layer);
        } else {
            for resource in draft.resources.iter() {
                let name = resource.shared_name();
                self.told.put(name, Some(Told::Sent(resource.clone())));
                known.sent.put(name, Some(Arc::clone(resource.shared_version())));
            }
        }
        if !self.again.is_empty() {
            self.again.retain(|name| draft.resources.version(name).is_none());
        }
        for name in &draft.removed {
            self.again.remove(name);
            self.told.put(name, self.interest.names.contains(name).then_some(Told::Absent));
        }
        self.share(newest, status);
        if variant == Variant::Sotw {
            // A later response takes the place of an unanswered one: only its nonce is still good.
            self.flights.clear();
        }
        self.nonce = Some(nonce);
        self.flights.push_back(Flight {
            nonce,
            resources: draft.resources.clone(),
            removed: draft.removed.clone(),
        });
        warming
    }

    /// Shares with other streams what it has in common with the newest resources.
    fn share(&mut self, newest: &Arc<Kind>, status: &mut Status) {
        self.told.lay_on(newest);
        status.of_mut(self.kind).sent.lay_on(newest);
        if let Some(only) = &mut self.only {
            // Its name is all there is to share, and no reason to hold on to what it stood for once.
            if let Some((name, _)) = newest.get_key_value(&**only) {
                *only = Arc::clone(name);
            }
            return;
        }
        let names = &self.interest.names;
        if let Some(names) = (!names.is_empty()).then(|| names.over_another(newest)).flatten() {
            self.interest = Arc::new(Interest { unnamed: self.interest.unnamed, names });
            status.set_interest(self.kind, &self.interest);
        }
    }

    /// The endpoints for which what is about to be sent will wait: those of clusters in other versions.
    fn warming(&self, draft: &Draft) -> Vec<Name> {
        if self.kind != ResourceType::Cluster {
            return Vec::new();
        }
        if let Some(kind) = draft.resources.as_kind().filter(|_| self.told.is_plain()) {
            return kind.since(self.told.base()).warming.clone();
        }
        let is_news = |it: &&Resource| {
            let told = self.told.get(it.name());
            told.as_ref().and_then(Told::version) != Some(it.version())
        };
        draft.resources.iter().filter(is_news).filter_map(Resource::endpoints).cloned().collect()
    }

    /// A digest over names and versions of all that the client holds, equal on every replica.
    pub(super) fn version(&self) -> Version {
        let is_nothing = |(name, told): (&Name, &Option<Told>)| {
            matches!(told, Some(Told::Absent)) && !self.told.base().contains_key(name)
        };
        if self.told.over().iter().all(is_nothing) {
            return Arc::clone(self.told.base().version());
        }
        let told: Vec<_> = self.told.names().filter_map(|name| Some((name, self.told.get(name)?))).collect();
        digest(told.iter().filter_map(|(name, told)| Some((&***name, told.version()?))))
    }
}
