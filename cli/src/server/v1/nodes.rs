//! `/v1/nodes`: what each agent told last.

use std::collections::BTreeSet;

use axum::{
    Json, Router,
    extract::{State, rejection::JsonRejection},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use signet_ca::nodes::{Lapsed, Loaded, NodeKey, NodeView, NotForgotten, Presented, SecretState};
use signet_controlplane::api::{ApiError, Caller};
use signet_policies::time::Timestamp;

use tracing::error;

use super::V1;

/// Longest name of an agent, in bytes.
const MAX_NAME: usize = 1024;

pub(super) fn router() -> Router<V1> {
    Router::new().route("/v1/nodes", get(list)).route("/v1/nodes/forget", post(forget))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ForgetRequest {
    /// An instance, a workload, or a serial number.
    node: String,
}

#[derive(Serialize)]
struct ForgetAnswer {
    forgotten: Vec<String>,
}

#[derive(Serialize)]
struct ListAnswer {
    nodes: Vec<View>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct View {
    workload: String,
    instance: String,
    connected: bool,
    state: Standing,
    /// When its certificate ended, of one that is `expired`.
    #[serde(skip_serializing_if = "Option::is_none")]
    expired_at: Option<String>,
    reported_at: String,
    agent_version: String,
    trust_version: String,
    held_serial: Option<String>,
    secrets: Vec<SecretView>,
    presented: Vec<PresentedView>,
    loaded: Vec<LoadedView>,
}

/// How it stands with an agent.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum Standing {
    /// Its stream is open.
    Connected,
    /// Its stream has ended, and its certificate has not.
    Away,
    /// Its certificate ended while it was away. It needs a token.
    Expired,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SecretView {
    stream: String,
    name: String,
    sent: String,
    accepted: String,
    rejected: String,
    reason: String,
    ignores_lists: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PresentedView {
    address: String,
    serial: Option<String>,
    error: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LoadedView {
    serial: Option<String>,
    path: String,
    uris: Vec<String>,
}

/// Shows of the agents those whose proxies the caller may see.
async fn list(State(v1): State<V1>, caller: Caller) -> Result<Json<ListAnswer>, ApiError> {
    let may_see = v1.visible(&caller)?;
    v1.nodes.forget_ended((v1.clock)().into());
    let views = v1.nodes.subscribe().borrow().clone();
    let lapsed = v1.nodes.lapsed();
    let seen = views.iter().filter(|view| may_see(&view.key.workload.to_string()));
    let lapsed = lapsed.iter().filter(|one| may_see(&one.key.workload.to_string()));
    let nodes = seen.map(|view| View::from(&**view)).chain(lapsed.map(View::from)).collect();
    Ok(Json(ListAnswer { nodes }))
}

/// Nobody waits any more for agents that are gone for good without having said so.
async fn forget(
    State(v1): State<V1>,
    caller: Caller,
    request: Result<Json<ForgetRequest>, JsonRejection>,
) -> Result<Json<ForgetAnswer>, ApiError> {
    let Json(ForgetRequest { node }) =
        request.map_err(|refused| ApiError::bad_request(refused.body_text()))?;
    if node.is_empty() || node.len() > MAX_NAME {
        return Err(ApiError::bad_request(format!("node: must have 1 to {MAX_NAME} bytes")));
    }
    let now = (v1.clock)().into();
    let running: BTreeSet<(String, String)> =
        v1.proxies.list().into_iter().filter_map(|proxy| Some((proxy.workload, proxy.instance?))).collect();
    let is_running = |key: &NodeKey| running.contains(&(key.workload.to_string(), key.instance.clone()));
    let forgotten = v1.nodes.forget(&node, &is_running, v1.issuing.ledger(), caller.user(), now).await;
    forgotten.map(|forgotten| Json(ForgetAnswer { forgotten })).map_err(refused)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "whatever else it is, it is not the caller's doing")]
fn refused(refused: NotForgotten) -> ApiError {
    match refused {
        NotForgotten::Unknown(_) => ApiError::not_found(refused.to_string()),
        NotForgotten::Connected(_) | NotForgotten::Running(_) | NotForgotten::Ended(_) => {
            ApiError::conflict(refused.to_string())
        }
        error => {
            error!(%error, "no agent was forgotten");
            ApiError::unavailable(
                "the ledger cannot be written, so nothing was changed; the server's log says why",
            )
        }
    }
}

impl From<&NodeView> for View {
    fn from(view: &NodeView) -> Self {
        let report = &view.report;
        Self {
            workload: view.key.workload.to_string(),
            instance: view.key.instance.clone(),
            connected: view.connected,
            state: if view.connected { Standing::Connected } else { Standing::Away },
            expired_at: None,
            reported_at: Timestamp::from(view.reported_at).to_string(),
            agent_version: report.agent_version.clone(),
            trust_version: report.trust_version.clone(),
            held_serial: report.held.as_ref().and_then(|leaf| leaf.serial).map(|serial| serial.to_string()),
            secrets: report.secrets.iter().map(SecretView::from).collect(),
            presented: report.presented.iter().map(PresentedView::from).collect(),
            loaded: report.loaded.iter().map(LoadedView::from).collect(),
        }
    }
}

/// What its Envoy does is not known any more.
impl From<&Lapsed> for View {
    fn from(lapsed: &Lapsed) -> Self {
        Self {
            workload: lapsed.key.workload.to_string(),
            instance: lapsed.key.instance.clone(),
            connected: false,
            state: Standing::Expired,
            expired_at: Some(lapsed.ended.to_string()),
            reported_at: Timestamp::from(lapsed.reported_at).to_string(),
            agent_version: lapsed.agent_version.clone(),
            trust_version: String::new(),
            held_serial: lapsed.serial.map(|serial| serial.to_string()),
            secrets: Vec::new(),
            presented: Vec::new(),
            loaded: Vec::new(),
        }
    }
}

impl From<&SecretState> for SecretView {
    fn from(secret: &SecretState) -> Self {
        let SecretState { stream, name, sent, accepted, rejected, reason, at_unix_ms: _, ignores_lists } =
            secret.clone();
        Self { stream, name, sent, accepted, rejected, reason, ignores_lists }
    }
}

impl From<&Presented> for PresentedView {
    fn from(presented: &Presented) -> Self {
        let serial = presented.leaf.as_ref().and_then(|leaf| leaf.serial);
        Self {
            address: presented.address.to_string(),
            serial: serial.map(|serial| serial.to_string()),
            error: presented.error.clone(),
        }
    }
}

impl From<&Loaded> for LoadedView {
    fn from(loaded: &Loaded) -> Self {
        let serial = loaded.serial.map(|serial| serial.to_string());
        Self { serial, path: loaded.path.clone(), uris: loaded.uris.clone() }
    }
}
