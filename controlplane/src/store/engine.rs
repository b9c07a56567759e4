//! What every back end shares: the state that writes are decided on, and the one that readers see.
//!
//! Two states, because a group of writes shares one sync: a write must see the ones before it although they
//! are not durable yet, and a reader must not.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard},
};

use tokio::sync::watch;

use super::{
    Refusal, Resource, Write,
    feed::{Event, Feed},
    project,
    records::{Change, Records},
    rules::{Decision, State},
};
use crate::model::{Author, Changes, Model};

#[derive(Debug)]
pub(super) struct Engine {
    /// With every change that was made.
    ahead: Mutex<State>,
    /// Changes that were made and not yet published, in the order of their revisions.
    waiting: Mutex<VecDeque<Change>>,
    /// With every change that is durable.
    published: RwLock<Records>,
    /// The last of the changes in it.
    feed: Mutex<Feed>,
    model: watch::Sender<Arc<Model>>,
}

/// A write that was decided on: its answer, and the revision that must be durable before it is given.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) revision: u64,
    pub(super) answer: Result<Arc<Resource>, Refusal>,
}

impl Engine {
    /// An engine that starts at a revision, with the state that these changes made.
    pub(super) fn new(revision: u64, mut ahead: State, changes: &[Change]) -> Self {
        let (mut published, mut model) = (Records::default(), Model::default());
        for change in changes {
            published.apply(change);
            project::apply(&mut model, change);
        }
        // Also where nothing is left: revisions never go back.
        ahead.records.revision = revision;
        published.revision = revision;
        model.revision = revision;
        // What was loaded was not written now, nor at this revision.
        model.changes = Changes::since(revision);
        Self {
            ahead: Mutex::new(ahead),
            waiting: Mutex::default(),
            published: RwLock::new(published),
            feed: Mutex::new(Feed::new(revision)),
            model: watch::Sender::new(Arc::new(model)),
        }
    }

    /// Decides on a write and, where it is allowed, persists and makes it. Nobody sees it yet.
    ///
    /// # Errors
    /// Those of `persist`, with nothing changed.
    pub(super) fn decide<E>(
        &self,
        write: Write,
        by: Option<Author>,
        persist: impl FnOnce(&Change) -> Result<(), E>,
    ) -> Result<Decided, E> {
        let mut ahead = lock(&self.ahead);
        let answer = match ahead.decide(write) {
            Ok(Decision::Change(mut change)) => {
                change.by = by;
                persist(&change)?;
                ahead.apply(&change);
                let resource = change.resource.clone();
                lock(&self.waiting).push_back(*change);
                Ok(resource)
            }
            Ok(Decision::Repeated(resource)) => Ok(resource),
            Err(refusal) => Err(refusal),
        };
        Ok(Decided { revision: ahead.records.revision, answer })
    }

    /// Shows readers every change up to a revision, all of which are durable.
    pub(super) fn publish(&self, revision: u64) {
        // Before the next lock: whoever decides takes them in this order.
        lock(&self.ahead).tokens.close_record();
        // Held to the end, so that two publishers do not swap their changes.
        let mut waiting = lock(&self.waiting);
        let ready = waiting.iter().take_while(|change| change.revision <= revision).count();
        if ready == 0 {
            return;
        }
        let changes: Vec<Change> = waiting.drain(..ready).collect();
        let mut published = self.published.write().unwrap_or_else(PoisonError::into_inner);
        changes.iter().for_each(|change| published.apply(change));
        drop(published);
        {
            let mut feed = lock(&self.feed);
            changes.iter().for_each(|change| feed.tell(change));
        }
        self.model.send_modify(|model| {
            let model = Arc::make_mut(model);
            changes.iter().for_each(|change| project::apply(model, change));
        });
    }

    /// The changes after a revision, once there is one.
    pub(super) async fn changes(&self, after: u64, limit: usize) -> Result<Vec<Event>, Refusal> {
        // Before the first look, so that no change falls between that and the waiting.
        let mut models = self.model.subscribe();
        loop {
            let found = lock(&self.feed).after(after, limit.max(1))?;
            if !found.is_empty() {
                return Ok(found);
            }
            // The sender is this engine's own.
            if models.changed().await.is_err() {
                return Ok(Vec::new());
            }
        }
    }

    pub(super) fn published(&self) -> RwLockReadGuard<'_, Records> {
        self.published.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Arc<Model>> {
        self.model.subscribe()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use serde_json::json;

    use super::{
        super::suite::{creation, key},
        *,
    };

    fn decide(engine: &Engine, write: Write) -> Decided {
        let Ok(decided) = engine.decide(write, None, |_| Ok::<_, Infallible>(()));
        decided
    }

    #[test]
    fn a_write_is_seen_by_the_next_write_at_once_and_by_readers_once_it_is_durable() {
        let engine = Engine::new(0, State::default(), &[]);
        let models = engine.subscribe();
        let mesh = decide(&engine, creation("mesh/m", json!({})));
        let node = decide(&engine, creation("mesh/m/virtualNode/a", json!({})));
        assert!(node.answer.is_ok());
        assert!(engine.published().get(&key("mesh/m")).is_err());
        assert!(!models.has_changed().unwrap());
        engine.publish(mesh.revision);
        assert!(engine.published().get(&key("mesh/m")).is_ok());
        assert!(engine.published().get(&key("mesh/m/virtualNode/a")).is_err());
        assert_eq!(models.borrow().revision, 1);
    }

    #[test]
    fn a_later_write_publishes_the_earlier_ones_whose_callers_are_slow_or_gone() {
        let engine = Engine::new(0, State::default(), &[]);
        let first = decide(&engine, creation("mesh/m", json!({})));
        let second = decide(&engine, creation("mesh/n", json!({})));
        engine.publish(second.revision);
        engine.publish(first.revision);
        assert_eq!(engine.published().revision, 2);
        assert_eq!(engine.subscribe().borrow().meshes.len(), 2);
    }

    #[test]
    fn a_write_that_the_disk_refuses_changes_nothing() {
        let engine = Engine::new(0, State::default(), &[]);
        let failed = engine.decide(creation("mesh/m", json!({})), None, |_| Err("disk full"));
        assert_eq!(failed.unwrap_err(), "disk full");
        let again = decide(&engine, creation("mesh/m", json!({})));
        assert_eq!((again.answer.is_ok(), again.revision), (true, 1));
    }
}
