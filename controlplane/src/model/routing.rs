//! `RouteSpec` and `GatewayRouteSpec`: which requests, where to, and how.

use std::{num::NonZeroU16, time::Duration};

use signet_policies::identity::ResourceName;

use super::{key::ServiceName, traffic::Timeout};

/// `RouteSpec`.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// 0 is the first to be tried, absent the last.
    pub priority: Option<u16>,
    /// Limits the route to one of the router's ports.
    pub port: Option<NonZeroU16>,
    /// What it matches.
    pub rule: RouteRule,
    /// 1 to 10 of them; the weights are relative and at least one is not 0.
    pub targets: Vec<WeightedTarget>,
    /// Absent members mean App Mesh's defaults.
    pub timeout: Timeout,
    /// Absent means App Mesh's default policy; never there on a TCP route.
    pub retry: Option<RetryPolicy>,
}

impl Route {
    /// One of no priority for every port, with App Mesh's defaults.
    #[must_use]
    pub fn new(rule: RouteRule, targets: Vec<WeightedTarget>) -> Self {
        Self { priority: None, port: None, rule, targets, timeout: Timeout::default(), retry: None }
    }
}

/// The kind of a route, and its `match` but for the port.
#[derive(Clone, Debug, PartialEq)]
pub enum RouteRule {
    /// `httpRoute`.
    Http(HttpMatch),
    /// `http2Route`.
    Http2(HttpMatch),
    /// `grpcRoute`.
    Grpc(GrpcMatch),
    /// `tcpRoute`: every connection to the port.
    Tcp,
}

/// `HttpRouteMatch` and `HttpGatewayRouteMatch`; a request must meet all of it.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpMatch {
    /// Where it matches neither a prefix nor a path, this is the prefix `/`.
    pub path: PathMatch,
    /// As it stands in the request line.
    pub method: Option<Method>,
    /// `scheme`; App Mesh heeded it for HTTP/2 only, and gateway routes have none.
    pub scheme: Option<Scheme>,
    /// Up to 10.
    pub headers: Vec<HeaderMatch>,
    /// Up to 10.
    pub query_parameters: Vec<QueryMatch>,
}

impl HttpMatch {
    /// All requests to a path.
    #[must_use]
    pub fn new(path: PathMatch) -> Self {
        Self { path, method: None, scheme: None, headers: Vec::new(), query_parameters: Vec::new() }
    }
}

/// `prefix` or `path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathMatch {
    /// Starts with a slash.
    Prefix(String),
    /// The whole path, without the query.
    Exact(String),
    /// The whole path, by an RE2 expression.
    Regex(String),
}

/// `HttpMethod`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Connect,
    Options,
    Trace,
    Patch,
}

/// `HttpScheme`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Scheme {
    Http,
    Https,
}

/// A header, or a gRPC metadata entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderMatch {
    /// Its name, as the caller wrote it; names are matched without regard to case.
    pub name: String,
    /// What its value must be.
    pub value: ValueMatch,
    /// The other way round.
    pub invert: bool,
}

/// `HeaderMatchMethod` and `GrpcRouteMetadataMatchMethod`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueMatch {
    /// Anything, but it must be there.
    Present,
    /// This.
    Exact(String),
    /// Starts with this.
    Prefix(String),
    /// Ends with this.
    Suffix(String),
    /// The whole value, by an RE2 expression.
    Regex(String),
    /// A whole number; `start < end`.
    Range {
        /// The least.
        start: i64,
        /// The first that is too large.
        end: i64,
    },
}

/// `HttpQueryParameter`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryMatch {
    /// Its name.
    pub name: String,
    /// Its value; absent means any, but it must be there.
    pub exact: Option<String>,
}

/// `GrpcRouteMatch` and `GrpcGatewayRouteMatch`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrpcMatch {
    /// Fully qualified.
    pub service_name: Option<String>,
    /// Only beside a service; gateway routes have none.
    pub method_name: Option<String>,
    /// Up to 10.
    pub metadata: Vec<HeaderMatch>,
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

/// `HttpRetryPolicy` and `GrpcRetryPolicy`; it names at least one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries after the first; larger numbers than this type holds mean its largest.
    pub max_retries: u32,
    /// Of one try; zero means no bound of its own.
    pub per_retry_timeout: Duration,
    /// In the order given.
    pub http_events: Vec<HttpRetryEvent>,
    /// In the order given; gRPC routes only.
    pub grpc_events: Vec<GrpcRetryEvent>,
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

/// `grpcRetryEvents`, by gRPC's status codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are gRPC's")]
pub enum GrpcRetryEvent {
    Cancelled,
    DeadlineExceeded,
    Internal,
    ResourceExhausted,
    Unavailable,
}

/// `GatewayRouteSpec`.
#[derive(Clone, Debug, PartialEq)]
pub struct GatewayRoute {
    /// 0 is the first to be tried, absent the last.
    pub priority: Option<u16>,
    /// Limits the route to one of the gateway's ports.
    pub port: Option<NonZeroU16>,
    /// Which hosts; absent means all.
    pub hostname: Option<HostnameMatch>,
    /// What it matches, and what becomes of the path.
    pub rule: GatewayRule,
    /// The service that requests go to.
    pub virtual_service: ServiceName,
    /// Which of the provider's ports; absent where it has one.
    pub target_port: Option<NonZeroU16>,
    /// Whether the Host header becomes the service's name (`rewrite.hostname.defaultTargetHostname`), which it
    /// does unless it is told not to.
    pub rewrites_hostname: bool,
}

/// The kind of a gateway route, and its `match` but for port and hostname.
#[derive(Clone, Debug, PartialEq)]
pub enum GatewayRule {
    /// `httpRoute`.
    Http(HttpMatch, PathRewrite),
    /// `http2Route`.
    Http2(HttpMatch, PathRewrite),
    /// `grpcRoute`.
    Grpc(GrpcMatch),
}

/// `GatewayRouteHostnameMatch`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostnameMatch {
    /// The whole name.
    Exact(String),
    /// Ends with this, which starts with a dot.
    Suffix(String),
}

/// `HttpGatewayRouteRewrite`'s `prefix` and `path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathRewrite {
    /// The matched prefix becomes `/`; App Mesh's default for a prefix match.
    DefaultPrefix,
    /// The path stays as it is: `defaultPrefix: DISABLED`, or a path match without rewrite.
    Keep,
    /// The matched prefix becomes this, which starts and ends with a slash.
    Prefix(String),
    /// The whole path becomes this.
    Exact(String),
}
