//! Telling proxies what they should hold: those that a change concerns, and those that are new.

mod round;

use std::sync::Arc;

use super::{Task, Touched};
use crate::{
    model::Written,
    proxies::{Cause, Concerned, Told},
    reconcile::{Memory, audience::Writes},
    translate::Given,
};
use round::Round;

/// So many proxies are told while others' configuration is still in the making.
const AT_ONCE: usize = 64;

impl<M: Memory> Task<M> {
    /// Gives every proxy that a change concerns, and every new one, what it should hold. A node that is gone has no
    /// proxies; one that only a newer model knows is fed when that is taken up.
    pub(super) fn publish(&mut self) {
        let touched = std::mem::take(&mut self.unpublished);
        let writes = self.audience.of(&touched);
        let whys = writes.iter().map(|(workload, writes)| (workload, Arc::clone(writes)));
        let concerned = self.context.proxies.concerned(whys);
        if concerned.is_empty() && Arc::ptr_eq(&self.told, &self.model) {
            return;
        }
        // Asked after the look: who was admitted by a newer model was seen with that model already there.
        let is_outdated = self.context.model.has_changed().unwrap_or(true);
        let given = Given {
            model: &self.model,
            in_force: &self.in_force,
            instances: &self.instances,
            trust_domain: &self.context.trust_domain,
        };
        let mut round = Round::new(given, &self.told, &touched, &mut self.pool);
        let mut told = Vec::with_capacity(AT_ONCE);
        // Most are told because of the same writes.
        let mut known = Known::default();
        for concerned in concerned {
            if told.len() == AT_ONCE {
                self.context.proxies.publish(told.drain(..));
            }
            let Concerned { key, ref proxy, ref wanted, ref why, .. } = concerned;
            let Some(scope) = given.scope(proxy) else {
                if wanted.is_some() || !is_outdated {
                    told.push(Told { key, snapshot: None, cause: Arc::default() });
                }
                continue;
            };
            let snapshot = round.made(&concerned).unwrap_or_else(|| {
                if wanted.is_none() || touched.may_lead_elsewhere(&proxy.workload) {
                    self.audience.note(&self.model, &proxy.workload);
                }
                round.make(&concerned, &scope)
            });
            let cause = match why.as_ref().filter(|_| wanted.is_some()) {
                Some(writes) => known.cause(writes, self.model.revision),
                // Everything is new to it, so it may be any write that it depends on.
                None => Cause::of(
                    &self.audience.reached(&proxy.workload, self.model.changes.newest()),
                    self.model.revision,
                ),
            };
            told.push(Told { key, snapshot: Some(snapshot), cause });
        }
        self.context.proxies.count_encoded(round.encoded());
        self.told = Arc::clone(&self.model);
        self.context.proxies.publish(told.drain(..));
        self.context.proxies.fed(self.model.revision);
        self.audience.keep(|workload| self.context.proxies.has(workload), self.context.proxies.workloads());
    }
}

/// The cause that was asked for last.
#[derive(Default)]
struct Known(Option<(Writes, Arc<Cause>)>);

impl Known {
    fn cause(&mut self, writes: &Writes, revision: u64) -> Arc<Cause> {
        let is_it = |of: &Writes| Arc::ptr_eq(of, writes) || is_same(of, writes);
        match &self.0 {
            Some((of, cause)) if is_it(of) => Arc::clone(cause),
            Some(_) | None => {
                let cause = Cause::of(writes, revision);
                self.0 = Some((Arc::clone(writes), Arc::clone(&cause)));
                cause
            }
        }
    }
}

fn is_same(a: &[Arc<Written>], b: &[Arc<Written>]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| Arc::ptr_eq(a, b))
}
