//! A server in memory: the store's own rules, and faults on demand.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::Value;
use signet_controlplane::{
    model::{
        Document,
        key::{Collection, Key},
    },
    store::{MemoryStore, Refusal, Resource, Store, StoreError, Write},
};
use signet_manifests::{
    Api, Bundle, Plan, State, Tags,
    apply::{Stopped, carry_out},
    plan::meshes,
    server::{ApiError, Described, Version},
};
use uuid::Uuid;

const ARN: &str = "arn:aws:appmesh:us-east-1:000000000000:";

#[derive(Default)]
pub(crate) struct Server {
    store: MemoryStore,
    tags: Mutex<std::collections::BTreeMap<String, Tags>>,
    /// What was written, in order: `update mesh/m`.
    pub(crate) log: Mutex<Vec<String>>,
    /// What somebody else makes of a resource between our look at it and our write.
    pub(crate) meddling: Mutex<Option<Document>>,
    /// Writes that start with this fail.
    pub(crate) failing: Mutex<Option<String>>,
}

impl Server {
    async fn write(&self, action: &str, write: Write) -> Result<Described, ApiError> {
        let what = format!("{action} {}", write.key());
        if self.failing.lock().unwrap().as_ref().is_some_and(|failing| what.starts_with(failing)) {
            return Err(ApiError::Unreachable("the line is dead".into()));
        }
        let written = self.store.write(write).await.map_err(api_error)?;
        self.log.lock().unwrap().push(what);
        Ok(described(&written))
    }

    /// Applies a bundle and returns what was written.
    pub(crate) async fn apply(&self, bundle: &Bundle, prune: bool) -> Result<Vec<String>, Stopped> {
        let plan = self.plan(bundle, prune).await.unwrap_or_else(|faults| panic!("{faults}"));
        self.carry_out(&plan).await
    }

    pub(crate) async fn plan(&self, bundle: &Bundle, prune: bool) -> Result<Plan, signet_manifests::Faults> {
        let state = State::read(self, &meshes(bundle), |_| true).await.unwrap();
        Plan::new(bundle, &state, prune)
    }

    pub(crate) async fn carry_out(&self, plan: &Plan) -> Result<Vec<String>, Stopped> {
        self.log.lock().unwrap().clear();
        carry_out(self, plan, |_| {}).await?;
        Ok(std::mem::take(&mut *self.log.lock().unwrap()))
    }

    pub(crate) async fn spec(&self, key: &str) -> Value {
        self.describe(&key.parse().unwrap()).await.unwrap().spec
    }
}

fn described(resource: &Arc<Resource>) -> Described {
    Described {
        arn: format!("{ARN}{}", resource.document.key()),
        version: Version { uid: resource.metadata.uid.to_string(), number: resource.metadata.version },
        spec: serde_json::from_str(resource.document.text().get()).unwrap(),
    }
}

fn api_error(error: StoreError) -> ApiError {
    if let StoreError::Refused(Refusal::Missing(_)) = error {
        return ApiError::Missing;
    }
    ApiError::Refused { code: "BadRequestException".into(), message: error.to_string() }
}

#[async_trait]
impl Api for Server {
    async fn list(&self, collection: &Collection) -> Result<Vec<String>, ApiError> {
        let found = self.store.list(collection, None, usize::MAX).await.map_err(api_error)?;
        Ok(found.iter().map(|resource| resource.document.key().name().to_owned()).collect())
    }

    async fn describe(&self, key: &Key) -> Result<Described, ApiError> {
        self.store.get(key).await.map(|found| described(&found)).map_err(api_error)
    }

    async fn create(&self, document: &Document, tags: &Tags) -> Result<Described, ApiError> {
        let write = Write::Create {
            document: document.clone(),
            uid: Uuid::new_v4(),
            token: None,
            tags: Default::default(),
            at: 0,
        };
        let made = self.write("create", write).await?;
        self.tags.lock().unwrap().insert(made.arn.clone(), tags.clone());
        Ok(made)
    }

    async fn update(&self, document: &Document, expected: u64) -> Result<Described, ApiError> {
        let expected = Some(expected);
        let meddling = self.meddling.lock().unwrap().take();
        if let Some(document) = meddling {
            let write = Write::Update { document, token: None, expected: None, at: 0 };
            self.store.write(write).await.map_err(api_error)?;
        }
        let write = Write::Update { document: document.clone(), token: None, expected, at: 0 };
        self.write("update", write).await
    }

    async fn delete(&self, key: &Key, expected: u64) -> Result<(), ApiError> {
        let write = Write::Delete { key: key.clone(), expected: Some(expected), at: 0 };
        let gone = self.write("delete", write).await?;
        self.tags.lock().unwrap().remove(&gone.arn);
        Ok(())
    }

    async fn tags(&self, arn: &str) -> Result<Tags, ApiError> {
        self.tags.lock().unwrap().get(arn).cloned().ok_or(ApiError::Missing)
    }

    async fn tag(&self, arn: &str, tags: &Tags) -> Result<(), ApiError> {
        self.log.lock().unwrap().push(format!("tag {}", arn.trim_start_matches(ARN)));
        self.tags.lock().unwrap().entry(arn.into()).or_default().extend(tags.clone());
        Ok(())
    }

    async fn untag(&self, arn: &str, keys: &[String]) -> Result<(), ApiError> {
        self.log.lock().unwrap().push(format!("untag {}", arn.trim_start_matches(ARN)));
        self.tags.lock().unwrap().entry(arn.into()).or_default().retain(|key, _| !keys.contains(key));
        Ok(())
    }
}
