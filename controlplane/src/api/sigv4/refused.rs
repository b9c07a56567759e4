//! Why a signature is refused, in the codes that AWS's clients know.

use http::StatusCode;
use thiserror::Error;

use crate::api::ApiError;

/// Why a request is not from whom it says.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refused {
    /// No signature at all.
    #[error(
        "Missing Authentication Token: requests are signed with AWS Signature V4; point your client at a key \
         pair of this server, AWS_SHARED_CREDENTIALS_FILE=<data-dir>/credentials by default"
    )]
    Missing,
    /// A signature of another kind, or with a part missing or malformed.
    #[error("Incomplete signature: {0}")]
    Incomplete(String),
    /// No such key pair.
    #[error(
        "The security token included in the request is invalid: the access key {0:?} is not known here, or is disabled"
    )]
    UnknownKey(String),
    /// Signed for another region or service, or with a date that is not the request's.
    #[error("Credential should be scoped to a valid {part}: it must be {expected:?}, not {found:?}")]
    Scope {
        /// The part of the scope.
        part: &'static str,
        /// What it must be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// Temporary credentials, of which this server has none.
    #[error(
        "The security token included in the request is invalid: this server issues no session tokens; use one of \
         its key pairs, and unset AWS_SESSION_TOKEN"
    )]
    SessionToken,
    /// Signed too long ago.
    #[error(
        "Signature expired: {signed} is more than {seconds} s before {now}, the time of this server's clock"
    )]
    Expired {
        /// When it was signed.
        signed: String,
        /// What time it is here.
        now: String,
        /// For how long it held, in seconds.
        seconds: i64,
    },
    /// Signed in the future.
    #[error(
        "Signature not yet current: {signed} is more than 5 min. after {now}, the time of this server's clock"
    )]
    NotYet {
        /// When it was signed.
        signed: String,
        /// What time it is here.
        now: String,
    },
    /// The client left the body out of its signature.
    #[error("x-amz-content-sha256: UNSIGNED-PAYLOAD is not accepted here; the signature must cover the body")]
    UnsignedBody,
    /// The body is not the one that the request says was signed.
    #[error("x-amz-content-sha256 is not the SHA-256 of the body that arrived")]
    Body,
    /// The path has a form that signers rewrite, so that one signature would fit several paths.
    #[error("the path must not hold empty, '.' or '..' segments")]
    Path,
    /// The signature is another one.
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your secret \
         access key and signing method."
    )]
    Mismatch,
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        let (status, code) = match refused {
            Refused::Missing => (StatusCode::FORBIDDEN, "MissingAuthenticationTokenException"),
            Refused::Incomplete(_) => (StatusCode::BAD_REQUEST, "IncompleteSignatureException"),
            Refused::UnknownKey(_) | Refused::SessionToken => {
                (StatusCode::FORBIDDEN, "UnrecognizedClientException")
            }
            Refused::Scope { .. }
            | Refused::Expired { .. }
            | Refused::NotYet { .. }
            | Refused::UnsignedBody
            | Refused::Body
            | Refused::Path
            | Refused::Mismatch => (StatusCode::FORBIDDEN, "InvalidSignatureException"),
        };
        Self::new(status, code, refused.to_string())
    }
}
