//! The App Mesh REST API, as its clients know it (service model 2019-01-25).
//!
//! ```text
//!  request ─▶ observe ─▶ sigv4 ─▶ input (path, query, JSON) ─▶ Document ─▶ Store ─▶ bare resource
//!             id, log    who      4xx names the member          legal       durable
//! ```
//!
//! Invariants:
//! - Nothing that a caller sends makes a 500: every malformed thing is a 4xx, and leaves nothing behind.
//! - A refusal is one JSON object, one `x-amzn-ErrorType`, and one log line with the reason.
//! - An answer to a write is given when the write is durable.

mod describe;
mod error;
mod input;
mod observe;
mod operations;
mod page;
mod refusal;
pub mod sigv4;
mod uri;

use std::sync::Arc;

use axum::{Router, extract::DefaultBodyLimit, http::Uri, middleware};
use signet_policies::time::Clock;

pub use error::ApiError;

use self::{
    operations::App,
    sigv4::{Credentials, Verifier},
};
use crate::store::Store;

/// Largest request body, in bytes. App Mesh's largest spec is far below it.
pub const MAX_BODY: usize = 1024 * 1024;

/// What shapes the ARNs.
#[derive(Clone, Debug)]
pub struct ApiSettings {
    /// Twelve digits: the account that owns every mesh.
    pub account_id: String,
    /// `us-east-1`, say. Also the region that signatures must be scoped to.
    pub region: String,
}

/// The App Mesh API over a store, without a check of who calls: see [`signed`].
pub fn router(store: Arc<dyn Store>, settings: ApiSettings, clock: Clock) -> Router {
    let app = Arc::new(App { store, settings, clock });
    operations::routes().with_state(app).layer(DefaultBodyLimit::max(MAX_BODY)).fallback(unknown_path)
}

/// Puts the check of AWS Signature V4 before every route of `router`, unknown ones included, and gives every
/// answer a request id and every refusal a log line.
///
/// Routes that are merged into [`router`] before have no fallback of their own. Handlers find the caller as
/// an extension, [`sigv4::Principal`].
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
