//! What one client has of each resource, as a shared set and the few things in which it differs.
//!
//! ```text
//!  base  a b c d e …   the resources of a snapshot, which all streams share
//!  over    -   D     x   this client's own: b is not there, d is otherwise, x is there as well
//! ```
//!
//! A thousand clients that run what they should hold a thousand pointers to the same set, and to compare them with
//! the next one is to look up what was compared before. Only a client that goes its own way pays for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    resource::{Name, Resource, Version},
    snapshot::Kind,
};

/// What a layer says of a resource.
pub(crate) trait Value: Clone {
    /// Whether it says another thing of each version.
    const BY_VERSION: bool = true;

    /// What it says of one that is in the base.
    fn of(resource: &Resource) -> Self;

    /// Whether it says just that.
    fn is_of(&self, resource: &Resource) -> bool;
}

impl Value for Resource {
    fn of(resource: &Resource) -> Self {
        resource.clone()
    }

    fn is_of(&self, resource: &Resource) -> bool {
        self.is_same(resource) || self.version() == resource.version()
    }
}

impl Value for Version {
    fn of(resource: &Resource) -> Self {
        Self::clone(resource.shared_version())
    }

    fn is_of(&self, resource: &Resource) -> bool {
        **self == *resource.version()
    }
}

/// That a resource is there, and nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct There;

impl Value for There {
    const BY_VERSION: bool = false;

    fn of(_: &Resource) -> Self {
        Self
    }

    fn is_of(&self, _: &Resource) -> bool {
        true
    }
}

/// A map by names of resources. Nothing in `over` says what `base` says.
#[derive(Clone, Debug)]
pub(crate) struct Layer<T> {
    base: Arc<Kind>,
    over: BTreeMap<Name, Option<T>>,
}

/// So many entries of its own cost a layer less than a set of its own.
const FEW: usize = 8;

impl<T> Default for Layer<T> {
    fn default() -> Self {
        Self { base: Arc::clone(Kind::nothing()), over: BTreeMap::new() }
    }
}

impl<T: Value> Layer<T> {
    /// Says of each resource what it is.
    pub(crate) fn of(base: Arc<Kind>) -> Self {
        Self { base, over: BTreeMap::new() }
    }

    /// What is shared.
    pub(crate) const fn base(&self) -> &Arc<Kind> {
        &self.base
    }

    /// What is not.
    pub(crate) const fn over(&self) -> &BTreeMap<Name, Option<T>> {
        &self.over
    }

    /// Whether it has nothing of its own.
    pub(crate) fn is_plain(&self) -> bool {
        self.over.is_empty()
    }

    /// Whether it says just what these resources are.
    pub(crate) fn is_all_of(&self, base: &Arc<Kind>) -> bool {
        self.is_plain() && Arc::ptr_eq(&self.base, base)
    }

    pub(crate) fn get(&self, name: &str) -> Option<T> {
        match self.over.get(name) {
            Some(own) => own.clone(),
            None => self.base.get(name).map(T::of),
        }
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.over.get(name).map_or_else(|| self.base.contains_key(name), Option::is_some)
    }

    /// How many names it has.
    pub(crate) fn len(&self) -> usize {
        let own = |(name, own): &(&Name, &Option<T>)| own.is_some() && !self.base.contains_key(&***name);
        let hidden = self.over.values().filter(|own| own.is_none()).count();
        self.base.len() + self.over.iter().filter(own).count() - hidden
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The names, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Name> {
        let mut own = self.over.keys().peekable();
        let mut shared = self.base.keys().peekable();
        let all = std::iter::from_fn(move || match (own.peek(), shared.peek()) {
            (Some(a), Some(b)) if a == b => {
                shared.next();
                own.next()
            }
            (Some(a), Some(b)) if a > b => shared.next(),
            (Some(_), _) => own.next(),
            (None, _) => shared.next(),
        });
        all.filter(|name| self.contains(name))
    }

    /// Sets what it says of a name, or that it says nothing.
    pub(crate) fn put(&mut self, name: &Name, value: Option<T>) {
        let is_shared = match (&value, self.base.get(name)) {
            (Some(value), Some(resource)) => value.is_of(resource),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if is_shared {
            self.over.remove(name);
        } else {
            self.over.insert(Arc::clone(name), value);
        }
    }

    /// Takes over all that another one has.
    pub(crate) fn overlay(&mut self, other: &Layer<Resource>) {
        // Of the names of the other base it is the other that speaks.
        let difference = other.base.since(&self.base);
        if self.is_plain() && other.is_plain() && difference.gone.is_empty() {
            self.base = Arc::clone(&other.base);
            return;
        }
        let own = self.over.keys().chain(other.over.keys());
        let names: BTreeSet<Name> = difference.gone.iter().chain(own).cloned().collect();
        let before = std::mem::replace(self, Self::of(Arc::clone(&other.base)));
        for name in names {
            let value = other.get(&name).as_ref().map(T::of).or_else(|| before.get(&name));
            self.put(&name, value);
        }
    }

    /// The same over this set, if that takes fewer words, or only a few.
    pub(crate) fn over_another(&self, base: &Arc<Kind>) -> Option<Self> {
        if Arc::ptr_eq(&self.base, base) {
            return None;
        }
        let (own, difference) = (self.over.len(), base.since(&self.base));
        let changed = if T::BY_VERSION { difference.changed.len() } else { difference.added.len() };
        // A set that nobody shares any more is not held on to for a few words; nothing at all costs nothing.
        let most = if self.base.is_empty() { own } else { own.max(FEW) };
        // So many entries it would have at least.
        if (changed + difference.gone.len()).saturating_sub(own) > most {
            return None;
        }
        let mut laid = Self::of(Arc::clone(base));
        for name in self.apart(&laid) {
            laid.put(&name, self.get(&name));
        }
        (laid.over.len() <= most).then_some(laid)
    }

    /// Goes over to this set, if that takes fewer words, or only a few.
    pub(crate) fn lay_on(&mut self, base: &Arc<Kind>) {
        if let Some(laid) = self.over_another(base) {
            *self = laid;
        }
    }

    /// The names of which the two may say different things, each once and in order.
    pub(crate) fn apart<U: Value>(&self, other: &Layer<U>) -> Vec<Name> {
        if self.is_all_of(&other.base) && other.over.is_empty() {
            return Vec::new();
        }
        let difference = other.base.since(&self.base);
        let changed = difference.changed.iter().filter(|_| T::BY_VERSION).map(Resource::shared_name);
        let added = difference.added.iter().filter(|_| !T::BY_VERSION);
        let own = self.over.keys().chain(other.over.keys());
        let names = changed.chain(added).chain(&difference.gone).chain(own);
        let mut names: Vec<Name> = names.cloned().collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The names that it has and the other has not, in order.
    pub(crate) fn beyond<U: Value>(&self, other: &Layer<U>) -> Vec<Name> {
        if self.is_all_of(&other.base) && other.over.is_empty() {
            return Vec::new();
        }
        let difference = other.base.since(&self.base);
        let names = difference.gone.iter().chain(self.over.keys()).chain(other.over.keys());
        let mut names: Vec<Name> =
            names.filter(|name| self.contains(name) && !other.contains(name)).cloned().collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl Layer<Version> {
    /// The version that it says.
    pub(crate) fn version(&self, name: &str) -> Option<&Version> {
        match self.over.get(name) {
            Some(own) => own.as_ref(),
            None => self.base.get(name).map(Resource::shared_version),
        }
    }
}
