//! `/v1/nodes`: what each agent told last.

use std::time::SystemTime;

use axum::{Json, Router, extract::State, routing::get};
use serde::Serialize;
use signet_ca::nodes::{Loaded, NodeView, Presented, SecretState};
use signet_controlplane::api::{ApiError, Caller};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::V1;

pub(super) fn router() -> Router<V1> {
    Router::new().route("/v1/nodes", get(list))
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
    reported_at: String,
    agent_version: String,
    trust_version: String,
    held_serial: Option<String>,
    secrets: Vec<SecretView>,
    presented: Vec<PresentedView>,
    loaded: Vec<LoadedView>,
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
    let views = v1.nodes.subscribe().borrow().clone();
    let seen = views.iter().filter(|view| may_see(&view.key.workload.to_string()));
    Ok(Json(ListAnswer { nodes: seen.map(|view| View::from(&**view)).collect() }))
}

impl From<&NodeView> for View {
    fn from(view: &NodeView) -> Self {
        let report = &view.report;
        Self {
            workload: view.key.workload.to_string(),
            instance: view.key.instance.clone(),
            connected: view.connected,
            reported_at: moment(view.reported_at),
            agent_version: report.agent_version.clone(),
            trust_version: report.trust_version.clone(),
            held_serial: report.held.as_ref().and_then(|leaf| leaf.serial).map(|serial| serial.to_string()),
            secrets: report.secrets.iter().map(SecretView::from).collect(),
            presented: report.presented.iter().map(PresentedView::from).collect(),
            loaded: report.loaded.iter().map(LoadedView::from).collect(),
        }
    }
}

impl From<&SecretState> for SecretView {
    fn from(secret: &SecretState) -> Self {
        let SecretState { stream, name, sent, accepted, rejected, reason, at_unix_ms: _ } = secret.clone();
        Self { stream, name, sent, accepted, rejected, reason }
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

fn moment(at: SystemTime) -> String {
    OffsetDateTime::from(at).format(&Rfc3339).unwrap_or_default()
}
