//! The App Mesh REST API, as its clients know it (service model 2019-01-25).
//!
//! ```text
//!  request ─▶ observe ─▶ sigv4 ─▶ input (path, query, JSON) ─▶ authorize ─▶ Document ─▶ Store ─▶ bare resource
//!             id, log    who      4xx names the member       may they?     legal       durable
//! ```
//!
//! Invariants:
//! - Nothing that a caller sends makes a 500: every malformed thing is a 4xx, and leaves nothing behind.
//! - A refusal is one JSON object, one `x-amzn-ErrorType`, and one log line with the reason.
//! - An answer to a write is given when the write is durable.
//! - Nothing is read or written for a caller whose policy does not allow it; without a policy nothing is allowed.

mod arn;
mod authorize;
mod describe;
mod error;
mod input;
mod observe;
mod operations;
mod page;
mod refusal;
pub mod sigv4;
mod tags;
mod uri;

use std::sync::Arc;

use axum::{Router, extract::DefaultBodyLimit, http::Uri, middleware};
use signet_policies::{identity::TrustDomain, time::Clock};

pub use authorize::Caller;
pub use error::ApiError;
pub use uri::{list_member, name_member};

use self::{
    operations::App,
    page::PageKey,
    sigv4::{Credentials, Verifier},
};
use crate::store::Store;

/// Largest request body, in bytes. App Mesh's largest spec is far below it.
pub const MAX_BODY: usize = 1024 * 1024;

/// What shapes the answers: ARNs, and the tokens of pages.
#[derive(Clone, Debug)]
pub struct ApiSettings {
    account_id: String,
    region: String,
    page_key: PageKey,
    trust_domain: Option<TrustDomain>,
}

impl ApiSettings {
    /// `account_id` is the twelve digits of the account that owns every mesh; `region`, `us-east-1`, say, is also
    /// the one that signatures must be scoped to. `page_key` are random bytes: a token for a next page holds
    /// as long as they stay the same.
    #[must_use]
    pub fn new(account_id: &str, region: &str, page_key: [u8; 32]) -> Self {
        Self {
            account_id: account_id.to_owned(),
            region: region.to_owned(),
            page_key: PageKey::new(page_key),
            trust_domain: None,
        }
    }

    /// Of the server: specs that ask for a secret of another trust domain are refused, because it would never come.
    #[must_use]
    pub fn within(self, trust_domain: TrustDomain) -> Self {
        Self { trust_domain: Some(trust_domain), ..self }
    }
}

/// The App Mesh API over a store. Who calls is checked by [`signed`]; without it nobody may do anything.
pub fn router(store: Arc<dyn Store>, settings: ApiSettings, clock: Clock) -> Router {
    let app = Arc::new(App { store, settings, clock });
    operations::routes()
        .merge(tags::routes())
        .with_state(app)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .fallback(unknown_path)
}

/// Puts the check of AWS Signature V4 before every route of `router`, unknown ones included, and gives every
/// answer a request id and every refusal a log line.
///
/// Routes that are merged into [`router`] before have no fallback of their own. Handlers find the caller as
/// an argument, [`Caller`].
pub fn signed(router: Router, credentials: Arc<dyn Credentials>, region: &str, clock: Clock) -> Router {
    let verifier = Arc::new(Verifier::new(credentials, region.to_owned(), clock));
    router
        .method_not_allowed_fallback(unknown_method)
        .layer(middleware::from_fn_with_state(verifier, sigv4::check))
        .layer(middleware::from_fn(observe::observe))
}

async fn unknown_path(uri: Uri) -> ApiError {
    ApiError::unknown_operation(http::StatusCode::NOT_FOUND, format!("there is nothing at {}", uri.path()))
}

async fn unknown_method(method: http::Method, uri: Uri) -> ApiError {
    let message = format!("{method} is not among the methods of {}", uri.path());
    ApiError::unknown_operation(http::StatusCode::METHOD_NOT_ALLOWED, message)
}
