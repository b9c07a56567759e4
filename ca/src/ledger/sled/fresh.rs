//! What the trees do not show yet: entries on their way to the disk, and those that are there since a moment ago.
//!
//! ```text
//!  add ──▶ added ── durable ──▶ shown ── the next change begins ──▶ in the trees alone
//! ```

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::Serial;

/// An entry as it is stored, and the serial number that it takes.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) value: Arc<[u8]>,
    pub(super) serial: Option<Serial>,
}

/// Entries by position, and positions by serial number.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    /// Of the group that is being written: nobody may see them.
    added: BTreeMap<u64, Kept>,
    /// Durable; the trees show them, or will in a moment.
    shown: BTreeMap<u64, Kept>,
    /// Of both.
    serials: HashMap<Serial, u64>,
}

impl Fresh {
    /// Takes in an entry of the group that is being written.
    pub(super) fn add(&mut self, position: u64, kept: Kept) {
        self.serials.extend(kept.serial.map(|serial| (serial, position)));
        self.added.insert(position, kept);
    }

    /// Everything up to a position is durable.
    pub(super) fn show(&mut self, last: u64) {
        // One by one: each caller of a group shows its own, and to join two maps is to make both anew.
        while let Some(entry) = self.added.first_entry().filter(|entry| *entry.key() <= last) {
            let (position, kept) = entry.remove_entry();
            self.shown.insert(position, kept);
        }
    }

    /// The trees show what was durable until now.
    pub(super) fn settle(&mut self) {
        let settled = std::mem::take(&mut self.shown);
        for serial in settled.into_values().filter_map(|kept| kept.serial) {
            self.serials.remove(&serial);
        }
    }

    /// Whether the group that is being written has no entry yet.
    pub(super) fn is_group_empty(&self) -> bool {
        self.added.is_empty()
    }

    /// Whether an entry of that serial number is here, durable or not.
    pub(super) fn has(&self, serial: Serial) -> bool {
        self.serials.contains_key(&serial)
    }

    /// Where the durable entry of a serial number is.
    pub(super) fn position(&self, serial: Serial) -> Option<u64> {
        self.serials.get(&serial).copied().filter(|position| self.shown.contains_key(position))
    }

    /// A durable entry.
    pub(super) fn get(&self, position: u64) -> Option<&Kept> {
        self.shown.get(&position)
    }

    /// The durable entries from a position on.
    pub(super) fn from(&self, position: u64) -> impl Iterator<Item = (u64, &Kept)> {
        self.shown.range(position..).map(|(position, kept)| (*position, kept))
    }
}
