//! From one set of resources to the next.

use std::{
    cmp::Ordering,
    sync::{Arc, LazyLock, Mutex, PoisonError, Weak},
};

use super::kind::Kind;
use crate::{
    batch::{Resources, Shared},
    resource::{Name, Resource},
};

/// What a set of resources has that another had not, and the other way round.
#[derive(Debug, Default)]
pub(crate) struct Difference {
    /// What is new or has another version, in order of names.
    pub(crate) changed: Vec<Resource>,
    /// Those of them that were not there before.
    pub(crate) added: Vec<Name>,
    /// What is not there any more, in order of names.
    pub(crate) gone: Vec<Name>,
    /// The endpoints for which what changed waits.
    pub(crate) warming: Vec<Name>,
    /// `changed` as a response.
    response: Shared,
    /// The new set with what is gone from the old one.
    both: Mutex<Weak<Kind>>,
}

static NONE: LazyLock<Arc<Difference>> = LazyLock::new(Arc::default);

impl Difference {
    /// That of a set from itself.
    pub(super) fn none() -> &'static Arc<Self> {
        &NONE
    }

    pub(super) fn between(before: &Kind, now: &Kind) -> Self {
        let (mut changed, mut added, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        let (mut old, mut new) = (before.iter().peekable(), now.iter().peekable());
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((old, _)), Some((new, _))) => old.cmp(new),
            };
            let was = if order.is_le() { old.next() } else { None };
            let is = if order.is_ge() { new.next() } else { None };
            match (was, is) {
                (Some((_, was)), Some((_, is))) if was.is_same(is) || was.version() == is.version() => {}
                (was, Some((name, is))) => {
                    changed.push(is.clone());
                    if was.is_none() {
                        added.push(Arc::clone(name));
                    }
                }
                (Some((name, _)), None) => gone.push(Arc::clone(name)),
                (None, None) => break,
            }
        }
        let warming = changed.iter().filter_map(Resource::endpoints).cloned().collect();
        Self { changed, added, gone, warming, ..Self::default() }
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.gone.is_empty()
    }

    /// What changed, as the resources of a response.
    pub(crate) fn response(&self) -> Resources {
        self.response.get_or(|| self.changed.iter().cloned().collect())
    }

    /// `now`, and what of `before` is gone from it.
    pub(crate) fn both(&self, before: &Arc<Kind>, now: &Arc<Kind>) -> Arc<Kind> {
        if self.gone.is_empty() {
            return Arc::clone(now);
        }
        let mut both = self.both.lock().unwrap_or_else(PoisonError::into_inner);
        both.upgrade().unwrap_or_else(|| {
            let gone = self.gone.iter().filter_map(|name| before.get(name));
            let made = Arc::new(now.values().chain(gone).cloned().collect());
            *both = Arc::downgrade(&made);
            made
        })
    }
}
