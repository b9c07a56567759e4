//! One xDS resource: its kind, its name, its bytes and the version that follows from them.

use std::{
    fmt::{self, Display, Formatter},
    sync::Arc,
};

use bytes::Bytes;
use prost::Message;
use sha2::{Digest, Sha256};

/// A resource's name; clones share it.
pub(crate) type Name = Arc<str>;

/// A version as it goes on the wire; clones share it.
pub(crate) type Version = Arc<str>;

/// The kinds of resource that Signet serves, in the order in which they are pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceType {
    /// `envoy.config.cluster.v3.Cluster` (CDS)
    Cluster,
    /// `envoy.config.endpoint.v3.ClusterLoadAssignment` (EDS)
    Endpoint,
    /// `envoy.config.listener.v3.Listener` (LDS)
    Listener,
    /// `envoy.config.route.v3.RouteConfiguration` (RDS)
    Route,
    /// `envoy.extensions.transport_sockets.tls.v3.Secret` (SDS)
    Secret,
}

impl ResourceType {
    /// Every kind, in push order.
    pub const ALL: [Self; 5] = [Self::Cluster, Self::Endpoint, Self::Listener, Self::Route, Self::Secret];

    /// The type URL by which discovery requests and responses name this kind.
    pub const fn type_url(self) -> &'static str {
        match self {
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Endpoint => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::Route => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            Self::Secret => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
        }
    }

    /// The kind behind a type URL, if Signet serves it.
    pub fn from_type_url(type_url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.type_url() == type_url)
    }

    /// Whether a client may ask for all of this kind, and a SotW response is the whole set of it: what is
    /// missing there is gone.
    pub(crate) const fn is_wildcard(self) -> bool {
        matches!(self, Self::Cluster | Self::Listener)
    }
}

impl Display for ResourceType {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cluster => "cluster",
            Self::Endpoint => "endpoint",
            Self::Listener => "listener",
            Self::Route => "route",
            Self::Secret => "secret",
        })
    }
}

/// One resource, encoded once; a clone is the same one.
///
/// Two resources are equal when kind, name and bytes are.
#[derive(Clone)]
pub struct Resource(Arc<Content>);

#[derive(PartialEq, Eq)]
struct Content {
    kind: ResourceType,
    name: Name,
    version: Version,
    value: Bytes,
    /// The endpoint resource that a cluster waits for before it becomes active.
    endpoints: Option<Name>,
}

impl Resource {
    /// Encodes `message` and derives the version from the bytes, so that equal configuration has an equal
    /// version on every replica and after a restart.
    ///
    /// The bytes must therefore be a function of the content. Map fields of Envoy's messages are hash maps
    /// and encode in any order, so the maker of `message` must never put two entries into one map (nor into
    /// one inside a nested `Any`); with none or one, encoding is deterministic.
    pub fn new<M: prost::Name>(kind: ResourceType, name: impl Into<Arc<str>>, message: &M) -> Self {
        debug_assert_eq!(kind.type_url(), M::type_url(), "the message is of another kind");
        let value = Bytes::from(message.encode_to_vec());
        let name = name.into();
        let endpoints = match kind {
            ResourceType::Cluster => awaited_endpoints(&name, &value),
            ResourceType::Endpoint | ResourceType::Listener | ResourceType::Route | ResourceType::Secret => {
                None
            }
        };
        Self(Arc::new(Content { kind, name, version: version(&value), value, endpoints }))
    }

    /// What kind of resource this is.
    pub fn kind(&self) -> ResourceType {
        self.0.kind
    }

    /// The name by which clients ask for it.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The first 16 bytes of the SHA-256 of [`value`](Self::value), as 32 lower-case hexadecimal digits.
    pub fn version(&self) -> &str {
        &self.0.version
    }

    /// The encoded message (not the `Any` around it).
    pub fn value(&self) -> &Bytes {
        &self.0.value
    }

    /// Whether both are one and the same in memory.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether there is another clone of it anywhere.
    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    pub(crate) fn shared_name(&self) -> &Name {
        &self.0.name
    }

    pub(crate) fn shared_version(&self) -> &Version {
        &self.0.version
    }

