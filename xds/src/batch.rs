//! The resources of a response, and their encoding, shared by all streams that send the same.

use std::{
    fmt,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;

use crate::{resource::Resource, session::Variant, snapshot::Kind};

/// The resources that one response carries, in order of names. A clone is the same ones.
#[derive(Clone, Default)]
pub struct Resources(Arc<Batch>);

#[derive(Default)]
struct Batch {
    content: Content,
    sotw: Encoding,
    delta: Encoding,
}

enum Content {
    /// A kind as a whole.
    Whole(Arc<Kind>),
    /// Some of one.
    Some(Vec<Resource>),
}

/// The encoding of one variant.
#[derive(Default)]
struct Encoding {
    /// Somebody asked for it.
    asked: AtomicBool,
    bytes: OnceLock<Bytes>,
}

impl Resources {
    pub(crate) fn whole(kind: Arc<Kind>) -> Self {
        Self(Arc::new(Batch { content: Content::Whole(kind), ..Batch::default() }))
    }

    /// The kind, where these are all of it.
    pub(crate) fn as_kind(&self) -> Option<&Arc<Kind>> {
        match &self.0.content {
            Content::Whole(kind) => Some(kind),
            Content::Some(_) => None,
        }
    }

    /// Whether both are one and the same in memory.
    #[cfg(test)]
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The version of the one of this name.
    pub(crate) fn version(&self, name: &str) -> Option<&str> {
        match &self.0.content {
            Content::Whole(kind) => kind.get(name).map(Resource::version),
            Content::Some(resources) => resources.iter().find(|it| it.name() == name).map(Resource::version),
        }
    }

    /// In order of names.
    pub fn iter(&self) -> impl Iterator<Item = &Resource> {
        let (kind, some) = match &self.0.content {
            Content::Whole(kind) => (Some(kind.values()), None),
            Content::Some(resources) => (None, Some(resources)),
        };
        kind.into_iter().flatten().chain(some.into_iter().flatten())
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0.content {
            Content::Whole(kind) => kind.len(),
            Content::Some(resources) => resources.len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them as `encode` writes them for a variant, for as long as one of the responses that they are in waits
    /// for its answer. Nothing for the first who asks: alone it does better without a copy of everything.
    pub(crate) fn encoded(&self, variant: Variant, encode: impl FnOnce() -> Bytes) -> Option<Bytes> {
        let Encoding { asked, bytes } = match variant {
            Variant::Sotw => &self.0.sotw,
            Variant::Delta => &self.0.delta,
        };
        // What is known is not written again, in the way of all others.
        let is_second = asked.load(Ordering::Relaxed) || asked.swap(true, Ordering::Relaxed);
        is_second.then(|| bytes.get_or_init(encode).clone())
    }
}

impl Default for Content {
    fn default() -> Self {
        Self::Some(Vec::new())
    }
}

impl<'a> IntoIterator for &'a Resources {
    type Item = &'a Resource;
    type IntoIter = Box<dyn Iterator<Item = &'a Resource> + 'a>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(self.iter())
    }
}

impl FromIterator<Resource> for Resources {
    fn from_iter<I: IntoIterator<Item = Resource>>(resources: I) -> Self {
        Self(Arc::new(Batch { content: Content::Some(resources.into_iter().collect()), ..Batch::default() }))
    }
}

impl PartialEq for Resources {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.iter().eq(other.iter())
    }
}

impl Eq for Resources {}

impl fmt::Debug for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// A place for resources that are kept for as long as somebody else does.
#[derive(Default)]
pub(crate) struct Shared(Mutex<Weak<Batch>>);

impl Shared {
    /// What is there, or what `make` gives.
    pub(crate) fn get_or(&self, make: impl FnOnce() -> Resources) -> Resources {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.upgrade().map_or_else(
            || {
                let made = make();
                *kept = Arc::downgrade(&made.0);
                made
            },
            Resources,
        )
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}
