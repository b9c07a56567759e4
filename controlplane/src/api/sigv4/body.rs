//! Reads a request's body up to a limit.

use std::time::Duration;

use axum::body::{Body, Bytes};
use bytes::BytesMut;
use http::StatusCode;
use http_body_util::BodyExt;
use tokio::time::timeout;

use crate::api::ApiError;

/// How much is read and thrown away so that a client that sends too much can still read why it was refused.
const MAX_DRAIN: usize = 8 * 1024 * 1024;

/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// The whole body.
///
/// # Errors
/// More than `limit` bytes, a connection that breaks, or one that is too slow.
pub(super) async fn read(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    let late = || {
        let message = format!("the body did not arrive within {} s", PATIENCE.as_secs());
        ApiError::new(StatusCode::REQUEST_TIMEOUT, "RequestTimeoutException", message)
    };
    timeout(PATIENCE, read_all(body, limit)).await.unwrap_or_else(|_| Err(late()))
}

async fn read_all(mut body: Body, limit: usize) -> Result<Bytes, ApiError> {
    let mut kept = BytesMut::new();
    let mut total = 0_usize;
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| ApiError::bad_request(format!("the body cannot be read: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        total = total.saturating_add(data.len());
        match total {
            total if total <= limit => kept.extend_from_slice(&data),
            total if total > MAX_DRAIN => break,
            _ => kept = BytesMut::new(),
        }
    }
    match total <= limit {
        true => Ok(kept.freeze()),
        false => Err(ApiError::too_large(limit)),
    }
}
