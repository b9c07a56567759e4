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
    #[error("The security token included in the request is invalid: the access key {0:?} is not known here")]
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
    /// Signed too long ago, or in the future.
    #[error(
        "Signature not valid now: it was made at {signed}, this server's clock says {now} (seconds since the \
         epoch), and 5 minutes are tolerated"
    )]
    Time {
        /// When it was signed.
        signed: i64,
        /// What time it is here.
        now: i64,
    },
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
            Refused::UnknownKey(_) => (StatusCode::FORBIDDEN, "UnrecognizedClientException"),
            Refused::Scope { .. }
            | Refused::Time { .. }
            | Refused::Body
            | Refused::Path
            | Refused::Mismatch => (StatusCode::FORBIDDEN, "InvalidSignatureException"),
        };
        Self::new(status, code, refused.to_string())
    }
}
