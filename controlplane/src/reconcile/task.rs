//! The state of reconciliation, and one pass over it.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    sync::Arc,
    time::Duration,
};

use signet_policies::identity::{ResourceName, Workload, WorkloadKind};
use tokio::time::Instant;
use tracing::{error, info};

use super::{
    Memory, MemoryError, PortView, Reconcile, endpoints, memory,
    port::{End, Port},
    wait::{self, Wait},
};
use crate::{
    discovery::Instances,
    model::{Listener, Mesh, Model, PortMapping},
    proxies::{Entry, Key},
    translate::{self, InForce, PortId, Proxy, Standing},
};

pub(super) struct Task<M> {
    context: Reconcile<M>,
    /// The model that `ports` follow.
    model: Arc<Model>,
    /// Those that proxies were told of.
    instances: Arc<Instances>,
    /// Records that no port has taken up.
    remembered: BTreeMap<String, String>,
    ports: BTreeMap<PortId, Tracked>,
    /// Ports whose record is older than they are.
    unsaved: BTreeSet<PortId>,
    /// Meshes whose proxies have not been told of a change yet.
    unpublished: BTreeSet<ResourceName>,
    in_force: InForce,
    /// From then on, who is not in the registry is not there.
    complete_from: Instant,
}

/// After memory refused a record.
const SAVE_AGAIN: Duration = Duration::from_secs(1);

/// A port, the wish for it, and the answers it has had.
pub(super) struct Tracked {
    mapping: PortMapping,
    pub(super) asked: Standing,
    pub(super) port: Port,
    pub(super) servers: Wait,
    pub(super) clients: Wait,
    /// Whose client policy enforces the TLS that is not asked for any more.
    pub(super) held_by: BTreeSet<String>,
}

impl Tracked {
    /// It stands as it is asked to, and everybody said so.
    pub(super) fn is_settled(&self) -> bool {
        !self.port.awaits(End::Servers) && !self.port.awaits(End::Clients) && self.port.standing == self.asked
    }
}

impl<M: Memory> Task<M> {
    pub(super) async fn new(mut context: Reconcile<M>) -> Result<Self, MemoryError> {
        let remembered = context.memory.load().await?;
        let now = Instant::now();
        // Who was there before a restart is not known, so everybody is given the time to come back.
        let instances = Arc::clone(&context.instances.borrow_and_update());
        let complete_from = if remembered.is_empty() { now } else { now + context.pace.reconnect_grace };
        Ok(Self {
            context,
            model: Arc::default(),
            instances,
            remembered,
            ports: BTreeMap::new(),
            unsaved: BTreeSet::new(),
            unpublished: BTreeSet::new(),
            in_force: InForce::default(),
            complete_from,
        })
    }

    /// Waits for another model or other instances; false when there will be no other model.
    pub(super) async fn changed(&mut self) -> bool {
        let Reconcile { model, instances, .. } = &mut self.context;
        let other_instances = async {
            if instances.changed().await.is_err() {
                pending::<()>().await;
            }
        };
        tokio::select! {
            changed = model.changed() => changed.is_ok(),
            () = other_instances => true,
        }
    }

    /// Takes everything as far as it can go now. Returns when to look again if nothing happens before.
    pub(super) async fn pass(&mut self) -> Option<Instant> {
        self.follow_instances();
        let followed = self.follow_model();
        self.unpublished.extend(followed);
        loop {
            let moved = self.advance();
            self.unpublished.extend(moved);
            // Before anybody acts on it: what is published may be in use from then on, so without it nothing is.
            if !self.save().await {
                break;
            }
            let meshes = std::mem::take(&mut self.unpublished);
            self.publish(&meshes);
            if !self.listen() {
                break;
            }
        }
        self.show();
        self.next_wake()
    }

