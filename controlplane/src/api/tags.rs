//! The three operations on tags. They name their resource by its ARN.

use std::sync::Arc;

use axum::{Json, Router, extract::State, response::IntoResponse as _, routing};
use serde::Serialize;
use serde_json::json;

use super::{
    ApiError,
    input::Input,
    operations::{Answer, App},
    page::{MAX_TAGS_LIMIT, Page, Scope},
};
use crate::{access, model::key::Key, store::Write};

/// `TagRef`.
#[derive(Serialize)]
struct Tag<'a> {
    key: &'a str,
    value: &'a str,
}

/// The answer of ListTagsForResource.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TagList<'a> {
    tags: Vec<Tag<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

/// `/tag`, `/untag` and `/tags`.
pub(super) fn routes() -> Router<Arc<App>> {
    let tag = async |State(app): State<Arc<App>>, input: Input| app.tag(&input).await;
    let untag = async |State(app): State<Arc<App>>, input: Input| app.untag(&input).await;
    let list = async |State(app): State<Arc<App>>, input: Input| app.tags(&input).await;
    Router::new()
        .route("/v20190125/tag", routing::put(tag))
        .route("/v20190125/untag", routing::put(untag))
        .route("/v20190125/tags", routing::get(list))
}

impl App {
    async fn tag(&self, input: &Input) -> Answer {
        let key = self.tagged(input, access::TAG)?;
        let tags = input.json()?.required_tags()?;
        self.change_tags(input, Write::Tag { key, tags }).await
    }

    async fn untag(&self, input: &Input) -> Answer {
        let key = self.tagged(input, access::UNTAG)?;
        let names = input.json()?.tag_keys()?;
        self.change_tags(input, Write::Untag { key, names }).await
    }

    async fn tags(&self, input: &Input) -> Answer {
        let key = self.tagged(input, access::LIST_TAGS)?;
        let (scope, pages) = (Scope::tags_of(&key), &self.settings.page_key);
        let Page { limit, after } = Page::parse(&input.query, pages, &scope, MAX_TAGS_LIMIT)?;
        let found = self.store.tags(&key).await.map_err(|error| self.refused(error))?;
        let mut rest = found.iter_after(after.as_deref());
        let tags: Vec<Tag<'_>> = rest.by_ref().take(limit).map(|(key, value)| Tag { key, value }).collect();
        let last = tags.last().filter(|_| rest.next().is_some());
        let next_token = last.map(|last| pages.token(&scope, last.key));
        Ok(Json(TagList { tags, next_token }).into_response())
    }

    /// The resource that the query names, if the caller may do this to it.
    fn tagged(&self, input: &Input, action: &str) -> Result<Key, ApiError> {
        let arn = input.query.resource_arn.as_deref();
        let arn = arn.ok_or_else(|| ApiError::bad_request("resourceArn: is required"))?;
        let key = self.settings.key_of("resourceArn", arn)?;
        input.caller.check(&self.settings, action, &self.settings.arn(&key))?;
        Ok(key)
    }

    async fn change_tags(&self, input: &Input, write: Write) -> Answer {
        self.store.write_by(Some(input.caller.author()), write).await.map_err(|error| self.refused(error))?;
        Ok(Json(json!({})).into_response())
    }
}
