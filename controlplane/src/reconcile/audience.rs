//! Whom a change concerns: which workloads' proxies depend on which parts of their mesh.

use std::collections::{BTreeMap, BTreeSet};

use signet_policies::identity::{ResourceName, Workload, WorkloadKind};

use crate::{
    model::{Model, key::Key},
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
    /// Meshes that changed as a whole.
    meshes: BTreeSet<ResourceName>,
    /// Parts of others.
    parts: BTreeSet<(ResourceName, Part)>,
}

impl Touched {
    pub(super) fn add(&mut self, key: &Key) {
        match Part::of(key) {
            Some(part) => drop(self.parts.insert((key.mesh().clone(), part))),
            None => self.add_mesh(key.mesh()),
        }
    }

    pub(super) fn add_mesh(&mut self, mesh: &ResourceName) {
        self.meshes.insert(mesh.clone());
    }

    /// A port stands otherwise than before.
    pub(super) fn add_port(&mut self, id: &PortId) {
        self.parts.insert((id.workload.mesh.clone(), Part::own(&id.workload)));
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

    /// The workloads that depend on what was touched.
    pub(super) fn of(&self, touched: &Touched) -> BTreeSet<Workload> {
        let users = touched.parts.iter().filter_map(|part| self.of.get(part)).flatten();
        let whole = self.reach.keys().filter(|workload| touched.meshes.contains(&workload.mesh));
        let whole = whole.take(if touched.meshes.is_empty() { 0 } else { usize::MAX });
        users.chain(whole).cloned().collect()
    }
}

#[cfg(test)]
mod tests;
