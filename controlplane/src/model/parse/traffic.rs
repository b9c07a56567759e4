//! Timeouts, connection pools, health checks and outlier detection.

use std::time::Duration;

use super::port;
use crate::model::{
    ConnectionPool, HealthCheck, OutlierDetection, PortMapping, Protocol, Timeout,
    shape::{Field, Invalid, Object, Reader},
};

/// Longest time, in seconds, that Envoy takes (seen on 1.40): it counts nanoseconds, and stops one second short.
const MAX_SECONDS: i64 = i64::MAX / 1_000_000_000 - 1;
/// Most of anything that a proxy can be told to let in.
const MAX_COUNT: i64 = i32::MAX as i64;

/// `Duration`. A value without a unit has no documented meaning, so both are asked for.
pub(super) fn duration(field: &Field<'_>) -> Result<Duration, Invalid> {
    let duration = field.object()?;
    let units = [("s", true), ("ms", false)];
    let in_seconds = duration.required("unit")?.one_of(&units)?;
    let value = duration.required("value")?;
    match in_seconds {
        true => value.integer(0..=MAX_SECONDS).map(Duration::from_secs),
        false => value.integer(0..=MAX_SECONDS * 1000).map(Duration::from_millis),
    }
}

/// `HttpTimeout` and `GrpcTimeout`.
pub(super) fn request_timeout(field: &Field<'_>) -> Result<Timeout, Invalid> {
    let timeout = field.object()?;
    Ok(Timeout { per_request: timeout.read("perRequest", duration)?, idle: timeout.read("idle", duration)? })
}

/// `TcpTimeout`.
pub(super) fn connection_timeout(field: &Field<'_>) -> Result<Timeout, Invalid> {
    Ok(Timeout { per_request: None, idle: field.object()?.read("idle", duration)? })
}

/// `ListenerTimeout`.
pub(super) fn listener_timeout(field: &Field<'_>, protocol: Protocol) -> Result<Timeout, Invalid> {
    let timeout = field.object()?;
    let read = timeout.union(&[
        ("http", &request_timeout),
        ("http2", &request_timeout),
        ("grpc", &request_timeout),
        ("tcp", &connection_timeout),
    ])?;
    check_member(field, &timeout, protocol)?;
    Ok(read)
}

/// `VirtualNodeConnectionPool` and `VirtualGatewayConnectionPool`, which has no `tcp`.
pub(super) fn connection_pool(
    field: &Field<'_>,
    protocol: Protocol,
    protocols: &[(&str, Protocol)],
) -> Result<ConnectionPool, Invalid> {
    let pool = field.object()?;
    let readers: Vec<(&str, Reader<'_, '_, ConnectionPool>)> = protocols
        .iter()
        .map(|(name, protocol)| match protocol {
            Protocol::Http => (*name, &http_pool as _),
            Protocol::Http2 | Protocol::Grpc => (*name, &http2_pool as _),
            Protocol::Tcp => (*name, &tcp_pool as _),
        })
        .collect();
    let read = pool.union(&readers)?;
    check_member(field, &pool, protocol)?;
    Ok(read)
}

/// The one member that is set must be that of the listener's protocol (constraint C6).
fn check_member(field: &Field<'_>, object: &Object<'_>, protocol: Protocol) -> Result<(), Invalid> {
    let Some((name, _)) = port::PROTOCOLS.iter().find(|(_, known)| *known == protocol) else {
        return Ok(());
    };
    let rule = || format!("must have the member of the listener's protocol, {name}");
    field.check(object.optional(name).is_some(), rule)
}

fn http_pool(field: &Field<'_>) -> Result<ConnectionPool, Invalid> {
    let pool = field.object()?;
    Ok(ConnectionPool::Http {
        max_connections: pool.required("maxConnections")?.integer(1..=MAX_COUNT)?,
        max_pending_requests: pool.read("maxPendingRequests", |field| field.integer(1..=MAX_COUNT))?,
    })
}

fn http2_pool(field: &Field<'_>) -> Result<ConnectionPool, Invalid> {
    let max_requests = field.object()?.required("maxRequests")?.integer(1..=MAX_COUNT)?;
    Ok(ConnectionPool::Http2 { max_requests })
}

fn tcp_pool(field: &Field<'_>) -> Result<ConnectionPool, Invalid> {
    let max_connections = field.object()?.required("maxConnections")?.integer(1..=MAX_COUNT)?;
    Ok(ConnectionPool::Tcp { max_connections })
}

/// `HealthCheckPolicy` and `VirtualGatewayHealthCheckPolicy`, of a listener.
pub(super) fn health_check(
    field: &Field<'_>,
    listener: PortMapping,
    protocols: &[(&str, Protocol)],
) -> Result<HealthCheck, Invalid> {
    let check = field.object()?;
    let protocol = check.required("protocol")?.one_of(protocols)?;
    let is_kept = protocol != Protocol::Grpc || matches!(listener.protocol, Protocol::Http2 | Protocol::Grpc);
    // The sentence that App Mesh had for it (constraint C9).
    let rule = || "GRPC HealthCheck requires listener type of HTTP2 or GRPC.".to_owned();
    check.check("protocol", is_kept, rule)?;
    let port = check.read("port", port::port)?.unwrap_or(listener.port);
    // Constraint C7.
    let rule = || format!("must be the listener's port, {}; it is {port}", listener.port);
    check.check("port", port == listener.port, rule)?;
    let milliseconds =
        |name: &str, min, max| check.required(name)?.integer(min..=max).map(Duration::from_millis);
    Ok(HealthCheck {
        protocol,
        path: health_check_path(&check, protocol)?,
        port,
        healthy_threshold: check.required("healthyThreshold")?.integer(2..=10)?,
        unhealthy_threshold: check.required("unhealthyThreshold")?.integer(2..=10)?,
        interval: milliseconds("intervalMillis", 5_000, 300_000)?,
        timeout: milliseconds("timeoutMillis", 2_000, 60_000)?,
    })
}

/// Asked for by HTTP and HTTP/2 checks (constraint C8), and ignored by the others.
fn health_check_path(check: &Object<'_>, protocol: Protocol) -> Result<Option<String>, Invalid> {
    match protocol {
        Protocol::Http | Protocol::Http2 => {
            let field = check.required("path")?;
            let path = field.text(1..=usize::MAX)?;
            // Anything else is no request target, and every check would fail.
            field.check(path.starts_with('/'), || "must start with '/'".to_owned())?;
            Ok(Some(path.to_owned()))
        }
        Protocol::Grpc | Protocol::Tcp => {
            check.read("path", |field| field.any_text(0..=usize::MAX)).map(|_| None)
        }
    }
}

/// `OutlierDetection`.
pub(super) fn outlier_detection(field: &Field<'_>) -> Result<OutlierDetection, Invalid> {
    let detection = field.object()?;
    Ok(OutlierDetection {
        max_server_errors: detection.required("maxServerErrors")?.count(1)?,
        interval: some_time(&detection.required("interval")?)?,
        base_ejection_duration: some_time(&detection.required("baseEjectionDuration")?)?,
        max_ejection_percent: detection.required("maxEjectionPercent")?.integer(0..=100)?,
    })
}

/// Envoy refuses a whole cluster whose detection has a zero in it.
fn some_time(field: &Field<'_>) -> Result<Duration, Invalid> {
    let time = duration(field)?;
    field.check(!time.is_zero(), || "must be longer than 0".to_owned())?;
    Ok(time)
}
