//! The state of reconciliation, and one pass over it.

mod publish;
mod settle;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    num::NonZeroU16,
    sync::Arc,
    time::Duration,
};

use signet_policies::identity::{ResourceName, Workload, WorkloadKind};
use signet_xds::Pool;
use tokio::time::Instant;
use tracing::error;

use super::{
    Memory, MemoryError, PortView, Reconcile,
    audience::{self, Audience, Touched},
    endpoints::{self, Found},
    memory,
    port::{End, Port},
    wait::Wait,
};
use crate::{
    discovery::Instances,
    model::{Listener, Mesh, Model, PortMapping, Written, key::Key},
    proxies::{Cause, Concerned, Told},
    translate::{Forge, Generations, InForce, PortId, Standing},
};

pub(super) struct Task<M> {
    context: Reconcile<M>,
    /// The model that `ports` follow.
    model: Arc<Model>,
    /// The one that proxies were told of.
    told: Arc<Model>,
    /// Those that proxies were told of.
    instances: Arc<Instances>,
    found: Found,
    /// Records that no port has taken up.
    remembered: BTreeMap<String, String>,
    ports: BTreeMap<PortId, Tracked>,
    /// Ports whose record is older than they are.
    unsaved: BTreeSet<PortId>,
    /// Ports that may have to move.
    unsettled: BTreeSet<PortId>,
    /// What proxies have not been told of yet.
    unpublished: Touched,
    audience: Audience,
    pool: Pool,
    in_force: InForce,
    /// Ports that may look otherwise by now.
    unshown: BTreeSet<PortId>,
    /// From then on, who is not in the registry is not there.
    complete_from: Instant,
}

/// After memory refused a record.
const SAVE_AGAIN: Duration = Duration::from_secs(1);

