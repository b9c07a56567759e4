//! From the JSON of a spec to the model: every bound, every union, every documented constraint that one
//! resource can break by itself. What several resources break together is the store's to see.
//!
//! What App Mesh does not know is ignored, as AWS ignores it.

mod discovery;
mod file;
mod gateway_route;
mod listener;
mod log;
mod matcher;
mod mesh;
mod name;
mod port;
mod retry;
mod route;
mod secret;
mod tls;
mod traffic;
mod virtual_gateway;
mod virtual_node;
mod virtual_router;
mod virtual_service;

use serde_json::Value;
use signet_policies::identity::{ResourceName, TrustDomain, Workload, WorkloadKind};

use self::secret::Owner;
use super::{
    Spec,
    key::Key,
    shape::{Field, Invalid},
};

/// Parses the spec of a resource, for a server of this trust domain where it is known.
pub(super) fn spec(key: &Key, value: &Value, trust_domain: Option<&TrustDomain>) -> Result<Spec, Invalid> {
    spec_of(key, &Field::root("spec", value), trust_domain)
}

/// Parses a spec that was accepted once, by whatever rules. Refused is only what the model cannot hold.
pub(super) fn held(key: &Key, value: &Value) -> Result<Spec, Invalid> {
    spec_of(key, &Field::held("spec", value), None)
}

fn spec_of(key: &Key, field: &Field<'_>, trust_domain: Option<&TrustDomain>) -> Result<Spec, Invalid> {
    let spec = field.object()?;
    let owner = |kind, mesh: &ResourceName, name: &ResourceName| Owner {
        workload: Workload { mesh: mesh.clone(), kind, name: name.clone() },
        trust_domain,
    };
    Ok(match key {
        Key::Mesh(_) => Spec::Mesh(mesh::parse(&spec)?),
        Key::VirtualNode { mesh, name } => {
            let owner = owner(WorkloadKind::VirtualNode, mesh, name);
            Spec::VirtualNode(virtual_node::parse(&spec, &owner)?.into())
        }
        Key::VirtualService { .. } => Spec::VirtualService(virtual_service::parse(&spec)?.into()),
        Key::VirtualRouter { .. } => Spec::VirtualRouter(virtual_router::parse(&spec)?.into()),
        Key::Route { .. } => Spec::Route(route::parse(&spec)?.into()),
        Key::VirtualGateway { mesh, name } => {
            let owner = owner(WorkloadKind::VirtualGateway, mesh, name);
            Spec::VirtualGateway(virtual_gateway::parse(&spec, &owner)?.into())
        }
        Key::GatewayRoute { .. } => Spec::GatewayRoute(gateway_route::parse(&spec)?.into()),
    })
}

#[cfg(test)]
mod tests;
