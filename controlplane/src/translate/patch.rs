//! What a proxy is told after a change that it sees through the nodes it calls alone.
//!
//! Of a node that is called, a proxy's listeners and routes know that it is there, and on which ports. Everything else
//! about it, its health check, its TLS, where it is found, shows in the cluster that leads to it and in its endpoints.
//! So where routing comes out as before, those are all that is made anew.

use std::collections::BTreeSet;

use signet_policies::identity::{ResourceName, Workload, WorkloadKind};
use signet_xds::{Resource, ResourceType, Snapshot};

use super::{Forge, Given, Role, Scope, backend, distinct, naming};
use crate::model::{Mesh, Model, VirtualNode};

/// What changed in one mesh since its proxies were told of an earlier model.
pub(crate) struct Since<'a> {
    old: &'a Mesh,
    /// The nodes that have changed, or whose ports stand otherwise.
    nodes: BTreeSet<&'a ResourceName>,
    /// Routes are as they were, to all whom the change does not concern themselves.
    leads_nowhere_else: bool,
}

impl<'a> Given<'a> {
    /// What changed in a mesh since `old`; with `may_lead_elsewhere`, something else than these nodes has too. Nothing
    /// where the mesh is new or gone.
    pub(crate) fn since(
        self,
        old: &'a Model,
        mesh: &ResourceName,
        nodes: BTreeSet<&'a ResourceName>,
        may_lead_elsewhere: bool,
    ) -> Option<Since<'a>> {
        let (new, old) = (self.model.meshes.get(mesh)?, old.meshes.get(mesh)?);
        let looks_the_same = |node: &&ResourceName| {
            let (now, then) = (new.virtual_nodes.get(*node), old.virtual_nodes.get(*node));
            now.zip(then).map_or(now.is_none() && then.is_none(), |(now, then)| is_called_as(now, then))
        };
        let leads_nowhere_else = !may_lead_elsewhere && nodes.iter().all(looks_the_same);
        Some(Since { old, nodes, leads_nowhere_else })
    }
}

impl Scope<'_> {
    /// As [`Scope::snapshot`], from `before`, which is what the proxy was told before this changed in its mesh. Nothing
    /// where more than a few clusters may have changed.
    pub(crate) fn patch(&self, before: &Snapshot, since: &Since<'_>, forge: &mut Forge) -> Option<Snapshot> {
        let Workload { mesh, kind, name } = &self.proxy.workload;
        if *kind == WorkloadKind::VirtualNode && since.nodes.contains(name) {
            return None;
        }
        let backends = self.backends();
        if !since.leads_nowhere_else && !self.routes_as(since.old, &backends) {
            return None;
        }
        let mut patched = before.clone();
        for (_, destination) in distinct(&backends, |destination| since.nodes.contains(destination.node)) {
            let cluster = self.target(destination, forge);
            put(&mut patched, ResourceType::Cluster, || destination.cluster(mesh), cluster, forge);
            let endpoints = self.endpoints(destination, forge);
            let name = || naming::target_cluster(mesh, destination.node, destination.mapping);
            put(&mut patched, ResourceType::Endpoint, name, endpoints, forge);
        }
        Some(patched)
    }

    /// Whether the proxy itself is as it was in an earlier mesh, and so is whom it calls.
    fn routes_as(&self, old: &Mesh, backends: &[backend::Backend<'_>]) -> bool {
        let name = &self.proxy.workload.name;
        let before = match self.role {
            Role::Node(node) => {
                old.virtual_nodes.get(name).filter(|old| ***old == *node).map(|old| Role::Node(old))
            }
            Role::Gateway(gateway) => {
                old.virtual_gateways.get(name).filter(|old| ***old == *gateway).map(|old| Role::Gateway(old))
            }
        };
        let is_same = |role| Scope { mesh: old, role, ..*self }.backends() == backends;
        self.mesh.settings == old.settings && before.is_some_and(is_same)
    }
}

/// Whether routes to a node, by itself or as a router's target, are as they were to another one.
fn is_called_as(node: &VirtualNode, other: &VirtualNode) -> bool {
    let ports = |node: &VirtualNode| node.listeners.iter().map(|it| it.port_mapping).collect::<Vec<_>>();
    node.discovery.is_some() == other.discovery.is_some() && ports(node) == ports(other)
}

/// Puts a resource into the place of the one of its name, or of none; without one, takes out what has this name.
fn put(
    snapshot: &mut Snapshot,
    kind: ResourceType,
    name: impl FnOnce() -> String,
    resource: Option<Resource>,
    forge: &mut Forge,
) {
    match resource {
        Some(resource) => {
            let before = snapshot.get(kind, resource.name());
            if before.map(Resource::version) != Some(resource.version()) {
                forge.replacements.insert(snapshot, resource);
            }
        }
        None if snapshot.count(kind) == 0 => {}
        None => drop(snapshot.remove(kind, &name())),
    }
}
