//! What the ledger is told of a change. The record is written first, and a kill or a full disk may come between the two:
//! what the ledger has not is told later, and nothing twice.

use std::collections::{BTreeMap, BTreeSet};

use super::{Record, Rotations};
use crate::{
    LedgerError,
    ledger::{Entry, What},
};

/// What the ledger has of one change.
#[derive(Debug, Default)]
pub(super) struct Told {
    rotation: String,
    phases: BTreeSet<String>,
    /// The words of its entries, who is not waited for among them.
    words: BTreeSet<String>,
}

impl Told {
    /// Whether it says of a proxy that nobody waits for it.
    fn excuses(&self, node: &str) -> bool {
        node.split_whitespace().all(|word| self.words.contains(word))
    }

    fn note(&mut self, detail: &str) {
        self.words.extend(detail.split_whitespace().map(str::to_owned));
    }
}

impl Rotations {
    /// Tells the ledger of each phase that a change has entered and of each proxy that nobody waits for, where it knows
    /// it not. Phases are entered as `by` says.
    pub(super) async fn tell_ledger(&self, record: &Record, by: &str) -> Result<(), LedgerError> {
        let mut kept = self.0.told.lock().await;
        // It is put back at the end: of an entry that was refused nobody knows whether it is there.
        let mut told = match kept.take().filter(|told| told.rotation == record.id) {
            Some(told) => told,
            None => self.read_told(&record.id).await?,
        };
        let overridden: Vec<&str> = record.overrides.iter().map(|one| one.node.as_str()).collect();
        for entered in &record.entered {
            let phase = entered.phase.to_string();
            if !told.phases.contains(&phase) {
                let detail = [&record.reason, overridden.join(" ").as_str()].join(" ").trim().to_owned();
                self.append(record, &phase, &detail, by).await?;
                told.note(&detail);
                told.phases.insert(phase);
            }
        }
        let mut excused = BTreeMap::<&str, Vec<&str>>::new();
        for one in record.overrides.iter().filter(|one| !told.excuses(&one.node)) {
            excused.entry(&one.by).or_default().push(&one.node);
        }
        for (by, nodes) in excused {
            let detail = nodes.join(" ");
            self.append(record, &record.phase.to_string(), &detail, by).await?;
            told.note(&detail);
        }
        *kept = Some(told);
        Ok(())
    }

    /// Adds an entry of the phase in which a change is.
    pub(super) async fn tell_order(&self, record: &Record, order: &str, by: &str) -> Result<(), LedgerError> {
        self.append(record, &record.phase.to_string(), order, by).await
    }

    async fn append(&self, record: &Record, phase: &str, detail: &str, by: &str) -> Result<(), LedgerError> {
        let what =
            What::Phase { rotation: record.id.clone(), phase: phase.to_owned(), detail: detail.to_owned() };
        let entry = Entry::event(what, by, (self.0.clock)().into());
        self.0.issuing.ledger().append(entry).await.map(drop)
    }

    async fn read_told(&self, id: &str) -> Result<Told, LedgerError> {
        let mut told = Told { rotation: id.to_owned(), ..Told::default() };
        for (_, event) in self.0.issuing.ledger().events().await? {
            if let What::Phase { rotation, phase, detail } = event.what
                && rotation == id
            {
                told.phases.insert(phase);
                told.note(&detail);
            }
        }
        Ok(told)
    }
}
