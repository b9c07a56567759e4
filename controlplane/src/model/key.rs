//! What a resource is called: its kind, where it lives, and its name there.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use signet_policies::identity::{InvalidWorkload, ResourceName};
use thiserror::Error;

/// The kinds of resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A mesh, in which everything else is.
    Mesh,
    /// An application behind a proxy.
    VirtualNode,
    /// A name that applications call.
    VirtualService,
    /// What splits the traffic of a virtual service.
    VirtualRouter,
    /// A rule of a virtual router.
    Route,
    /// A proxy that takes traffic from outside the mesh.
    VirtualGateway,
    /// A rule of a virtual gateway.
    GatewayRoute,
}

/// A virtual service's name, which callers put into the Host header: 1 to 255 of letters, digits, `.`, `-`
/// and `_`, not of dots alone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName(Arc<str>);

/// One resource. Its text form is the end of its ARN: `mesh/m/virtualRouter/r/route/x`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A mesh.
    Mesh(ResourceName),
    /// A virtual node.
    VirtualNode {
        /// Its mesh.
        mesh: ResourceName,
        /// Its name there.
        name: ResourceName,
    },
    /// A virtual service.
    VirtualService {
        /// Its mesh.
        mesh: ResourceName,
        /// Its name there.
        name: ServiceName,
    },
    /// A virtual router.
    VirtualRouter {
        /// Its mesh.
        mesh: ResourceName,
        /// Its name there.
        name: ResourceName,
    },
    /// A route.
    Route {
        /// Its mesh.
        mesh: ResourceName,
        /// Its virtual router.
        router: ResourceName,
        /// Its name there.
        name: ResourceName,
    },
    /// A virtual gateway.
    VirtualGateway {
        /// Its mesh.
        mesh: ResourceName,
        /// Its name there.
        name: ResourceName,
    },
    /// A gateway route.
    GatewayRoute {
        /// Its mesh.
        mesh: ResourceName,
        /// Its virtual gateway.
        gateway: ResourceName,
        /// Its name there.
        name: ResourceName,
    },
}

/// Where resources of one kind live, and what a list operation lists.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Collection {
    /// All meshes.
    Meshes,
    /// The virtual nodes of a mesh.
    VirtualNodes(ResourceName),
    /// The virtual services of a mesh.
    VirtualServices(ResourceName),
    /// The virtual routers of a mesh.
    VirtualRouters(ResourceName),
    /// The routes of a virtual router.
    Routes {
        /// The mesh.
        mesh: ResourceName,
        /// The virtual router.
        router: ResourceName,
    },
    /// The virtual gateways of a mesh.
    VirtualGateways(ResourceName),
    /// The routes of a virtual gateway.
    GatewayRoutes {
        /// The mesh.
        mesh: ResourceName,
        /// The virtual gateway.
        gateway: ResourceName,
    },
}

/// Why a text is no name or key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidKey {
    /// A name that no resource may have.
    #[error(transparent)]
    Name(#[from] InvalidWorkload),
    /// A name that no virtual service may have.
    #[error(
        "a virtual service name has 1 to 255 characters, of letters, digits, '.', '-' and '_', and is not of \
         dots alone"
    )]
    ServiceName,
    /// Not of the form of a key.
    #[error("{0:?} names no resource")]
    Form(String),
}

impl Kind {
    /// Every kind, parents before children.
    pub const ALL: [Self; 7] = [
        Self::Mesh,
        Self::VirtualNode,
        Self::VirtualService,
        Self::VirtualRouter,
        Self::Route,
        Self::VirtualGateway,
        Self::GatewayRoute,
    ];

