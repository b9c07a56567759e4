//! The operations: five of each kind, alike but for the names.

use std::{sync::Arc, time::UNIX_EPOCH};

use axum::response::{IntoResponse, Response};
use axum::{Json, Router, extract::State, routing};
use serde::Serialize;
use serde_json::{Map, Value};
use signet_policies::time::Clock;
use uuid::Uuid;

use super::{
    ApiError, ApiSettings,
    describe::{Description, Listing, Status},
    input::{Body, Input, QueryMembers, invalid},
    page::{MAX_LIMIT, Page, Scope},
    refusal, uri,
};
use crate::{
    access::{self, Verb},
    model::{
        Author, Document,
        key::{Key, Kind},
    },
    store::{Resource, Store, StoreError, Write},
};

/// What the handlers share.
pub(super) struct App {
    pub(super) store: Arc<dyn Store>,
    pub(super) settings: ApiSettings,
    pub(super) clock: Clock,
}

pub(super) type Answer = Result<Response, ApiError>;

/// Every operation of every kind.
pub(super) fn routes() -> Router<Arc<App>> {
    Kind::ALL.into_iter().fold(Router::new(), |router, kind| {
        let create =
            move |State(app): State<Arc<App>>, input: Input| async move { app.create(kind, input).await };
        let list =
            move |State(app): State<Arc<App>>, input: Input| async move { app.list(kind, input).await };
        let describe =
            move |State(app): State<Arc<App>>, input: Input| async move { app.describe(kind, input).await };
        let update =
            move |State(app): State<Arc<App>>, input: Input| async move { app.update(kind, input).await };
        let delete =
            move |State(app): State<Arc<App>>, input: Input| async move { app.delete(kind, input).await };
        router
            .route(uri::collection(kind), routing::put(create).get(list))
            .route(&uri::item(kind), routing::get(describe).put(update).delete(delete))
    })
}

impl App {
    async fn create(&self, kind: Kind, input: Input) -> Answer {
        self.check_owner(&input.query)?;
        let collection = input.names.collection(kind)?;
        let (by, body) = (input.caller.author(), input.json()?);
        let member = uri::name_member(kind);
        let key = collection.key(body.text(member)?);
        let key = key.map_err(|error| ApiError::bad_request(format!("{member}: {error}")))?;
        self.authorize(&input, Verb::Create, kind, &self.settings.arn(&key))?;
        let (token, tags) = (body.token()?, body.tags()?);
        if !tags.is_empty() {
            input.caller.check(&self.settings, access::TAG, &self.settings.arn(&key))?;
        }
        let document = self.document(key, body)?;
        let write = Write::Create { document, uid: Uuid::new_v4(), token, tags, at: self.now() };
        self.write(by, write, Status::Active).await
    }

    async fn update(&self, kind: Kind, input: Input) -> Answer {
        let key = self.key(kind, &input, Verb::Update)?;
        let expected = input.expected;
        let (by, body) = (input.caller.author(), input.json()?);
        let token = body.token()?;
        let document = self.document(key, body)?;
        self.write(by, Write::Update { document, token, expected, at: self.now() }, Status::Active).await
    }

    /// The spec that a body holds.
    fn document(&self, key: Key, body: Body) -> Result<Document, ApiError> {
        let spec = body.spec(default_spec(key.kind()))?;
        Document::parse_within(key, spec, self.settings.trust_domain.as_ref()).map_err(invalid)
    }

    async fn delete(&self, kind: Kind, input: Input) -> Answer {
        let key = self.key(kind, &input, Verb::Delete)?;
        let expected = input.expected;
        let by = input.caller.author();
        self.write(by, Write::Delete { key, expected, at: self.now() }, Status::Deleted).await
    }

    async fn describe(&self, kind: Kind, input: Input) -> Answer {
        let found = self.store.get(&self.key(kind, &input, Verb::Describe)?).await;
        let found = found.map_err(|error| self.refused(error))?;
        Ok(self.description(&found, Status::Active))
    }

    async fn list(&self, kind: Kind, input: Input) -> Answer {
        self.check_owner(&input.query)?;
        let collection = input.names.collection(kind)?;
        // A list is an action on what it is in; that of the meshes is one on no resource.
        let parent = collection.parent().map_or_else(|| "*".to_owned(), |parent| self.settings.arn(&parent));
        self.authorize(&input, Verb::List, kind, &parent)?;
        let scope = Scope::from(&collection);
        let Page { limit, after } = Page::parse(&input.query, &self.settings.page_key, &scope, MAX_LIMIT)?;
        // One more than asked for tells whether there is a next page.
        let found = self.store.list(&collection, after.as_deref(), limit + 1).await;
        let found = found.map_err(|error| self.refused(error))?;
        let resources = &found[..found.len().min(limit)];
        let is_last = found.len() <= limit;
        Ok(answer(&Listing { collection: &collection, resources, settings: &self.settings, is_last }))
    }

    async fn write(&self, by: Author, write: Write, status: Status) -> Answer {
        let written = self.store.write_by(Some(by), write).await.map_err(|error| self.refused(error))?;
        Ok(self.description(&written, status))
    }

    fn description(&self, resource: &Resource, status: Status) -> Response {
        answer(&Description { resource, settings: &self.settings, status })
    }

    pub(super) fn refused(&self, error: StoreError) -> ApiError {
        refusal::from_store(error, &self.settings.account_id)
    }

    /// The resource of the path, if the caller may do this to it.
    fn key(&self, kind: Kind, input: &Input, verb: Verb) -> Result<Key, ApiError> {
        self.check_owner(&input.query)?;
        let member = uri::name_member(kind);
        let key = input.names.collection(kind)?.key(input.names.text(member));
        let key = key.map_err(|error| ApiError::bad_request(format!("{member}: {error}")))?;
        self.authorize(input, verb, kind, &self.settings.arn(&key))?;
        Ok(key)
    }

    fn authorize(&self, input: &Input, verb: Verb, kind: Kind, resource: &str) -> Result<(), ApiError> {
        input.caller.check(&self.settings, &access::operation(verb, kind), resource)
    }

    /// Every mesh is this account's, so another owner has none.
    fn check_owner(&self, query: &QueryMembers) -> Result<(), ApiError> {
        match query.mesh_owner.as_deref() {
            Some(owner) if owner.len() != 12 || !owner.bytes().all(|byte| byte.is_ascii_digit()) => {
                Err(ApiError::bad_request("meshOwner: must be the 12 digits of an account"))
            }
            Some(owner) if owner != self.settings.account_id => {
                Err(ApiError::not_found(format!("Account {owner} shares no mesh with this one")))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Milliseconds since the epoch.
    fn now(&self) -> u64 {
        let since = (self.clock)().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

/// A mesh is the one resource that may come without a spec.
fn default_spec(kind: Kind) -> Option<Value> {
    (kind == Kind::Mesh).then(|| Value::Object(Map::new()))
}

fn answer(body: &impl Serialize) -> Response {
    Json(body).into_response()
}
