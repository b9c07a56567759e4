//! Whether the caller may do what a request asks for. Asked before anything is read or written.

use std::sync::Arc;

use axum::extract::{Extension, FromRequestParts};
use http::request::Parts;

use super::{ApiError, ApiSettings, sigv4::Principal};
use crate::{access::Verdict, model::Author};

/// Who calls, as handlers see them.
#[derive(Clone, Debug)]
pub struct Caller(Principal);

/// Where nobody checked a signature there is no caller, and nobody may do anything.
impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let found = Extension::<Principal>::from_request_parts(parts, state).await;
        let missing = |_| ApiError::forbidden("the request was not signed, so nothing is allowed");
        found.map(|Extension(principal)| Self(principal)).map_err(missing)
    }
}

impl Caller {
    /// Whether the caller's policy allows an action on a resource: an ARN, or `*` for actions that are about
    /// no resource.
    #[must_use]
    pub fn may(&self, action: &str, resource: &str) -> bool {
        self.0.policy.decide(action, resource) == Verdict::Allowed
    }

    /// Whether the caller's policy allows an action on some resource, whichever.
    #[must_use]
    pub fn may_somewhere(&self, action: &str) -> bool {
        self.0.policy.allows_somewhere(action)
    }

    /// The name that the caller's key pair was made under.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.0.user
    }

    /// As whoever reads of a write sees them.
    #[must_use]
    pub fn author(&self) -> Author {
        Author { access_key_id: self.0.access_key_id.as_str().into(), user: Arc::clone(&self.0.user) }
    }

    /// Refuses what the caller's policy does not allow, in AWS's words.
    ///
    /// # Errors
    /// `ForbiddenException`.
    pub fn check(&self, settings: &ApiSettings, action: &str, resource: &str) -> Result<(), ApiError> {
        let why = match self.0.policy.decide(action, resource) {
            Verdict::Allowed => return Ok(()),
            Verdict::NotAllowed => format!("because no identity-based policy allows the {action} action"),
            Verdict::Denied => "with an explicit deny in an identity-based policy".to_owned(),
        };
        let user = settings.user_arn(&self.0.user);
        Err(ApiError::forbidden(format!(
            "User: {user} is not authorized to perform: {action} on resource: {resource} {why}"
        )))
    }
}
