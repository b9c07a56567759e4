//! What people are shown of a change.

use std::time::SystemTime;

use serde::Serialize;

use super::{Entered, Laggard, Override, Phase, Record, Standing, millis};

/// Names that are shown; a fleet may have thousands.
const SHOWN: usize = 100;

/// How a change stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The change; `None` where there never was one.
    pub id: Option<String>,
    /// `root`, `mesh/MESH` or `server`.
    pub what: Option<String>,
    /// Where it stands.
    pub phase: Option<Phase>,
    /// Whether it is over, or never began.
    pub is_over: bool,
    /// Whether it waits for somebody.
    pub paused: bool,
    /// Why it goes back.
    pub reason: String,
    /// Who began it.
    pub by: String,
    /// Whether it was looked who has moved. `false` from a server's start to its first look, and where the ledger does not
    /// answer: the numbers and the laggards below say nothing then.
    pub looked: bool,
    /// Proxies that count.
    pub total: usize,
    /// Of those, how many have moved.
    pub proven: usize,
    /// Of those, how many refuse what they were given.
    pub refused: usize,
    /// In percent, rounded down: 100 is all of them, and 0 also where it was not looked yet.
    pub coverage: u8,
    /// The first of those that have not; before all others those that refuse.
    pub laggards: Vec<Laggard>,
    /// When it goes on, in milliseconds since the epoch, where everybody has moved: handshakes that began before may last
    /// until then. `None` where they are not waited for.
    pub settled_at_unix_ms: Option<i64>,
    /// Those that nobody waits for.
    pub overrides: Vec<Excused>,
    /// Every phase so far, and how long it took in milliseconds; the last one may last on.
    pub phases: Vec<PhaseTime>,
}

/// A proxy that nobody waits for, as somebody said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Excused {
    /// `mesh/MESH/virtualNode/NAME`, the same with `/INSTANCE`, or a serial number.
    pub node: String,
    /// Who said so.
    pub by: String,
    /// When, in milliseconds since the epoch.
    pub at_unix_ms: i64,
}

/// One phase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PhaseTime {
    /// Which.
    pub phase: Phase,
    /// When it began, in milliseconds since the epoch.
    pub at_unix_ms: i64,
    /// How long it took, in milliseconds; `None` for the one that is last.
    pub took_ms: Option<i64>,
}

/// What a change would do, before it is begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// `root`, `mesh/MESH` or `server`.
    pub what: String,
    /// The certificate that goes, by its SHA-256; `None` where there is none yet.
    pub going: Option<String>,
    /// Proxies that count.
    pub total: usize,
    /// Of those, how many could begin now.
    pub ready: usize,
    /// Who would hold the first phase up.
    pub laggards: Vec<Laggard>,
    /// What speaks against it; empty when it can begin.
    pub obstacles: Vec<String>,
    /// What its operator has to do, in order; empty where all goes by itself.
    pub steps: Vec<String>,
}

impl Status {
    /// `counted` is how far everybody is; `None` where nobody has looked.
    pub(super) fn of(record: Option<&Record>, counted: Option<&Standing>) -> Self {
        let nobody = Standing::default();
        let standing = counted.unwrap_or(&nobody);
        let is_over = record.is_none_or(|record| record.phase.is_over());
        let least = if counted.is_some() || is_over { 100 } else { 0 };
        let coverage = (standing.proven * 100).checked_div(standing.total).unwrap_or(least);
        let others = standing.laggards.iter().filter(|laggard| !standing.refusals.contains(laggard));
        let mut status = Self {
            id: None,
            what: None,
            phase: None,
            is_over,
            paused: false,
            reason: String::new(),
            by: String::new(),
            looked: counted.is_some(),
            total: standing.total,
            proven: standing.proven,
            refused: standing.refusals.len(),
            coverage: u8::try_from(coverage).unwrap_or(100),
            laggards: standing.refusals.iter().chain(others).take(SHOWN).cloned().collect(),
            settled_at_unix_ms: standing.settled_at.map(millis),
            overrides: Vec::new(),
            phases: Vec::new(),
        };
        let Some(record) = record else { return status };
        status.id = Some(record.id.clone());
        status.what = Some(record.what.to_string());
        status.phase = Some(record.phase);
        status.paused = record.paused;
        status.reason.clone_from(&record.reason);
        status.by.clone_from(&record.by);
        status.overrides = record.overrides.iter().cloned().map(Excused::from).collect();
        status.phases = phases(&record.entered);
        if is_over {
            status.laggards.clear();
            status.settled_at_unix_ms = None;
        }
        status
    }
}

impl From<Override> for Excused {
    fn from(Override { node, by, at_unix_ms, certificate: _ }: Override) -> Self {
        Self { node, by, at_unix_ms }
    }
}

fn phases(entered: &[Entered]) -> Vec<PhaseTime> {
    let next = entered.iter().skip(1).map(|entered| Some(entered.at_unix_ms)).chain([None]);
    let time = |(entered, next): (&Entered, Option<i64>)| PhaseTime {
        phase: entered.phase,
        at_unix_ms: entered.at_unix_ms,
        took_ms: next.map(|next| next.saturating_sub(entered.at_unix_ms)),
    };
    entered.iter().zip(next).map(time).collect()
}

impl Record {
    /// Enters a phase.
    pub(super) fn enter(&mut self, phase: Phase, now: SystemTime) {
        self.phase = phase;
        self.entered.push(Entered { phase, at_unix_ms: millis(now) });
    }

    /// When the phase that it is in began.
    pub(super) fn entered_at(&self) -> signet_policies::time::Timestamp {
        let at = self.entered.last().map_or(0, |entered| entered.at_unix_ms / 1000);
        signet_policies::time::Timestamp::from_unix(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_refuses_is_shown_however_many_others_have_not_moved() {
        let laggard =
            |number: usize| Laggard { node: format!("mesh/m/virtualNode/a/{number:04}"), why: String::new() };
        let shown = |count: usize| {
            let laggards: Vec<Laggard> = (0..count).map(laggard).collect();
            let refusals = vec![laggard(count - 1)];
            let standing = Standing { laggards, refusals, ..Standing::default() };
            Status::of(None, Some(&standing)).laggards
        };
        assert_eq!(shown(3), [laggard(2), laggard(0), laggard(1)], "each once");
        let many = shown(2 * SHOWN);
        assert_eq!((many.len(), &many[0]), (SHOWN, &laggard(2 * SHOWN - 1)));
    }

    #[test]
    fn all_that_programs_read_of_a_change_is_named_in_one_way() {
        let excused = Excused { node: "mesh/m/virtualNode/a".to_owned(), by: "me".to_owned(), at_unix_ms: 7 };
        let phase = PhaseTime { phase: Phase::Issue, at_unix_ms: 5, took_ms: None };
        let status = Status { overrides: vec![excused], phases: vec![phase], ..Status::of(None, None) };
        let told = serde_json::to_value(status).unwrap();
        assert_eq!(
            (&told["overrides"][0]["atUnixMs"], &told["phases"][0]["atUnixMs"]),
            (&7.into(), &5.into())
        );
        assert!(!told.to_string().contains("_ms\""), "{told}");
    }
}
