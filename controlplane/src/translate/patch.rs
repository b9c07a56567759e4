//! What a proxy is told after a change that it sees through the nodes it calls alone.
//!
//! Of a node that is called, a proxy's listeners and routes know that it is there, and on which ports. Everything else
//! about it, its health check, its TLS, where it is found, shows in the cluster that leads to it and in its endpoints.
//! So where routing comes out as before, those are all that is made anew.

use std::collections::BTreeSet;

use signet_policies::identity::{ResourceName, Workload, WorkloadKind};
use signet_xds::{Resource, ResourceType, Snapshot};

use super::{Forge, Given, Proxy, Role, Scope, backend, distinct, naming};
use crate::model::{Mesh, Model};

impl Given<'_> {
    /// As [`Given::snapshot`], from `before`, which is what the proxy was told by `old`, an earlier model.
    ///
    /// `touched` are the nodes of its mesh that have changed since, or whose ports stand otherwise. Nothing where more
    /// than a few clusters may have changed.
    pub(crate) fn patch(
        self,
        proxy: &Proxy,
        before: &Snapshot,
        old: &Model,
        touched: &BTreeSet<&ResourceName>,
        forge: &mut Forge,
    ) -> Option<Snapshot> {
        let Workload { mesh, kind, name } = &proxy.workload;
        if *kind == WorkloadKind::VirtualNode && touched.contains(name) {
            return None;
        }
        let scope = self.scope(proxy)?;
        let old_mesh = old.meshes.get(mesh)?;
        let backends = scope.backends();
        if !scope.routes_as(old_mesh, &backends) {
            return None;
        }
        let mut patched = before.clone();
        for (_, destination) in distinct(&backends) {
            if !touched.contains(destination.node) {
                continue;
            }
            let cluster = scope.target(destination, forge);
            put(&mut patched, ResourceType::Cluster, &destination.cluster(mesh), cluster);
            let endpoints = scope.endpoints(destination, forge);
            let name = naming::target_cluster(mesh, destination.node, destination.mapping);
            put(&mut patched, ResourceType::Endpoint, &name, endpoints);
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

/// Puts a resource into the place of the one of this name, or of none.
fn put(snapshot: &mut Snapshot, kind: ResourceType, name: &str, resource: Option<Resource>) {
    match resource {
        Some(resource) if snapshot.get(kind, name).map(Resource::version) == Some(resource.version()) => {}
        Some(resource) => drop(snapshot.insert(resource)),
        None => drop(snapshot.remove(kind, name)),
    }
}
