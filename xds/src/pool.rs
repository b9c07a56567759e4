//! Equal resources of many snapshots, kept once.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use crate::{
    resource::{Resource, ResourceType, Version},
    snapshot::{Kind, Snapshot},
};

/// Lets snapshots share their equal resources, however many proxies hold them.
///
/// It holds a resource for as long as somebody else does, and a little longer.
#[derive(Debug, Default)]
pub struct Pool {
    resources: HashMap<(ResourceType, Version), Vec<Resource>>,
    /// Whole kinds, by the digest of their names and versions.
    kinds: HashMap<(ResourceType, Version), Weak<Kind>>,
    /// How many there were when the unused ones were last thrown out.
    kept: usize,
    kinds_kept: usize,
    count: usize,
}

/// Fewer resources than this are not worth looking for unused ones.
const WORTH_A_LOOK: usize = 1024;

impl Pool {
    /// Puts the resources of earlier snapshots into the place of equal ones in this one, and whole kinds of them.
    pub fn intern(&mut self, snapshot: &mut Snapshot) {
        snapshot.intern(|resource| self.shared(resource));
        snapshot.intern_kinds(|kind, resources| self.shared_kind(kind, resources));
        if self.count > WORTH_A_LOOK.max(2 * self.kept) {
            self.throw_out();
        }
    }

    /// How many different resources there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn shared(&mut self, resource: &Resource) -> Resource {
        let key = (resource.kind(), resource.shared_version().clone());
        // Of equal content under another name there may be a few.
        let equals = self.resources.entry(key).or_default();
        if let Some(known) = equals.iter().find(|known| *known == resource) {
            return known.clone();
        }
        equals.push(resource.clone());
        self.count += 1;
        resource.clone()
    }

    fn shared_kind(&mut self, kind: ResourceType, resources: &Arc<Kind>) -> Arc<Kind> {
        if self.kinds.len() > WORTH_A_LOOK.max(2 * self.kinds_kept) {
            self.kinds.retain(|_, kind| kind.strong_count() > 0);
            self.kinds_kept = self.kinds.len();
        }
        let known = self.kinds.entry((kind, resources.version().clone())).or_default();
        if let Some(known) = known.upgrade().filter(|known| known == resources) {
            return known;
        }
        *known = Arc::downgrade(resources);
        Arc::clone(resources)
    }

    fn throw_out(&mut self) {
        self.resources.retain(|_, equals| {
            equals.retain(Resource::is_shared);
            !equals.is_empty()
        });
        self.count = self.resources.values().map(Vec::len).sum();
        self.kept = self.count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::tests::snapshot;

    #[test]
    fn equal_resources_of_different_snapshots_become_one_in_memory() {
        let mut pool = Pool::default();
        let (mut a, mut b) = (snapshot("C x@1 y@1; R r@1"), snapshot("C x@1 y@2; R r@1"));
        let before = snapshot("C x@1 y@2; R r@1");
        pool.intern(&mut a);
        pool.intern(&mut b);
        assert_eq!(b, before, "what a snapshot says does not change");
        let same = |kind, name| a.get(kind, name).zip(b.get(kind, name)).map(|(a, b)| a.is_same(b));
        assert_eq!(same(ResourceType::Cluster, "x"), Some(true));
        assert_eq!(same(ResourceType::Cluster, "y"), Some(false));
        assert_eq!(same(ResourceType::Route, "r"), Some(true));
        assert_eq!(pool.len(), 4);
        assert!(a.shares(ResourceType::Route, &b), "a kind in which all is equal");
        assert!(!a.shares(ResourceType::Cluster, &b));
    }

    #[test]
    fn resources_of_equal_content_and_different_names_stay_two() {
        let mut pool = Pool::default();
        let mut both = snapshot("S x@1 y@1");
        pool.intern(&mut both);
        assert_eq!(both, snapshot("S x@1 y@1"));
    }

    #[test]
    fn what_nobody_holds_any_more_is_thrown_out() {
        let mut pool = Pool::default();
        for round in 0..10 * WORTH_A_LOOK {
            pool.intern(&mut snapshot(&format!("C x@{round}")));
        }
        assert!(pool.len() <= WORTH_A_LOOK + 1, "{} are kept", pool.len());
    }
}
