//! The registry of instances: one sled tree, one record per instance.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use signet_durable::{CommitError, Database};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::{
    Attributes, Discovery, DiscoveryError, Health, Instance, InstanceKey, Instances,
    record::{self, InvalidRecord},
};

/// The tree that holds the records, by the bytes of their keys.
const TREE: &str = "instances";
/// Most instances of one service; Cloud Map's quota.
pub const MAX_PER_SERVICE: usize = 1000;
/// Most instances of all services.
pub const MAX_INSTANCES: usize = 20_000;

/// Keeps instances in a [`Database`], which may hold other trees too.
#[derive(Debug)]
pub struct Registry {
    database: Database,
    tree: sled::Tree,
    state: Arc<State>,
    /// Changes in flight: a caller that goes away must not keep its change from being published.
    changes: TaskTracker,
}

#[derive(Debug)]
struct State {
    /// With every change that was made, durable or not yet.
    ahead: Mutex<Revision>,
    /// How far what is published has come.
    published: Mutex<u64>,
    instances: watch::Sender<Arc<Instances>>,
}

#[derive(Clone, Debug, Default)]
struct Revision {
    number: u64,
    instances: Arc<Instances>,
}

/// What a change comes to, once the state it was made on is known.
enum Decision {
    Put(Instance),
    Remove,
    /// It is as it should be.
    Keep,
}

/// What was there before a change, and what is there after it.
type Outcome = (Option<Arc<Instance>>, Option<Arc<Instance>>);

impl Registry {
    /// Reads all records.
    ///
    /// # Errors
    /// The tree cannot be read, or a record in it: to leave one out would be to take it away from every proxy.
    pub fn open(database: Database) -> Result<Self, InvalidRecord> {
        let tree = database.tree(TREE).map_err(InvalidRecord::Tree)?;
        let mut instances = Instances::default();
        for entry in &tree {
            let unreadable = |error: sled::Error| InvalidRecord::Tree(CommitError::Write(error.to_string()));
            let (key, value) = entry.map_err(unreadable)?;
            let (key, instance) = record::decode(&key, &value)?;
            instances.insert(&key, instance);
        }
        let instances = Arc::new(instances);
        let state = Arc::new(State {
            ahead: Mutex::new(Revision { number: 0, instances: Arc::clone(&instances) }),
            published: Mutex::new(0),
            instances: watch::Sender::new(instances),
        });
        Ok(Self { database, tree, state, changes: TaskTracker::new() })
    }

    /// Decides on the writer thread, where nothing comes in between, and publishes once it is durable.
    async fn change(
        &self,
        key: InstanceKey,
        decide: impl FnOnce(&Instances, Option<&Instance>) -> Result<Decision, DiscoveryError> + Send + 'static,
    ) -> Result<Outcome, DiscoveryError> {
        let (database, tree, state) = (self.database.clone(), self.tree.clone(), Arc::clone(&self.state));
        let change = async move {
            let shared = Arc::clone(&state);
            let made = database.commit(move || shared.make(&tree, &key, decide)).await;
            let (outcome, revision) = made.map_err(DiscoveryError::Unavailable)??;
            state.publish(revision);
            Ok(outcome)
        };
        let ended = self.changes.spawn(change).await;
        ended.unwrap_or(Err(DiscoveryError::Unavailable(CommitError::Closed)))
    }
}

impl State {
    fn make(
        &self,
        tree: &sled::Tree,
        key: &InstanceKey,
        decide: impl FnOnce(&Instances, Option<&Instance>) -> Result<Decision, DiscoveryError>,
    ) -> Result<Result<(Outcome, Revision), DiscoveryError>, sled::Error> {
        let mut ahead = lock(&self.ahead);
        let before = ahead.instances.get(key).map(Arc::clone);
        let decision = match decide(&ahead.instances, before.as_deref()) {
            Ok(decision) => decision,
            Err(refused) => return Ok(Err(refused)),
        };
        match decision {
            Decision::Keep => return Ok(Ok(((before.clone(), before), ahead.clone()))),
            Decision::Put(instance) => {
                tree.insert(record::key(key), record::encode(&instance))?;
                Arc::make_mut(&mut ahead.instances).insert(key, instance);
            }
            Decision::Remove => {
                tree.remove(record::key(key))?;
                Arc::make_mut(&mut ahead.instances).remove(key);
            }
        }
        ahead.number += 1;
        let after = ahead.instances.get(key).map(Arc::clone);
        Ok(Ok(((before, after), ahead.clone())))
    }

    /// Shows a state that is durable, and with it all that came before.
    fn publish(&self, revision: Revision) {
        // Held to the end, so that two publishers do not swap their states.
        let mut published = lock(&self.published);
        if *published < revision.number {
            *published = revision.number;
            self.instances.send_replace(revision.instances);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn check_room(key: &InstanceKey, instances: &Instances) -> Result<(), DiscoveryError> {
    let in_service = instances.service(&key.namespace, &key.service).map_or(0, |service| service.len());
    if in_service >= MAX_PER_SERVICE {
        return Err(DiscoveryError::Full {
            what: format!("{}.{}", key.service, key.namespace),
            max: MAX_PER_SERVICE,
        });
    }
    match instances.len() >= MAX_INSTANCES {
        true => Err(DiscoveryError::Full { what: "the registry".to_owned(), max: MAX_INSTANCES }),
        false => Ok(()),
    }
}

#[async_trait]
impl Discovery for Registry {
    async fn register(
        &self,
        key: InstanceKey,
        attributes: BTreeMap<String, String>,
        at: u64,
    ) -> Result<(Arc<Instance>, bool), DiscoveryError> {
        let attributes = Attributes::parse(attributes)?;
        let named = key.clone();
        let decide = move |all: &Instances, before: Option<&Instance>| match before {
            Some(before) if before.attributes == attributes => Ok(Decision::Keep),
            Some(before) => Ok(Decision::Put(Instance { attributes, ..before.clone() })),
            None => {
                check_room(&named, all)?;
                let health = attributes.initial_health();
                Ok(Decision::Put(Instance { attributes, health, registered_at: at }))
            }
        };
        let (before, after) = self.change(key.clone(), decide).await?;
        Ok((after.ok_or(DiscoveryError::Missing(key))?, before.is_none()))
    }

    async fn deregister(&self, key: InstanceKey) -> Result<Option<Arc<Instance>>, DiscoveryError> {
        let decide = |_: &Instances, before: Option<&Instance>| {
            Ok(before.map_or(Decision::Keep, |_| Decision::Remove))
        };
        Ok(self.change(key, decide).await?.0)
    }

    async fn set_health(
        &self,
        key: InstanceKey,
        health: Health,
    ) -> Result<(Arc<Instance>, bool), DiscoveryError> {
        let missing = key.clone();
        let decide = move |_: &Instances, before: Option<&Instance>| match before {
            None => Err(DiscoveryError::Missing(missing)),
            Some(before) if before.health == health => Ok(Decision::Keep),
            Some(before) => Ok(Decision::Put(Instance { health, ..before.clone() })),
        };
        let (before, after) = self.change(key.clone(), decide).await?;
        let is_news = before.is_none_or(|before| before.health != health);
        Ok((after.ok_or(DiscoveryError::Missing(key))?, is_news))
    }

    fn subscribe(&self) -> watch::Receiver<Arc<Instances>> {
        self.state.instances.subscribe()
    }
}

#[cfg(test)]
mod tests;
