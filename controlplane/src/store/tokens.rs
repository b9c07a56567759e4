//! Client tokens: what makes a request that is sent twice be carried out once.
//!
//! A token belongs to the resource that it was used for, and ends with it: an entry whose resource was deleted
//! and made anew has another uid, and counts for nothing.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::Metadata;
use crate::model::{Document, Tags, key::Key};

/// How long a token is remembered.
pub const TOKEN_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// Most tokens remembered at once, about 16 MB; beyond, the oldest are forgotten early.
pub const MAX_TOKENS: usize = 100_000;
/// Most tokens that one write forgets, so that none is slow after a quiet day.
const MAX_FORGOTTEN: usize = 64;

/// What a request asked for: equal requests have equal digests, whatever the order of JSON members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request([u8; 32]);

/// Which operation a token was used in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Create,
    Update,
}

/// A write that was made under a token, and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Use {
    pub(super) key: Key,
    pub(super) token: String,
    pub(super) request: Request,
    /// When, in milliseconds since the epoch.
    pub(super) at: u64,
    /// Of the resource, as it was answered.
    pub(super) metadata: Metadata,
}

/// Every token that is remembered.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    uses: HashMap<Id, Remembered>,
    /// Oldest first, by the revision that each use made.
    order: BTreeSet<(u64, Id)>,
}

/// A digest of resource and token: there may be many, and they may be long.
type Id = u128;

#[derive(Debug)]
struct Remembered {
    request: Request,
    at: u64,
    metadata: Metadata,
    revision: u64,
}

impl Request {
    pub(super) fn new(operation: Operation, document: &Document, tags: &Tags) -> Self {
        let mut digest = Sha256::new();
        digest.update([match operation {
            Operation::Create => 0,
            Operation::Update => 1,
        }]);
        match serde_json::from_str(document.text().get()) {
            Ok(value) => absorb(&mut digest, &value),
            // A document's text is JSON that was parsed before.
            Err(_) => digest.update(document.text().get()),
        }
        for (key, value) in tags.iter() {
            absorb_text(&mut digest, b't', key);
            absorb_text(&mut digest, b'v', value);
        }
        Self(digest.finalize().into())
    }

    pub(super) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Every part says what it is and how long, so that no two values look alike.
fn absorb(digest: &mut Sha256, value: &Value) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => absorb_text(digest, b'p', &value.to_string()),
        Value::String(text) => absorb_text(digest, b's', text),
        Value::Array(items) => {
            absorb_text(digest, b'[', &items.len().to_string());
            items.iter().for_each(|item| absorb(digest, item));
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            absorb_text(digest, b'{', &members.len().to_string());
            for (name, member) in members {
                absorb_text(digest, b'n', name);
                absorb(digest, member);
            }
        }
    }
}

fn absorb_text(digest: &mut Sha256, kind: u8, text: &str) {
    digest.update([kind]);
    digest.update(text.len().to_le_bytes());
    digest.update(text);
}

fn id(key: &Key, token: &str) -> Id {
    let mut digest = Sha256::new();
    absorb_text(&mut digest, b'k', &key.to_string());
    absorb_text(&mut digest, b't', token);
    let digest: [u8; 32] = digest.finalize().into();
    let (first, _) = digest.split_at(size_of::<Id>());
    first.iter().fold(0, |id, byte| (id << 8) | Id::from(*byte))
}

impl Tokens {
    /// The request that was made under a token for the resource with this uid, and its answer.
    pub(super) fn find(&self, key: &Key, uid: Uuid, token: &str, now: u64) -> Option<(Request, &Metadata)> {
        let found = self.uses.get(&id(key, token))?;
        (found.metadata.uid == uid && !is_over(found.at, now)).then_some((found.request, &found.metadata))
    }

