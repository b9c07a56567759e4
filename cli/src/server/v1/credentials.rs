//! `/v1/credentials`: the key pairs that may sign.

use axum::{
    Json, Router,
    extract::{Path, State, rejection::JsonRejection},
    routing::{delete, get, post},
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use signet_controlplane::{
    access::Policy,
    api::{ApiError, Caller},
    credentials::{KeyView, KeyringError},
};
use tracing::{info, warn};

use super::V1;
use crate::server::credentials::draw;

pub(super) fn router() -> Router<V1> {
    Router::new()
        .route("/v1/credentials", get(list).post(create))
        .route("/v1/credentials/{id}", delete(remove))
        .route("/v1/credentials/{id}/enable", post(enable))
        .route("/v1/credentials/{id}/disable", post(disable))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateRequest {
    name: String,
    /// IAM's JSON, as it came.
    policy: Box<RawValue>,
}

/// The only answer that holds a secret.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CreateAnswer {
    #[serde(flatten)]
    key: KeyView,
    secret_access_key: String,
}

#[derive(Serialize)]
struct ListAnswer {
    credentials: Vec<KeyView>,
}

type Answer = Result<Json<KeyView>, ApiError>;

async fn list(State(v1): State<V1>) -> Json<ListAnswer> {
    Json(ListAnswer { credentials: v1.keyring.list() })
}

async fn create(
    State(v1): State<V1>,
    caller: Caller,
    request: Result<Json<CreateRequest>, JsonRejection>,
) -> Result<Json<CreateAnswer>, ApiError> {
    let Json(request) = request.map_err(|refused| ApiError::bad_request(refused.body_text()))?;
    v1.check_credentials(&caller, "signet:CreateCredentials", &request.name)?;
    let policy = Policy::from_json(request.policy.get())
        .map_err(|invalid| ApiError::bad_request(invalid.to_string()))?;
    let new = draw(&request.name, policy, (v1.clock)().into(), &mut rand::rng());
    let secret = new.secret.clone();
    let key = v1.keyring.create(new).await.map_err(refused)?;
    info!(access_key_id = %key.access_key_id, name = %key.name, by = caller.user(), "made a key pair");
    Ok(Json(CreateAnswer { key, secret_access_key: secret.as_str().to_owned() }))
}

async fn enable(State(v1): State<V1>, caller: Caller, Path(id): Path<String>) -> Answer {
    v1.check_key(&caller, "signet:EnableCredentials", &id)?;
    changed(&caller, v1.keyring.set_enabled(&id, true).await, "enabled a key pair")
}

async fn disable(State(v1): State<V1>, caller: Caller, Path(id): Path<String>) -> Answer {
    v1.check_key(&caller, "signet:DisableCredentials", &id)?;
    changed(&caller, v1.keyring.set_enabled(&id, false).await, "disabled a key pair")
}

async fn remove(State(v1): State<V1>, caller: Caller, Path(id): Path<String>) -> Answer {
    v1.check_key(&caller, "signet:DeleteCredentials", &id)?;
    changed(&caller, v1.keyring.delete(&id).await, "deleted a key pair")
}

impl V1 {
    fn check_credentials(&self, caller: &Caller, action: &str, name: &str) -> Result<(), ApiError> {
        // A name that is none must not look like a pattern's match.
        let name: String = name.chars().filter(|c| c.is_ascii_graphic()).take(64).collect();
        caller.check(&self.settings, action, &self.settings.own_arn(&format!("credentials/{name}")))
    }

    /// Key pairs are named by their user in policies. One that is not there is told to whoever may do this to
    /// all of them.
    fn check_key(&self, caller: &Caller, action: &str, id: &str) -> Result<(), ApiError> {
        let owner = self.keyring.owner(id).unwrap_or_default();
        self.check_credentials(caller, action, &owner)
    }
}

fn changed(caller: &Caller, done: Result<KeyView, KeyringError>, what: &str) -> Answer {
    let key = done.map_err(refused)?;
    info!(access_key_id = %key.access_key_id, name = %key.name, by = caller.user(), "{what}");
    Ok(Json(key))
}

fn refused(error: KeyringError) -> ApiError {
    match error {
        KeyringError::Unknown(_) => ApiError::not_found(error.to_string()),
        KeyringError::Exists(_) => ApiError::conflict(error.to_string()),
        KeyringError::Name => ApiError::bad_request(format!("name: {error}")),
        KeyringError::LastAdministrator(_) => ApiError::in_use(error.to_string()),
        KeyringError::Full => {
            ApiError::new(StatusCode::BAD_REQUEST, "LimitExceededException", error.to_string())
        }
        KeyringError::Unavailable(_) | _ => {
            warn!(%error, "cannot store a key pair");
            ApiError::unavailable("the key pair could not be stored; try again")
        }
    }
}
