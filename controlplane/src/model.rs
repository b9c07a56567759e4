//! The mesh as Signet understands it: App Mesh's resources, parsed and bounded.
//!
//! Whatever is in here is legal by itself. References between resources may dangle where App Mesh lets
//! them (a backend may name a service that does not exist yet), so translation copes with absence.

mod document;
pub mod key;
mod parse;
mod registration;
pub mod shape;

use std::{collections::BTreeMap, num::NonZeroU16, sync::Arc, time::Duration};

use signet_policies::{identity::ResourceName, mtls::Mode};

pub use document::{Document, Spec};

/// Everything that the API holds, at one revision. Cheap to clone: the parts are shared.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// Rises with every write; 0 is the empty store.
    pub revision: u64,
    /// By name.
    pub meshes: BTreeMap<ResourceName, Arc<Mesh>>,
}

/// A mesh and all that is in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mesh {
    /// What traffic to unknown destinations meets.
    pub egress_filter: EgressFilter,
    /// By name.
    pub virtual_nodes: BTreeMap<ResourceName, Arc<VirtualNode>>,
    /// By name, which is what applications write into the Host header.
    pub virtual_services: BTreeMap<String, Arc<VirtualService>>,
    /// By name.
    pub virtual_routers: BTreeMap<ResourceName, Arc<VirtualRouter>>,
}

/// `MeshSpec.egressFilter.type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EgressFilter {
    /// Unknown destinations are passed through.
    AllowAll,
    /// Unknown destinations are refused; App Mesh's default.
    #[default]
    DropAll,
}

/// `VirtualNodeSpec`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VirtualNode {
    /// The ports it serves, distinct.
    pub listeners: Vec<Listener>,
    /// Where its instances are; always there when it has listeners.
    pub discovery: Option<Discovery>,
    /// Names of the virtual services it calls; they need not exist.
    pub backends: Vec<String>,
}

/// `Listener`.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// Port and protocol.
    pub port_mapping: PortMapping,
    /// Absent means plaintext.
    pub tls: Option<ListenerTls>,
}

/// `PortMapping`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortMapping {
    /// 1 to 65535.
    pub port: NonZeroU16,
    /// What is spoken on it.
    pub protocol: Protocol,
}

/// The protocols that this version routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// HTTP/1.1, and h2c where the client speaks it.
    Http,
}

/// `ListenerTls`.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenerTls {
    /// What is accepted.
    pub mode: Mode,
    /// What is presented.
    pub certificate: Certificate,
    /// Present means that a client certificate is required in STRICT, and verified where sent in PERMISSIVE.
    pub validation: Option<Validation>,
}

/// `ListenerTlsCertificate`: both come from the agent's SDS socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// Issued by Signet's CA; the ARN is kept for those who look for it.
    Acm {
        /// As the caller wrote it.
        arn: String,
    },
    /// A secret name on the agent's socket.
    Sds {
        /// `default`, which is all that the API takes so far, or a SPIFFE ID.
        secret_name: String,
    },
}

/// `ListenerTlsValidationContext` with SDS trust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validation {
    /// The secret that holds the roots: `ROOTCA`, which is all that the API takes so far.
    pub trust_secret: String,
    /// Exact SANs of which a client must have one; empty means any identity of the mesh.
    pub subject_alternative_names: Vec<String>,
}

/// `ServiceDiscovery`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// By DNS.
    Dns {
        /// A host name, or an IP address.
        hostname: String,
        /// One address at a time, or all of them.
        response_type: DnsResponseType,
    },
}

/// `DnsServiceDiscovery.responseType`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DnsResponseType {
    /// One address at a time, re-resolved; App Mesh's default.
    #[default]
    LoadBalancer,
    /// Every address is a host of its own.
    Endpoints,
}

/// `VirtualServiceSpec`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VirtualService {
    /// Absent means that the name is known and calls to it fail.
    pub provider: Option<Provider>,
}

/// `VirtualServiceProvider`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provider {
    /// All traffic to one node.
    VirtualNode(ResourceName),
    /// Traffic by the router's routes.
    VirtualRouter(ResourceName),
}

/// `VirtualRouterSpec`, and the routes under it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VirtualRouter {
    /// The ports that callers dial, distinct.
    pub listeners: Vec<PortMapping>,
    /// By name.
    pub routes: BTreeMap<ResourceName, Arc<Route>>,
}

/// `RouteSpec` with an `httpRoute`.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// 0 is the first to be tried, absent the last.
    pub priority: Option<u16>,
    /// Starts with a slash.
    pub prefix: String,
    /// Limits the route to one of the router's ports.
    pub port: Option<NonZeroU16>,
    /// 1 to 10 of them; the weights are relative.
    pub targets: Vec<WeightedTarget>,
    /// Absent means App Mesh's default policy.
    pub retry: Option<RetryPolicy>,
}

/// `WeightedTarget`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightedTarget {
    /// The target node.
    pub virtual_node: ResourceName,
    /// 0 to 100.
    pub weight: u8,
    /// Which of the node's listeners; absent where it has one.
    pub port: Option<NonZeroU16>,
}

/// `HttpRetryPolicy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries after the first.
    pub max_retries: u32,
    /// Of one try.
    pub per_retry_timeout: Duration,
    /// In the order given; at least one of these and `on_connection_error` is there.
    pub http_events: Vec<HttpRetryEvent>,
    /// `tcpRetryEvents: [connection-error]`.
    pub on_connection_error: bool,
}

/// `httpRetryEvents`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HttpRetryEvent {
    /// 500 to 508, 510, 511, and resets.
    ServerError,
    /// 502, 503, 504, and resets.
    GatewayError,
    /// 409.
    ClientError,
    /// A refused stream.
    StreamError,
}
