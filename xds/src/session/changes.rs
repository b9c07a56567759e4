//! Responses that carry only what differs: delta, and SotW of endpoints, routes and secrets.

use std::{collections::BTreeSet, mem};

use super::{
    Variant,
    order::Gate,
    watch::{Draft, Told, Watch},
};
use crate::{
    resource::{Name, Resource},
    snapshot::Snapshot,
    status::Status,
};

impl Watch {
    /// What the client must be told now, if anything. SotW has no words for "gone" here: it is recorded and
    /// nothing is sent, as an empty response would be an error to Envoy's SDS.
    pub(super) fn changes(
        &mut self,
        snapshot: &Snapshot,
        gate: Gate,
        variant: Variant,
        status: &mut Status,
    ) -> Option<Draft> {
        let asked = mem::take(&mut self.asked);
        let owes = mem::take(&mut self.owes);
        let resources: Vec<Resource> = snapshot
            .resources(self.kind)
            .filter(|it| self.interest.covers(it.name()) && !self.is_refused(it))
            .filter(|it| {
                let told = self.told.get(it.name());
                let changed = told.and_then(Told::version) != Some(it.version());
                let at_once = asked.contains(it.name()) || (owes && told.is_none());
                at_once || gate.additions && (changed || self.again.contains(it.name()))
            })
            .cloned()
            .collect();
        let missing = |name: &Name| snapshot.get(self.kind, name).is_none();
        let mut removed: BTreeSet<Name> =
            asked.into_iter().filter(|name| missing(name) && !self.holds(name)).collect();
        if (gate.removals && !self.removal_refused) || variant == Variant::Sotw {
            removed.extend(self.told.keys().filter(|name| missing(name) && self.holds(name)).cloned());
        }
        if variant == Variant::Sotw {
            for name in mem::take(&mut removed) {
                status.remove(self.kind, &name);
                self.told.insert(name, Told::Absent);
            }
        }
        if resources.is_empty() && removed.is_empty() && !(owes && variant == Variant::Delta) {
            return None;
        }
        Some(Draft { resources, removed: removed.into_iter().collect() })
    }
}
