//! Whom a change concerns: which workloads' proxies depend on which parts of their mesh.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use signet_policies::identity::{ResourceName, Workload, WorkloadKind};

use crate::{
    model::{Model, Written, key::Key},
    translate::{Part, PortId, reach},
};

/// The node or gateway that a key is of.
pub(super) fn workload(key: &Key) -> Option<Workload> {
    let (kind, mesh, name) = match key {
        Key::VirtualNode { mesh, name } => (WorkloadKind::VirtualNode, mesh, name),
        Key::VirtualGateway { mesh, name } => (WorkloadKind::VirtualGateway, mesh, name),
        Key::Mesh(_)
        | Key::VirtualService { .. }
        | Key::VirtualRouter { .. }
        | Key::Route { .. }
        | Key::GatewayRoute { .. } => return None,
    };
    Some(Workload { mesh: mesh.clone(), kind, name: name.clone() })
}

/// What has changed and was not told yet.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// Meshes that changed as a whole, and by which writes, as far as those are known.
    meshes: BTreeMap<ResourceName, Vec<Arc<Written>>>,
    /// Parts of others.
    parts: BTreeMap<(ResourceName, Part), Vec<Arc<Written>>>,
}

impl Touched {
    pub(super) fn add(&mut self, write: &Arc<Written>) {
        let mesh = write.key.mesh().clone();
        let writes = match Part::of(&write.key) {
            Some(part) => self.parts.entry((mesh, part)).or_default(),
            None => self.meshes.entry(mesh).or_default(),
        };
        writes.push(Arc::clone(write));
    }

    /// A mesh is another, and by which writes is not known.
    pub(super) fn add_mesh(&mut self, mesh: &ResourceName) {
        self.meshes.entry(mesh.clone()).or_default();
    }

    /// The nodes of a mesh that changed; nothing where all of it did.
    pub(super) fn nodes(&self, mesh: &ResourceName) -> Option<BTreeSet<&ResourceName>> {
        let nodes = self.parts.keys().filter_map(|(of, part)| match part {
            Part::Node(node) if of == mesh => Some(node),
            Part::Node(_) | Part::Service(_) | Part::Router(_) | Part::Gateway(_) => None,
        });
        (!self.meshes.contains_key(mesh)).then(|| nodes.collect())
    }

    /// Whether a workload itself changed, or one of its ports stands otherwise.
    pub(super) fn has(&self, workload: &Workload) -> bool {
        self.parts.contains_key(&(workload.mesh.clone(), Part::own(workload)))
    }

    /// Whether a workload may call others than before: not because of nodes that are not itself.
    pub(super) fn may_lead_elsewhere(&self, workload: &Workload) -> bool {
        self.meshes.contains_key(&workload.mesh) || self.has(workload) || self.has_others(&workload.mesh)
    }

    /// Whether of a mesh something else than nodes changed.
    pub(super) fn has_others(&self, mesh: &ResourceName) -> bool {
        self.parts.keys().any(|(of, part)| of == mesh && !matches!(part, Part::Node(_)))
    }

    /// A port stands otherwise than before, because of the last write to its workload.
    pub(super) fn add_port(&mut self, id: &PortId, write: Option<&Arc<Written>>) {
        let writes = self.parts.entry((id.workload.mesh.clone(), Part::own(&id.workload))).or_default();
        writes.extend(write.cloned());
    }
}

/// Writes, shared by all whom the same ones concern.
pub(super) type Writes = Arc<[Arc<Written>]>;

/// Adds workloads, in their order, that these writes concern too.
fn add<'a>(
    concerned: &mut BTreeMap<Workload, Writes>,
    workloads: impl Iterator<Item = &'a Workload>,
    writes: &[Arc<Written>],
) {
    let shared = Writes::from(writes);
    // Most often one write is all there is: whom it concerns is in order already, and need not be looked for.
    if concerned.is_empty() {
        *concerned = workloads.map(|workload| (workload.clone(), Arc::clone(&shared))).collect();
        return;
    }
    for workload in workloads {
        concerned
            .entry(workload.clone())
            .and_modify(|there| *there = there.iter().chain(writes).cloned().collect())
            .or_insert_with(|| Arc::clone(&shared));
    }
}

/// What each workload that has proxies depends on, and the other way round.
#[derive(Debug, Default)]
pub(super) struct Audience {
    reach: BTreeMap<Workload, BTreeSet<Part>>,
    of: BTreeMap<(ResourceName, Part), BTreeSet<Workload>>,
}

impl Audience {
    /// Notes what a workload depends on by now.
    pub(super) fn note(&mut self, model: &Model, workload: &Workload) {
        let parts = model.meshes.get(&workload.mesh).map(|mesh| reach(mesh, workload)).unwrap_or_default();
        let before = self.reach.get(workload);
        if before == Some(&parts) {
            return;
        }
        let mesh = &workload.mesh;
        for part in before.into_iter().flatten().filter(|part| !parts.contains(*part)) {
            if let Some(workloads) = self.of.get_mut(&(mesh.clone(), part.clone())) {
                workloads.remove(workload);
            }
        }
        for part in &parts {
            self.of.entry((mesh.clone(), part.clone())).or_default().insert(workload.clone());
        }
        self.reach.insert(workload.clone(), parts);
    }

    /// Forgets all but these workloads, once there are many more than they are.
    pub(super) fn keep(&mut self, is_there: impl Fn(&Workload) -> bool, count: usize) {
        if self.reach.len() > 64.max(2 * count) {
            self.reach.retain(|workload, _| is_there(workload));
            self.of.values_mut().for_each(|workloads| workloads.retain(|workload| is_there(workload)));
            self.of.retain(|_, workloads| !workloads.is_empty());
        }
    }

    /// The workloads that depend on one of these nodes.
    pub(super) fn of_nodes<'a>(&self, nodes: impl IntoIterator<Item = &'a Workload>) -> BTreeSet<Workload> {
        let part = |node: &Workload| (node.mesh.clone(), Part::own(node));
        nodes.into_iter().filter_map(|node| self.of.get(&part(node))).flatten().cloned().collect()
    }

    /// The workloads that depend on what was touched, and the writes that touched it.
    pub(super) fn of(&self, touched: &Touched) -> BTreeMap<Workload, Writes> {
        let mut concerned = BTreeMap::new();
        for (part, writes) in &touched.parts {
            add(&mut concerned, self.of.get(part).into_iter().flatten(), writes);
        }
        for (mesh, writes) in &touched.meshes {
            add(&mut concerned, self.reach.keys().filter(|workload| workload.mesh == *mesh), writes);
        }
        concerned
    }

    /// Which of these writes a workload depends on, as far as it was noted.
    pub(super) fn reached<'a>(
        &self,
        workload: &Workload,
        writes: impl Iterator<Item = &'a Arc<Written>>,
    ) -> Vec<Arc<Written>> {
        let Some(parts) = self.reach.get(workload) else {
            return Vec::new();
        };
        let is_part = |key: &Key| Part::of(key).is_none_or(|part| parts.contains(&part));
        writes.filter(|write| *write.key.mesh() == workload.mesh && is_part(&write.key)).cloned().collect()
    }
}

#[cfg(test)]
mod tests;
