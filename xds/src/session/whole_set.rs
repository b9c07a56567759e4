//! SotW responses for clusters and listeners: always the whole set, where what is missing is gone.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
};

use super::{
    order::Gate,
    watch::{Draft, Told, Watch},
};
use crate::{
    batch::Resources,
    layer::Layer,
    resource::{Name, Resource},
    snapshot::Kind,
};

impl Watch {
    /// The next whole set, if it differs from the one sent before or was asked for.
    ///
    /// While removals wait, what is to go stays in it; while additions wait, what changed stays as it was. A
    /// set that was refused is not sent again until it changes. Then everything goes out but what is surely to
    /// blame, in whose place the version stands that the client accepted before, if there was one.
    pub(super) fn whole_set(&mut self, newest: &Arc<Kind>, gate: Gate) -> Option<Draft> {
        let asked = mem::take(&mut self.asked);
        let owes = mem::take(&mut self.owes);
        if self.interest.is_empty() {
            return None;
        }
        let set = self.wanted(newest, gate, &asked, owes);
        let parked = self.refused.keys().filter_map(|name| set.get(name)).any(|it| self.is_refused(&it));
        let unchanged = self.posted.as_ref().is_some_and(|posted| same_versions(posted, &set));
        if unchanged && (parked || !owes && asked.is_empty()) {
            return None;
        }
        let mut sent = set.clone();
        for name in self.refused.keys() {
            if set.get(name).is_some_and(|it| self.is_surely_refused(&it)) {
                sent.put(name, self.accepted.get(name));
            }
        }
        let removed = self.told.beyond(&set);
        for name in self.accepted.beyond(&set) {
            self.accepted.put(&name, None);
        }
        self.posted = Some(set);
        Some(Draft { resources: all_of(&sent), removed, whole: Some(sent) })
    }

    /// What the set should hold now; what was asked for, or is owed and not known, passes a closed gate.
    fn wanted(&self, newest: &Arc<Kind>, gate: Gate, asked: &BTreeSet<Name>, owes: bool) -> Layer<Resource> {
        let nothing = Layer::default();
        let posted = self.posted.as_ref().unwrap_or(&nothing);
        let goes_with_all = self.interest.is_wildcard() && posted.is_plain() && self.told.is_plain();
        if goes_with_all && Arc::ptr_eq(posted.base(), self.told.base()) {
            match (gate.additions, gate.removals) {
                (true, true) => return Layer::of(Arc::clone(newest)),
                (true, false) => {
                    return Layer::of(newest.since(posted.base()).both(posted.base(), newest));
                }
                (false, false) if !owes && asked.is_empty() => return posted.clone(),
                (false, _) => {}
            }
        }
        self.picked(newest, gate, posted, |name, known| asked.contains(name) || (owes && !known))
    }

    /// As [`Watch::wanted`], one by one; `at_once` says which resources pass a closed gate.
    fn picked(
        &self,
        newest: &Arc<Kind>,
        gate: Gate,
        posted: &Layer<Resource>,
        at_once: impl Fn(&str, bool) -> bool,
    ) -> Layer<Resource> {
        let mut set = BTreeMap::new();
        for resource in newest.values().filter(|it| self.interest.covers(it.name())) {
            let before = posted.get(resource.name());
            let now = gate.additions || at_once(resource.name(), before.is_some());
            if let Some(chosen) = if now { Some(resource.clone()) } else { before } {
                set.insert(Arc::clone(chosen.shared_name()), chosen);
            }
        }
        if !gate.removals {
            // As it was sent, which for a refused version may be the one before.
            for name in self.told.beyond(&Layer::<Resource>::of(Arc::clone(newest))) {
                if let Some(Told::Sent(resource)) = self.told.get(&name) {
                    set.insert(name, resource);
                }
            }
        }
        let mut layer = Layer::of(Arc::new(set.into_values().collect()));
        layer.lay_on(newest);
        layer
    }
}

fn all_of(set: &Layer<Resource>) -> Resources {
    match set.is_plain() {
        true => set.base().whole(),
        false => set.names().filter_map(|name| set.get(name)).collect(),
    }
}

fn same_versions(a: &Layer<Resource>, b: &Layer<Resource>) -> bool {
    if a.is_plain() && b.is_plain() {
        return b.base().since(a.base()).is_empty();
    }
    let version = |set: &Layer<Resource>, name: &str| set.get(name).map(|it| it.version().to_owned());
    a.apart(b).iter().all(|name| version(a, name) == version(b, name))
}
