//! `/v1/instances`: where the nodes are that are found by Cloud Map's names, and how they are.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use axum::{
    Json, Router,
    extract::{
        Path, Query, State,
        rejection::{JsonRejection, QueryRejection},
    },
    routing::{get, put},
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use signet_controlplane::{
    api::{ApiError, Caller},
    discovery::{DiscoveryError, Health, Instance, InstanceKey},
};
use signet_policies::time::Timestamp;
use tracing::{info, warn};

use super::V1;

/// Most instances on a page, and how many there are if nobody says.
const PAGE: usize = 1000;

pub(super) fn router() -> Router<V1> {
    Router::new()
        .route("/v1/instances", get(list))
        .route("/v1/instances/{namespace}/{service}/{id}", put(register).delete(deregister))
        .route("/v1/instances/{namespace}/{service}/{id}/health", put(set_health))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RegisterRequest {
    attributes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct HealthRequest {
    /// `HEALTHY` or `UNHEALTHY`.
    status: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ListRequest {
    namespace: Option<String>,
    service: Option<String>,
    max_results: Option<usize>,
    next_token: Option<String>,
}

/// An instance as everybody is shown it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InstanceView {
    pub(crate) namespace: String,
    pub(crate) service: String,
    pub(crate) id: String,
    pub(crate) health: Health,
    /// RFC 3339, in UTC.
    pub(crate) registered_at: String,
    pub(crate) attributes: BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ListAnswer {
    instances: Vec<InstanceView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

/// What a change came to.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Change {
    /// It is so because of this request, and was not before.
    changed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<InstanceView>,
}

type Named = Path<(String, String, String)>;

async fn register(
    State(v1): State<V1>,
    caller: Caller,
    Path(names): Named,
    request: Result<Json<RegisterRequest>, JsonRejection>,
) -> Result<Json<Change>, ApiError> {
    let key = v1.instance(&caller, "signet:RegisterInstance", &names)?;
    let Json(request) = request.map_err(|refused| ApiError::bad_request(refused.body_text()))?;
    let now = (v1.clock)().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let registered = v1.discovery.register(key.clone(), request.attributes, now).await;
    let (instance, changed) = registered.map_err(refused)?;
    info!(instance = %key, is_new = changed, by = caller.user(), "registered an instance");
    Ok(Json(Change { changed, instance: Some(view(names, &instance)) }))
}

async fn deregister(
    State(v1): State<V1>,
    caller: Caller,
    Path(names): Named,
) -> Result<Json<Change>, ApiError> {
    let key = v1.instance(&caller, "signet:DeregisterInstance", &names)?;
    let removed = v1.discovery.deregister(key.clone()).await.map_err(refused)?;
    info!(instance = %key, was_there = removed.is_some(), by = caller.user(), "deregistered an instance");
    let changed = removed.is_some();
    Ok(Json(Change { changed, instance: removed.map(|instance| view(names, &instance)) }))
}

async fn set_health(
    State(v1): State<V1>,
    caller: Caller,
    Path(names): Named,
    request: Result<Json<HealthRequest>, JsonRejection>,
) -> Result<Json<Change>, ApiError> {
    let key = v1.instance(&caller, "signet:UpdateInstanceHealth", &names)?;
    let Json(request) = request.map_err(|refused| ApiError::bad_request(refused.body_text()))?;
    let health = match request.status.as_str() {
        "HEALTHY" => Health::Healthy,
        "UNHEALTHY" => Health::Unhealthy,
        _ => return Err(ApiError::bad_request("status: must be HEALTHY or UNHEALTHY")),
    };
    let (instance, changed) = v1.discovery.set_health(key.clone(), health).await.map_err(refused)?;
    info!(instance = %key, status = request.status, by = caller.user(), "an instance's health was set");
    Ok(Json(Change { changed, instance: Some(view(names, &instance)) }))
}

/// Shows of the instances those that the caller may see, in the order of their names.
async fn list(
    State(v1): State<V1>,
    caller: Caller,
    request: Result<Query<ListRequest>, QueryRejection>,
) -> Result<Json<ListAnswer>, ApiError> {
    const ACTION: &str = "signet:ListInstances";
    if !caller.may_somewhere(ACTION) {
        caller.check(&v1.settings, ACTION, "*")?;
    }
    let Query(ListRequest { namespace, service, max_results, next_token }) =
        request.map_err(|refused| ApiError::bad_request(refused.body_text()))?;
    let limit = max_results.unwrap_or(PAGE);
    if !(1..=PAGE).contains(&limit) {
        return Err(ApiError::bad_request(format!("maxResults: must be 1 to {PAGE}; it is {limit}")));
    }
    let after = next_token.as_deref().map(parse_token).transpose()?;
    let all = Arc::clone(&v1.discovery.subscribe().borrow());
    let is_asked = |asked: &Option<String>, it: &str| asked.as_deref().is_none_or(|asked| asked == it);
    let mut found = all.iter().filter(|(in_namespace, of_service, id, _)| {
        is_asked(&namespace, in_namespace)
            && is_asked(&service, of_service)
            && after.as_ref().is_none_or(|after| (*in_namespace, *of_service, *id) > after.as_strs())
            && caller
                .may(ACTION, &v1.settings.own_arn(&format!("instances/{in_namespace}/{of_service}/{id}")))
    });
    let page = found.by_ref().take(limit);
    let instances: Vec<InstanceView> =
        page.map(|(n, s, id, instance)| view((n.into(), s.into(), id.into()), instance)).collect();
    let next_token = found.next().and_then(|_| instances.last().map(token));
    Ok(Json(ListAnswer { instances, next_token }))
}

/// Where a page ended.
struct After(String, String, String);

impl After {
    fn as_strs(&self) -> (&str, &str, &str) {
        (&self.0, &self.1, &self.2)
    }
}

fn token(last: &InstanceView) -> String {
    hex::encode([last.namespace.as_str(), &last.service, &last.id].join("\0"))
}

fn parse_token(token: &str) -> Result<After, ApiError> {
    let unknown = || ApiError::bad_request("nextToken: is none that this server gave");
    let text = hex::decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(unknown)?;
    match text.split('\0').collect::<Vec<_>>()[..] {
        [namespace, service, id] => Ok(After(namespace.into(), service.into(), id.into())),
        _ => Err(unknown()),
    }
}

impl V1 {
    /// The instance that a path names, if the caller may do this to it.
    fn instance(
        &self,
        caller: &Caller,
        action: &str,
        (namespace, service, id): &(String, String, String),
    ) -> Result<InstanceKey, ApiError> {
        // Checked first: a name that is none must not look like a pattern's match.
        let key = InstanceKey::new(namespace, service, id);
        let key = key.map_err(|refused| ApiError::bad_request(refused.to_string()))?;
        caller.check(
            &self.settings,
            action,
            &self.settings.own_arn(&format!("instances/{namespace}/{service}/{id}")),
        )?;
        Ok(key)
    }
}

fn view((namespace, service, id): (String, String, String), instance: &Instance) -> InstanceView {
    let Instance { attributes, health, registered_at } = instance;
    InstanceView {
        namespace,
        service,
        id,
        health: *health,
        registered_at: Timestamp::from(UNIX_EPOCH + Duration::from_millis(*registered_at)).to_string(),
        attributes: attributes.all().clone(),
    }
}

fn refused(error: DiscoveryError) -> ApiError {
    match error {
        DiscoveryError::Attributes(_) => ApiError::bad_request(error.to_string()),
        DiscoveryError::Missing(_) => ApiError::not_found(error.to_string()),
        DiscoveryError::Full { .. } => {
            ApiError::new(StatusCode::BAD_REQUEST, "LimitExceededException", error.to_string())
        }
        DiscoveryError::Unavailable(_) | _ => {
            warn!(%error, "cannot store an instance");
            ApiError::unavailable("the registry could not store it; try again")
        }
    }
}
