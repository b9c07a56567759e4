//! What every request gets: an id that the caller can quote, and a log line if it is refused.

use axum::{extract::Request, middleware::Next, response::Response};
use http::{HeaderName, HeaderValue};
use tracing::{Instrument, debug, info, info_span, warn};
use uuid::Uuid;

use super::ApiError;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

pub(super) async fn observe(request: Request, next: Next) -> Response {
    let id = Uuid::new_v4().to_string();
    let span = info_span!("api", request_id = %id, method = %request.method(), path = request.uri().path());
    let mut response = next.run(request).instrument(span.clone()).await;
    span.in_scope(|| log(&response));
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// The message is logged quoted: it may hold what a stranger sent.
fn log(response: &Response) {
    let status = response.status().as_u16();
    match response.extensions().get::<ApiError>() {
        Some(error) if response.status().is_server_error() => {
            warn!(status, code = error.code(), reason = ?error.message(), "request failed");
        }
        Some(error) => {
            info!(target: "audit", status, code = error.code(), reason = ?error.message(), "request refused")
        }
        None => debug!(status, "request served"),
    }
}
