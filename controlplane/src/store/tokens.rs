//! Client tokens: what makes a request that is sent twice be carried out once.
//!
//! A token belongs to the resource that it was used for, and ends with it: an entry whose resource was deleted
//! and made anew has another uid, and counts for nothing.
//!
//! The entries of writes that shared a sync share a record, named by the first of their revisions: a record of its own
//! for each would cost the disk as much as the resource does. A record goes when nothing in it counts any more.

use std::{
    collections::{BTreeMap, HashMap},
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
    /// Oldest first, by their revisions.
    records: BTreeMap<u64, Entries>,
    /// In all records, whether they count or not.
    entries: usize,
    /// That of the writes that share the next sync.
    open: Option<u64>,
}

/// A digest of resource and token: there may be many, and they may be long.
type Id = u128;

#[derive(Debug)]
struct Remembered {
    request: Request,
    at: u64,
    metadata: Metadata,
    /// Of the record that holds it.
    record: u64,
}

/// What one record holds.
#[derive(Debug, Default)]
struct Entries {
    ids: Vec<Id>,
    /// How many of them another record does not hold anew.
    counting: usize,
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

    /// The record for a write that makes this revision.
    pub(super) fn record_of(&self, revision: u64) -> u64 {
        self.open.unwrap_or(revision)
    }

    /// What was written until now is durable, and is added to no more.
    pub(super) fn close_record(&mut self) {
        self.open = None;
    }

    /// Which records end when a write at `now` adds an entry for this token.
    pub(super) fn outlived(&self, key: &Key, token: &str, now: u64) -> Vec<u64> {
        let (mut outlived, mut forgotten) = (Vec::new(), 0);
        let mut surplus = (self.entries + 1).saturating_sub(MAX_TOKENS);
        for (record, entries) in &self.records {
            let is_over = surplus > 0 || self.is_over(*record, entries, now);
            if !is_over || forgotten >= MAX_FORGOTTEN || self.open == Some(*record) {
                break;
            }
            surplus = surplus.saturating_sub(entries.ids.len());
            forgotten += entries.ids.len();
            outlived.push(*record);
        }
        // One whose last entry that counts the new one takes the place of.
        let former = self.uses.get(&id(key, token)).map(|former| former.record);
        let is_last = |record: &u64| self.records.get(record).is_some_and(|entries| entries.counting == 1);
        let former = former.filter(|record| self.open != Some(*record) && is_last(record));
        outlived.extend(former.filter(|record| !outlived.contains(record)));
        outlived
    }

    /// Whether nothing in a record counts any more.
    fn is_over(&self, record: u64, entries: &Entries, now: u64) -> bool {
        let mut found = entries.ids.iter().filter_map(|id| self.uses.get(id));
        found.all(|found| found.record != record || is_over(found.at, now))
    }

    /// Adds the entry of a write that is not durable yet.
    pub(super) fn note(&mut self, record: u64, used: &Use) {
        self.remember(record, used);
        self.open = Some(record);
    }

    /// Adds an entry of a record.
    pub(super) fn remember(&mut self, record: u64, used: &Use) {
        let id = id(&used.key, &used.token);
        let Use { request, at, ref metadata, .. } = *used;
        let remembered = Remembered { request, at, metadata: metadata.clone(), record };
        if let Some(former) = self.uses.insert(id, remembered)
            && let Some(entries) = self.records.get_mut(&former.record)
        {
            entries.counting = entries.counting.saturating_sub(1);
        }
        let entries = self.records.entry(record).or_default();
        entries.ids.push(id);
        entries.counting += 1;
        self.entries += 1;
    }

    pub(super) fn forget(&mut self, records: &[u64]) {
        for record in records {
            let Some(Entries { ids, .. }) = self.records.remove(record) else { continue };
            self.entries -= ids.len();
            for id in ids {
                if self.uses.get(&id).is_some_and(|found| found.record == *record) {
                    self.uses.remove(&id);
                }
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

    /// A write whose sync is its own.
    fn write(tokens: &mut Tokens, revision: u64, used: &Use) -> usize {
        let forgotten = write_with_others(tokens, revision, used);
        tokens.close_record();
        forgotten
    }

    fn write_with_others(tokens: &mut Tokens, revision: u64, used: &Use) -> usize {
        let forgotten = tokens.outlived(&used.key, &used.token, used.at);
        tokens.forget(&forgotten);
        tokens.note(tokens.record_of(revision), used);
        forgotten.len()
    }

    /// The records that there are, in which everything is counted right.
    fn records(tokens: &Tokens) -> Vec<u64> {
        assert_eq!(tokens.entries, tokens.records.values().map(|entries| entries.ids.len()).sum::<usize>());
        assert_eq!(tokens.uses.len(), tokens.records.values().map(|entries| entries.counting).sum::<usize>());
        tokens.records.keys().copied().collect()
    }

    fn find(tokens: &Tokens, number: u64, now: u64) -> bool {
        tokens.find(&"mesh/m".parse().unwrap(), Uuid::nil(), &format!("t{number}"), now).is_some()
    }

    const DAY: u64 = 24 * 60 * 60 * 1000;

    #[test]
    fn no_more_are_remembered_than_the_bound_and_the_oldest_go_first() {
        let mut tokens = Tokens::default();
        let count = u64::try_from(MAX_TOKENS).unwrap() + 10;
        for number in 1..=count {
            write(&mut tokens, number, &used(number, number));
        }
        assert_eq!(tokens.uses.len(), MAX_TOKENS);
        assert!(!find(&tokens, 10, count) && find(&tokens, 11, count));
    }

    #[test]
    fn after_a_quiet_day_each_write_forgets_a_few() {
        let mut tokens = Tokens::default();
        for number in 1..=100 {
            write(&mut tokens, number, &used(number, 0));
        }
        assert_eq!(write(&mut tokens, 101, &used(101, DAY)), MAX_FORGOTTEN);
        assert_eq!(write(&mut tokens, 102, &used(102, DAY)), 100 - MAX_FORGOTTEN);
        assert_eq!(tokens.uses.len(), 2);
    }

    #[test]
    fn a_token_that_is_used_anew_forgets_its_former_use() {
        let mut tokens = Tokens::default();
        write(&mut tokens, 1, &used(1, 0));
        assert_eq!(write(&mut tokens, 2, &used(1, 1)), 1);
        assert_eq!(records(&tokens), [2]);
    }

    #[test]
    fn writes_that_share_a_sync_share_a_record_and_it_goes_with_the_last_that_counts() {
        let mut tokens = Tokens::default();
        write_with_others(&mut tokens, 1, &used(1, 0));
        write_with_others(&mut tokens, 2, &used(2, 0));
        // Not yet written, so there is nothing to forget of it.
        assert_eq!(write_with_others(&mut tokens, 3, &used(2, DAY)), 0);
        tokens.close_record();
        assert_eq!(records(&tokens), [1]);
        assert_eq!(write(&mut tokens, 4, &used(1, 1)), 0, "another one still counts in it");
        assert!(find(&tokens, 1, 2) && find(&tokens, 2, DAY + 1));
        assert_eq!(write(&mut tokens, 5, &used(2, DAY + 1)), 1);
        assert_eq!(records(&tokens), [4, 5]);
        assert!(find(&tokens, 1, 2) && find(&tokens, 2, DAY + 1));
        assert_eq!(write(&mut tokens, 6, &used(3, DAY + 1)), 1, "its day is over");
        assert_eq!(records(&tokens), [5, 6]);
    }
}
