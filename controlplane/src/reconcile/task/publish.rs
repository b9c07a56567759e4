//! Telling proxies what they should hold: those that a change concerns, and those that are new.

use std::{collections::BTreeMap, sync::Arc};

use signet_xds::Snapshot;

use super::Task;
use crate::{
    proxies::Concerned,
    reconcile::Memory,
    translate::{self, Proxy},
};

impl<M: Memory> Task<M> {
    /// Gives every proxy that a change concerns, and every new one, what it should hold. A node that is gone has no
    /// proxies; one that only a newer model knows is fed when that is taken up.
    pub(super) fn publish(&mut self) {
        let touched = std::mem::take(&mut self.unpublished);
        let concerned = self.context.proxies.concerned(&self.audience.of(&touched));
        // Asked after the look: who was admitted by a newer model was seen with that model already there.
        let is_outdated = self.context.model.has_changed().unwrap_or(true);
        let mut made: BTreeMap<Proxy, Arc<Snapshot>> = BTreeMap::new();
        let mut told = Vec::with_capacity(concerned.len());
        for Concerned { key, proxy, wanted } in concerned {
            if !self.model.has(&proxy.workload) {
                if wanted.is_some() || !is_outdated {
                    told.push((key, None));
                }
                continue;
            }
            let snapshot = match made.get(&proxy) {
                Some(snapshot) => Arc::clone(snapshot),
                None => {
                    self.audience.note(&self.model, &proxy.workload);
                    let snapshot = self.translate(&proxy, wanted.as_deref());
                    made.insert(proxy, Arc::clone(&snapshot));
                    snapshot
                }
            };
            told.push((key, Some(snapshot)));
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
