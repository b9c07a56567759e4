//! Signet's own API beside App Mesh's: join tokens, the connected proxies, key pairs, instances, and the authority.

mod access;
pub(crate) mod audit;
mod authority;
pub(super) mod backup;
mod credentials;
mod instances;
mod lasting;
mod ledger;
mod nodes;
mod proxies;
mod revocation;
mod rotation;

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{State, rejection::JsonRejection},
    http::StatusCode,
    middleware,
    routing::post,
};
use serde::{Deserialize, Serialize};
use signet_ca::{
    DEFAULT_TOKEN_LIFE, Issuing, JoinTokens, Nodes, Random, Rotations, TokenError, TrustFeed, ledger::Notary,
};
use signet_controlplane::{
    api::{ApiError, ApiSettings, Caller},
    credentials::Keyring,
    discovery::Discovery,
    model::{Model, key::Key},
    proxies::Proxies,
    reconcile::Ports,
};
use signet_policies::{
    identity::{TrustDomain, Workload, WorkloadKind},
    time::{Clock, Timestamp},
};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::revocation::Effect;
pub(crate) use instances::InstanceView;

/// What the routes work with.
#[derive(Clone)]
pub(super) struct V1 {
    /// Where tokens are kept.
    pub tokens: JoinTokens,
    /// What tokens are made of.
    pub random: Random,
    /// Where instances are.
    pub discovery: Arc<dyn Discovery>,
    /// Who is connected.
    pub proxies: Arc<Proxies>,
    /// Whose identities proxies prove.
    pub trust_domain: TrustDomain,
    /// How ports stand.
    pub ports: watch::Receiver<Ports>,
    /// What exists.
    pub model: watch::Receiver<Arc<Model>>,
    /// Who may sign.
    pub keyring: Keyring,
    /// What ARNs look like.
    pub settings: Arc<ApiSettings>,
    /// Who signs certificates, and what guards it.
    pub issuing: Issuing,
    /// Who signs the ledger's checkpoints.
    pub notary: Arc<Notary>,
    /// Which agents are connected.
    pub nodes: Nodes,
    /// Replaces roots and issuers.
    pub(super) rotations: Rotations,
    /// What everybody must trust now.
    pub(super) trust: TrustFeed,
    /// How far the last revocation has come.
    pub(super) effect: watch::Receiver<Effect>,
    /// What an audit looks at.
    pub(super) audit: audit::Source,
    /// What a backup is made of.
    pub(super) backup: backup::Source,
    /// Now.
    pub clock: Clock,
}

/// The routes, unsigned: the caller puts the signature check before them.
pub(super) fn router(v1: V1) -> Router {
    let check = middleware::from_fn_with_state(v1.settings.clone(), access::check);
    Router::new()
        .route("/v1/tokens", post(create_token))
        .merge(authority::router())
        .merge(credentials::router())
        .merge(instances::router())
        .merge(audit::router())
        .merge(backup::router())
        .merge(rotation::router())
        .merge(nodes::router())
        .merge(proxies::router())
        .merge(ledger::router())
        .merge(revocation::router())
        .layer(middleware::from_fn_with_state(TaskTracker::new(), lasting::to_its_end))
        .layer(check)
        .with_state(v1)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TokenRequest {
    mesh: String,
    virtual_node: Option<String>,
    virtual_gateway: Option<String>,
    ttl_seconds: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TokenAnswer {
    token: String,
    /// As `signet ca why` names it.
    id: String,
    resource: String,
    expires_at: String,
}

impl TokenRequest {
    fn workload(&self) -> Result<Workload, ApiError> {
        let (kind, name) = match (&self.virtual_node, &self.virtual_gateway) {
            (Some(node), None) => (WorkloadKind::VirtualNode, node),
            (None, Some(gateway)) => (WorkloadKind::VirtualGateway, gateway),
            _ => {
                return Err(ApiError::bad_request(
                    "exactly one of virtualNode and virtualGateway must be set",
                ));
            }
        };
        let parse = |member: &str, text: &str| {
            text.parse().map_err(|error| ApiError::bad_request(format!("{member}: {error}")))
        };
        Ok(Workload { mesh: parse("mesh", &self.mesh)?, kind, name: parse("name", name)? })
    }
}

async fn create_token(
    State(v1): State<V1>,
    caller: Caller,
    request: Result<Json<TokenRequest>, JsonRejection>,
) -> Result<(StatusCode, Json<TokenAnswer>), ApiError> {
    let Json(request) = request.map_err(|refused| ApiError::bad_request(refused.body_text()))?;
    let workload = request.workload()?;
    caller.check(&v1.settings, "signet:CreateToken", &v1.arn(&workload.to_string()))?;
    if v1.model.borrow().registration(&workload).is_none() {
        return Err(ApiError::not_found(format!("{workload} does not exist; create it first")));
    }
    let ttl = request.ttl_seconds.map_or(DEFAULT_TOKEN_LIFE, Duration::from_secs);
    let now = (v1.clock)();
    let token = v1.tokens.create(&workload, ttl, caller.user(), now.into(), &v1.random).await;
    let token = token.map_err(token_error)?;
    info!(%workload, id = token.id(), by = caller.user(), ttl_secs = ttl.as_secs(), "made a join token");
    let answer = TokenAnswer {
        token: token.reveal().to_owned(),
        id: token.id(),
        resource: workload.to_string(),
        expires_at: Timestamp::from(now + ttl).to_string(),
    };
    Ok((StatusCode::OK, Json(answer)))
}

fn token_error(error: TokenError) -> ApiError {
    if let TokenError::Lifetime(_) = error {
        return ApiError::bad_request(format!("ttlSeconds: {error}"));
    }
    warn!(%error, "cannot store a join token");
    ApiError::unavailable("the token could not be stored; try again")
}

impl V1 {
    /// The ARN of `mesh/…`.
    fn arn(&self, workload: &str) -> String {
        // What is no key has no ARN, and only `*` fits it.
        workload.parse::<Key>().map_or_else(|_| "*".to_owned(), |key| self.settings.arn(&key))
    }
}
