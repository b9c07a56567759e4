//! Tokens that the tree does not show as they are: on their way to the disk, and there since a moment ago.
//!
//! ```text
//!  add ──▶ added ── durable ──▶ shown ── the next change begins ──▶ in the tree alone
//! ```

use std::{collections::HashMap, sync::Arc};

use super::Key;

/// A token's text as it is stored; `None` where it is forgotten.
pub(super) type State = Option<Arc<[u8]>>;

/// What becomes of tokens, by key.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    /// By the group that is being written: for changes after them, and for nobody else.
    added: HashMap<Key, State>,
    /// Durable; the tree shows it, or will in a moment.
    shown: HashMap<Key, State>,
}

impl Fresh {
    /// Takes in what the group that is being written makes of a token.
    pub(super) fn add(&mut self, key: Key, state: State) {
        self.added.insert(key, state);
    }

    /// The group is durable, and the next one not begun.
    pub(super) fn show(&mut self) {
        self.shown.extend(self.added.drain());
    }

    /// The tree shows what was durable until now.
    pub(super) fn settle(&mut self) {
        self.shown.clear();
    }

    /// A token as changes of this group left it.
    pub(super) fn added(&self, key: &Key) -> Option<State> {
        self.added.get(key).cloned()
    }

    /// A token as it is durable, where the tree may not show it.
    pub(super) fn shown(&self, key: &Key) -> Option<State> {
        self.shown.get(key).cloned()
    }
}
