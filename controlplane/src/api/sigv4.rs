//! AWS Signature Version 4, the verifying side: header form and query form.
//!
//! ```text
//!  request ─▶ claim (who, when, over what) ─▶ key pair ─▶ canonical request ─▶ same signature? ─▶ Principal
//! ```
//!
//! Invariants:
//! - The signature covers method, path, query, host, time and body, so a captured request cannot be replayed
//!   on another path, with another body, or five minutes later.
//! - A body is always signed: `UNSIGNED-PAYLOAD`, which S3 takes over TLS, is refused.
//! - Nothing of a signature is there twice, so there is never a choice of what was meant.
//! - Signatures are compared in constant time; no secret is in `Debug` or in a log.

mod body;
mod canonical;
mod claim;
mod credentials;
mod refused;

use std::sync::Arc;

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use hmac::{Hmac, Mac};
use http::request::Parts;
use sha2::{Digest, Sha256};
use signet_policies::time::{Clock, Timestamp};
use zeroize::Zeroizing;

use self::{canonical::CanonicalRequest, claim::Claim, credentials::SigningKey};
pub use self::{
    credentials::{Credentials, KeyPairs, Principal, Secret, Signer},
    refused::Refused,
};
use super::{ApiError, MAX_BODY};

/// The service that clients of App Mesh sign for.
const SERVICE: &str = "appmesh";
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// How far a client's clock may be off, in seconds, as at AWS.
const TOLERANCE: i64 = 5 * 60;

/// Checks signatures against one set of key pairs.
pub(super) struct Verifier {
    credentials: Arc<dyn Credentials>,
    region: String,
    clock: Clock,
}

/// A claim by a key pair that exists, for this service, region and time. Its signature is not checked yet.
struct Admitted {
    claim: Claim,
    signer: Signer,
}

impl Verifier {
    pub(super) fn new(credentials: Arc<dyn Credentials>, region: String, clock: Clock) -> Self {
        Self { credentials, region, clock }
    }

    /// Everything that can be checked before the body is read.
    fn admit(&self, parts: &Parts) -> Result<Admitted, Refused> {
        let claim = Claim::parse(parts)?;
        claim.check_scope(&self.region, SERVICE)?;
        claim.check_time(Timestamp::from((self.clock)()))?;
        canonical::check_path(parts.uri.path())?;
        match self.credentials.signer(&claim.access_key_id) {
            Some(signer) => Ok(Admitted { claim, signer }),
            None => Err(Refused::UnknownKey(claim.access_key_id)),
        }
    }
}

impl Admitted {
    fn verify(self, parts: &Parts, body: &[u8]) -> Result<Principal, Refused> {
        let Self { claim, signer: Signer { secret, principal } } = self;
        let body_hash = hex::encode(Sha256::digest(body));
        claim::check_body_hash(parts, &body_hash)?;
        let request = CanonicalRequest::new(parts, &claim.signed_headers, &body_hash)?;
        let scope = claim.scope();
        let hash = hex::encode(Sha256::digest(request.as_bytes()));
        let signed = format!("{ALGORITHM}\n{}\n{scope}\n{hash}", claim.time_text);
        let key = secret.signing_key(&scope, |secret| signing_key(secret, &claim));
        let mut mac = keyed(&*key);
        mac.update(signed.as_bytes());
        // In constant time.
        mac.verify_slice(&claim.signature).map_err(|_| Refused::Mismatch)?;
        Ok(principal)
    }
}

/// The key for one day, region and service.
fn signing_key(secret: &str, claim: &Claim) -> SigningKey {
    let next = |key: &[u8], part: &str| {
        let mut mac = keyed(key);
        mac.update(part.as_bytes());
        Zeroizing::new(mac.finalize().into_bytes().into())
    };
    let first = Zeroizing::new(format!("AWS4{secret}"));
    let parts = [&*claim.region, &*claim.service, claim::TERMINATOR];
    let day: SigningKey = next(first.as_bytes(), &claim.date);
    parts.into_iter().fold(day, |key, part| next(&*key, part))
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length (RFC 2104, section 2)")]
    Hmac::new_from_slice(key).expect("HMAC takes keys of every length")
}

/// Lets a request pass whose signature is right, with its [`Principal`].
pub(super) async fn check(State(verifier): State<Arc<Verifier>>, request: Request, next: Next) -> Response {
    match authenticate(&verifier, request).await {
        Ok(request) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

async fn authenticate(verifier: &Verifier, request: Request) -> Result<Request, ApiError> {
    let (mut parts, body) = request.into_parts();
    let admitted = verifier.admit(&parts);
    // What a stranger sends is read and thrown away, so that the answer reaches a client that is still sending.
    let limit = if admitted.is_ok() { MAX_BODY } else { 0 };
    let body = body::read(body, limit).await;
    let admitted = admitted?;
    let body: Bytes = body?;
    let principal = admitted.verify(&parts, &body)?;
    parts.extensions.insert(principal);
    Ok(Request::from_parts(parts, Body::from(body)))
}
