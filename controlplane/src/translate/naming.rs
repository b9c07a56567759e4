//! The names of everything that Envoy is given, as App Mesh named them, so that dashboards and alarms fit.
//!
//! Two departures, both because a dot in a stat prefix mangles Prometheus names:
//! - App Mesh's connection managers were `ingress`, or `ingress.<protocol>.<port>` where a node had several
//!   listeners. Here every filter chain has a prefix of its own, `ingress_<protocol>_<port>_tls` and
//!   `…_plaintext`, because only that tells who is still on plaintext. `egress` is as it was.
//! - Listeners have stat prefixes (`ingress_<port>`, `egress_<port>`) in place of an address with dots.
//!
//! Names of meshes and nodes may hold `_`, so a name cannot be taken apart again; nothing here tries.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU16,
};

use signet_policies::identity::{ResourceName, Workload};

use super::EGRESS_ADDRESS;
use crate::model::{PortMapping, Protocol};

/// The cluster, in the agent's bootstrap, that leads to its SDS socket.
pub const SDS_CLUSTER: &str = "static_cluster_sds_unix_socket";
/// The secret that is a proxy's own key and certificate.
pub const OWN_CERTIFICATE: &str = "default";
/// The secret that is the bundle of roots.
pub const ROOTS: &str = "ROOTCA";
/// In names of listeners that are redirected to, whatever they bind.
const ANYWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
/// Prefix of the application's own calls.
pub const EGRESS_STAT_PREFIX: &str = "egress";

/// The virtual host of a gateway's first pass that takes every host.
pub const SELF_REDIRECT: &str = "self_redirect";
/// The virtual host of a gateway's second pass for requests that keep their Host.
pub const DEFAULT_BACKEND: &str = "default_backend";
/// The chain, and the end of the cluster's name, of what is passed through to wherever it was meant for.
pub const PASSTHROUGH: &str = "mesh-allow-all";
/// `tcp.<this>.*`.
pub const PASSTHROUGH_STATS: &str = "egress_mesh_allow_all";
/// The chain, and the end of the cluster's name, of AWS's own APIs.
pub const AWS: &str = "amazonaws";
/// `tcp.<this>.*`.
pub const AWS_STATS: &str = "egress_amazonaws";

/// The two filter chains that an ingress listener can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chain {
    /// Takes what starts with a TLS handshake.
    Tls,
    /// Takes everything else.
    Plaintext,
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls => "tls",
            Self::Plaintext => "plaintext",
        })
    }
}

/// `http`.
#[must_use]
pub fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http => "http",
        Protocol::Http2 => "http2",
        Protocol::Grpc => "grpc",
        Protocol::Tcp => "tcp",
    }
}

/// `lds_ingress_<address>_<port>`.
#[must_use]
pub fn ingress_listener(address: IpAddr, port: NonZeroU16) -> String {
    format!("lds_ingress_{address}_{port}")
}

/// `lds_egress_127.0.0.1_<port>`.
#[must_use]
pub fn egress_listener(port: NonZeroU16) -> String {
    format!("lds_egress_{EGRESS_ADDRESS}_{port}")
}

/// The application beside the proxy: `cds_ingress_<mesh>_<node>_<protocol>_<port>`.
#[must_use]
pub fn local_cluster(mesh: &ResourceName, node: &ResourceName, mapping: PortMapping) -> String {
    format!("cds_ingress_{mesh}_{node}_{}_{}", protocol(mapping.protocol), mapping.port)
}

/// A node that is called, by its own port: `cds_egress_<mesh>_<node>_<protocol>_<port>`.
#[must_use]
pub fn target_cluster(mesh: &ResourceName, node: &ResourceName, mapping: PortMapping) -> String {
    format!("cds_egress_{mesh}_{node}_{}_{}", protocol(mapping.protocol), mapping.port)
}

