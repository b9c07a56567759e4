//! `HttpRetryPolicy`.

use std::time::Duration;

use crate::model::{
    HttpRetryEvent, RetryPolicy,
    shape::{Field, Invalid, Object, Rule},
};

/// Longest time, in seconds, that a proxy can count in nanoseconds.
const MAX_SECONDS: i64 = i64::MAX / 1_000_000_000;

const HTTP_EVENTS: [(&str, HttpRetryEvent); 4] = [
    ("server-error", HttpRetryEvent::ServerError),
    ("gateway-error", HttpRetryEvent::GatewayError),
    ("client-error", HttpRetryEvent::ClientError),
    ("stream-error", HttpRetryEvent::StreamError),
];

pub(super) fn parse(field: &Field<'_>) -> Result<RetryPolicy, Invalid> {
    let policy = field.object()?;
    let policy = RetryPolicy {
        max_retries: policy.required("maxRetries")?.integer(0..=i64::from(u32::MAX))?,
        per_retry_timeout: duration(&policy.required("perRetryTimeout")?)?,
        http_events: http_events(&policy)?,
        grpc_events: Vec::new(),
        on_connection_error: on_connection_error(&policy)?,
    };
    // Constraint C27.
    match policy.http_events.is_empty() && !policy.on_connection_error {
        true => {
            let why = "must name at least one event, in httpRetryEvents or tcpRetryEvents";
            Err(field.invalid(Rule::Other(why.into())))
        }
        false => Ok(policy),
    }
}

fn http_events(policy: &Object<'_>) -> Result<Vec<HttpRetryEvent>, Invalid> {
    let Some(events) = policy.optional("httpRetryEvents") else {
        return Ok(Vec::new());
    };
    events.items(1..=25)?.iter().map(|event| event.one_of(&HTTP_EVENTS)).collect()
}

fn on_connection_error(policy: &Object<'_>) -> Result<bool, Invalid> {
    let Some(events) = policy.optional("tcpRetryEvents") else {
        return Ok(false);
    };
    let events = events.items(1..=1)?;
    events.iter().try_for_each(|event| event.one_of(&[("connection-error", ())]))?;
    Ok(true)
}

/// `Duration`. A value without a unit has no documented meaning, so both are asked for.
fn duration(field: &Field<'_>) -> Result<Duration, Invalid> {
    let duration = field.object()?;
    let units = [("s", true), ("ms", false)];
    let in_seconds = duration.required("unit")?.one_of(&units)?;
    let value = duration.required("value")?;
    match in_seconds {
        true => value.integer(0..=MAX_SECONDS).map(Duration::from_secs),
        false => value.integer(0..=MAX_SECONDS * 1000).map(Duration::from_millis),
    }
}
