//! What proxies refused, kept for a while after it is mended, and on disk over a restart.

use std::{
    collections::{BTreeMap, VecDeque},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};
use signet_policies::time::Timestamp;

use super::{Key, RejectionView};

/// Refusals that are kept; the oldest goes first.
const KEPT: usize = 500;

/// One refusal, and whether it still stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RefusalView {
    /// When the proxy said so: RFC 3339, in UTC.
    pub at: String,
    /// When it took another version, or left, or the server came back after it had ended; absent while the refusal
    /// stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// `mesh/<mesh>/virtualNode/<name>`.
    pub workload: String,
    /// Where that proxy serves its listeners.
    pub ingress_address: String,
    /// What, why, and since which revision of the model.
    #[serde(flatten)]
    pub rejection: RejectionView,
}

/// The newest refusals of all proxies, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    kept: VecDeque<Kept>,
    /// Of the next one.
    next: u64,
    /// What is not on disk as it is here: the newest form, or `None` where it is forgotten.
    unsaved: BTreeMap<u64, Option<RefusalView>>,
}

#[derive(Debug)]
struct Kept {
    /// Rises from one to the next, also over a restart.
    number: u64,
    /// `None` where its stream was of an earlier process.
    stream: Option<Key>,
    view: RefusalView,
}

impl Refusals {
    /// Those of an earlier process, in the order of their numbers. What stood when it ended is over.
    pub(super) fn recalled(records: BTreeMap<u64, RefusalView>, now: SystemTime) -> Self {
        let mut recalled = Self::default();
        for (number, mut view) in records {
            recalled.next = number + 1;
            if view.ended_at.is_none() {
                view.ended_at = Some(Timestamp::from(now).to_string());
                recalled.unsaved.insert(number, Some(view.clone()));
            }
            recalled.kept.push_back(Kept { number, stream: None, view });
        }
        recalled.forget();
        recalled
    }

    /// What is to be written to disk, which is taken to be there from now on.
    pub(super) fn take_unsaved(&mut self) -> BTreeMap<u64, Option<RefusalView>> {
        std::mem::take(&mut self.unsaved)
    }

    /// The disk did not take it.
    pub(super) fn put_back(&mut self, records: BTreeMap<u64, Option<RefusalView>>) {
        for (number, record) in records {
            self.unsaved.entry(number).or_insert(record);
        }
    }

    /// Names the change that brought what is refused as it was named before, where nobody knows it any more: the same
    /// workload refused the same version earlier.
    pub(super) fn explain(&self, workload: &str, rejection: &mut RejectionView) {
        let is_same = |kept: &&Kept| {
            let RefusalView { workload: of, rejection: earlier, .. } = &kept.view;
            let what = |it: &RejectionView| (it.kind.clone(), it.name.clone(), it.version.clone());
            of == workload && what(earlier) == what(rejection) && !earlier.changes.is_empty()
        };
        if rejection.changes.is_empty()
            && let Some(earlier) = self.kept.iter().rev().find(is_same)
        {
            rejection.revision = earlier.view.rejection.revision;
            rejection.changes.clone_from(&earlier.view.rejection.changes);
        }
    }

    /// Notes what a proxy refuses, and that everything else which it refused is over.
    pub(super) fn note(
        &mut self,
        stream: Key,
        (workload, ingress_address): (&str, &str),
        new: &[RejectionView],
        stands: impl Fn(&RejectionView) -> bool,
        now: SystemTime,
    ) {
        let open =
            self.kept.iter_mut().filter(|kept| kept.stream == Some(stream) && kept.view.ended_at.is_none());
        for over in open.filter(|kept| !stands(&kept.view.rejection)) {
            over.view.ended_at = Some(Timestamp::from(now).to_string());
            self.unsaved.insert(over.number, Some(over.view.clone()));
        }
        for rejection in new {
            let mut rejection = rejection.clone();
            self.explain(workload, &mut rejection);
            let view = RefusalView {
                at: Timestamp::from(now).to_string(),
                ended_at: None,
                workload: workload.to_owned(),
                ingress_address: ingress_address.to_owned(),
                rejection,
            };
            self.unsaved.insert(self.next, Some(view.clone()));
            self.kept.push_back(Kept { number: self.next, stream: Some(stream), view });
            self.next += 1;
        }
        self.forget();
    }

