//! What proxies refused, kept for a while after it is mended.

use std::{collections::VecDeque, time::SystemTime};

use serde::{Deserialize, Serialize};

use super::{Key, RejectionView, view::rfc3339};

/// Refusals that are kept; the oldest goes first.
const KEPT: usize = 500;

/// One refusal, and whether it still stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RefusalView {
    /// When the proxy said so: RFC 3339, in UTC.
    pub at: String,
    /// When it took another version, or left; absent while the refusal stands.
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
pub(super) struct Refusals(VecDeque<Kept>);

#[derive(Debug)]
struct Kept {
    stream: Key,
    view: RefusalView,
}

impl Refusals {
    /// Notes what a proxy refuses, and that everything else which it refused is over.
    pub(super) fn note(
        &mut self,
        stream: Key,
        (workload, ingress_address): (&str, &str),
        new: &[RejectionView],
        stands: impl Fn(&RejectionView) -> bool,
        now: SystemTime,
    ) {
        let open = self.0.iter_mut().filter(|kept| kept.stream == stream && kept.view.ended_at.is_none());
        for over in open.filter(|kept| !stands(&kept.view.rejection)) {
            over.view.ended_at = Some(rfc3339(now));
        }
        for rejection in new {
            let view = RefusalView {
                at: rfc3339(now),
                ended_at: None,
                workload: workload.to_owned(),
                ingress_address: ingress_address.to_owned(),
                rejection: rejection.clone(),
            };
            self.0.push_back(Kept { stream, view });
        }
        while self.0.len() > KEPT {
            self.0.pop_front();
        }
    }

    /// The newest first.
    pub(super) fn list(&self) -> Vec<RefusalView> {
        self.0.iter().rev().map(|kept| kept.view.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn rejection(name: &str) -> RejectionView {
        RejectionView {
            kind: "listener".into(),
            name: name.into(),
            version: "1".into(),
            reason: "cannot bind".into(),
            suspected: false,
            revision: Some(7),
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
    fn the_newest_come_first_and_the_oldest_are_forgotten() {
        let mut refusals = Refusals::default();
        for count in 0..=KEPT {
            note(&mut refusals, 1, &[rejection(&count.to_string())], true);
        }
        let listed = refusals.list();
        assert_eq!((listed.len(), &*listed[0].rejection.name), (KEPT, &*KEPT.to_string()));
        assert_eq!(listed[KEPT - 1].rejection.name, "1");
    }
}
