//! `/v1/proxies`: who is connected, what each was sent and made of it, and what was refused lately.

use axum::{
    Json, Router,
    extract::{Path, Query, State, rejection::QueryRejection},
    routing::get,
};
use serde::{Deserialize, Serialize};
use signet_controlplane::{
    api::{ApiError, Caller},
    proxies::{GoneView, ProxyDetail, ProxyView, RefusalView},
    reconcile::PortView,
};
use signet_policies::identity::Workload;

use super::V1;

const LIST: &str = "signet:ListProxies";

pub(super) fn router() -> Router<V1> {
    Router::new()
        .route("/v1/proxies", get(list))
        .route("/v1/proxies/refusals", get(refusals))
        .route("/v1/proxies/{mesh}/{kind}/{name}", get(show))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ListAnswer {
    /// Of the newest model.
    revision: u64,
    /// Of the model that the proxies are fed from; what follows is about that one.
    fed_revision: u64,
    proxies: Vec<ProxyView>,
    /// Those that left a moment ago, for whose return changes wait.
    gone: Vec<GoneView>,
    ports: Vec<PortView>,
}

#[derive(Serialize)]
struct RefusalsAnswer {
    refusals: Vec<RefusalView>,
}

#[derive(Serialize)]
struct ShowAnswer {
    workload: String,
    /// What each of them proved to be.
    identity: String,
    proxies: Vec<ProxyDetail>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShowQuery {
    /// Whether to show resources in full.
    #[serde(default)]
    config: bool,
}

/// Shows of the proxies those that the caller may see.
async fn list(State(v1): State<V1>, caller: Caller) -> Result<Json<ListAnswer>, ApiError> {
    let may_see = v1.visible(&caller)?;
    let fed_revision = v1.proxies.revision();
    let (mut proxies, mut gone) = (v1.proxies.list(), v1.proxies.gone());
    let ports = v1
        .ports
        .borrow()
        .iter()
        .filter(|(id, _)| may_see(&id.workload.to_string()))
        .map(|(_, port)| port.clone())
        .collect();
    let revision = v1.model.borrow().revision;
    proxies.retain(|proxy| may_see(&proxy.workload));
    gone.retain(|proxy| may_see(&proxy.workload));
    Ok(Json(ListAnswer { revision, fed_revision, proxies, gone, ports }))
}

async fn refusals(State(v1): State<V1>, caller: Caller) -> Result<Json<RefusalsAnswer>, ApiError> {
    let may_see = v1.visible(&caller)?;
    let mut refusals = v1.proxies.refusals();
    refusals.retain(|refusal| may_see(&refusal.workload));
    Ok(Json(RefusalsAnswer { refusals }))
}

async fn show(
    State(v1): State<V1>,
    caller: Caller,
    Path((mesh, kind, name)): Path<(String, String, String)>,
    query: Result<Query<ShowQuery>, QueryRejection>,
) -> Result<Json<ShowAnswer>, ApiError> {
    let Query(ShowQuery { config }) = query.map_err(|refused| ApiError::bad_request(refused.body_text()))?;
    let workload: Workload = format!("mesh/{mesh}/{kind}/{name}").parse().map_err(|error| {
        ApiError::bad_request(format!("the path names no virtual node or gateway: {error}"))
    })?;
    caller.check(&v1.settings, "signet:DescribeProxies", &v1.arn(&workload.to_string()))?;
    if !v1.model.borrow().has(&workload) {
        return Err(ApiError::not_found(format!("{workload} does not exist")));
    }
    let identity = workload.spiffe_id(&v1.trust_domain).to_string();
    let proxies = match config {
        true => v1.proxies.details_in_full(&workload),
        false => v1.proxies.details(&workload),
    };
    Ok(Json(ShowAnswer { workload: workload.to_string(), identity, proxies }))
}

impl V1 {
    /// Which workloads' proxies the caller may see; a refusal where there can be none.
    pub(super) fn visible<'a>(&'a self, caller: &'a Caller) -> Result<impl Fn(&str) -> bool + 'a, ApiError> {
        if !caller.may_somewhere(LIST) {
            caller.check(&self.settings, LIST, "*")?;
        }
        Ok(|workload: &str| caller.may(LIST, &self.arn(workload)))
    }
}
