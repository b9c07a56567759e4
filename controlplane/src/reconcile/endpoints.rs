//! A change of instances on its way to those who call them.
//!
//! Endpoints are the same for every client in a mesh, so they are made once for all, and take the place of the ones
//! before in what each proxy should hold: no cluster, listener or route is looked at.

use std::{collections::BTreeSet, sync::Arc};

use signet_xds::{Resource, ResourceType, Snapshot};

use crate::{
    discovery::Instances,
    model::{Discovery, Model},
    translate,
};

/// The endpoints of every listener of every node that is found by one of these names.
pub(super) fn of_services(
    model: &Model,
    instances: &Instances,
    services: &BTreeSet<(&str, &str)>,
) -> Vec<Resource> {
    let mut endpoints = Vec::new();
    for (mesh_name, mesh) in &model.meshes {
        for (name, node) in &mesh.virtual_nodes {
            let Some(discovery @ Discovery::CloudMap { namespace, service, .. }) = &node.discovery else {
                continue;
            };
            if !services.contains(&(namespace.as_str(), service.as_str())) {
                continue;
            }
            let of = |mapping| translate::endpoint::of(mesh_name, mesh, name, mapping, discovery, instances);
            endpoints.extend(node.listeners.iter().filter_map(|listener| of(listener.port_mapping)));
        }
    }
    endpoints
}

/// A snapshot with newer endpoints in the place of those that it has; nothing where none of them are new to it.
pub(super) fn merged(snapshot: &Arc<Snapshot>, endpoints: &[Resource]) -> Option<Arc<Snapshot>> {
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
    Some(Arc::new(merged))
}
