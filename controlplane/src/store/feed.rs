//! What changed since a revision, for whoever keeps a copy.
//!
//! Events are kept for a while only. Who asks for older ones, or for what never was (the store was restored from a
//! backup), is told to start anew: note the revision, list everything, and go on from the revision that was noted.

use std::{collections::VecDeque, sync::Arc};

use super::{
    Refusal, Resource,
    records::{Change, Effect},
};

/// Most events kept.
pub const MAX_EVENTS: usize = 1024;

/// One change, durable when it is told.
#[derive(Clone, Debug)]
pub struct Event {
    /// The revision that it made; each is one more than the one before.
    pub revision: u64,
    /// What happened.
    pub what: Happened,
    /// The resource as it then was, or, of one that went, as it last was.
    pub resource: Arc<Resource>,
}

/// What happened to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// It was made, or got a new spec.
    Written,
    /// Its tags changed, and nothing else.
    Tagged,
    /// It is gone, and so are its tags.
    Deleted,
}

/// The last events.
#[derive(Debug)]
pub(super) struct Feed {
    /// Of the last event, or of the store when it was opened.
    revision: u64,
    events: VecDeque<Event>,
}

impl Feed {
    pub(super) fn new(revision: u64) -> Self {
        Self { revision, events: VecDeque::new() }
    }

    pub(super) fn tell(&mut self, change: &Change) {
        let what = match change.effect {
            Effect::Put => Happened::Written,
            Effect::Tag => Happened::Tagged,
            Effect::Remove => Happened::Deleted,
        };
        if self.events.len() == MAX_EVENTS {
            self.events.pop_front();
        }
        self.revision = change.revision;
        self.events.push_back(Event { revision: change.revision, what, resource: change.resource.clone() });
    }

    /// The first `limit` events after a revision; none where it is the last one.
    pub(super) fn after(&self, revision: u64, limit: usize) -> Result<Vec<Event>, Refusal> {
        let oldest = self.events.front().map_or(self.revision, |event| event.revision - 1);
        if !(oldest..=self.revision).contains(&revision) {
            return Err(Refusal::Compacted { after: revision, oldest, newest: self.revision });
        }
        let later = self.events.iter().skip_while(|event| event.revision <= revision);
        Ok(later.take(limit).cloned().collect())
    }
}