    /// As App Mesh's messages spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mesh => "Mesh",
            Self::VirtualNode => "VirtualNode",
            Self::VirtualService => "VirtualService",
            Self::VirtualRouter => "VirtualRouter",
            Self::Route => "Route",
            Self::VirtualGateway => "VirtualGateway",
            Self::GatewayRoute => "GatewayRoute",
        }
    }

    /// As ARNs spell it.
    #[must_use]
    pub fn arn_segment(self) -> &'static str {
        match self {
            Self::Mesh => "mesh",
            Self::VirtualNode => "virtualNode",
            Self::VirtualService => "virtualService",
            Self::VirtualRouter => "virtualRouter",
            Self::Route => "route",
            Self::VirtualGateway => "virtualGateway",
            Self::GatewayRoute => "gatewayRoute",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl ServiceName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Compares as its text does, so that a map by names can be asked with a text.
impl Borrow<str> for ServiceName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for ServiceName {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        // A name of dots alone would be a path segment that clients and proxies rewrite.
        match (1..=255).contains(&text.len())
            && text.chars().all(is_allowed)
            && text.chars().any(|c| c != '.')
        {
            true => Ok(Self(text.into())),
            false => Err(InvalidKey::ServiceName),
        }
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl Key {
    /// What it names.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Mesh(_) => Kind::Mesh,
            Self::VirtualNode { .. } => Kind::VirtualNode,
            Self::VirtualService { .. } => Kind::VirtualService,
            Self::VirtualRouter { .. } => Kind::VirtualRouter,
            Self::Route { .. } => Kind::Route,
            Self::VirtualGateway { .. } => Kind::VirtualGateway,
            Self::GatewayRoute { .. } => Kind::GatewayRoute,
        }
    }

    /// The mesh it is, or is in.
    #[must_use]
    pub fn mesh(&self) -> &ResourceName {
        match self {
            Self::Mesh(mesh)
            | Self::VirtualNode { mesh, .. }
            | Self::VirtualService { mesh, .. }
            | Self::VirtualRouter { mesh, .. }
            | Self::Route { mesh, .. }
            | Self::VirtualGateway { mesh, .. }
            | Self::GatewayRoute { mesh, .. } => mesh,
        }
    }

    /// The name within its collection.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Mesh(name)
            | Self::VirtualNode { name, .. }
            | Self::VirtualRouter { name, .. }
            | Self::Route { name, .. }
            | Self::VirtualGateway { name, .. }
            | Self::GatewayRoute { name, .. } => name.as_str(),
            Self::VirtualService { name, .. } => name.as_str(),
        }
    }

    /// Where it lives.
    #[must_use]
    pub fn collection(&self) -> Collection {
        match self {
            Self::Mesh(_) => Collection::Meshes,
            Self::VirtualNode { mesh, .. } => Collection::VirtualNodes(mesh.clone()),
            Self::VirtualService { mesh, .. } => Collection::VirtualServices(mesh.clone()),
            Self::VirtualRouter { mesh, .. } => Collection::VirtualRouters(mesh.clone()),
            Self::Route { mesh, router, .. } => {
                Collection::Routes { mesh: mesh.clone(), router: router.clone() }
            }
            Self::VirtualGateway { mesh, .. } => Collection::VirtualGateways(mesh.clone()),
            Self::GatewayRoute { mesh, gateway, .. } => {
                Collection::GatewayRoutes { mesh: mesh.clone(), gateway: gateway.clone() }
            }
        }
    }

    /// The collections that live under it.
    #[must_use]
    pub fn children(&self) -> Vec<Collection> {
        match self {
            Self::Mesh(mesh) => vec![
                Collection::VirtualNodes(mesh.clone()),
                Collection::VirtualServices(mesh.clone()),
                Collection::VirtualRouters(mesh.clone()),
                Collection::VirtualGateways(mesh.clone()),
            ],
            Self::VirtualRouter { mesh, name } => {
                vec![Collection::Routes { mesh: mesh.clone(), router: name.clone() }]
            }
            Self::VirtualGateway { mesh, name } => {
                vec![Collection::GatewayRoutes { mesh: mesh.clone(), gateway: name.clone() }]
            }
            Self::VirtualNode { .. }
            | Self::VirtualService { .. }
            | Self::Route { .. }
            | Self::GatewayRoute { .. } => Vec::new(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mesh, kind, name) = (self.mesh(), self.kind().arn_segment(), self.name());
        match self {
            Self::Mesh(_) => write!(f, "mesh/{mesh}"),
            Self::VirtualNode { .. }
            | Self::VirtualService { .. }
            | Self::VirtualRouter { .. }
            | Self::VirtualGateway { .. } => write!(f, "mesh/{mesh}/{kind}/{name}"),
            Self::GatewayRoute { gateway, .. } => {
                write!(f, "mesh/{mesh}/virtualGateway/{gateway}/{kind}/{name}")
            }
            Self::Route { router, .. } => write!(f, "mesh/{mesh}/virtualRouter/{router}/{kind}/{name}"),
        }
    }
}

impl FromStr for Key {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let segments: Vec<&str> = text.split('/').collect();
        match segments.as_slice() {
            ["mesh", mesh] => Collection::Meshes.key(mesh),
            ["mesh", mesh, "virtualNode", name] => Collection::VirtualNodes(mesh.parse()?).key(name),
            ["mesh", mesh, "virtualService", name] => Collection::VirtualServices(mesh.parse()?).key(name),
            ["mesh", mesh, "virtualRouter", name] => Collection::VirtualRouters(mesh.parse()?).key(name),
            ["mesh", mesh, "virtualRouter", router, "route", name] => {
                Collection::Routes { mesh: mesh.parse()?, router: router.parse()? }.key(name)
            }
            ["mesh", mesh, "virtualGateway", name] => Collection::VirtualGateways(mesh.parse()?).key(name),
            ["mesh", mesh, "virtualGateway", gateway, "gatewayRoute", name] => {
                Collection::GatewayRoutes { mesh: mesh.parse()?, gateway: gateway.parse()? }.key(name)
            }
            _ => Err(InvalidKey::Form(text.chars().take(300).collect())),
        }
    }
}