/// From a gateway's port to its egress: `cds_ingress_<mesh>_<gateway>_self_redirect_<protocol>_<egress port>`.
///
/// `port` is the gateway's, where it has several: then it stands before the protocol.
#[must_use]
pub fn self_redirect_cluster(
    gateway: &Workload,
    port: Option<NonZeroU16>,
    protocol: Protocol,
    egress_port: NonZeroU16,
) -> String {
    let Workload { mesh, kind: _, name } = gateway;
    let port = port.map(|port| format!("{port}_")).unwrap_or_default();
    format!("cds_ingress_{mesh}_{name}_{SELF_REDIRECT}_{port}{}_{egress_port}", self::protocol(protocol))
}

/// Everywhere, for callers whose mesh allows it: `cds_egress_<mesh>_mesh-allow-all`.
#[must_use]
pub fn passthrough_cluster(mesh: &ResourceName) -> String {
    format!("cds_egress_{mesh}_{PASSTHROUGH}")
}

/// AWS's own APIs: `cds_egress_<mesh>_amazonaws`.
#[must_use]
pub fn aws_cluster(mesh: &ResourceName) -> String {
    format!("cds_egress_{mesh}_{AWS}")
}

/// A cluster beside another one, for callers of one service: `<cluster>@<service>`.
#[must_use]
pub fn of_service(cluster: &str, service: &str) -> String {
    format!("{cluster}@{service}")
}

/// Whether a cluster is the one of this name, or beside it.
#[must_use]
pub fn is_of(name: &str, cluster: &str) -> bool {
    name.strip_prefix(cluster).is_some_and(|rest| rest.is_empty() || rest.starts_with('@'))
}

/// `rds_ingress_<protocol>_<port>`.
#[must_use]
pub fn ingress_routes(mapping: PortMapping) -> String {
    format!("rds_ingress_{}_{}", protocol(mapping.protocol), mapping.port)
}

/// `rds_egress_http_<port>`, by the port that the egress listener is on.
#[must_use]
pub fn egress_routes(port: NonZeroU16) -> String {
    format!("rds_egress_http_{port}")
}

/// `rds_egress_<protocol>_<port>`, by the port that the application dials.
#[must_use]
pub fn egress_routes_of(protocol: Protocol, port: NonZeroU16) -> String {
    format!("rds_egress_{}_{port}", self::protocol(protocol))
}

/// Where what was redirected comes in: `lds_egress_0.0.0.0_<port>`, as App Mesh named it, though it is on loopback.
#[must_use]
pub fn redirected_egress_listener(port: NonZeroU16) -> String {
    format!("lds_egress_{ANYWHERE}_{port}")
}

/// `listener.<this>.*` of a listener that is redirected to: `0.0.0.0_<port>`. Envoy makes an address of it again in
/// Prometheus' labels, so the dots mangle nothing.
#[must_use]
pub fn redirected_listener_stats(port: NonZeroU16) -> String {
    format!("{ANYWHERE}_{port}")
}

/// Name of a chain for a port that the application dials: `egress_<port>`.
#[must_use]
pub fn egress_chain(port: NonZeroU16) -> String {
    format!("{EGRESS_STAT_PREFIX}_{port}")
}

/// `tcp.<this>.*` of a port that the application dials: `egress_tcp_<port>`.
#[must_use]
pub fn egress_tcp_stats(port: NonZeroU16) -> String {
    format!("{EGRESS_STAT_PREFIX}_tcp_{port}")
}

/// `listener.<this>.*`: `ingress_<port>`.
#[must_use]
pub fn ingress_listener_stats(port: NonZeroU16) -> String {
    format!("ingress_{port}")
}

/// `listener.<this>.*`: `egress_<port>`.
#[must_use]
pub fn egress_listener_stats(port: NonZeroU16) -> String {
    format!("egress_{port}")
}

/// Name of a filter chain, and `http.<this>.*`: `ingress_<protocol>_<port>_<chain>`.
#[must_use]
pub fn ingress_chain(mapping: PortMapping, chain: Chain) -> String {
    format!("ingress_{}_{}_{chain}", protocol(mapping.protocol), mapping.port)
}
