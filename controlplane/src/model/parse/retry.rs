//! `HttpRetryPolicy` and `GrpcRetryPolicy`.

use super::traffic::duration;
use crate::model::{
    GrpcRetryEvent, HttpRetryEvent, RetryPolicy,
    shape::{Field, Invalid, Object},
};

const HTTP_EVENTS: [(&str, HttpRetryEvent); 4] = [
    ("server-error", HttpRetryEvent::ServerError),
    ("gateway-error", HttpRetryEvent::GatewayError),
    ("client-error", HttpRetryEvent::ClientError),
    ("stream-error", HttpRetryEvent::StreamError),
];
const GRPC_EVENTS: [(&str, GrpcRetryEvent); 5] = [
    ("cancelled", GrpcRetryEvent::Cancelled),
    ("deadline-exceeded", GrpcRetryEvent::DeadlineExceeded),
    ("internal", GrpcRetryEvent::Internal),
    ("resource-exhausted", GrpcRetryEvent::ResourceExhausted),
    ("unavailable", GrpcRetryEvent::Unavailable),
];

/// `HttpRetryPolicy`.
pub(super) fn http(field: &Field<'_>) -> Result<RetryPolicy, Invalid> {
    let policy = common(&field.object()?)?;
    require_event(field, policy, "httpRetryEvents or tcpRetryEvents")
}

/// `GrpcRetryPolicy`.
pub(super) fn grpc(field: &Field<'_>) -> Result<RetryPolicy, Invalid> {
    let object = field.object()?;
    let grpc_events = object.each("grpcRetryEvents", 1..=5, |event| event.one_of(&GRPC_EVENTS))?;
    let policy = RetryPolicy { grpc_events, ..common(&object)? };
    require_event(field, policy, "grpcRetryEvents, httpRetryEvents or tcpRetryEvents")
}

fn common(policy: &Object<'_>) -> Result<RetryPolicy, Invalid> {
    let connection_error = [("connection-error", ())];
    let tcp_events = policy.each("tcpRetryEvents", 1..=1, |event| event.one_of(&connection_error))?;
    Ok(RetryPolicy {
        max_retries: policy.required("maxRetries")?.count(0)?,
        per_retry_timeout: duration(&policy.required("perRetryTimeout")?)?,
        http_events: policy.each("httpRetryEvents", 1..=25, |event| event.one_of(&HTTP_EVENTS))?,
        grpc_events: Vec::new(),
        on_connection_error: !tcp_events.is_empty(),
    })
}

/// Constraint C27.
fn require_event(field: &Field<'_>, policy: RetryPolicy, members: &str) -> Result<RetryPolicy, Invalid> {
    let RetryPolicy { http_events, grpc_events, on_connection_error, .. } = &policy;
    let names_one = !http_events.is_empty() || !grpc_events.is_empty() || *on_connection_error;
    field.check(names_one, || format!("must name at least one event, in {members}"))?;
    Ok(policy)
}