    /// Takes up the newest instances, and tells those who call them: of the endpoints that changed, and of nothing
    /// else. How a port stands does not depend on them, so nobody waits for anything here.
    fn follow_instances(&mut self) {
        let instances = Arc::clone(&self.context.instances.borrow_and_update());
        if Arc::ptr_eq(&instances, &self.instances) {
            return;
        }
        let changed =
            endpoints::of_services(&self.model, &instances, &instances.changed_since(&self.instances));
        let updates = self.context.proxies.look(|entries| {
            let update = |(key, entry): (Key, &Entry)| {
                Some((key, Some(endpoints::merged(entry.wanted()?, &changed)?)))
            };
            entries.filter_map(update).collect()
        });
        self.context.proxies.publish(self.model.revision, updates);
        self.instances = instances;
    }

    /// Takes up the newest model, and names the meshes that changed.
    fn follow_model(&mut self) -> BTreeSet<ResourceName> {
        let model = Arc::clone(&self.context.model.borrow_and_update());
        let is_same = |name: &ResourceName, mesh: &Arc<Mesh>| {
            self.model.meshes.get(name).is_some_and(|before| Arc::ptr_eq(before, mesh))
        };
        let gone = self.model.meshes.keys().filter(|name| !model.meshes.contains_key(*name));
        let new = model.meshes.iter().filter(|(name, mesh)| !is_same(name, mesh)).map(|(name, _)| name);
        let changed: BTreeSet<ResourceName> = gone.chain(new).cloned().collect();
        self.model = model;
        for name in &changed {
            self.follow_mesh(name);
        }
        changed
    }

    fn follow_mesh(&mut self, name: &ResourceName) {
        let mesh = self.model.meshes.get(name).map(Arc::clone).unwrap_or_default();
        let mut before: BTreeMap<PortId, Tracked> =
            self.ports.extract_if(.., |id, _| id.workload.mesh == *name).collect();
        let nodes =
            mesh.virtual_nodes.iter().map(|(name, node)| (WorkloadKind::VirtualNode, name, &node.listeners));
        let gateways = mesh
            .virtual_gateways
            .iter()
            .map(|(name, gateway)| (WorkloadKind::VirtualGateway, name, &gateway.listeners));
        for (kind, workload, listeners) in nodes.chain(gateways) {
            let workload = Workload { mesh: name.clone(), kind, name: workload.clone() };
            for listener in listeners {
                let id = PortId { workload: workload.clone(), port: listener.port_mapping.port };
                let tracked = self.track(&id, listener, before.remove(&id));
                self.ports.insert(id, tracked);
            }
        }
        for (id, _) in before {
            self.in_force.remove(&id);
            self.unsaved.insert(id);
        }
    }

    /// A port that is new to this process stands as memory says, else as it is asked to.
    fn track(&mut self, id: &PortId, listener: &Listener, before: Option<Tracked>) -> Tracked {
        let mapping = listener.port_mapping;
        let asked = Standing::asked_for(&id.workload, listener, &self.context.trust_domain);
        if let Some(before) = before {
            return Tracked { mapping, asked, ..before };
        }
        let port = self.remembered.remove(&id.to_string()).and_then(|record| {
            let read = memory::read(id, &record);
            read.inspect_err(|error| error!(%error, "a port is taken to stand as its spec says")).ok()
        });
        let port = port.unwrap_or_else(|| {
            self.unsaved.insert(id.clone());
            Port::at(asked.clone())
        });
        self.in_force.insert(id.clone(), port.standing.clone());
        Tracked {
            mapping,
            asked,
            port,
            servers: Wait::default(),
            clients: Wait::default(),
            held_by: BTreeSet::new(),
        }
    }

