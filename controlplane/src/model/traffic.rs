//! How requests are bounded, watched and logged.

use std::{num::NonZeroU16, time::Duration};

use super::Protocol;

/// `ListenerTimeout` and the `timeout` of a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeout {
    /// Of a request; zero means no bound, absent 15 s. Never there for TCP.
    pub per_request: Option<Duration>,
    /// Of a connection or stream on which nothing happens; zero means no bound.
    pub idle: Option<Duration>,
}

/// `VirtualNodeConnectionPool`, the member of the listener's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionPool {
    /// `http`.
    Http {
        /// 1 or more.
        max_connections: u32,
        /// 1 or more; absent means no bound.
        max_pending_requests: Option<u32>,
    },
    /// `http2` and `grpc`.
    Http2 {
        /// 1 or more.
        max_requests: u32,
    },
    /// `tcp`.
    Tcp {
        /// 1 or more.
        max_connections: u32,
    },
}

/// `HealthCheckPolicy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// How it is checked.
    pub protocol: Protocol,
    /// Of HTTP and HTTP/2 checks, where it is required.
    pub path: Option<String>,
    /// The listener's port unless it says another.
    pub port: NonZeroU16,
    /// 2 to 10 checks.
    pub healthy_threshold: u32,
    /// 2 to 10 checks.
    pub unhealthy_threshold: u32,
    /// 5 s to 5 min.
    pub interval: Duration,
    /// 2 s to 1 min.
    pub timeout: Duration,
}

/// `OutlierDetection`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutlierDetection {
    /// Server errors in a row after which an instance is left out; 1 or more.
    pub max_server_errors: u32,
    /// Between two looks.
    pub interval: Duration,
    /// How long an instance is left out at first.
    pub base_ejection_duration: Duration,
    /// 0 to 100.
    pub max_ejection_percent: u32,
}

/// `FileAccessLog`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// A path in the proxy's file system.
    pub path: String,
    /// Absent means Envoy's own format.
    pub format: Option<LogFormat>,
}

/// `LoggingFormat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// A line, with Envoy's command operators.
    Text(String),
    /// Members of an object, in the order given, their values with Envoy's command operators.
    Json(Vec<(String, String)>),
}
