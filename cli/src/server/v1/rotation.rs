//! `/v1/ca/rotation`: replacing the root, or an issuer.

use std::time::Duration;

use axum::{
    Json, Router,
    extract::{State, rejection::JsonRejection},
    routing::{get, post},
};
use serde::Deserialize;
use signet_ca::{
    Succession,
    rotation::{DEFAULT_SPREAD, Plan, RotationError, Status},
};
use signet_controlplane::api::{ApiError, Caller};
use tracing::{error, info};

use super::V1;

/// Proxies that one request may name.
const MAX_NODES: usize = 1000;
/// Longest name of one, in bytes.
const MAX_NAME: usize = 2048;

pub(super) fn router() -> Router<V1> {
    Router::new()
        .route("/v1/ca/rotation", get(status).post(start))
        .route("/v1/ca/rotation/plan", post(plan))
        .route("/v1/ca/rotation/pause", post(pause))
        .route("/v1/ca/rotation/resume", post(resume))
        .route("/v1/ca/rotation/abort", post(abort))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StartRequest {
    /// `root`, `mesh/MESH` or `server`.
    what: String,
    spread_seconds: Option<u64>,
    /// The root that is to come, PEM; without it one is made.
    root: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ResumeRequest {
    /// Proxies that nobody waits for any more.
    #[serde(default)]
    overrides: Vec<String>,
}

impl StartRequest {
    fn what(&self) -> Result<Succession, ApiError> {
        self.what.parse().map_err(|_| {
            ApiError::bad_request(format!("what: {:?} is none of root, mesh/MESH and server", self.what))
        })
    }
}

async fn status(State(v1): State<V1>) -> Json<Status> {
    Json((**v1.rotations.status().borrow()).clone())
}

async fn plan(
    State(v1): State<V1>,
    request: Result<Json<StartRequest>, JsonRejection>,
) -> Result<Json<Plan>, ApiError> {
    let request = read(request)?;
    let what = request.what()?;
    v1.known(&what)?;
    v1.rotations.plan(&what, request.root.as_deref()).await.map(Json).map_err(refused)
}

async fn start(
    State(v1): State<V1>,
    caller: Caller,
    request: Result<Json<StartRequest>, JsonRejection>,
) -> Result<Json<Status>, ApiError> {
    let request = read(request)?;
    let what = request.what()?;
    v1.known(&what)?;
    let spread = request.spread_seconds.map_or(DEFAULT_SPREAD, Duration::from_secs);
    let started = v1.rotations.start(&what, request.root.as_deref(), spread, caller.user()).await;
    let status = started.map_err(refused)?;
    info!(change = %what, by = caller.user(), "a change of the authority was begun");
    Ok(Json((*status).clone()))
}

async fn pause(State(v1): State<V1>, caller: Caller) -> Result<Json<Status>, ApiError> {
    v1.rotations.pause(caller.user()).await.map(|status| Json((*status).clone())).map_err(refused)
}

async fn resume(
    State(v1): State<V1>,
    caller: Caller,
    request: Result<Json<ResumeRequest>, JsonRejection>,
) -> Result<Json<Status>, ApiError> {
    let ResumeRequest { overrides } = read(request)?;
    if overrides.len() > MAX_NODES || overrides.iter().any(|node| node.is_empty() || node.len() > MAX_NAME) {
        return Err(ApiError::bad_request(format!(
            "overrides: at most {MAX_NODES} names of 1 to {MAX_NAME} bytes"
        )));
    }
    let status = v1.rotations.resume(&overrides, caller.user()).await.map_err(refused)?;
    if !overrides.is_empty() {
        info!(nodes = overrides.join(", "), by = caller.user(), "these proxies are waited for no longer");
    }
    Ok(Json((*status).clone()))
}

async fn abort(State(v1): State<V1>, caller: Caller) -> Result<Json<Status>, ApiError> {
    let status = v1.rotations.abort(caller.user()).await.map_err(refused)?;
    info!(by = caller.user(), "a change of the authority was turned round");
    Ok(Json((*status).clone()))
}

fn read<T>(request: Result<Json<T>, JsonRejection>) -> Result<T, ApiError> {
    request.map(|Json(request)| request).map_err(|refused| ApiError::bad_request(refused.body_text()))
}

impl V1 {
    /// Only what has signed can be replaced.
    fn known(&self, what: &Succession) -> Result<(), ApiError> {
        match self.issuing.authority().holds(what) {
            true => Ok(()),
            false => Err(ApiError::not_found(format!("there is no issuer of {what}; see `signet ca show`"))),
        }
    }
}

pub(super) fn refused(refused: RotationError) -> ApiError {
    let text = refused.to_string();
    match refused {
        RotationError::Authority(error) if error.is_about_what_was_given() => {
            ApiError::bad_request(format!("{:#}", anyhow::Error::from(error)))
        }
        RotationError::Nobody { .. } => ApiError::not_found(text),
        RotationError::Busy(_)
        | RotationError::Idle
        | RotationError::NoWayBack(_)
        | RotationError::Needed(_) => ApiError::conflict(text),
        RotationError::Spread => ApiError::bad_request(format!("spreadSeconds: {text}")),
        RotationError::Authority(signet_ca::Error::Succession(_)) => ApiError::conflict(text),
        RotationError::Authority(_) | RotationError::Record(_) | RotationError::Ledger(_) => {
            error!(error = format!("{:#}", anyhow::Error::from(refused)), "a change of the authority failed");
            ApiError::unavailable("the change could not be made; the server's log says why")
        }
        _ => ApiError::unavailable(text),
    }
}
