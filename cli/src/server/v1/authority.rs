//! `/v1/ca`: what the authority consists of, and issuers whose certificates somebody else signs.

use axum::{
    Json, Router,
    extract::{State, rejection::JsonRejection},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use signet_ca::{Adopted, Authority, AuthorityView, Error, IssuerName, KeyPlace};
use signet_controlplane::api::{ApiError, Caller};
use signet_policies::time::Timestamp;
use tracing::{error, info, warn};

use super::V1;

pub(super) fn router() -> Router<V1> {
    Router::new()
        .route("/v1/ca", get(show))
        .route("/v1/ca/bundle", get(bundle))
        .route("/v1/ca/requests", post(request))
        .route("/v1/ca/certificates", post(install))
}

#[derive(Serialize)]
struct ShowAnswer {
    authorities: Vec<One>,
    /// Issuers that wait for their first certificate.
    waiting: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct One {
    name: String,
    subject: String,
    serial: String,
    fingerprint: String,
    not_before: String,
    not_after: String,
    key: String,
    is_successor_requested: bool,
}

#[derive(Serialize)]
struct BundleAnswer {
    bundle: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Request {
    issuer: String,
    #[serde(default)]
    fresh: bool,
    /// Of the root that takes over.
    #[serde(default)]
    next: bool,
}

#[derive(Serialize)]
struct RequestAnswer {
    issuer: String,
    request: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Installation {
    issuer: String,
    certificates: String,
    /// Of the root that takes over.
    #[serde(default)]
    next: bool,
}

/// What was taken over.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InstallAnswer {
    installed: String,
    serial: String,
    fingerprint: String,
    not_after: String,
}

async fn show(State(v1): State<V1>) -> Result<Json<ShowAnswer>, ApiError> {
    let authority = v1.issuing.clone();
    let looked = blocking(move || {
        let authority = authority.authority();
        let mut waiting: Vec<String> = authority.waiting()?.iter().map(ToString::to_string).collect();
        if let Some(next) = authority.successor() {
            waiting.extend(next.waiting()?.iter().map(|name| format!("{name} (next)")));
        }
        Ok((authority.overview()?, waiting))
    });
    let (views, mut waiting) = looked.await.map_err(refused)?;
    waiting.retain(|name| !views.iter().any(|view| view.name == *name));
    Ok(Json(ShowAnswer { authorities: views.iter().map(One::of).collect(), waiting }))
}

async fn bundle(State(v1): State<V1>) -> Json<BundleAnswer> {
    Json(BundleAnswer { bundle: Authority::roots_pem(v1.trust.now().bundle()) })
}

async fn request(
    State(v1): State<V1>,
    caller: Caller,
    request: Result<Json<Request>, JsonRejection>,
) -> Result<Json<RequestAnswer>, ApiError> {
    let Json(Request { issuer, fresh, next }) =
        request.map_err(|wrong| ApiError::bad_request(wrong.body_text()))?;
    let name = parse(&issuer)?;
    let text = match next {
        true => v1.rotations.request(&name, fresh).await.map_err(super::rotation::refused)?,
        false => {
            let issuing = v1.issuing.clone();
            blocking(move || issuing.authority().request(&name, fresh)).await.map_err(refused)?
        }
    };
    info!(issuer, fresh, next, by = caller.user(), "wrote a request for an issuer");
    Ok(Json(RequestAnswer { issuer, request: text }))
}

async fn install(
    State(v1): State<V1>,
    caller: Caller,
    request: Result<Json<Installation>, JsonRejection>,
) -> Result<Json<InstallAnswer>, ApiError> {
    let Json(Installation { issuer, certificates, next }) =
        request.map_err(|wrong| ApiError::bad_request(wrong.body_text()))?;
    let name = parse(&issuer)?;
    let (issuing, now) = (v1.issuing.clone(), Timestamp::from((v1.clock)()));
    let adopted = match next {
        true => v1.rotations.install(&name, &certificates).await.map_err(super::rotation::refused)?,
        false => {
            let installed = blocking(move || issuing.authority().install(&name, &certificates, now)).await;
            installed.map_err(refused)?
        }
    };
    let Adopted { serial, fingerprint, not_after, der } = adopted;
    let recorded = v1.issuing.guard().note_installed(&issuer, &der, caller.user(), now).await;
    if let Err(error) = recorded {
        error!(issuer, %error, "installed an issuer, but the ledger could not be written");
    }
    // The one before signs no more.
    if let Err(error) = v1.issuing.note_authorities().await {
        error!(issuer, %error, "the ledger does not know yet which certificates the authority has");
    }
    info!(issuer, serial, next, by = caller.user(), "installed an issuer that was signed elsewhere");
    Ok(Json(InstallAnswer {
        installed: issuer,
        serial,
        fingerprint: hex::encode(fingerprint),
        not_after: not_after.to_string(),
    }))
}

fn parse(text: &str) -> Result<IssuerName, ApiError> {
    text.parse().map_err(|_| ApiError::bad_request("issuer: it is mesh/NAME, or server"))
}

/// Disks and tokens make a thread wait.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|broken| Err(Error::Build(broken.to_string())))
}

/// What is wrong with what was given, the caller learns; what is wrong with us, the log.
fn refused(error: Error) -> ApiError {
    if error.is_about_what_was_given() {
        return ApiError::bad_request(format!("{:#}", anyhow::Error::from(error)));
    }
    warn!(
        error = format!("{:#}", anyhow::Error::from(error)),
        "the authority does not do what it was asked for"
    );
    ApiError::unavailable("the certificate authority cannot do that now; the server's log says why")
}

impl One {
    fn of(view: &AuthorityView) -> Self {
        Self {
            name: view.name.clone(),
            subject: view.subject.clone(),
            serial: view.serial.clone(),
            fingerprint: hex::encode(view.fingerprint),
            not_before: view.validity.not_before().to_string(),
            not_after: view.validity.not_after().to_string(),
            key: match &view.key {
                KeyPlace::File => "file".to_owned(),
                KeyPlace::Token(uri) => uri.clone(),
                KeyPlace::Offline => "offline".to_owned(),
            },
            is_successor_requested: view.is_successor_requested,
        }
    }
}