    /// Moves every port as far as it may, and names the meshes of those that moved.
    fn advance(&mut self) -> BTreeSet<ResourceName> {
        let mut meshes = BTreeSet::new();
        let incomplete = Instant::now() < self.complete_from;
        for (id, tracked) in &mut self.ports {
            let Tracked { mapping: _, asked, port, servers, clients, held_by } = tracked;
            *held_by = match asked.offer.tls.is_none() && port.standing.offer.tls.is_some() {
                true => wait::enforcers(&self.context.proxies, &self.model, id, incomplete),
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
            meshes.insert(id.workload.mesh.clone());
        }
        meshes
    }

    /// Tells memory, and says whether it knows everything.
    async fn save(&mut self) -> bool {
        if self.unsaved.is_empty() {
            return true;
        }
        let record = |id: &PortId| {
            let Some(tracked) = self.ports.get(id) else {
                return Ok((id.to_string(), None));
            };
            memory::write(&tracked.port).map(|record| (id.to_string(), Some(record)))
        };
        let records: Result<Vec<_>, _> = self.unsaved.iter().map(record).collect();
        let saved = match records {
            Ok(records) => self.context.memory.save(records).await,
            Err(error) => Err(error),
        };
        match saved {
            Ok(()) => self.unsaved.clear(),
            Err(error) => error!(
                error = &error as &dyn std::error::Error,
                "the standing of ports is not kept; proxies are not told of changes until it is"
            ),
        }
        self.unsaved.is_empty()
    }

    /// Gives every proxy of `meshes`, and every new one, what it should hold. A node that is gone has no proxies;
    /// one that only a newer model knows is fed when that is taken up.
    fn publish(&self, meshes: &BTreeSet<ResourceName>) {
        let concerned: Vec<(Key, Proxy, bool)> = self.context.proxies.look(|entries| {
            let concerned =
                entries.filter(|(_, entry)| !entry.is_fed() || meshes.contains(&entry.proxy.workload.mesh));
            concerned.map(|(key, entry)| (key, entry.proxy.clone(), entry.is_fed())).collect()
        });
        // Asked after the look: who was admitted by a newer model was seen with that model already there.
        let is_outdated = self.context.model.has_changed().unwrap_or(true);
        let translated = concerned.into_iter().filter_map(|(key, proxy, is_fed)| {
            if !self.model.has(&proxy.workload) {
                return (is_fed || !is_outdated).then_some((key, None));
            }
            let snapshot = translate::snapshot(
                &self.model,
                &proxy,
                &self.in_force,
                &self.instances,
                &self.context.trust_domain,
            );
            Some((key, Some(Arc::new(snapshot))))
        });
        self.context.proxies.publish(self.model.revision, translated.collect());
    }

    /// Hears what proxies made of it. Says whether some port may move on.
    fn listen(&mut self) -> bool {
        let now = Instant::now();
        let pace = self.context.pace;
        if let Some(moment) = now.checked_sub(pace.reconnect_grace) {
            self.context.proxies.forget_gone(moment);
        }
        let mut moved = false;
        for (id, tracked) in self.ports.iter_mut().filter(|(_, tracked)| !tracked.is_settled()) {
            for end in [End::Servers, End::Clients] {
                let Tracked { mapping, asked: _, port, servers, clients, held_by: _ } = tracked;
                let wait = match end {
                    End::Servers => servers,
                    End::Clients => clients,
                };
                if !port.awaits(end) {
                    *wait = Wait::default();
                    continue;
                }
                let answers =
                    wait::answers(&self.context.proxies, id, *mapping, end, now < self.complete_from);
                if wait.hear(answers, now, &pace, id) {
                    port.follows(end);
                    self.unsaved.insert(id.clone());
                    moved = true;
                }
            }
        }
        moved
    }

    fn show(&self) {
        let views: Vec<PortView> = self.ports.iter().map(|(id, tracked)| PortView::of(id, tracked)).collect();
        self.context.progress.send_if_modified(|shown| {
            let changed = **shown != views;
            if changed {
                *shown = Arc::new(views);
            }
            changed
        });
    }

    fn next_wake(&self) -> Option<Instant> {
        let unsettled = self.ports.values().filter(|tracked| !tracked.is_settled());
        let waits = unsettled.flat_map(|tracked| [&tracked.servers, &tracked.clients]);
        let waits = waits.flat_map(|wait| wait.next_look(&self.context.pace));
        let return_of_all = Some(self.complete_from).filter(|moment| *moment > Instant::now());
        let gone = self.context.proxies.look(|entries| entries.filter_map(|(_, entry)| entry.gone()).min());
        let again = (!self.unsaved.is_empty()).then(|| Instant::now() + SAVE_AGAIN);
        let gone = gone.map(|gone| gone + self.context.pace.reconnect_grace);
        waits.chain(return_of_all).chain(gone).chain(again).min()
    }
}
