//! The same change of many snapshots, made once.

use std::{collections::HashMap, sync::Arc};

use super::{Kind, Snapshot};
use crate::resource::Resource;

/// Remembers which set came of which when a resource took another's place, or a new one, so that all who held the same
/// set hold the same set again.
///
/// It holds on to all of them, so it is meant for one round of changes.
#[derive(Debug, Default)]
pub struct Replacements {
    /// By where the set lies that was there before, which is held and so stays there.
    made: HashMap<usize, Vec<Made>>,
}

#[derive(Debug)]
struct Made {
    _before: Arc<Kind>,
    by: Resource,
    after: Arc<Kind>,
}

impl Replacements {
    /// Puts a resource into a snapshot, as [`Snapshot::insert`] does.
    pub fn insert(&mut self, snapshot: &mut Snapshot, resource: Resource) {
        let kind = snapshot.kinds.entry(resource.kind()).or_default();
        let made = self.made.entry(Arc::as_ptr(kind).addr()).or_default();
        if let Some(Made { after, .. }) = made.iter().find(|made| made.by.is_same(&resource)) {
            *kind = Arc::clone(after);
            return;
        }
        let before = Arc::clone(kind);
        Arc::make_mut(kind).insert(resource.clone());
        made.push(Made { _before: before, by: resource, after: Arc::clone(kind) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{resource::ResourceType, session::tests::snapshot};

    #[test]
    fn who_held_the_same_set_holds_the_same_set_again_and_others_do_not() {
        let mut first = snapshot("C x@1 y@1; E x@1");
        let (mut second, mut other) = (first.clone(), snapshot("C x@1 z@1"));
        let newer = snapshot("C y@2").get(ResourceType::Cluster, "y").cloned().unwrap();
        let mut replacements = Replacements::default();
        for snapshot in [&mut first, &mut second, &mut other] {
            replacements.insert(snapshot, newer.clone());
        }
        assert_eq!(first, snapshot("C x@1 y@2; E x@1"));
        assert_eq!(other, snapshot("C x@1 y@2 z@1"));
        assert!(first.shares(ResourceType::Cluster, &second));
        let again = snapshot("C y@2").get(ResourceType::Cluster, "y").cloned().unwrap();
        let mut third = snapshot("C x@1 y@1");
        replacements.insert(&mut third, again);
        assert_eq!(third, snapshot("C x@1 y@2"));
    }
}
