//! Where each kind is found. Creates are PUT on the collection; what stands before `routes` is singular.

use axum::extract::RawPathParams;

use super::ApiError;
use crate::model::key::{Collection, Kind};

/// The path of a kind's collection, as a pattern of axum's.
pub(super) fn collection(kind: Kind) -> &'static str {
    match kind {
        Kind::Mesh => "/v20190125/meshes",
        Kind::VirtualNode => "/v20190125/meshes/{meshName}/virtualNodes",
        Kind::VirtualService => "/v20190125/meshes/{meshName}/virtualServices",
        Kind::VirtualRouter => "/v20190125/meshes/{meshName}/virtualRouters",
        Kind::Route => "/v20190125/meshes/{meshName}/virtualRouter/{virtualRouterName}/routes",
        Kind::VirtualGateway => "/v20190125/meshes/{meshName}/virtualGateways",
        Kind::GatewayRoute => {
            "/v20190125/meshes/{meshName}/virtualGateway/{virtualGatewayName}/gatewayRoutes"
        }
    }
}

/// The path of one resource of a kind, as a pattern of axum's.
pub(super) fn item(kind: Kind) -> String {
    format!("{}/{{{}}}", collection(kind), name_member(kind))
}

/// What the member is called that holds the name: in paths, bodies, descriptions and lists.
#[must_use]
pub fn name_member(kind: Kind) -> &'static str {
    match kind {
        Kind::Mesh => "meshName",
        Kind::VirtualNode => "virtualNodeName",
        Kind::VirtualService => "virtualServiceName",
        Kind::VirtualRouter => "virtualRouterName",
        Kind::Route => "routeName",
        Kind::VirtualGateway => "virtualGatewayName",
        Kind::GatewayRoute => "gatewayRouteName",
    }
}

/// The member of a list's answer that holds the items.
#[must_use]
pub fn list_member(kind: Kind) -> &'static str {
    match kind {
        Kind::Mesh => "meshes",
        Kind::VirtualNode => "virtualNodes",
        Kind::VirtualService => "virtualServices",
        Kind::VirtualRouter => "virtualRouters",
        Kind::Route => "routes",
        Kind::VirtualGateway => "virtualGateways",
        Kind::GatewayRoute => "gatewayRoutes",
    }
}

/// The names in a request's path, decoded.
#[derive(Debug)]
pub(super) struct Names(Vec<(String, String)>);

impl Names {
    pub(super) fn new(params: &RawPathParams) -> Self {
        Self(params.iter().map(|(member, name)| (member.to_owned(), name.to_owned())).collect())
    }

    /// The collection that the path names, or is in.
    pub(super) fn collection(&self, kind: Kind) -> Result<Collection, ApiError> {
        Ok(match kind {
            Kind::Mesh => Collection::Meshes,
            Kind::VirtualNode => Collection::VirtualNodes(self.parse("meshName")?),
            Kind::VirtualService => Collection::VirtualServices(self.parse("meshName")?),
            Kind::VirtualRouter => Collection::VirtualRouters(self.parse("meshName")?),
            Kind::Route => {
                Collection::Routes { mesh: self.parse("meshName")?, router: self.parse("virtualRouterName")? }
            }
            Kind::VirtualGateway => Collection::VirtualGateways(self.parse("meshName")?),
            Kind::GatewayRoute => Collection::GatewayRoutes {
                mesh: self.parse("meshName")?,
                gateway: self.parse("virtualGatewayName")?,
            },
        })
    }

    /// The text of one name; empty where the path has none.
    pub(super) fn text(&self, member: &str) -> &str {
        self.0.iter().find(|(name, _)| name == member).map_or("", |(_, text)| text)
    }

    fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(&self, member: &str) -> Result<T, ApiError> {
        self.text(member).parse().map_err(|error| ApiError::bad_request(format!("{member}: {error}")))
    }
}