    fn forget(&mut self) {
        while self.kept.len() > KEPT {
            if let Some(Kept { number, .. }) = self.kept.pop_front() {
                self.unsaved.insert(number, None);
            }
        }
    }

    /// The newest first.
    pub(super) fn list(&self) -> Vec<RefusalView> {
        self.kept.iter().rev().map(|kept| kept.view.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::{super::ChangeView, *};

    fn rejection(name: &str) -> RejectionView {
        RejectionView {
            kind: "listener".into(),
            name: name.into(),
            version: "1".into(),
            reason: "cannot bind".into(),
            suspected: false,
            revision: Some(7),
            changes: Vec::new(),
        }
    }

    fn note(refusals: &mut Refusals, second: u64, new: &[RejectionView], stands: bool) {
        let now = UNIX_EPOCH + Duration::from_secs(second);
        refusals.note(1, ("mesh/m/virtualNode/a", "127.0.0.1"), new, |_| stands, now);
    }

    #[test]
    fn a_refusal_is_kept_after_it_is_mended_and_says_when_it_was() {
        let mut refusals = Refusals::default();
        note(&mut refusals, 1, &[rejection("a")], true);
        note(&mut refusals, 2, &[], true);
        assert_eq!(refusals.list()[0].ended_at, None);
        note(&mut refusals, 3, &[], false);
        note(&mut refusals, 4, &[], false);
        let [kept] = &refusals.list()[..] else { panic!("one is kept") };
        assert_eq!(
            (&*kept.at, kept.ended_at.as_deref()),
            ("1970-01-01T00:00:01Z", Some("1970-01-01T00:00:03Z"))
        );
    }

    #[test]
    fn what_stood_when_the_server_ended_is_over_when_it_is_back_and_still_explains_what_is_refused_again() {
        let change = ChangeView {
            revision: 7,
            operation: "UpdateVirtualNode".into(),
            resource: "mesh/m/virtualNode/a".into(),
            access_key_id: Some("AKIA".into()),
            user: Some("alice".into()),
            at: "1970-01-01T00:00:00Z".into(),
        };
        let mut before = Refusals::default();
        note(&mut before, 1, &[RejectionView { changes: vec![change.clone()], ..rejection("a") }], true);
        let records =
            before.take_unsaved().into_iter().map(|(number, view)| (number, view.unwrap())).collect();
        assert!(before.take_unsaved().is_empty());
        let mut after = Refusals::recalled(records, UNIX_EPOCH + Duration::from_secs(9));
        assert_eq!(after.list()[0].ended_at.as_deref(), Some("1970-01-01T00:00:09Z"));
        assert_eq!(after.take_unsaved().len(), 1, "its end is written down");
        // Its revision is that of the moment when it connected.
        note(&mut after, 10, &[RejectionView { revision: Some(12), ..rejection("a") }, rejection("b")], true);
        let listed = after.list();
        assert_eq!(listed.len(), 3);
        assert_eq!((&listed[1].rejection.changes, listed[1].rejection.revision), (&vec![change], Some(7)));
        assert_eq!(listed[0].rejection.changes, [], "another resource");
        assert_eq!(after.take_unsaved().into_keys().collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn what_the_disk_does_not_take_is_given_to_it_again_in_its_newest_form() {
        let mut refusals = Refusals::default();
        note(&mut refusals, 1, &[rejection("a")], true);
        let untaken = refusals.take_unsaved();
        note(&mut refusals, 2, &[rejection("b")], false);
        refusals.put_back(untaken);
        let again = refusals.take_unsaved();
        assert_eq!(again.len(), 2);
        assert!(again[&0].as_ref().is_some_and(|view| view.ended_at.is_some()), "{again:?}");
    }

    #[test]
    fn the_newest_come_first_and_the_oldest_are_forgotten() {
        let mut refusals = Refusals::default();
        for count in 0..=KEPT {
            note(&mut refusals, 1, &[rejection(&count.to_string())], true);
        }
        let listed = refusals.list();
        assert_eq!((listed.len(), &*listed[0].rejection.name), (KEPT, &*KEPT.to_string()));
        assert_eq!(listed[KEPT - 1].rejection.name, "1");
        assert_eq!(refusals.take_unsaved().get(&0), Some(&None), "the disk forgets it too");
    }
}
