//! The workloads of a mesh, and the three ways to spell one.

use std::{fmt, str::FromStr, sync::Arc};

use thiserror::Error;

use super::{SpiffeId, TrustDomain};

/// A name of an App Mesh resource: 1 to 255 of letters, digits, `-` and `_`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceName(Arc<str>);

/// What kind of resource a proxy stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkloadKind {
    /// A virtual node: the sidecar of an application.
    VirtualNode,
    /// A virtual gateway: a proxy of its own.
    VirtualGateway,
}

/// A virtual node or gateway: what a certificate, an agent and an Envoy are for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Workload {
    /// The mesh it belongs to.
    pub mesh: ResourceName,
    /// Node or gateway.
    pub kind: WorkloadKind,
    /// Its name in the mesh.
    pub name: ResourceName,
}

/// Why a text names no workload.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidWorkload {
    /// Empty, or longer than 255 bytes.
    #[error("a resource name has 1 to 255 characters, this one has {0}")]
    Length(usize),
    /// A character outside the alphabet.
    #[error("the resource name holds {0:?}; only letters, digits, '-' and '_' are allowed")]
    Character(char),
    /// Not of the form that names a workload.
    #[error(
        "{0:?} names no workload; it has the form mesh/MESH/virtualNode/NAME or \
         mesh/MESH/virtualGateway/NAME, or is an ARN that ends so"
    )]
    Form(String),
}

impl ResourceName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ResourceName {
    type Err = InvalidWorkload;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || text.len() > 255 {
            return Err(InvalidWorkload::Length(text.len()));
        }
        match text.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_')) {
            Some(c) => Err(InvalidWorkload::Character(c)),
            None => Ok(Self(text.into())),
        }
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl WorkloadKind {
    /// As node ids and ARNs spell it.
    #[must_use]
    pub fn arn_segment(self) -> &'static str {
        match self {
            Self::VirtualNode => "virtualNode",
            Self::VirtualGateway => "virtualGateway",
        }
    }

    /// As SPIFFE IDs spell it.
    #[must_use]
    pub fn spiffe_segment(self) -> &'static str {
        match self {
            Self::VirtualNode => "virtual-node",
            Self::VirtualGateway => "virtual-gateway",
        }
    }
}

impl Workload {
    /// A virtual node of a mesh.
    ///
    /// # Errors
    /// A name that is empty, too long, or holds a character that names may not.
    pub fn virtual_node(mesh: &str, name: &str) -> Result<Self, InvalidWorkload> {
        Ok(Self { mesh: mesh.parse()?, kind: WorkloadKind::VirtualNode, name: name.parse()? })
    }

    /// The canonical identity: `spiffe://<trust-domain>/mesh/<mesh>/virtual-node/<name>`.
    #[must_use]
    pub fn spiffe_id(&self, trust_domain: &TrustDomain) -> SpiffeId {
        let segments = ["mesh", self.mesh.as_str(), self.kind.spiffe_segment(), self.name.as_str()];
        SpiffeId::of_valid_segments(trust_domain, segments)
    }

    /// The workload that an identity is the canonical one of, in whatever trust domain.
    #[must_use]
    pub fn from_spiffe_id(id: &SpiffeId) -> Option<Self> {
        let mut segments = id.path().strip_prefix('/')?.split('/');
        let (Some("mesh"), Some(mesh), Some(kind), Some(name), None) =
            (segments.next(), segments.next(), segments.next(), segments.next(), segments.next())
        else {
            return None;
        };
        let kind = [WorkloadKind::VirtualNode, WorkloadKind::VirtualGateway]
            .into_iter()
            .find(|known| known.spiffe_segment() == kind)?;
        Some(Self { mesh: mesh.parse().ok()?, kind, name: name.parse().ok()? })
    }
}

/// Parses an Envoy node id as App Mesh's users write it: `mesh/M/virtualNode/N`, or the whole ARN.
impl FromStr for Workload {
    type Err = InvalidWorkload;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || InvalidWorkload::Form(text.chars().take(300).collect());
        let path = match text.strip_prefix("arn:") {
            // partition : service : region : account : resource
            Some(arn) => arn.splitn(5, ':').nth(4).ok_or_else(form)?,
            None => text,
        };
        let parts: Vec<&str> = path.split('/').collect();
        let ["mesh", mesh, kind, name] = parts.as_slice() else { return Err(form()) };
        let kind = [WorkloadKind::VirtualNode, WorkloadKind::VirtualGateway]
            .into_iter()
            .find(|known| known.arn_segment() == *kind)
            .ok_or_else(form)?;
        Ok(Self { mesh: mesh.parse()?, kind, name: name.parse()? })
    }
}

/// The short node id: `mesh/<mesh>/virtualNode/<name>`.
impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mesh/{}/{}/{}", self.mesh, self.kind.arn_segment(), self.name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn node_ids_parse_in_both_spellings_and_hostile_ones_are_refused() {
        let short = "mesh/m/virtualNode/a";
        let node = short.parse::<Workload>().unwrap();
        assert_eq!(node, Workload::virtual_node("m", "a").unwrap());
        let arn = "arn:aws:appmesh:us-east-1:000000000000:mesh/m/virtualNode/a";
        assert_eq!(arn.parse::<Workload>().unwrap(), node);
        let hostile = [
            "",
            "mesh/m/virtualNode",
            "mesh/m/virtualNode/",
            "mesh/m/virtualNode/a/b",
            "mesh//virtualNode/a",
            "mesh/m/virtualRouter/a",
            "mesh/m/virtual-node/a",
            "mesh/../virtualNode/a",
            "mesh/m/virtualNode/a b",
            "mesh/m/virtualNode/a\0",
            "/mesh/m/virtualNode/a",
            "arn:aws:appmesh:mesh/m/virtualNode/a",
        ];
        for text in hostile {
            assert!(text.parse::<Workload>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn only_a_canonical_identity_names_a_workload() {
        for path in [
            "/mesh/m/virtual-node",
            "/mesh/m/virtual-node/a/b",
            "/mesh/m/virtualNode/a",
            "/x/m/virtual-node/a",
            "/signet/server",
            "/mesh/m.n/virtual-node/a",
        ] {
            let id: SpiffeId = format!("spiffe://td{path}").parse().unwrap();
            assert_eq!(Workload::from_spiffe_id(&id), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn every_spelling_of_a_workload_leads_back_to_it(mesh in "[A-Za-z0-9_-]{1,40}", name in "[A-Za-z0-9_-]{1,40}", gateway: bool) {
            let kind = if gateway { WorkloadKind::VirtualGateway } else { WorkloadKind::VirtualNode };
            let workload = Workload { mesh: mesh.parse().unwrap(), kind, name: name.parse().unwrap() };
            let domain: TrustDomain = "signet.internal".parse().unwrap();
            let id = workload.spiffe_id(&domain);
            prop_assert_eq!(id.to_string().parse::<SpiffeId>().unwrap(), id.clone());
            prop_assert_eq!(Workload::from_spiffe_id(&id), Some(workload.clone()));
            prop_assert_eq!(workload.to_string().parse::<Workload>().unwrap(), workload);
        }
    }
}
