//! What a request carries, before anybody knows what it means.

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Query, RawPathParams, Request},
};
use http::{
    HeaderMap, StatusCode,
    header::{CONTENT_TYPE, IF_MATCH},
};
use serde::Deserialize;
use serde_json::Value;

use super::{ApiError, Caller, MAX_BODY, uri::Names};
use crate::{
    json,
    model::{
        Tags,
        shape::{Field, Invalid, Object},
    },
};

/// The media types of the JSON protocols that SDKs speak.
const JSON_TYPES: [&str; 3] =
    ["application/json", "application/x-amz-json-1.1", "application/x-amz-json-1.0"];
/// Longest `clientToken`, as documented.
const MAX_TOKEN: usize = 36;

/// A request taken apart.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) caller: Caller,
    pub(super) names: Names,
    pub(super) query: QueryMembers,
    /// The version that the resource must have (`If-Match`), for whoever must not overwrite another's change.
    pub(super) expected: Option<u64>,
    body: Bytes,
}

/// The query parameters of all operations, as text.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct QueryMembers {
    pub(super) mesh_owner: Option<String>,
    pub(super) limit: Option<String>,
    pub(super) next_token: Option<String>,
    pub(super) resource_arn: Option<String>,
}

/// The body of a create or update.
#[derive(Debug)]
pub(super) struct Body(Value);

impl<S: Send + Sync> FromRequest<S> for Input {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let (mut parts, body) = request.into_parts();
        let caller = Caller::from_request_parts(&mut parts, state).await?;
        let params = RawPathParams::from_request_parts(&mut parts, state)
            .await
            .map_err(|rejection| ApiError::bad_request(format!("the path cannot be read: {rejection}")))?;
        let Query(query) = Query::try_from_uri(&parts.uri)
            .map_err(|rejection| ApiError::bad_request(format!("the query cannot be read: {rejection}")))?;
        let names = Names::new(&params);
        let request = Request::from_parts(parts, body);
        check_content_type(request.headers())?;
        let expected = expected_version(request.headers())?;
        let body =
            Bytes::from_request(request, state).await.map_err(|rejection| match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => ApiError::too_large(MAX_BODY),
                _ => ApiError::bad_request(format!("the body cannot be read: {rejection}")),
            })?;
        Ok(Self { caller, names, query, expected, body })
    }
}

/// `If-Match` with a version, which is Signet's own addition to the API: App Mesh's clients send none.
fn expected_version(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get(IF_MATCH) else {
        return Ok(None);
    };
    let version = value.to_str().ok().and_then(|text| text.trim_matches('"').parse().ok());
    match version {
        Some(version) => Ok(Some(version)),
        None => Err(ApiError::bad_request("If-Match: must be a version of the resource, such as \"3\"")),
    }
}

/// Calls without a body may lack the type, and some clients leave it out altogether.
fn check_content_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Ok(());
    };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    match JSON_TYPES.iter().any(|known| essence.eq_ignore_ascii_case(known)) {
        true => Ok(()),
        false => Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaTypeException",
            format!("the content type must be one of {}", JSON_TYPES.join(", ")),
        )),
    }
}

impl Input {
    /// The body as JSON. No body is an empty object, whose missing members are then named.
    pub(super) fn json(&self) -> Result<Body, ApiError> {
        if self.body.is_empty() {
            return Ok(Body(Value::Object(serde_json::Map::new())));
        }
        let invalid = |error| ApiError::bad_request(format!("the request body is not JSON: {error}"));
        json::parse(&self.body).map(Body).map_err(invalid)
    }
}

impl Body {
    fn object(&self) -> Result<Object<'_>, Invalid> {
        Field::root("", &self.0).object()
    }

    /// A member that must be text; its own type says what text.
    pub(super) fn text(&self, member: &str) -> Result<&str, ApiError> {
        let text = || self.object()?.required(member)?.text(1..=255);
        text().map_err(invalid)
    }

    /// The `clientToken`: letters, digits, hyphens and underscores.
    pub(super) fn token(&self) -> Result<Option<String>, ApiError> {
        let token = || {
            let Some(field) = self.object()?.optional("clientToken") else {
                return Ok(None);
            };
            let token = field.text(1..=MAX_TOKEN)?;
            let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            match token.chars().all(is_allowed) {
                true => Ok(Some(token.to_owned())),
                false => {
                    let why = "must be of letters, digits, '-' and '_'";
                    Err(field.invalid(crate::model::shape::Rule::Other(why.into())))
                }
            }
        };
        token().map_err(invalid)
    }

    /// The `tags` of a creation, which may be absent.
    pub(super) fn tags(&self) -> Result<Tags, ApiError> {
        let tags = || match self.object()?.optional("tags") {
            Some(field) => Tags::parse(&field.items(0..=Tags::MAX)?),
            None => Ok(Tags::default()),
        };
        tags().map_err(invalid)
    }

    /// The `tags` of TagResource. How many there may be is the store's to say.
    pub(super) fn required_tags(&self) -> Result<Tags, ApiError> {
        let tags = || Tags::parse(&self.object()?.required("tags")?.items(0..=usize::MAX)?);
        tags().map_err(invalid)
    }

    /// The `tagKeys` of UntagResource.
    pub(super) fn tag_keys(&self) -> Result<Vec<String>, ApiError> {
        let keys = || {
            let keys = self.object()?.required("tagKeys")?.items(0..=Tags::MAX)?;
            keys.iter()
                .map(|key| key.text(1..=Tags::MAX_KEY).map(str::to_owned))
                .collect::<Result<Vec<_>, Invalid>>()
        };
        keys().map_err(invalid)
    }

    /// The spec, or what stands for an absent one.
    pub(super) fn spec(mut self, default: Option<Value>) -> Result<Value, ApiError> {
        let checked = self.object().and_then(|object| match object.optional("spec") {
            Some(_) => Ok(true),
            None if default.is_some() => Ok(false),
            None => object.required("spec").map(|_| true),
        });
        match (checked.map_err(invalid)?, default) {
            (false, Some(default)) => Ok(default),
            (true, _) | (false, None) => Ok(self.0["spec"].take()),
        }
    }
}

pub(super) fn invalid(error: Invalid) -> ApiError {
    ApiError::bad_request(error.to_string())
}
