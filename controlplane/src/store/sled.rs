//! The embedded store: one sled tree, written through the journal of `signet_durable`.

mod load;
mod persist;

use std::sync::Arc;

use async_trait::async_trait;
use signet_durable::{CommitError, Database, Writes};
use thiserror::Error;
use tokio::sync::watch;

use super::{
    Event, Resource, Store, StoreError, Write,
    engine::{Decided, Engine},
    format::InvalidRecord,
};
use crate::{
    model::{
        Author, Model, Tags,
        key::{Collection, Key},
    },
    quotas::Quotas,
};

use self::load::Loaded;

/// The tree that holds the records, by the text of their keys.
const TREE: &str = "appmesh";

/// Keeps resources in a [`Database`], which may hold other trees too.
#[derive(Debug)]
pub struct SledStore {
    database: Database,
    tree: sled::Tree,
    engine: Arc<Engine>,
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
    /// Reads all records and builds the model from them. Quotas bound what is made from now on.
    ///
    /// # Errors
    /// The first record that cannot be read, by its key: to serve the rest would be to delete it silently.
    pub fn open(database: Database, quotas: Quotas) -> Result<Self, OpenError> {
        let tree = database.tree(TREE).map_err(OpenError::Database)?;
        let Loaded { revision, state, changes } = load::load(&tree, quotas)?;
        let engine = Arc::new(Engine::new(revision, state, &changes));
        Ok(Self { database, tree, engine })
    }
}

#[async_trait]
impl Store for SledStore {
    async fn write_by(&self, by: Option<Author>, write: Write) -> Result<Arc<Resource>, StoreError> {
        let (tree, writer, publisher) = (self.tree.clone(), self.engine.clone(), self.engine.clone());
        let change = move |writes: &mut Writes| {
            writer.decide(write, by, |change| persist::persist(writes, &tree, change))
        };
        // All that was decided on is of the group that is durable now: readers see it at once, and as one change.
        let publish = move |_: &Decided| publisher.publish(u64::MAX);
        let Decided { answer, .. } = self.database.journal(change, publish).await?;
        Ok(answer?)
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

#[cfg(test)]
mod tests;
