//! Quotas, checked in the same step as the write: racing callers never exceed them.

use super::State;
use crate::{
    model::{Document, Spec, Tags, key::Key},
    quotas::Quota,
    store::Refusal,
};

impl State {
    /// Whether one more resource may be made.
    pub(super) fn check_count(&self, key: &Key) -> Result<(), Refusal> {
        let count = self.records.count(&key.collection());
        self.check_bound(key, Quota::of(key.kind()), count, count + 1)
    }

    /// Whether a spec may be as large as it is. One that was larger may become smaller.
    pub(super) fn check_size(&self, document: &Document) -> Result<(), Refusal> {
        let Some((quota, after)) = size(document.spec()) else {
            return Ok(());
        };
        let before = self.records.find(document.key()).and_then(|found| size(found.document.spec()));
        self.check_bound(document.key(), quota, before.map_or(0, |(_, before)| before), after)
    }

    /// Whether a resource may have these tags in place of `before`.
    pub(super) fn check_tags(&self, key: &Key, before: &Tags, after: &Tags) -> Result<(), Refusal> {
        let count = after.len();
        if count > Tags::MAX {
            return Err(Refusal::TooManyTags { key: key.clone(), count });
        }
        self.check_bound(key, Quota::TagsPerResource, before.len(), count)
    }

    fn check_bound(&self, key: &Key, quota: Quota, before: usize, after: usize) -> Result<(), Refusal> {
        match self.quotas.get(quota) {
            Some(limit) if after > limit && after > before => {
                Err(Refusal::Quota { key: key.clone(), quota, limit })
            }
            Some(_) | None => Ok(()),
        }
    }
}

fn size(spec: &Spec) -> Option<(Quota, usize)> {
    match spec {
        Spec::VirtualNode(node) => Some((Quota::BackendsPerVirtualNode, node.backends.len())),
        Spec::Route(route) => Some((Quota::WeightedTargetsPerRoute, route.targets.len())),
        Spec::Mesh(_)
        | Spec::VirtualService(_)
        | Spec::VirtualRouter(_)
        | Spec::VirtualGateway(_)
        | Spec::GatewayRoute(_) => None,
    }
}
