//! SotW responses for clusters and listeners: always the whole set, where what is missing is gone.

use std::{collections::BTreeMap, mem, sync::Arc};

use super::{
    order::Gate,
    watch::{Draft, Told, Watch},
};
use crate::{
    resource::{Name, Resource},
    snapshot::Snapshot,
};

impl Watch {
    /// The next whole set, if it differs from the one sent before or was asked for.
    ///
    /// While removals wait, what is to go stays in it; while additions wait, what changed stays as it was. A
    /// set that was refused is not sent again until it changes. Then everything goes out but what is surely to
    /// blame, in whose place the version stands that the client accepted before, if there was one.
    pub(super) fn whole_set(&mut self, snapshot: &Snapshot, gate: Gate) -> Option<Draft> {
        let asked = mem::take(&mut self.asked);
        let owes = mem::take(&mut self.owes);
        if self.interest.is_empty() {
            return None;
        }
        let set = self.wanted(snapshot, gate, |name, known| asked.contains(name) || (owes && !known));
        let parked = set.values().any(|resource| self.is_refused(resource));
        let unchanged = self.posted.as_ref().is_some_and(|posted| same_versions(posted, &set));
        if unchanged && (parked || !owes && asked.is_empty()) {
            return None;
        }
        let resources: Vec<Resource> = set
            .values()
            .filter_map(|it| if self.is_surely_refused(it) { self.accepted.get(it.name()) } else { Some(it) })
            .cloned()
            .collect();
        let dropped = |name: &Name| !set.contains_key(name);
        let removed = self.told.keys().filter(|name| dropped(name)).cloned().collect();
        self.accepted.retain(|name, _| set.contains_key(name));
        self.posted = Some(set);
        Some(Draft { resources, removed })
    }

    /// What the set should hold now; `at_once` says which resources pass a closed gate.
    fn wanted(
        &self,
        snapshot: &Snapshot,
        gate: Gate,
        at_once: impl Fn(&str, bool) -> bool,
    ) -> BTreeMap<Name, Resource> {
        let nothing = BTreeMap::new();
        let posted = self.posted.as_ref().unwrap_or(&nothing);
        let mut set = BTreeMap::new();
        for resource in snapshot.resources(self.kind).filter(|it| self.interest.covers(it.name())) {
            let before = posted.get(resource.name());
            let now = gate.additions || at_once(resource.name(), before.is_some());
            if let Some(chosen) = if now { Some(resource) } else { before } {
                set.insert(Arc::clone(chosen.shared_name()), chosen.clone());
            }
        }
        // As it was sent, which for a refused version may be the one before.
        let gone = |name: &str| !gate.removals && snapshot.get(self.kind, name).is_none();
        for (name, told) in self.told.iter().filter(|(name, _)| gone(name)) {
            if let Told::Sent(resource) = told {
                set.insert(Arc::clone(name), resource.clone());
            }
        }
        set
    }
}

fn same_versions(a: &BTreeMap<Name, Resource>, b: &BTreeMap<Name, Resource>) -> bool {
    a.len() == b.len()
        && a.values().zip(b.values()).all(|(a, b)| a.name() == b.name() && a.version() == b.version())
}
