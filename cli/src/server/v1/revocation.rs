//! `/v1/ca/revocations`, `/v1/ca/allow` and `/v1/ca/release`: who is no longer trusted, and whether anything is signed.

use axum::{
    Json, Router,
    extract::{State, rejection::JsonRejection},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use signet_ca::{
    ledger::{Reason, Subject},
    standing::{NotRevoked, Standing},
};
use signet_controlplane::api::{ApiError, Caller};
use signet_policies::identity::SpiffeId;
use tracing::error;

use super::V1;
use crate::server::revocation::Effect;

/// Longest reason that somebody gives in words, in characters.
const MAX_WORDS: usize = 1000;

pub(super) fn router() -> Router<V1> {
    Router::new()
        .route("/v1/ca/revocations", get(list).post(revoke))
        .route("/v1/ca/allow", post(allow))
        .route("/v1/ca/release", post(release))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RevokeRequest {
    /// A serial number, or a SPIFFE ID.
    subject: String,
    /// RFC 5280's.
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AllowRequest {
    identity: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReleaseRequest {
    reason: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RevokeAnswer {
    /// Counted from 1; what `effect` is about.
    generation: u64,
    serials: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ListAnswer {
    certificates: Vec<CertificateView>,
    banned: Vec<BanView>,
    halted: Option<HaltView>,
    /// How far the last revocation has come.
    effect: Effect,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CertificateView {
    serial: String,
    issuer: String,
    not_after: String,
    at: String,
    reason: &'static str,
    by: String,
}

#[derive(Serialize)]
struct BanView {
    identity: String,
    at: String,
    reason: &'static str,
    by: String,
}

#[derive(Serialize)]
struct HaltView {
    at: String,
    cause: String,
}

async fn revoke(
    State(v1): State<V1>,
    caller: Caller,
    request: Result<Json<RevokeRequest>, JsonRejection>,
) -> Result<Json<RevokeAnswer>, ApiError> {
    let Json(request) = request.map_err(|refused| ApiError::bad_request(refused.body_text()))?;
    let subject: Subject =
        request.subject.parse().map_err(|invalid| ApiError::bad_request(format!("subject: {invalid}")))?;
    let reason: Reason =
        request.reason.parse().map_err(|invalid| ApiError::bad_request(format!("reason: {invalid}")))?;
    if let Subject::Identity(identity) = &subject
        && *identity.trust_domain() != v1.trust_domain
    {
        return Err(refused(NotRevoked::Foreign(identity.clone())));
    }
    let done = v1.issuing.guard().revoke(subject, reason, caller.user(), (v1.clock)().into()).await;
    let done = done.map_err(refused)?;
    let serials = done.certificates.iter().map(|revoked| revoked.serial.to_string()).collect();
    Ok(Json(RevokeAnswer { generation: done.position + 1, serials }))
}

async fn allow(
    State(v1): State<V1>,
    caller: Caller,
    request: Result<Json<AllowRequest>, JsonRejection>,
) -> Result<Json<serde_json::Value>, ApiError> {
    let Json(request) = request.map_err(|refused| ApiError::bad_request(refused.body_text()))?;
    let identity: SpiffeId =
        request.identity.parse().map_err(|invalid| ApiError::bad_request(format!("identity: {invalid}")))?;
    v1.issuing.guard().allow(&identity, caller.user(), (v1.clock)().into()).await.map_err(refused)?;
    Ok(Json(serde_json::json!({"allowed": identity.to_string()})))
}

async fn release(
    State(v1): State<V1>,
    caller: Caller,
    request: Result<Json<ReleaseRequest>, JsonRejection>,
) -> Result<Json<serde_json::Value>, ApiError> {
    let Json(ReleaseRequest { reason }) =
        request.map_err(|refused| ApiError::bad_request(refused.body_text()))?;
    if reason.trim().is_empty() || reason.chars().count() > MAX_WORDS {
        return Err(ApiError::bad_request(format!("reason: must have 1 to {MAX_WORDS} characters")));
    }
    v1.issuing.guard().release(&reason, caller.user(), (v1.clock)().into()).await.map_err(refused)?;
    Ok(Json(serde_json::json!({"released": true})))
}

async fn list(State(v1): State<V1>) -> Json<ListAnswer> {
    let standing = v1.issuing.guard().now();
    Json(answer(&standing, v1.effect.borrow().clone()))
}

fn answer(standing: &Standing, effect: Effect) -> ListAnswer {
    let certificates = standing.certificates().map(|(serial, revoked)| CertificateView {
        serial: serial.to_string(),
        issuer: revoked.issuer.to_string(),
        not_after: revoked.not_after.to_string(),
        at: revoked.at.to_string(),
        reason: revoked.reason.name(),
        by: revoked.by.clone(),
    });
    let bans = standing.bans().map(|(identity, ban)| BanView {
        identity: identity.to_string(),
        at: ban.at.to_string(),
        reason: ban.reason.name(),
        by: ban.by.clone(),
    });
    let halted =
        standing.halted().map(|halt| HaltView { at: halt.at.to_string(), cause: halt.cause.clone() });
    ListAnswer { certificates: certificates.collect(), banned: bans.collect(), halted, effect }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "whatever else it is, it is not the caller's doing")]
fn refused(refused: NotRevoked) -> ApiError {
    match refused {
        NotRevoked::Unknown(_) | NotRevoked::NotBanned(_) => ApiError::not_found(refused.to_string()),
        NotRevoked::Already(_) | NotRevoked::Ended { .. } | NotRevoked::NotHalted => {
            ApiError::conflict(refused.to_string())
        }
        NotRevoked::OwnIdentity(_) | NotRevoked::Foreign(_) => ApiError::bad_request(refused.to_string()),
        error => {
            error!(%error, "nothing was revoked");
            ApiError::unavailable(
                "the ledger cannot be written, so nothing was changed; the server's log says why",
            )
        }
    }
}
