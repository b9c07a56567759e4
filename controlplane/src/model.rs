//! The mesh as Signet understands it: App Mesh's resources, parsed and bounded.
//!
//! Whatever is in here is legal by itself. References between resources may dangle where App Mesh lets
//! them (a backend may name a service that does not exist yet), so translation copes with absence.

mod by_name;
mod changes;
mod document;
pub mod key;
mod log_format;
mod parse;
mod regex;
mod registration;
mod routing;
pub mod shape;
mod tags;
mod tls;
mod traffic;

use std::{collections::BTreeMap, num::NonZeroU16, sync::Arc};

use signet_policies::identity::ResourceName;

pub use self::{
    by_name::ByName,
    changes::{Author, Changes, Deed, Written},
    document::{Document, Spec},
    routing::{
        GatewayRoute, GatewayRule, GrpcMatch, GrpcRetryEvent, HeaderMatch, HostnameMatch, HttpMatch,
        HttpRetryEvent, Method, PathMatch, PathRewrite, QueryMatch, RetryPolicy, Route, RouteRule, Scheme,
        ValueMatch, WeightedTarget,
    },
    tags::Tags,
    tls::{Certificate, ClientPolicy, ClientTls, ListenerTls, Trust, Validation},
    traffic::{AccessLog, ConnectionPool, HealthCheck, LogFormat, OutlierDetection, Timeout},
};

use self::key::ServiceName;

/// Everything that the API holds, at one revision. Cheap to clone: the parts are shared.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// Rises with every write; 0 is the empty store.
    pub revision: u64,
    /// By name.
    pub meshes: BTreeMap<ResourceName, Arc<Mesh>>,
    /// What the newest writes were about.
    pub changes: Changes,
}

/// A mesh and all that is in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mesh {
    /// What its own spec says.
    pub settings: MeshSettings,
    /// By name.
    pub virtual_nodes: ByName<ResourceName, VirtualNode>,
    /// By name, which is what applications write into the Host header.
    pub virtual_services: ByName<ServiceName, VirtualService>,
    /// By name.
    pub virtual_routers: ByName<ResourceName, VirtualRouter>,
    /// By name.
    pub virtual_gateways: ByName<ResourceName, VirtualGateway>,
}

/// `MeshSpec`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MeshSettings {
    /// What traffic to unknown destinations meets.
    pub egress_filter: EgressFilter,
    /// Of every node that has none of its own.
    pub ip_preference: Option<IpPreference>,
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

/// `IpPreference`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IpPreference {
    /// IPv4, else IPv6.
    Ipv4Preferred,
    /// IPv6, else IPv4.
    Ipv6Preferred,
    /// IPv4 or nothing.
    Ipv4Only,
    /// IPv6 or nothing.
    Ipv6Only,
}

/// `VirtualNodeSpec`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VirtualNode {
    /// The ports it serves, distinct.
    pub listeners: Vec<Listener>,
    /// Where its instances are; always there when it has listeners.
    pub discovery: Option<Discovery>,
    /// The virtual services it calls, each once; they need not exist.
    pub backends: Vec<Backend>,
    /// How it calls backends that have no policy of their own.
    pub client_policy: Option<ClientPolicy>,
    /// Where requests are logged; absent means nowhere.
    pub access_log: Option<AccessLog>,
}

/// `VirtualServiceBackend`.
#[derive(Clone, Debug, PartialEq)]
pub struct Backend {
    /// Which service.
    pub virtual_service: ServiceName,
    /// Takes the place of the node's default policy as a whole, also where it is empty.
    pub client_policy: Option<ClientPolicy>,
}

/// `Listener`, and `VirtualGatewayListener`, which has no outlier detection and no timeout.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// Port and protocol.
    pub port_mapping: PortMapping,
    /// Absent means plaintext.
    pub tls: Option<ListenerTls>,
    /// Bounds what the application is given at once; absent means no bound.
    pub connection_pool: Option<ConnectionPool>,
    /// How clients check each instance.
    pub health_check: Option<HealthCheck>,
    /// When clients leave out an instance that fails.
    pub outlier_detection: Option<OutlierDetection>,
    /// How long a request may take; absent members mean App Mesh's defaults.
    pub timeout: Timeout,
}

/// `PortMapping`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortMapping {
    /// 1 to 65535.
    pub port: NonZeroU16,
    /// What is spoken on it.
    pub protocol: Protocol,
}

/// `PortProtocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// HTTP/1.1, and h2c where the client speaks it.
    Http,
    /// HTTP/2.
    Http2,
    /// gRPC, over HTTP/2.
    Grpc,
    /// Any bytes.
    Tcp,
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
        /// Which addresses are taken; absent means the mesh's.
        ip_preference: Option<IpPreference>,
    },
    /// By the instance registry, as AWS Cloud Map was.
    CloudMap {
        /// `namespaceName`.
        namespace: String,
        /// `serviceName`.
        service: String,
        /// An instance counts if it has all of them.
        attributes: BTreeMap<String, String>,
        /// Which addresses are taken; absent means the mesh's.
        ip_preference: Option<IpPreference>,
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

/// `VirtualGatewaySpec`, and the gateway routes under it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VirtualGateway {
    /// The ports it serves, distinct, at least one; never TCP.
    pub listeners: Vec<Listener>,
    /// How it calls the services behind it.
    pub client_policy: Option<ClientPolicy>,
    /// Where requests are logged; absent means nowhere.
    pub access_log: Option<AccessLog>,
    /// By name.
    pub routes: BTreeMap<ResourceName, Arc<GatewayRoute>>,
}

impl Listener {
    /// One that serves a port, and asks for nothing more.
    #[must_use]
    pub fn new(port_mapping: PortMapping) -> Self {
        Self {
            port_mapping,
            tls: None,
            connection_pool: None,
            health_check: None,
            outlier_detection: None,
            timeout: Timeout::default(),
        }
    }
}

impl Discovery {
    /// The host part by which the node is known: a DNS host name or address, or `<service>.<namespace>`.
    #[must_use]
    pub fn host(&self) -> String {
        match self {
            Self::Dns { hostname, .. } => hostname.clone(),
            Self::CloudMap { namespace, service, .. } => format!("{service}.{namespace}"),
        }
    }

    /// Its own IP preference.
    #[must_use]
    pub fn ip_preference(&self) -> Option<IpPreference> {
        match self {
            Self::Dns { ip_preference, .. } | Self::CloudMap { ip_preference, .. } => *ip_preference,
        }
    }
}
