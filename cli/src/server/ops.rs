//! Health, readiness and metrics.

use std::{fmt::Write as _, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use signet_controlplane::proxies::{Proxies, ProxyState};
use signet_durable::Database;
use tokio_util::sync::CancellationToken;

/// The media type of OpenMetrics, version 1.0.0.
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// What the pages are about.
#[derive(Clone)]
pub(super) struct Ops {
    /// The connected proxies.
    pub proxies: Arc<Proxies>,
    /// Where everything is kept.
    pub(super) database: Database,
    /// Cancelled when the server starts to drain.
    pub draining: CancellationToken,
}

/// The pages. The listener is bound once everything is ready, so an answer means that the server serves.
pub(super) fn router(ops: Ops) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(ops)
}

async fn ready(State(ops): State<Ops>) -> (StatusCode, &'static str) {
    match (ops.draining.is_cancelled(), ops.database.health()) {
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        (false, Err(_)) => {
            (StatusCode::SERVICE_UNAVAILABLE, "the store cannot write; see the log, and restart\n")
        }
        (false, Ok(())) => (StatusCode::OK, "ready\n"),
    }
}

async fn metrics(State(ops): State<Ops>) -> Response {
    ([(header::CONTENT_TYPE, OPEN_METRICS)], exposition(&ops.proxies)).into_response()
}

/// OpenMetrics text: connected proxies by state.
fn exposition(proxies: &Proxies) -> String {
    let views = proxies.list();
    let mut text = String::from(
        "# TYPE signet_proxies gauge\n# HELP signet_proxies Connected Envoys by state of their configuration.\n",
    );
    let states = [
        (ProxyState::Synced, "synced"),
        (ProxyState::Pending, "pending"),
        (ProxyState::Rejected, "rejected"),
    ];
    for (state, name) in states {
        let count = views.iter().filter(|view| view.status == state).count();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "signet_proxies{{state=\"{name}\"}} {count}");
    }
    text.push_str("# EOF\n");
    text
}