impl Collection {
    /// What lives in it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Meshes => Kind::Mesh,
            Self::VirtualNodes(_) => Kind::VirtualNode,
            Self::VirtualServices(_) => Kind::VirtualService,
            Self::VirtualRouters(_) => Kind::VirtualRouter,
            Self::Routes { .. } => Kind::Route,
            Self::VirtualGateways(_) => Kind::VirtualGateway,
            Self::GatewayRoutes { .. } => Kind::GatewayRoute,
        }
    }

    /// What it lives under; nothing for the meshes.
    #[must_use]
    pub fn parent(&self) -> Option<Key> {
        match self {
            Self::Meshes => None,
            Self::VirtualNodes(mesh)
            | Self::VirtualServices(mesh)
            | Self::VirtualRouters(mesh)
            | Self::VirtualGateways(mesh) => Some(Key::Mesh(mesh.clone())),
            Self::GatewayRoutes { mesh, gateway } => {
                Some(Key::VirtualGateway { mesh: mesh.clone(), name: gateway.clone() })
            }
            Self::Routes { mesh, router } => {
                Some(Key::VirtualRouter { mesh: mesh.clone(), name: router.clone() })
            }
        }
    }

    /// The key of a name in it.
    ///
    /// # Errors
    /// A name that this kind may not have.
    pub fn key(&self, name: &str) -> Result<Key, InvalidKey> {
        Ok(match self {
            Self::Meshes => Key::Mesh(name.parse()?),
            Self::VirtualNodes(mesh) => Key::VirtualNode { mesh: mesh.clone(), name: name.parse()? },
            Self::VirtualServices(mesh) => Key::VirtualService { mesh: mesh.clone(), name: name.parse()? },
            Self::VirtualRouters(mesh) => Key::VirtualRouter { mesh: mesh.clone(), name: name.parse()? },
            Self::Routes { mesh, router } => {
                Key::Route { mesh: mesh.clone(), router: router.clone(), name: name.parse()? }
            }
            Self::VirtualGateways(mesh) => Key::VirtualGateway { mesh: mesh.clone(), name: name.parse()? },
            Self::GatewayRoutes { mesh, gateway } => {
                Key::GatewayRoute { mesh: mesh.clone(), gateway: gateway.clone(), name: name.parse()? }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_that_name_no_resource_are_refused() {
        let hostile = [
            "",
            "mesh",
            "mesh/",
            "mesh//",
            "/mesh/m",
            "mesh/m/",
            "mesh/a.b",
            "mesh/m/virtualNode",
            "mesh/m/virtualNode/a.b",
            "mesh/m/virtualGateway/g/gatewayRoute",
            "mesh/m/virtualGateway/g/route/x",
            "mesh/m/virtualService/",
            "mesh/m/virtualService/..",
            "mesh/m/virtualService/a:80",
            "mesh/m/virtualService/*.a",
            "mesh/m/virtualRouter/r/route",
            "mesh/m/virtualRouter/r/route/x/y",
            "mesh/m/virtualNode/r/route/x",
        ];
        for text in hostile {
            assert!(text.parse::<Key>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_key_is_what_its_text_says_and_lives_in_its_collection(
            mesh in "[A-Za-z0-9_-]{1,20}", router in "[A-Za-z0-9_-]{1,20}", name in "[A-Za-z0-9_-]{1,20}", service in "[a-z][a-z.-]{0,20}",
        ) {
            let texts = [
                format!("mesh/{mesh}"),
                format!("mesh/{mesh}/virtualNode/{name}"),
                format!("mesh/{mesh}/virtualService/{service}"),
                format!("mesh/{mesh}/virtualRouter/{name}"),
                format!("mesh/{mesh}/virtualRouter/{router}/route/{name}"),
                format!("mesh/{mesh}/virtualGateway/{name}"),
                format!("mesh/{mesh}/virtualGateway/{router}/gatewayRoute/{name}"),
            ];
            for (text, kind) in texts.iter().zip(Kind::ALL) {
                let key: Key = text.parse().unwrap();
                prop_assert_eq!(key.kind(), kind);
                prop_assert_eq!(&key.to_string(), text);
                let collection = key.collection();
                prop_assert_eq!(collection.kind(), kind);
                prop_assert_eq!(collection.key(key.name()).unwrap(), key.clone());
                let parent = collection.parent();
                prop_assert!(parent.is_none_or(|parent| parent.children().contains(&collection)));
            }
        }
    }
}
