//! How many of a thing there may be. No bounds unless the operator sets them: it is their machine.

use std::{collections::BTreeMap, fmt, str::FromStr};

use thiserror::Error;

use crate::model::key::Kind;

/// What can be bounded, by the names that flags and messages have for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names say it")]
pub enum Quota {
    Meshes,
    VirtualServicesPerMesh,
    VirtualNodesPerMesh,
    VirtualRoutersPerMesh,
    RoutesPerVirtualRouter,
    VirtualGatewaysPerMesh,
    GatewayRoutesPerVirtualGateway,
    EnvoysPerVirtualNode,
    EnvoysPerVirtualGateway,
    BackendsPerVirtualNode,
    WeightedTargetsPerRoute,
    TagsPerResource,
}

/// The bounds that are set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quotas(BTreeMap<Quota, usize>);

/// Why a text is no quota.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidQuota {
    /// Nothing of this name is bounded.
    #[error("there is no quota {0:?}; there are {names}", names = Quota::names())]
    Name(String),
    /// Not of the form `NAME=N`.
    #[error("a quota has the form NAME=N, with N a whole number; {0:?} has not")]
    Form(String),
    /// More than App Mesh's clients and Signet itself can take.
    #[error("{quota} can be {max} at most")]
    TooLarge {
        /// Which.
        quota: Quota,
        /// The most.
        max: usize,
    },
}

impl Quota {
    /// Every quota, its name, and its value in App Mesh.
    const ALL: [(Self, &'static str, usize); 12] = [
        (Self::Meshes, "meshes", 15),
        (Self::VirtualServicesPerMesh, "virtual-services-per-mesh", 200),
        (Self::VirtualNodesPerMesh, "virtual-nodes-per-mesh", 200),
        (Self::VirtualRoutersPerMesh, "virtual-routers-per-mesh", 200),
        (Self::RoutesPerVirtualRouter, "routes-per-virtual-router", 50),
        (Self::VirtualGatewaysPerMesh, "virtual-gateways-per-mesh", 3),
        (Self::GatewayRoutesPerVirtualGateway, "gateway-routes-per-virtual-gateway", 10),
        (Self::EnvoysPerVirtualNode, "envoys-per-virtual-node", 50),
        (Self::EnvoysPerVirtualGateway, "envoys-per-virtual-gateway", 50),
        (Self::BackendsPerVirtualNode, "backends-per-virtual-node", 50),
        (Self::WeightedTargetsPerRoute, "weighted-targets-per-route", 10),
        (Self::TagsPerResource, "tags-per-resource", 50),
    ];

    /// The quota of resources of a kind.
    #[must_use]
    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::Mesh => Self::Meshes,
            Kind::VirtualNode => Self::VirtualNodesPerMesh,
            Kind::VirtualService => Self::VirtualServicesPerMesh,
            Kind::VirtualRouter => Self::VirtualRoutersPerMesh,
            Kind::Route => Self::RoutesPerVirtualRouter,
            Kind::VirtualGateway => Self::VirtualGatewaysPerMesh,
            Kind::GatewayRoute => Self::GatewayRoutesPerVirtualGateway,
        }
    }

    /// All names, for messages.
    #[must_use]
    pub fn names() -> String {
        Self::ALL.map(|(_, name, _)| name).join(", ")
    }

    /// What App Mesh's own model fixes for good.
    fn most(self) -> usize {
        match self {
            Self::WeightedTargetsPerRoute => 10,
            Self::TagsPerResource => crate::model::Tags::MAX,
            Self::Meshes
            | Self::VirtualServicesPerMesh
            | Self::VirtualNodesPerMesh
            | Self::VirtualRoutersPerMesh
            | Self::RoutesPerVirtualRouter
            | Self::VirtualGatewaysPerMesh
            | Self::GatewayRoutesPerVirtualGateway
            | Self::EnvoysPerVirtualNode
            | Self::EnvoysPerVirtualGateway
            | Self::BackendsPerVirtualNode => usize::MAX,
        }
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry = Self::ALL.iter().find(|(quota, ..)| quota == self);
        f.write_str(entry.map_or("", |(_, name, _)| name))
    }
}

impl FromStr for Quota {
    type Err = InvalidQuota;

    fn from_str(text: &str) -> Result<Self, InvalidQuota> {
        let entry = Self::ALL.iter().find(|(_, name, _)| *name == text);
        entry.map(|(quota, ..)| *quota).ok_or_else(|| InvalidQuota::Name(text.to_owned()))
    }
}

impl Quotas {
    /// Every bound as App Mesh had it before anybody asked for more.
    #[must_use]
    pub fn appmesh() -> Self {
        Self(Quota::ALL.map(|(quota, _, value)| (quota, value)).into())
    }

    /// Sets a bound by a text of the form `NAME=N`; 0 lets none be made.
    ///
    /// # Errors
    /// There is no such quota, or it cannot be that large.
    pub fn set(&mut self, text: &str) -> Result<(), InvalidQuota> {
        let form = || InvalidQuota::Form(text.to_owned());
        let (name, value) = text.split_once('=').ok_or_else(form)?;
        let (quota, value): (Quota, usize) = (name.parse()?, value.parse().map_err(|_| form())?);
        if value > quota.most() {
            return Err(InvalidQuota::TooLarge { quota, max: quota.most() });
        }
        self.0.insert(quota, value);
        Ok(())
    }

    /// The bound of a quota, if it has one.
    #[must_use]
    pub fn get(&self, quota: Quota) -> Option<usize> {
        self.0.get(&quota).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_set_by_its_name_and_what_is_none_is_told_what_there_is() {
        let mut quotas = Quotas::default();
        assert_eq!(quotas.get(Quota::Meshes), None);
        quotas.set("meshes=3").unwrap();
        quotas.set("meshes=2").unwrap();
        assert_eq!(quotas.get(Quota::Meshes), Some(2));
        for (text, part) in [
            ("mesh=1", "there are meshes, virtual-services-per-mesh"),
            ("meshes", "NAME=N"),
            ("meshes=", "NAME=N"),
            ("meshes=-1", "NAME=N"),
            ("tags-per-resource=51", "tags-per-resource can be 50 at most"),
            ("weighted-targets-per-route=11", "can be 10 at most"),
        ] {
            let error = quotas.set(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn app_meshs_quotas_bound_everything_and_can_be_set_by_their_names() {
        let appmesh = Quotas::appmesh();
        let mut set = Quotas::default();
        for (quota, name, value) in Quota::ALL {
            assert_eq!((appmesh.get(quota), quota.to_string().as_str()), (Some(value), name));
            set.set(&format!("{name}={value}")).unwrap();
        }
        assert_eq!(set, appmesh);
    }
}
