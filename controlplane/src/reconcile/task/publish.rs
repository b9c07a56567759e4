//! Telling proxies what they should hold: those that a change concerns, and those that are new.

use std::{collections::HashMap, sync::Arc};

use signet_xds::Snapshot;

use super::{Task, Touched};
use crate::{
    model::Written,
    proxies::{Cause, Concerned, Told},
    reconcile::Memory,
    translate::{Forge, Given, Proxy},
};

/// So many proxies are told while others' configuration is still in the making.
const AT_ONCE: usize = 64;

impl<M: Memory> Task<M> {
    /// Gives every proxy that a change concerns, and every new one, what it should hold. A node that is gone has no
    /// proxies; one that only a newer model knows is fed when that is taken up.
    pub(super) fn publish(&mut self) {
        let touched = std::mem::take(&mut self.unpublished);
        let writes = self.audience.of(&touched);
        let concerned = self.context.proxies.concerned(writes.keys());
        if concerned.is_empty() && Arc::ptr_eq(&self.told, &self.model) {
            return;
        }
        // Asked after the look: who was admitted by a newer model was seen with that model already there.
        let is_outdated = self.context.model.has_changed().unwrap_or(true);
        let mut made: HashMap<Proxy, Arc<Snapshot>> = HashMap::new();
        let mut forge = Forge::default();
        let mut told = Vec::new();
        // Most are told because of the same writes.
        let mut known: Option<(&[Arc<Written>], Arc<Cause>)> = None;
        for Concerned { key, proxy, wanted } in concerned {
            if told.len() == AT_ONCE {
                self.context.proxies.publish(std::mem::take(&mut told));
            }
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
                    if is_new || touched.may_lead_elsewhere(&proxy.workload) {
                        self.audience.note(&self.model, &proxy.workload);
                    }
                    let snapshot = self.translate(&proxy, wanted.as_deref(), &touched, &mut forge);
                    made.insert(proxy, Arc::clone(&snapshot));
                    snapshot
                }
            };
            let cause = match writes.get(&workload) {
                Some(writes) if !is_new => match &known {
                    Some((of, cause)) if is_same(of, writes) => Arc::clone(cause),
                    _ => {
                        let cause = Cause::of(writes, self.model.revision);
                        known = Some((writes, Arc::clone(&cause)));
                        cause
                    }
                },
                // Everything is new to it, so it may be any write that it depends on.
                _ => Cause::of(
                    &self.audience.reached(&workload, self.model.changes.newest()),
                    self.model.revision,
                ),
            };
            told.push(Told { key, snapshot: Some(snapshot), cause });
        }
        self.told = Arc::clone(&self.model);
        self.context.proxies.count_encoded(forge.encoded());
        self.context.proxies.publish(told);
        self.context.proxies.fed(self.model.revision);
        self.audience.keep(|workload| self.context.proxies.has(workload), self.context.proxies.workloads());
    }

    /// What a proxy should hold. What is equal to what it, or another, holds already is the very same in memory.
    fn translate(
        &mut self,
        proxy: &Proxy,
        before: Option<&Snapshot>,
        touched: &Touched,
        forge: &mut Forge,
    ) -> Arc<Snapshot> {
        let given = Given {
            model: &self.model,
            in_force: &self.in_force,
            instances: &self.instances,
            trust_domain: &self.context.trust_domain,
        };
        // What it was told before is of the model before, unless it is new.
        let nodes = touched.nodes(&proxy.workload.mesh).filter(|_| !touched.has(&proxy.workload));
        let elsewhere = touched.may_lead_elsewhere(&proxy.workload);
        let patched = before
            .zip(nodes)
            .and_then(|(before, nodes)| given.patch(proxy, before, &self.told, &nodes, elsewhere, forge));
        let mut snapshot = patched.unwrap_or_else(|| given.snapshot(proxy, forge));
        if let Some(before) = before {
            snapshot.share_with(before);
        }
        self.pool.intern(&mut snapshot);
        Arc::new(snapshot)
    }
}

fn is_same(a: &[Arc<Written>], b: &[Arc<Written>]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| Arc::ptr_eq(a, b))
}
