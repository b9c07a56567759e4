//! What a proxy is told after a change that it sees through the nodes it calls alone.
//!
//! Of a node that is called, a proxy's listeners and routes know that it is there, and on which ports. Everything else
//! about it, its health check, its TLS, where it is found, shows in the cluster that leads to it and in its endpoints.
//! So where routing comes out as before, those are all that is made anew.

use std::collections::BTreeSet;

use signet_policies::identity::{ResourceName, Workload, WorkloadKind};
use signet_xds::{Resource, ResourceType, Snapshot};

use super::{Forge, Given, Proxy, Role, Scope, backend, distinct, naming};
use crate::model::{Mesh, Model, VirtualNode};

impl Given<'_> {
    /// As [`Given::snapshot`], from `before`, which is what the proxy was told by `old`, an earlier model.
    ///
    /// `touched` are the nodes of its mesh that have changed since, or whose ports stand otherwise; with
    /// `may_lead_elsewhere`, something else has changed too. Nothing where more than a few clusters may have changed.
    pub(crate) fn patch(
        self,
        proxy: &Proxy,
        before: &Snapshot,
        old: &Model,
        touched: &BTreeSet<&ResourceName>,
        may_lead_elsewhere: bool,
        forge: &mut Forge,
    ) -> Option<Snapshot> {
        let Workload { mesh, kind, name } = &proxy.workload;
        if *kind == WorkloadKind::VirtualNode && touched.contains(name) {
            return None;
        }
        let scope = self.scope(proxy)?;
        let old_mesh = old.meshes.get(mesh)?;
        let backends = scope.backends();
        let (now, then) = (&scope.mesh.virtual_nodes, &old_mesh.virtual_nodes);
        let looks_the_same = |node: &&ResourceName| {
            let (now, then) = (now.get(*node), then.get(*node));
            now.zip(then).map_or(now.is_none() && then.is_none(), |(now, then)| is_called_as(now, then))
        };
        let leads_nowhere_else = !may_lead_elsewhere && touched.iter().all(looks_the_same);
        if !leads_nowhere_else && !scope.routes_as(old_mesh, &backends) {
            return None;
        }
        let mut patched = before.clone();
        for (_, destination) in distinct(&backends) {
            if !touched.contains(destination.node) {
                continue;
            }
            let cluster = scope.target(destination, forge);
            put(&mut patched, ResourceType::Cluster, &destination.cluster(mesh), cluster, forge);
            let endpoints = scope.endpoints(destination, forge);
            let name = naming::target_cluster(mesh, destination.node, destination.mapping);
            put(&mut patched, ResourceType::Endpoint, &name, endpoints, forge);
        }
        Some(patched)
    }
}

impl Scope<'_> {
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

/// Puts a resource into the place of the one of this name, or of none.
fn put(
    snapshot: &mut Snapshot,
    kind: ResourceType,
    name: &str,
    resource: Option<Resource>,
    forge: &mut Forge,
) {
    match resource {
        Some(resource) if snapshot.get(kind, name).map(Resource::version) == Some(resource.version()) => {}
        Some(resource) => forge.replacements.insert(snapshot, resource),
        None => drop(snapshot.remove(kind, name)),
    }
}
