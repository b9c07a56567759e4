//! A change of instances on its way to those who call them.
//!
//! Endpoints are the same for every client in a mesh, so they are made once for all, and take the place of the ones
//! before in what each proxy should hold: no cluster, listener or route is looked at.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use signet_policies::identity::Workload;
use signet_xds::{Resource, ResourceType, Snapshot};

use crate::{
    discovery::Instances,
    model::{Discovery, Model},
    translate::{self, Forge},
};

/// The nodes that are found by Cloud Map's names, by those.
#[derive(Debug, Default)]
pub(super) struct Found {
    by_service: BTreeMap<(String, String), BTreeSet<Workload>>,
    service_of: BTreeMap<Workload, (String, String)>,
}

impl Found {
    /// Notes by which names a node is found now, if by any.
    pub(super) fn note(&mut self, workload: &Workload, discovery: Option<&Discovery>) {
        let service = match discovery {
            Some(Discovery::CloudMap { namespace, service, .. }) => {
                Some((namespace.clone(), service.clone()))
            }
            Some(Discovery::Dns { .. }) | None => None,
        };
        let before = match &service {
            Some(service) => self.service_of.insert(workload.clone(), service.clone()),
            None => self.service_of.remove(workload),
        };
        if before == service {
            return;
        }
        if let Some(before) = before
            && let Some(workloads) = self.by_service.get_mut(&before)
        {
            workloads.remove(workload);
            if workloads.is_empty() {
                self.by_service.remove(&before);
            }
        }
        if let Some(service) = service {
            self.by_service.entry(service).or_default().insert(workload.clone());
        }
    }

    /// The nodes that are found by one of these names.
    pub(super) fn by(&self, services: &BTreeSet<(String, String)>) -> BTreeSet<Workload> {
        services.iter().filter_map(|service| self.by_service.get(service)).flatten().cloned().collect()
    }
}

/// The endpoints of every listener of nodes that are found by Cloud Map's names.
pub(super) fn of_nodes(
    model: &Model,
    instances: &Instances,
    nodes: &BTreeSet<Workload>,
    forge: &mut Forge,
) -> Vec<Resource> {
    let mut endpoints = Vec::new();
    for Workload { mesh: mesh_name, kind: _, name } in nodes {
        let Some(mesh) = model.meshes.get(mesh_name) else { continue };
        let Some(node) = mesh.virtual_nodes.get(name) else { continue };
        let Some(discovery) = &node.discovery else { continue };
        for listener in &node.listeners {
            let mapping = listener.port_mapping;
            let made = translate::endpoint::of(mesh_name, mesh, name, mapping, discovery, instances, forge);
            endpoints.extend(made);
        }
    }
    endpoints
}

/// A snapshot with newer endpoints in the place of those that it has; nothing where none of them are new to it.
pub(super) fn merged(snapshot: &Arc<Snapshot>, endpoints: &[Resource]) -> Option<Snapshot> {
    let is_news = |newer: &&Resource| {
        let held = snapshot.get(ResourceType::Endpoint, newer.name());
        held.is_some_and(|held| held.version() != newer.version())
    };
    let news: Vec<&Resource> = endpoints.iter().filter(is_news).collect();
    if news.is_empty() {
        return None;
    }
    let mut merged = Snapshot::clone(snapshot);
    merged.extend(news.into_iter().cloned());
    Some(merged)
}