/// A port, the wish for it, and the answers it has had.
pub(super) struct Tracked {
    mapping: PortMapping,
    pub(super) asked: Standing,
    /// The last write to its node or gateway, if this process saw one.
    asked_by: Option<Arc<Written>>,
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
            told: Arc::default(),
            instances,
            found: Found::default(),
            remembered,
            ports: BTreeMap::new(),
            unsaved: BTreeSet::new(),
            unsettled: BTreeSet::new(),
            unpublished: Touched::default(),
            audience: Audience::default(),
            pool: Pool::default(),
            in_force: InForce::default(),
            unshown: BTreeSet::new(),
            complete_from,
        })
    }

    /// Waits for another model, other instances or other generations; false when there will be no other model.
    pub(super) async fn changed(&mut self) -> bool {
        let Reconcile { model, instances, generations, .. } = &mut self.context;
        let other_instances = async {
            if instances.changed().await.is_err() {
                pending::<()>().await;
            }
        };
        let other_generations = async {
            if generations.changed().await.is_err() {
                pending::<()>().await;
            }
        };
        tokio::select! {
            changed = model.changed() => changed.is_ok(),
            () = other_instances => true,
            () = other_generations => true,
        }
    }

    /// Takes everything as far as it can go now. Returns when to look again if nothing happens before.
    pub(super) async fn pass(&mut self) -> Option<Instant> {
        self.follow_instances();
        self.follow_model();
        self.follow_generations();
        loop {
            self.advance();
            // Before anybody acts on it: what is published may be in use from then on, so without it nothing is.
            if !self.save().await {
                break;
            }
            self.publish();
            self.context.proxies.told_generation(self.in_force.generations.verified_clients);
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
        let nodes = self.found.by(&instances.changed_since(&self.instances));
        let mut forge = Forge::default();
        let changed = endpoints::of_nodes(&self.model, &instances, &nodes, &mut forge);
        let callers = self.audience.of_nodes(&nodes);
        let concerned = self.context.proxies.concerned(callers.iter().map(|caller| (caller, ())));
        // No write to the mesh brought them.
        let cause = Cause::of(&[], self.model.revision);
        let update = |Concerned { key, wanted, .. }: Concerned<()>| {
            let mut merged = endpoints::merged(&wanted?, &changed)?;
            self.pool.intern(&mut merged);
            Some(Told { key, snapshot: Some(Arc::new(merged)), cause: Arc::clone(&cause) })
        };
        let updates: Vec<Told> = concerned.into_iter().filter_map(update).collect();
        self.context.proxies.count_encoded(forge.encoded());
        self.context.proxies.publish(updates);
        self.instances = instances;
    }

    /// Takes up how old connections may be. Whoever is told the same as before is not woken.
    fn follow_generations(&mut self) {
        let generations = Arc::clone(&self.context.generations.borrow_and_update());
        if *generations == self.in_force.generations {
            return;
        }
        self.in_force.generations = Generations::clone(&generations);
        let model = Arc::clone(&self.model);
        model.meshes.keys().for_each(|mesh| self.unpublished.add_mesh(mesh));
    }

    /// Takes up the newest model, and looks at what was written since the one before.
    fn follow_model(&mut self) {
        let model = Arc::clone(&self.context.model.borrow_and_update());
        if Arc::ptr_eq(&model, &self.model) {
            return;
        }
        let before = std::mem::replace(&mut self.model, Arc::clone(&model));
        if let Some(writes) = model.changes.between(before.revision, model.revision) {
            for write in writes {
                self.unpublished.add(write);
                match (&write.key, audience::workload(&write.key)) {
                    (Key::Mesh(mesh), _) => self.follow_mesh(mesh),
                    (_, Some(workload)) => self.follow_workload(&workload, Some(write)),
                    (_, None) => {}
                }
            }
            return;
        }
        let is_same = |name: &ResourceName, mesh: &Arc<Mesh>| {
            before.meshes.get(name).is_some_and(|before| Arc::ptr_eq(before, mesh))
        };
        let gone = before.meshes.keys().filter(|name| !model.meshes.contains_key(*name));
        let new = model.meshes.iter().filter(|(name, mesh)| !is_same(name, mesh)).map(|(name, _)| name);
        for name in gone.chain(new) {
            self.unpublished.add_mesh(name);
            self.follow_mesh(name);
        }
    }

    /// Looks at every node of a mesh, and at those that it had.
    fn follow_mesh(&mut self, name: &ResourceName) {
        let mesh = self.model.meshes.get(name).map(Arc::clone).unwrap_or_default();
        let of_mesh = self.ports.keys().filter(|id| id.workload.mesh == *name);
        let mut workloads: BTreeSet<Workload> = of_mesh.map(|id| id.workload.clone()).collect();
        let of_kind = |kind, own: &ResourceName| Workload { mesh: name.clone(), kind, name: own.clone() };
        workloads.extend(mesh.virtual_nodes.keys().map(|node| of_kind(WorkloadKind::VirtualNode, node)));
        let gateways = mesh.virtual_gateways.keys();
        workloads.extend(gateways.map(|gateway| of_kind(WorkloadKind::VirtualGateway, gateway)));
        for workload in workloads {
            self.follow_workload(&workload, None);
        }
    }

    /// Looks at the ports of a node or gateway that is new, changed or gone.
    fn follow_workload(&mut self, workload: &Workload, write: Option<&Arc<Written>>) {
        let port = |port| PortId { workload: workload.clone(), port };
        let own = port(NonZeroU16::MIN)..=port(NonZeroU16::MAX);
        self.found.note(workload, self.model.discovery(workload));
        let mut before: BTreeMap<PortId, Tracked> = self.ports.extract_if(own, |_, _| true).collect();
        let model = Arc::clone(&self.model);
        for listener in model.listeners(workload) {
            let id = port(listener.port_mapping.port);
            let mut tracked = self.track(&id, listener, before.remove(&id));
            tracked.asked_by = write.cloned().or(tracked.asked_by);
            self.unsettled.insert(id.clone());
            self.unshown.insert(id.clone());
            self.ports.insert(id, tracked);
        }
        for (id, _) in before {
            self.in_force.remove(&id);
            self.unsettled.remove(&id);
            self.unshown.insert(id.clone());
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
            asked_by: None,
            servers: Wait::default(),
            clients: Wait::default(),
            held_by: BTreeSet::new(),
        }
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

    fn show(&mut self) {
        let unshown = std::mem::take(&mut self.unshown).into_iter();
        let views: Vec<(PortId, Option<PortView>)> = unshown
            .map(|id| {
                let view = self.ports.get(&id).map(|tracked| PortView::of(&id, tracked));
                (id, view)
            })
            .collect();
        self.context.progress.send_if_modified(|shown| {
            let mut changed = false;
            for (id, view) in views {
                changed |= shown.get(&id) != view.as_ref();
                match view {
                    Some(view) => drop(shown.insert(id, view)),
                    None => drop(shown.remove(&id)),
                }
            }
            changed
        });
    }

    fn next_wake(&self) -> Option<Instant> {
        let unsettled = self.unsettled.iter().filter_map(|id| self.ports.get(id));
        let waits = unsettled.flat_map(|tracked| [&tracked.servers, &tracked.clients]);
        let waits = waits.flat_map(|wait| wait.next_look(&self.context.pace));
        let return_of_all = Some(self.complete_from).filter(|moment| *moment > Instant::now());
        let gone = self.context.proxies.first_gone();
        let again = (!self.unsaved.is_empty()).then(|| Instant::now() + SAVE_AGAIN);
        let gone = gone.map(|gone| gone + self.context.pace.reconnect_grace);
        waits.chain(return_of_all).chain(gone).chain(again).min()
    }
}
