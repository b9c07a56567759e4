//! Health, readiness and metrics.

use std::{
    collections::BTreeMap,
    fmt::{Display, Write as _},
    sync::Arc,
};

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::{encoding::text::encode_registry, registry::Registry};
use signet_ca::{Nodes, crl::RevocationList, nodes::NodeViews, standing::Standing};
use signet_controlplane::proxies::{Proxies, ProxyState};
use signet_durable::Database;
use signet_policies::time::{Clock, Timestamp};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The media type of OpenMetrics, version 1.0.0.
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// RFC 2585, section 4.2.
const CRL: HeaderValue = HeaderValue::from_static("application/pkix-crl");

/// What the pages are about.
#[derive(Clone)]
pub(super) struct Ops {
    /// The connected proxies.
    pub proxies: Arc<Proxies>,
    /// Where everything is kept.
    pub(super) database: Database,
    /// Who is revoked, and whether anything is signed.
    pub(super) standing: watch::Receiver<Arc<Standing>>,
    /// Lists of what is revoked.
    pub(super) lists: watch::Receiver<Arc<Vec<RevocationList>>>,
    /// What agents report.
    pub(super) nodes: Nodes,
    /// What is counted and timed as it happens.
    pub(super) meters: Arc<Registry>,
    /// Now.
    pub(super) clock: Clock,
    /// Cancelled when the server starts to drain.
    pub draining: CancellationToken,
}

/// The pages. The listener is bound once everything is ready, so an answer means that the server serves.
pub(super) fn router(ops: Ops) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/crl/{name}", get(revocation_list))
        .with_state(ops)
}

async fn ready(State(ops): State<Ops>) -> (StatusCode, &'static str) {
    match (ops.draining.is_cancelled(), ops.database.health()) {
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        (false, Err(_)) => {
            (StatusCode::SERVICE_UNAVAILABLE, "the store cannot write; see the log, and restart\n")
        }
        (false, Ok(())) if ops.standing.borrow().halted().is_some() => (
            StatusCode::SERVICE_UNAVAILABLE,
            "issuing is halted; see the log, and `signet ca release --help`\n",
        ),
        (false, Ok(())) => (StatusCode::OK, "ready\n"),
    }
}

/// The list of what one authority has revoked, by its key identifier: `<40 hexadecimal digits>.crl`.
async fn revocation_list(State(ops): State<Ops>, Path(name): Path<String>) -> Response {
    let lists = ops.lists.borrow().clone();
    let key_id = name.strip_suffix(".crl").unwrap_or_default().to_ascii_lowercase();
    let found = lists.iter().find(|list| list.key_id == key_id).and_then(|list| list.der.clone().ok());
    match found {
        Some(der) => ([(header::CONTENT_TYPE, CRL)], der).into_response(),
        None => (StatusCode::NOT_FOUND, "there is no list of that authority; name it as KEYID.crl\n")
            .into_response(),
    }
}

async fn metrics(State(ops): State<Ops>) -> Response {
    let mut text = exposition(&ops.proxies, &ops.standing.borrow());
    lives(&mut text, &ops.nodes.subscribe().borrow(), (ops.clock)().into());
    // What is written to a string cannot fail.
    let _ = encode_registry(&mut text, &ops.meters);
    text.push_str("# EOF\n");
    ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response()
}

/// OpenMetrics text: connected proxies by state, what was encoded for them, and what is revoked.
fn exposition(proxies: &Proxies, standing: &Standing) -> String {
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
    let (encoded, help) =
        ("signet_resources_encoded", "Resources that were encoded for Envoys, each once for all.");
    let count = proxies.encoded();
    let _ = writeln!(text, "# TYPE {encoded} counter\n# HELP {encoded} {help}\n{encoded}_total {count}");
    let gauges = [
        ("signet_revoked_certificates", "Certificates that were revoked.", standing.certificates().count()),
        ("signet_banned_identities", "Identities that get no certificates.", standing.bans().count()),
        (
            "signet_issuing_halted",
            "1 where nothing is signed until somebody looks.",
            standing.halted().iter().count(),
        ),
    ];
    for (name, help, value) in gauges {
        let _ = writeln!(text, "# TYPE {name} gauge\n# HELP {name} {help}\n{name} {value}");
    }
    text
}

/// What agents of one mesh report.
#[derive(Default)]
struct Lives {
    /// Least life left of a certificate, in seconds.
    least: Option<i64>,
    /// Agents that cannot renew.
    failing: usize,
    /// The clock that is furthest from the server's, in milliseconds.
    apart: u64,
}

/// Of each mesh, how long the certificate that ends first has left, how many agents cannot renew, and how far their
/// clocks are from this one.
fn lives(text: &mut String, views: &NodeViews, now: Timestamp) {
    let mut meshes: BTreeMap<&str, Lives> = BTreeMap::new();
    for view in views.iter().filter(|view| view.connected) {
        let mesh = meshes.entry(view.key.workload.mesh.as_str()).or_default();
        let left = view.report.held.as_ref().map(|held| held.not_after.unix() - now.unix());
        mesh.least = mesh.least.into_iter().chain(left).min();
        mesh.failing += usize::from(view.report.renewal.failures > 0);
        mesh.apart = mesh.apart.max(view.clock_ahead_ms().unsigned_abs());
    }
    let help = "Least life left of a certificate that a connected agent holds.";
    let least = meshes.iter().filter_map(|(mesh, lives)| Some((*mesh, lives.least?)));
    by_mesh(text, "signet_certificate_remaining_seconds", help, least);
    let help = "Connected agents whose last renewal failed.";
    let failing = meshes.iter().map(|(mesh, lives)| (*mesh, lives.failing));
    by_mesh(text, "signet_agents_failing_to_renew", help, failing);
    let help = "Furthest that the clock of a connected agent is from the server's, in either direction.";
    let apart = meshes.iter().map(|(mesh, lives)| (*mesh, lives.apart / 1000));
    by_mesh(text, "signet_agent_clock_apart_seconds", help, apart);
}

/// A gauge with a value for each mesh.
fn by_mesh<'a, V: Display>(
    text: &mut String,
    name: &str,
    help: &str,
    values: impl Iterator<Item = (&'a str, V)>,
) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "# TYPE {name} gauge");
    if name.ends_with("_seconds") {
        let _ = writeln!(text, "# UNIT {name} seconds");
    }
    let _ = writeln!(text, "# HELP {name} {help}");
    for (mesh, value) in values {
        let _ = writeln!(text, "{name}{{mesh=\"{mesh}\"}} {value}");
    }
}
