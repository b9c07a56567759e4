//! What a caller is told when a request is not served.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::json;

/// Tells SDKs the code of an error; they look here before they look into the body.
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
/// Longest message. It may hold a piece of what the caller sent.
const MAX_MESSAGE: usize = 2000;

/// An answer that is an error, as AWS's clients read it. Its message may be read by anybody who may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl ApiError {
    /// An error of this code. `status` is a 4xx or 5xx.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.len() > MAX_MESSAGE {
            let end = (0..=MAX_MESSAGE).rev().find(|end| message.is_char_boundary(*end)).unwrap_or(0);
            message.truncate(end);
        }
        Self { status, code, message }
    }

    /// The request is malformed, or breaks a rule.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequestException", message)
    }

    /// What the request is about, or refers to, is not there.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFoundException", message)
    }

    /// The name is taken, or the state is not the one that the caller saw.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "ConflictException", message)
    }

    /// A deletion is blocked by what refers to the resource.
    pub fn in_use(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "ResourceInUseException", message)
    }

    /// A resource would have too many tags.
    pub fn too_many_tags(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "TooManyTagsException", message)
    }

    /// A quota is met.
    pub fn limit_exceeded(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "LimitExceededException", message)
    }

    /// The caller is known, and may not do this.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "ForbiddenException", message)
    }

    /// The store cannot be written; the caller may try again.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailableException", message)
    }

    /// No operation has this path or method.
    pub fn unknown_operation(status: StatusCode, message: impl Into<String>) -> Self {
        Self::new(status, "UnknownOperationException", message)
    }

    /// The body is longer than `limit` bytes.
    #[must_use]
    pub fn too_large(limit: usize) -> Self {
        let message = format!("the request body is longer than {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLargeException", message)
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The code that SDKs make an exception of.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// What the caller reads.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// The error itself goes along as an extension, for the log.
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(json!({ "message": self.message }))).into_response();
        response.headers_mut().insert(ERROR_TYPE, HeaderValue::from_static(self.code));
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let error = ApiError::bad_request("é".repeat(MAX_MESSAGE));
        assert_eq!(error.message().len(), MAX_MESSAGE);
        let error = ApiError::bad_request(format!("x{}", "é".repeat(MAX_MESSAGE)));
        assert_eq!(error.message().len(), MAX_MESSAGE - 1);
    }
}
