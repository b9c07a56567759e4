//! From the JSON of a spec to the model: every bound, every union, every documented constraint that one
//! resource can break by itself. What several resources break together is the store's to see.
//!
//! A member that App Mesh knows and this version does not honour is refused by name; what App Mesh does not
//! know is ignored, as AWS ignores it.

mod mesh;
mod port;
mod retry;
mod route;
mod tls;
mod virtual_node;
mod virtual_router;
mod virtual_service;

use serde_json::Value;

use super::{
    Spec,
    key::Kind,
    shape::{Field, Invalid, Rule},
};

/// Parses the spec of a resource.
pub(super) fn spec(kind: Kind, value: &Value) -> Result<Spec, Invalid> {
    let spec = Field::root("spec", value).object()?;
    Ok(match kind {
        Kind::Mesh => Spec::Mesh(mesh::parse(&spec)?),
        Kind::VirtualNode => Spec::VirtualNode(virtual_node::parse(&spec)?.into()),
        Kind::VirtualService => Spec::VirtualService(virtual_service::parse(&spec)?.into()),
        Kind::VirtualRouter => Spec::VirtualRouter(virtual_router::parse(&spec)?.into()),
        Kind::Route => Spec::Route(route::parse(&spec)?.into()),
        Kind::VirtualGateway | Kind::GatewayRoute => {
            return Err(Field::root("spec", value).invalid(Rule::Unsupported));
        }
    })
}

#[cfg(test)]
mod tests;
