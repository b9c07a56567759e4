//! Moving ports: as far as both ends allow, and by what proxies make of it.

use std::{cell::LazyCell, collections::BTreeSet};

use tokio::time::Instant;
use tracing::info;

use super::{Task, Tracked};
use crate::{
    reconcile::{
        Memory,
        port::End,
        wait::{self, Wait},
    },
    translate::Standing,
};

impl<M: Memory> Task<M> {
    /// Moves every port as far as it may.
    pub(super) fn advance(&mut self) {
        let incomplete = Instant::now() < self.complete_from;
        let new_callers = LazyCell::new(|| self.audience.of(&self.unpublished));
        let mut moved_by = Vec::new();
        for id in &self.unsettled {
            let Some(tracked) = self.ports.get_mut(id) else { continue };
            let Tracked { mapping: _, asked, asked_by, port, servers, clients, held_by } = tracked;
            *held_by = match asked.offer.tls.is_none() && port.standing.offer.tls.is_some() {
                true => {
                    // Whoever calls it, and whoever may call it from now on.
                    let mut callers = self.audience.of_nodes([&id.workload]);
                    callers.extend(new_callers.keys().cloned());
                    wait::enforcers(&self.context.proxies, &callers, &self.model, id, incomplete)
                }
                false => BTreeSet::new(),
            };
            // They speak TLS whatever is offered, so it is not taken away while one of them does.
            let moved = match held_by.is_empty() {
                true => port.advance(asked),
                false => port.advance(&asked.with_tls_of(&port.standing)),
            };
            if !moved {
                continue;
            }
            (*servers, *clients) = (Wait::default(), Wait::default());
            let Standing { offer, dial } = &port.standing;
            let (plaintext, tls) = (offer.plaintext, offer.tls.is_some());
            info!(port = %id, accepts_plaintext = plaintext, accepts_tls = tls, clients = %dial, "a port changes over");
            self.in_force.insert(id.clone(), port.standing.clone());
            self.unsaved.insert(id.clone());
            self.unshown.insert(id.clone());
            moved_by.push((id.clone(), asked_by.clone()));
        }
        for (id, write) in moved_by {
            self.unpublished.add_port(&id, write.as_ref());
        }
    }

    /// Hears what proxies made of it. Says whether some port may move on.
    pub(super) fn listen(&mut self) -> bool {
        let now = Instant::now();
        let pace = self.context.pace;
        if let Some(moment) = now.checked_sub(pace.reconnect_grace) {
            self.context.proxies.forget_gone(moment);
        }
        let mut moved = false;
        for id in &self.unsettled {
            let Some(tracked) = self.ports.get_mut(id).filter(|tracked| !tracked.is_settled()) else {
                continue;
            };
            self.unshown.insert(id.clone());
            for end in [End::Servers, End::Clients] {
                let Tracked { mapping, port, servers, clients, .. } = tracked;
                let wait = match end {
                    End::Servers => servers,
                    End::Clients => clients,
                };
                if !port.awaits(end) {
                    *wait = Wait::default();
                    continue;
                }
                let incomplete = now < self.complete_from;
                let answers =
                    wait::answers(&self.context.proxies, &self.audience, id, *mapping, end, incomplete);
                if wait.hear(answers, now, &pace, id) {
                    port.follows(end);
                    self.unsaved.insert(id.clone());
                    moved = true;
                }
            }
        }
        let ports = &self.ports;
        self.unsettled.retain(|id| ports.get(id).is_some_and(|tracked| !tracked.is_settled()));
        moved
    }
}
