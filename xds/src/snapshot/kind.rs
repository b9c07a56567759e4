//! The resources of one kind, shared by all who hold the same.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    ops::Deref,
    sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, Weak},
};

use sha2::{Digest, Sha256};

use super::difference::Difference;
use crate::{
    batch::{Resources, Shared},
    resource::{Name, Resource, Version},
};

/// The resources of one kind by name, and what follows from them: worked out once, however many streams ask.
#[derive(Default)]
pub(crate) struct Kind {
    resources: BTreeMap<Name, Resource>,
    known: Known,
}

/// What was worked out so far.
#[derive(Default)]
struct Known {
    version: OnceLock<Version>,
    /// All of it as one response.
    whole: Shared,
    /// The one that somebody wanted alone first: most often all want the same, and find it here without a lock.
    usual: OnceLock<(Name, Arc<Kind>)>,
    /// The others that somebody wants alone.
    alone: RwLock<BTreeMap<Name, Arc<Kind>>>,
    /// How it differs from what was asked for first: most often all streams come from the same.
    from: OnceLock<(Weak<Kind>, Arc<Difference>)>,
    /// How it differs from others.
    since: Mutex<Vec<(Weak<Kind>, Arc<Difference>)>>,
}

/// The differences from so many others are kept: of those that streams are coming from.
const KEPT: usize = 8;

static NOTHING: LazyLock<Arc<Kind>> = LazyLock::new(Arc::default);

impl Kind {
    /// No resource at all.
    pub(crate) fn nothing() -> &'static Arc<Self> {
        &NOTHING
    }

    /// Adds a resource, or takes one's place.
    pub(super) fn insert(&mut self, resource: Resource) -> Option<Resource> {
        self.known = Known::default();
        self.resources.insert(Arc::clone(resource.shared_name()), resource)
    }

    /// Takes the resource of this name out.
    pub(super) fn remove(&mut self, name: &str) -> Option<Resource> {
        self.known = Known::default();
        self.resources.remove(name)
    }

    /// Puts in the place of each resource what `replace` gives for it, which must be equal to it.
    pub(super) fn intern(&mut self, mut replace: impl FnMut(&Resource) -> Resource) {
        self.known = Known::default();
        self.resources.values_mut().for_each(|resource| *resource = replace(resource));
    }

    /// A digest over all names and versions, equal on every replica.
    pub(crate) fn version(&self) -> &Version {
        let version = || digest(self.iter().map(|(name, resource)| (&**name, resource.version())));
        self.known.version.get_or_init(version)
    }

    /// All of it, as the resources of a response.
    pub(crate) fn whole(self: &Arc<Self>) -> Resources {
        self.known.whole.get_or(|| Resources::whole(Arc::clone(self)))
    }

    /// The set of just the resource of this name, if there is one: the same for all who want nothing else.
    pub(crate) fn alone<'a>(self: &'a Arc<Self>, name: &Name) -> Cow<'a, Arc<Self>> {
        let Some(resource) = self.get(name) else { return Cow::Borrowed(Self::nothing()) };
        if self.len() == 1 {
            return Cow::Borrowed(self);
        }
        let made = || Arc::new(Self::from_iter([resource.clone()]));
        let (usual, alone) = self.known.usual.get_or_init(|| (Arc::clone(resource.shared_name()), made()));
        if usual == name {
            return Cow::Borrowed(alone);
        }
        let known = self.known.alone.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        Cow::Owned(known.unwrap_or_else(|| {
            let mut alone = self.known.alone.write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(alone.entry(Arc::clone(resource.shared_name())).or_insert_with(made))
        }))
    }

    /// How it differs from what was before.
    pub(crate) fn since(&self, before: &Arc<Self>) -> Cow<'_, Arc<Difference>> {
        if std::ptr::eq(self, Arc::as_ptr(before)) {
            return Cow::Borrowed(Difference::none());
        }
        let between = || (Arc::downgrade(before), Arc::new(Difference::between(before, self)));
        let is_same = |(kind, _): &(Weak<Self>, _)| std::ptr::eq(kind.as_ptr(), Arc::as_ptr(before));
        let from = self.known.from.get_or_init(between);
        if is_same(from) {
            return Cow::Borrowed(&from.1);
        }
        let mut since = self.known_differences();
        if let Some(index) = since.iter().position(is_same) {
            // The one that was asked for last is thrown out last.
            since[index..].rotate_left(1);
            return Cow::Owned(since.last().map_or_else(Arc::default, |(_, known)| Arc::clone(known)));
        }
        // Whoever asks for the same meanwhile waits for it here.
        let (before, difference) = between();
        since.retain(|(kind, _)| kind.strong_count() > 0);
        if since.len() == KEPT {
            since.remove(0);
        }
        since.push((before, Arc::clone(&difference)));
        Cow::Owned(difference)
    }

    fn known_differences(&self) -> MutexGuard<'_, Vec<(Weak<Self>, Arc<Difference>)>> {
        self.known.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names and versions as one version.
pub(crate) fn digest<'a>(versions: impl Iterator<Item = (&'a str, &'a str)>) -> Version {
    let mut digest = Sha256::new();
    for (name, version) in versions {
        for part in [name, version] {
            digest.update(part.len().to_be_bytes());
            digest.update(part);
        }
    }
    let digest: [u8; 32] = digest.finalize().into();
    hex::encode(digest.split_at(16).0).into()
}

impl Deref for Kind {
    type Target = BTreeMap<Name, Resource>;

    fn deref(&self) -> &Self::Target {
        &self.resources
    }
}

impl FromIterator<Resource> for Kind {
    fn from_iter<I: IntoIterator<Item = Resource>>(resources: I) -> Self {
        let named = |resource: Resource| (Arc::clone(resource.shared_name()), resource);
        Self { resources: resources.into_iter().map(named).collect(), known: Known::default() }
    }
}

/// A copy that may be changed, so nothing is known of it.
impl Clone for Kind {
    fn clone(&self) -> Self {
        Self { resources: self.resources.clone(), known: Known::default() }
    }
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        self.resources == other.resources
    }
}

impl Eq for Kind {}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.resources.fmt(f)
    }
}
