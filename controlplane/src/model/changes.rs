//! What the last few writes were about, so that whoever follows the model need not compare all of it.

use std::collections::VecDeque;

use super::key::Key;

/// How many writes are remembered: more than are made while a follower looks away.
const REMEMBERED: usize = 64;

/// The newest writes to a model, by revision.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    writes: VecDeque<(u64, Key)>,
    /// The revision of the newest write that is not remembered any more.
    forgotten: u64,
}

impl Changes {
    /// Remembers a write; revisions rise.
    pub fn push(&mut self, revision: u64, key: Key) {
        if self.writes.len() == REMEMBERED
            && let Some((oldest, _)) = self.writes.pop_front()
        {
            self.forgotten = oldest;
        }
        self.writes.push_back((revision, key));
    }

    /// What was written after one revision and up to another, later one; `None` where not all of it is known.
    #[must_use]
    pub fn between(&self, after: u64, up_to: u64) -> Option<Vec<&Key>> {
        let newest = self.writes.back().map_or(0, |(revision, _)| *revision);
        let is_known = after >= self.forgotten && after < up_to && newest == up_to;
        let writes = self.writes.iter().filter(|(revision, _)| *revision > after);
        is_known.then(|| writes.map(|(_, key)| key).collect())
    }
}

/// How a model came about is no part of what it is.
impl PartialEq for Changes {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> Key {
        let name = |text: &str| text.parse().unwrap();
        Key::VirtualNode { mesh: name("m"), name: name(&format!("n{number}")) }
    }

    #[test]
    fn the_writes_after_a_revision_are_known_until_they_are_forgotten() {
        let mut changes = Changes::default();
        assert_eq!(changes.between(0, 0), None);
        for number in 1..=3 {
            changes.push(number, key(3));
        }
        assert_eq!(changes.between(1, 3), Some(vec![&key(3), &key(3)]));
        assert_eq!(changes.between(2, 3), Some(vec![&key(3)]));
        for number in 4..=100 {
            changes.push(number, key(7));
        }
        assert_eq!(changes.between(35, 100), None);
        assert_eq!(changes.between(36, 100).map(|keys| keys.len()), Some(64));
    }

    #[test]
    fn a_model_whose_revision_is_not_that_of_the_last_write_is_not_explained() {
        let mut changes = Changes::default();
        assert_eq!(changes.between(0, 5), None);
        changes.push(3, key(1));
        assert_eq!(changes.between(0, 5), None);
    }
}
