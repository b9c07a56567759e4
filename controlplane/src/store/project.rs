//! Keeps the model in step with the records, one change at a time.

use std::sync::Arc;

use signet_policies::identity::ResourceName;

use super::records::{Change, Effect};
use crate::model::{Mesh, Model, Spec, VirtualGateway, VirtualRouter, key::Key};

/// Makes a change to the model. Parts that a reader still holds are copied, not altered.
pub(super) fn apply(model: &mut Model, change: &Change) {
    model.revision = change.revision;
    let document = &change.resource.document;
    match change.effect {
        Effect::Put => put(model, document.key(), document.spec()),
        Effect::Tag => {}
        Effect::Remove => remove(model, document.key()),
    }
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
            edit_router(mesh, name).listeners.clone_from(&router.listeners);
        }
        (Key::Route { router, name, .. }, Spec::Route(route)) => {
            edit_router(mesh, router).routes.insert(name.clone(), route.clone());
        }
        (Key::VirtualGateway { name, .. }, Spec::VirtualGateway(gateway)) => {
            let routes = std::mem::take(&mut edit_gateway(mesh, name).routes);
            let gateway = VirtualGateway { routes, ..VirtualGateway::clone(gateway) };
            mesh.virtual_gateways.insert(name.clone(), gateway.into());
        }
        (Key::GatewayRoute { gateway, name, .. }, Spec::GatewayRoute(route)) => {
            edit_gateway(mesh, gateway).routes.insert(name.clone(), route.clone());
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
        Key::VirtualNode { name, .. } => drop(mesh.virtual_nodes.remove(name)),
        Key::VirtualService { name, .. } => drop(mesh.virtual_services.remove(name.as_str())),
        Key::VirtualRouter { name, .. } => drop(mesh.virtual_routers.remove(name)),
        Key::Route { router, name, .. } => drop(edit_router(mesh, router).routes.remove(name)),
        Key::VirtualGateway { name, .. } => drop(mesh.virtual_gateways.remove(name)),
        Key::GatewayRoute { gateway, name, .. } => drop(edit_gateway(mesh, gateway).routes.remove(name)),
    }
}

fn edit_router<'a>(mesh: &'a mut Mesh, name: &ResourceName) -> &'a mut VirtualRouter {
    Arc::make_mut(mesh.virtual_routers.entry(name.clone()).or_default())
}

fn edit_gateway<'a>(mesh: &'a mut Mesh, name: &ResourceName) -> &'a mut VirtualGateway {
    Arc::make_mut(mesh.virtual_gateways.entry(name.clone()).or_default())
}
