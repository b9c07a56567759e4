//! The embedded store: one sled tree, one batch per change, the group commit of `signet_durable`.

use std::sync::Arc;

use async_trait::async_trait;
use signet_durable::{CommitError, Database};
use thiserror::Error;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::{
    Refusal, Resource, Store, StoreError, Write,
    engine::{Decided, Engine},
    format::{self, InvalidRecord},
    records::{Change, Effect},
    rules::State,
};
use crate::model::{
    Model,
    key::{Collection, Key},
};

/// The tree that holds the records, by the text of their keys.
const TREE: &str = "appmesh";
/// The key of the last change's revision, as text, beside the records.
const REVISION: &str = "revision";

/// Keeps resources in a [`Database`], which may hold other trees too.
#[derive(Debug)]
pub struct SledStore {
    database: Database,
    tree: sled::Tree,
    engine: Arc<Engine>,
    /// Writes in flight: a caller that goes away must not keep its write from being published.
    writes: TaskTracker,
}

/// Why a store could not be opened. Nothing was changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The tree cannot be made or read.
    #[error("the resources cannot be read from the disk")]
    Database(#[source] CommitError),
    /// A record is not what this version can serve.
    #[error("the record {key:?} cannot be read")]
    Record {
        /// Its key in the tree.
        key: String,
        /// What is wrong with it.
        #[source]
        source: Box<InvalidRecord>,
    },
    /// The revision beside the records is no number.
    #[error("the revision of the store is {0:?}, which is no number")]
    Revision(String),
}

impl SledStore {
    /// Reads all records and builds the model from them.
    ///
    /// # Errors
    /// The first record that cannot be read, by its key: to serve the rest would be to delete it silently.
    pub fn open(database: Database) -> Result<Self, OpenError> {
        let tree = database.tree(TREE).map_err(OpenError::Database)?;
        let (revision, changes) = load(&tree)?;
        let engine = Arc::new(Engine::new(revision, &changes));
        Ok(Self { database, tree, engine, writes: TaskTracker::new() })
    }
}

/// Reads every record, parents before children, as the changes that make them.
fn load(tree: &sled::Tree) -> Result<(u64, Vec<Change>), OpenError> {
    let unreadable = |error: sled::Error| OpenError::Database(CommitError::Write(error.to_string()));
    let (mut resources, mut revision) = (Vec::new(), 0);
    for entry in tree {
        let (key, value) = entry.map_err(unreadable)?;
        match &*key == REVISION.as_bytes() {
            true => revision = parse_revision(&value)?,
            false => resources.push(format::decode(&key, &value).map_err(|source| named(&key, source))?),
        }
    }
    // Kinds are in the order of their dependencies, with what is referred to before who refers to it.
    resources.sort_by_key(|resource| match resource.document.key() {
        Key::Mesh(_) => 0,
        Key::VirtualNode { .. } => 1,
        Key::VirtualRouter { .. } => 2,
        Key::Route { .. } | Key::VirtualService { .. } | Key::VirtualGateway { .. } => 3,
        Key::GatewayRoute { .. } => 4,
    });
    let mut state = State::default();
    let mut changes = Vec::with_capacity(resources.len());
    for resource in resources {
        check_fits(&state, &resource).map_err(|refusal| {
            named(resource.document.key().to_string().as_bytes(), InvalidRecord::Reference(Box::new(refusal)))
        })?;
        let change = Change { revision, effect: Effect::Put, resource };
        state.apply(&change);
        changes.push(change);
    }
    Ok((revision, changes))
}

fn check_fits(state: &State, resource: &Resource) -> Result<(), Refusal> {
    state.records.require_parent(&resource.document.key().collection())?;
    state.check_references(&resource.document)
}

fn named(key: &[u8], source: InvalidRecord) -> OpenError {
    OpenError::Record { key: String::from_utf8_lossy(key).into_owned(), source: Box::new(source) }
}

fn parse_revision(value: &[u8]) -> Result<u64, OpenError> {
    let text = String::from_utf8_lossy(value);
    text.parse().map_err(|_| OpenError::Revision(text.into_owned()))
}

/// One batch, so that a crash leaves all of a change or nothing.
fn persist(tree: &sled::Tree, change: &Change) -> Result<(), sled::Error> {
    let mut batch = sled::Batch::default();
    let key = change.resource.document.key().to_string();
    match change.effect {
        Effect::Put => {
            let unwritable = |error: serde_json::Error| sled::Error::Unsupported(error.to_string());
            batch.insert(key.as_bytes(), format::encode(&change.resource).map_err(unwritable)?);
        }
        Effect::Remove => batch.remove(key.as_bytes()),
    }
    batch.insert(REVISION, change.revision.to_string().as_bytes());
    tree.apply_batch(batch)
}

#[async_trait]
impl Store for SledStore {
    async fn write(&self, write: Write) -> Result<Arc<Resource>, StoreError> {
        let (database, tree, engine) = (self.database.clone(), self.tree.clone(), self.engine.clone());
        let task = self.writes.spawn(async move {
            let writer = engine.clone();
            let change = move || writer.decide(write, |change| persist(&tree, change));
            let Decided { revision, answer } = database.commit(change).await?;
            engine.publish(revision);
            Ok(answer?)
        });
        task.await.unwrap_or(Err(StoreError::Unavailable(CommitError::Closed)))
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

    fn subscribe(&self) -> watch::Receiver<Arc<Model>> {
        self.engine.subscribe()
    }
}

#[cfg(test)]
mod tests;
