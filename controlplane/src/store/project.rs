//! Keeps the model in step with the records, one change at a time.

use std::sync::Arc;

use super::records::{Change, Effect};
use crate::model::{Deed, Model, Spec, VirtualGateway, Written, key::Key};

/// Makes a change to the model. Parts that a reader still holds are copied, not altered.
pub(super) fn apply(model: &mut Model, change: &Change) {
    model.revision = change.revision;
    let document = &change.resource.document;
    model.changes.push(written(change));
    match change.effect {
        Effect::Put => put(model, document.key(), document.spec()),
        Effect::Tag => {}
        Effect::Remove => remove(model, document.key()),
    }
}

fn written(change: &Change) -> Written {
    let metadata = &change.resource.metadata;
    let deed = match change.effect {
        Effect::Put if metadata.version == 1 => Deed::Create,
        Effect::Put => Deed::Update,
        Effect::Tag => Deed::Tag,
        Effect::Remove => Deed::Delete,
    };
    let key = change.resource.document.key().clone();
    Written { revision: change.revision, key, deed, by: change.by.clone(), at: metadata.updated_at }
}

fn put(model: &mut Model, key: &Key, spec: &Spec) {
    let mesh = model.meshes.entry(key.mesh().clone()).or_default();
    let mesh = Arc::make_mut(mesh);
    match (key, spec) {
        (Key::Mesh(_), Spec::Mesh(settings)) => mesh.settings = *settings,
        (Key::VirtualNode { name, .. }, Spec::VirtualNode(node)) => {
            mesh.virtual_nodes.insert(name.clone(), node.clone());
        }
        (Key::VirtualService { name, .. }, Spec::VirtualService(service)) => {
            mesh.virtual_services.insert(name.clone(), service.clone());
        }
        (Key::VirtualRouter { name, .. }, Spec::VirtualRouter(router)) => {
            mesh.virtual_routers.edit(name, |edited| edited.listeners.clone_from(&router.listeners));
        }
        (Key::Route { router, name, .. }, Spec::Route(route)) => {
            mesh.virtual_routers
                .edit(router, |router| drop(router.routes.insert(name.clone(), route.clone())));
        }
        (Key::VirtualGateway { name, .. }, Spec::VirtualGateway(gateway)) => {
            mesh.virtual_gateways.edit(name, |edited| {
                let routes = std::mem::take(&mut edited.routes);
                *edited = VirtualGateway { routes, ..VirtualGateway::clone(gateway) };
            });
        }
        (Key::GatewayRoute { gateway, name, .. }, Spec::GatewayRoute(route)) => {
            mesh.virtual_gateways
                .edit(gateway, |gateway| drop(gateway.routes.insert(name.clone(), route.clone())));
        }
        // A document is parsed by its key's kind, so the two never differ.
        _ => {}
    }
}

fn remove(model: &mut Model, key: &Key) {
    if let Key::Mesh(name) = key {
        model.meshes.remove(name);
        return;
    }
    let Some(mesh) = model.meshes.get_mut(key.mesh()) else {
        return;
    };
    let mesh = Arc::make_mut(mesh);
    match key {
        Key::Mesh(_) => {}
        Key::VirtualNode { name, .. } => _ = mesh.virtual_nodes.remove(name),
        Key::VirtualService { name, .. } => _ = mesh.virtual_services.remove(name.as_str()),
        Key::VirtualRouter { name, .. } => _ = mesh.virtual_routers.remove(name),
        Key::Route { router, name, .. } => {
            mesh.virtual_routers.edit(router, |router| drop(router.routes.remove(name)));
        }
        Key::VirtualGateway { name, .. } => _ = mesh.virtual_gateways.remove(name),
        Key::GatewayRoute { gateway, name, .. } => {
            mesh.virtual_gateways.edit(gateway, |gateway| drop(gateway.routes.remove(name)));
        }
    }
}