    /// Which entries, by their revisions, end when a write at `now` adds one for this token.
    pub(super) fn outlived(&self, key: &Key, token: &str, now: u64) -> Vec<u64> {
        let surplus = (self.order.len() + 1).saturating_sub(MAX_TOKENS);
        let is_outlived = |place: usize, id: &Id| {
            place < surplus || self.uses.get(id).is_none_or(|found| is_over(found.at, now))
        };
        let oldest = self.order.iter().take(MAX_FORGOTTEN).enumerate();
        let outlived = oldest.take_while(|(place, (_, id))| is_outlived(*place, id)).map(|(_, at)| at.0);
        // One that the new entry takes the place of.
        outlived.chain(self.uses.get(&id(key, token)).map(|former| former.revision)).collect()
    }

    pub(super) fn remember(&mut self, revision: u64, used: &Use) {
        let id = id(&used.key, &used.token);
        let Use { request, at, ref metadata, .. } = *used;
        let remembered = Remembered { request, at, metadata: metadata.clone(), revision };
        if let Some(former) = self.uses.insert(id, remembered) {
            self.order.remove(&(former.revision, id));
        }
        self.order.insert((revision, id));
    }

    pub(super) fn forget(&mut self, revisions: &[u64]) {
        for revision in revisions {
            let of_it: Vec<_> =
                self.order.range((*revision, Id::MIN)..=(*revision, Id::MAX)).copied().collect();
            for place in of_it {
                self.order.remove(&place);
                self.uses.remove(&place.1);
            }
        }
    }
}

fn is_over(at: u64, now: u64) -> bool {
    let life = u64::try_from(TOKEN_LIFE.as_millis()).unwrap_or(u64::MAX);
    now >= at.saturating_add(life)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn used(number: u64, at: u64) -> Use {
        let key: Key = "mesh/m".parse().unwrap();
        let document = Document::parse(key.clone(), json!({})).unwrap();
        let request = Request::new(Operation::Update, &document, &Tags::default());
        let metadata = Metadata { uid: Uuid::nil(), version: number, created_at: at, updated_at: at };
        Use { key, token: format!("t{number}"), request, at, metadata }
    }

    fn write(tokens: &mut Tokens, revision: u64, used: &Use) -> usize {
        let forgotten = tokens.outlived(&used.key, &used.token, used.at);
        tokens.forget(&forgotten);
        tokens.remember(revision, used);
        assert_eq!(tokens.uses.len(), tokens.order.len());
        forgotten.len()
    }

    #[test]
    fn no_more_are_remembered_than_the_bound_and_the_oldest_go_first() {
        let mut tokens = Tokens::default();
        let count = u64::try_from(MAX_TOKENS).unwrap() + 10;
        for number in 1..=count {
            write(&mut tokens, number, &used(number, number));
        }
        assert_eq!(tokens.uses.len(), MAX_TOKENS);
        let find =
            |number: u64| tokens.find(&"mesh/m".parse().unwrap(), Uuid::nil(), &format!("t{number}"), count);
        assert!(find(10).is_none() && find(11).is_some());
    }

    #[test]
    fn after_a_quiet_day_each_write_forgets_a_few() {
        let mut tokens = Tokens::default();
        for number in 1..=100 {
            write(&mut tokens, number, &used(number, 0));
        }
        let day = u64::try_from(TOKEN_LIFE.as_millis()).unwrap();
        assert_eq!(write(&mut tokens, 101, &used(101, day)), MAX_FORGOTTEN);
        assert_eq!(write(&mut tokens, 102, &used(102, day)), 100 - MAX_FORGOTTEN);
        assert_eq!(tokens.uses.len(), 2);
    }

    #[test]
    fn a_token_that_is_used_anew_forgets_its_former_use() {
        let mut tokens = Tokens::default();
        write(&mut tokens, 1, &used(1, 0));
        assert_eq!(write(&mut tokens, 2, &used(1, 1)), 1);
        assert_eq!(tokens.order.iter().map(|(revision, _)| *revision).collect::<Vec<_>>(), [2]);
    }
}
