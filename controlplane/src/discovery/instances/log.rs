//! Which services changed last, so that whoever follows them need not compare all.

use std::{collections::VecDeque, sync::Arc};

/// How many changes are remembered: more than are made while a follower looks away.
const REMEMBERED: usize = 64;

/// The newest changes. A clone remembers the same ones, so that two states know what they have in common.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    changes: u64,
    /// Namespace and service of each; the newest is last.
    newest: VecDeque<Arc<(String, String)>>,
}

impl Log {
    /// A service changes.
    pub(super) fn note(&mut self, namespace: &str, service: &str) {
        self.changes += 1;
        if self.newest.len() == REMEMBERED {
            self.newest.pop_front();
        }
        self.newest.push_back(Arc::new((namespace.to_owned(), service.to_owned())));
    }

    /// The services that may have changed since; `None` where not all of them are known.
    pub(super) fn since(&self, before: &Self) -> Option<Vec<(String, String)>> {
        let since = usize::try_from(self.changes.checked_sub(before.changes)?).ok()?;
        let skipped = self.newest.len().checked_sub(since)?;
        let last = skipped.checked_sub(1).and_then(|index| self.newest.get(index));
        // Where the change before is another one, so may be all that came before it.
        let is_earlier = match (last, before.newest.back()) {
            (Some(last), Some(newest)) => Arc::ptr_eq(last, newest),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        is_earlier.then(|| self.newest.iter().skip(skipped).map(|names| (**names).clone()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(log: &Log, before: &Log) -> Option<Vec<String>> {
        Some(log.since(before)?.into_iter().map(|(_, service)| service).collect())
    }

    #[test]
    fn the_changes_since_an_earlier_state_are_known_until_they_are_forgotten() {
        let mut log = Log::default();
        let first = log.clone();
        log.note("ns", "a");
        let second = log.clone();
        log.note("ns", "b");
        assert_eq!(names(&log, &first), Some(vec!["a".into(), "b".into()]));
        assert_eq!(names(&log, &second), Some(vec!["b".into()]));
        assert_eq!(names(&log, &log), Some(vec![]));
        for _ in 0..REMEMBERED - 2 {
            log.note("ns", "c");
        }
        assert_eq!(names(&log, &second).map(|names| names.len()), Some(REMEMBERED - 1));
        log.note("ns", "c");
        assert_eq!((names(&log, &second), names(&log, &first)), (None, None));
    }

    #[test]
    fn of_another_state_that_is_no_earlier_one_nothing_is_known() {
        let (mut log, mut other) = (Log::default(), Log::default());
        other.note("ns", "a");
        log.note("ns", "b");
        assert_eq!(names(&log, &other), None);
        let earlier = log.clone();
        log.note("ns", "c");
        assert_eq!(names(&earlier, &log), None);
    }
}
