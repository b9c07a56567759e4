//! A store that forgets. For tests, and for whoever wants a mesh without a disk.

use std::{convert::Infallible, sync::Arc};

use async_trait::async_trait;
use tokio::sync::watch;

use super::{Event, Resource, Store, StoreError, Write, engine::Engine, rules::State};
use crate::{
    model::{
        Author, Model, Tags,
        key::{Collection, Key},
    },
    quotas::Quotas,
};

/// Keeps everything in memory, and is durable the way memory is.
#[derive(Debug)]
pub struct MemoryStore {
    engine: Engine,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new(Quotas::default())
    }
}

impl MemoryStore {
    /// An empty store within these bounds.
    #[must_use]
    pub fn new(quotas: Quotas) -> Self {
        Self { engine: Engine::new(0, State::new(quotas), &[]) }
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn write_by(&self, by: Option<Author>, write: Write) -> Result<Arc<Resource>, StoreError> {
        let Ok(decided) = self.engine.decide(write, by, |_| Ok::<_, Infallible>(()));
        self.engine.publish(decided.revision);
        Ok(decided.answer?)
    }

    async fn get(&self, key: &Key) -> Result<Arc<Resource>, StoreError> {
        Ok(self.engine.published().get(key)?.clone())
    }

    async fn list(
        &self,
        collection: &Collection,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Arc<Resource>>, StoreError> {
        Ok(self.engine.published().list(collection, after, limit)?)
    }

    async fn tags(&self, key: &Key) -> Result<Arc<Tags>, StoreError> {
        Ok(self.engine.published().tags(key)?)
    }

    async fn changes(&self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        Ok(self.engine.changes(after, limit).await?)
    }

    fn subscribe(&self) -> watch::Receiver<Arc<Model>> {
        self.engine.subscribe()
    }
}
