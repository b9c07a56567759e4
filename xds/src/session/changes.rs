//! Responses that carry only what differs: delta, and SotW of endpoints, routes and secrets.

use std::{collections::BTreeSet, mem, sync::Arc};

use super::{
    Variant,
    order::Gate,
    watch::{Draft, Told, Watch},
};
use crate::{
    batch::Resources,
    layer::Layer,
    resource::{Name, Resource},
    snapshot::Kind,
    status::Status,
};

impl Watch {
    /// What the client must be told now, if anything. SotW has no words for "gone" here: it is recorded and
    /// nothing is sent, as an empty response would be an error to Envoy's SDS.
    pub(super) fn changes(
        &mut self,
        newest: &Arc<Kind>,
        gate: Gate,
        variant: Variant,
        status: &mut Status,
    ) -> Option<Draft> {
        let asked = mem::take(&mut self.asked);
        let owes = mem::take(&mut self.owes);
        let (resources, whole) = self.news(newest, gate, &asked, owes);
        let missing = |name: &Name| !newest.contains_key(name);
        let mut removed: BTreeSet<Name> =
            asked.into_iter().filter(|name| missing(name) && !self.holds(name)).collect();
        // Where it then holds just what there is, nothing is gone.
        let may_go = (gate.removals && !self.removal_refused) || variant == Variant::Sotw;
        if may_go && whole.is_none() {
            let gone = self.told.beyond(&Layer::<Resource>::of(Arc::clone(newest)));
            removed.extend(gone.into_iter().filter(|name| self.holds(name)));
        }
        if variant == Variant::Sotw {
            for name in mem::take(&mut removed) {
                status.of_mut(self.kind).remove(&name);
                self.told.put(&name, Some(Told::Absent));
            }
        }
        if resources.is_empty() && removed.is_empty() && !(owes && variant == Variant::Delta) {
            return None;
        }
        Some(Draft { resources, removed: removed.into_iter().collect(), whole })
    }

    /// The resources that the client has not been told of, or not in this version, as far as it may be now; and what it
    /// then holds, where that is just what there is.
    fn news(
        &self,
        newest: &Arc<Kind>,
        gate: Gate,
        asked: &BTreeSet<Name>,
        owes: bool,
    ) -> (Resources, Option<Layer<Resource>>) {
        if asked.is_empty() && !owes && !gate.additions {
            return (Resources::default(), None);
        }
        let difference = newest.since(self.told.base());
        let nothing_else = asked.is_empty() && self.again.is_empty() && self.told.is_plain();
        // Whoever wants one resource only is shown no other.
        let is_wanted = |it: &Resource| self.only.is_some() || self.interest.covers(it.name());
        let covers = |it: &Resource| is_wanted(it) && !self.is_refused(it);
        if gate.additions && nothing_else && difference.changed.iter().all(covers) {
            let news = match difference.changed.len() {
                0 => Resources::default(),
                all if all == newest.len() => newest.whole(),
                _ => difference.response(),
            };
            return (news, difference.gone.is_empty().then(|| Layer::of(Arc::clone(newest))));
        }
        let is_news = |it: &Resource| {
            let told = self.told.get(it.name());
            let at_once = asked.contains(it.name()) || (owes && told.is_none());
            let is_held = || told.as_ref().and_then(Told::version) == Some(it.version());
            at_once || gate.additions && (!is_held() || self.again.contains(it.name()))
        };
        let of = |name: &Name| newest.get(name).filter(|it| covers(it) && is_news(it)).cloned();
        let news: Vec<Resource> =
            if self.interest.is_wildcard() || difference.changed.len() < self.interest.names.len() {
                let own = asked.iter().chain(&self.again).chain(self.told.over().keys());
                let mut names: Vec<&Name> =
                    own.chain(difference.changed.iter().map(Resource::shared_name)).collect();
                names.sort_unstable();
                names.dedup();
                names.into_iter().filter_map(of).collect()
            } else {
                // Nothing but these is wanted, whatever else there is.
                self.interest.names.names().filter_map(of).collect()
            };
        let is_all = !news.is_empty() && news.len() == newest.len();
        (if is_all { newest.whole() } else { news.into_iter().collect() }, None)
    }
}
