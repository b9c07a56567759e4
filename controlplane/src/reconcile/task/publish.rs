//! Telling proxies what they should hold: those that a change concerns, and those that are new.

use std::{collections::BTreeMap, sync::Arc};

use signet_xds::Snapshot;

use super::Task;
use crate::{
    proxies::{Cause, Concerned, Told},
    reconcile::Memory,
    translate::{self, Proxy},
};

impl<M: Memory> Task<M> {
    /// Gives every proxy that a change concerns, and every new one, what it should hold. A node that is gone has no
    /// proxies; one that only a newer model knows is fed when that is taken up.
    pub(super) fn publish(&mut self) {
        let touched = std::mem::take(&mut self.unpublished);
        let writes = self.audience.of(&touched);
        let concerned = self.context.proxies.concerned(writes.keys());
        // Asked after the look: who was admitted by a newer model was seen with that model already there.
        let is_outdated = self.context.model.has_changed().unwrap_or(true);
        let mut made: BTreeMap<Proxy, Arc<Snapshot>> = BTreeMap::new();
        let mut told = Vec::with_capacity(concerned.len());
        for Concerned { key, proxy, wanted } in concerned {
            if !self.model.has(&proxy.workload) {
                if wanted.is_some() || !is_outdated {
                    told.push(Told { key, snapshot: None, cause: Arc::default() });
                }
                continue;
            }
            let workload = proxy.workload.clone();
            let is_new = wanted.is_none();
            let snapshot = match made.get(&proxy) {
                Some(snapshot) => Arc::clone(snapshot),
                None => {
                    self.audience.note(&self.model, &proxy.workload);
                    let snapshot = self.translate(&proxy, wanted.as_deref());
                    made.insert(proxy, Arc::clone(&snapshot));
                    snapshot
                }
            };
            let cause = match writes.get(&workload) {
                Some(writes) if !is_new => Cause::of(writes, self.model.revision),
                // Everything is new to it, so it may be any write that it depends on.
                _ => Cause::of(
                    &self.audience.reached(&workload, self.model.changes.newest()),
                    self.model.revision,
                ),
            };
            told.push(Told { key, snapshot: Some(snapshot), cause });
        }
        self.context.proxies.publish(self.model.revision, told);
        self.audience.keep(|workload| self.context.proxies.has(workload), self.context.proxies.workloads());
    }

    /// What a proxy should hold. What is equal to what it, or another, holds already is the very same in memory.
    fn translate(&mut self, proxy: &Proxy, before: Option<&Snapshot>) -> Arc<Snapshot> {
        let mut snapshot = translate::snapshot(
            &self.model,
            proxy,
            &self.in_force,
            &self.instances,
            &self.context.trust_domain,
        );
        if let Some(before) = before {
            snapshot.share_with(before);
        }
        self.pool.intern(&mut snapshot);
        Arc::new(snapshot)
    }
}