    /// The endpoint resource without which this cluster stays in warming; Envoy needs it again after every
    /// change of the cluster. `None` for other kinds and other ways of discovery.
    pub(crate) fn endpoints(&self) -> Option<&Name> {
        self.0.endpoints.as_ref()
    }
}

impl PartialEq for Resource {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other) || self.0 == other.0
    }
}

impl Eq for Resource {}

/// A secret's bytes are a private key, so they are never printed.
impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}@{}", self.kind(), self.name(), self.version())
    }
}

/// The first 16 bytes of the SHA-256 of `bytes` in hexadecimal.
pub(crate) fn version(bytes: &[u8]) -> Version {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    let (head, _) = digest.split_at(16);
    hex::encode(head).into()
}

/// The fields of `envoy.config.cluster.v3.Cluster` that say which endpoint resource it waits for; the rest
/// of the message is skipped unread.
#[derive(Message)]
struct ClusterHead {
    #[prost(enumeration = "super::pb::envoy::config::cluster::v3::cluster::DiscoveryType", tag = "2")]
    discovery: i32,
    #[prost(message, optional, tag = "3")]
    eds: Option<EdsHead>,
}

#[derive(Message)]
struct EdsHead {
    #[prost(string, tag = "2")]
    service_name: String,
}

fn awaited_endpoints(cluster: &Name, value: &Bytes) -> Option<Name> {
    let head = ClusterHead::decode(value.clone()).ok()?;
    if head.discovery() != super::pb::envoy::config::cluster::v3::cluster::DiscoveryType::Eds {
        return None;
    }
    match head.eds {
        Some(eds) if !eds.service_name.is_empty() => Some(eds.service_name.into()),
        _ => Some(Arc::clone(cluster)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::envoy::config::cluster::v3::{
        Cluster,
        cluster::{ClusterDiscoveryType, DiscoveryType, EdsClusterConfig},
    };

    fn cluster(discovery: DiscoveryType, service_name: &str) -> Resource {
        let message = Cluster {
            name: "c".into(),
            cluster_discovery_type: Some(ClusterDiscoveryType::Type(discovery.into())),
            eds_cluster_config: Some(EdsClusterConfig {
                service_name: service_name.into(),
                ..Default::default()
            }),
            ..Default::default()
        };
        Resource::new(ResourceType::Cluster, "c", &message)
    }

    #[test]
    fn a_version_is_the_head_of_the_digest_of_the_bytes() {
        // `printf '' | sha256sum`
        assert_eq!(&*version(b""), "e3b0c44298fc1c149afbf4c8996fb924");
    }

    #[test]
    fn equal_messages_have_equal_versions_and_different_ones_do_not() {
        assert_eq!(cluster(DiscoveryType::Eds, "x"), cluster(DiscoveryType::Eds, "x"));
        assert_ne!(cluster(DiscoveryType::Eds, "x").version(), cluster(DiscoveryType::Eds, "y").version());
    }

    #[test]
    fn a_cluster_waits_for_endpoints_only_when_it_discovers_them_by_eds() {
        let awaited = |resource: Resource| resource.endpoints().map(ToString::to_string);
        assert_eq!(awaited(cluster(DiscoveryType::Eds, "")).as_deref(), Some("c"));
        assert_eq!(awaited(cluster(DiscoveryType::Eds, "service")).as_deref(), Some("service"));
        assert_eq!(awaited(cluster(DiscoveryType::StrictDns, "")), None);
        assert_eq!(awaited(cluster(DiscoveryType::Static, "")), None);
    }

    #[test]
    fn type_urls_lead_back_to_their_kind() {
        for kind in ResourceType::ALL {
            assert_eq!(ResourceType::from_type_url(kind.type_url()), Some(kind));
        }
        assert_eq!(ResourceType::from_type_url("type.googleapis.com/envoy.config.route.v3.Vhds"), None);
    }

    #[test]
    fn debug_output_has_no_bytes_of_the_resource() {
        use crate::pb::envoy::extensions::transport_sockets::tls::v3::Secret;
        let secret = Secret { name: "very-private".into(), ..Default::default() };
        let printed = format!("{:?}", Resource::new(ResourceType::Secret, "default", &secret));
        assert!(printed.contains("default") && !printed.contains("very-private"), "{printed}");
    }
}
