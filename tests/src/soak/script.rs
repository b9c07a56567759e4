//! What happens in a soak, and in which order: all of it comes out of the seed.

use std::{fmt, time::Duration};

use serde::Serialize;

use super::Wanted;
use crate::dice::Dice;

/// Renewals of everybody between two faults.
const CHUNK: u64 = 5;
/// Phases of a change in which something else may happen.
const PHASES: [&str; 3] = ["distribute", "issue", "retire"];

/// One of the two agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Who {
    /// The one whose Envoy is called.
    Server,
    /// The one whose Envoy calls.
    Caller,
}

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "fault")]
pub enum Fault {
    /// The server is killed, and away for a while; its ledger is verified meanwhile.
    KillServer {
        /// How long, in milliseconds.
        ms: u64,
    },
    /// The server stands still for a while.
    StopServer {
        /// How long, in milliseconds.
        ms: u64,
    },
    /// An agent is killed, and away for a while.
    KillAgent {
        /// Which.
        who: Who,
        /// How long, in milliseconds.
        ms: u64,
    },
    /// An agent stands still for a while.
    StopAgent {
        /// Which.
        who: Who,
        /// How long, in milliseconds.
        ms: u64,
    },
    /// The disk of the server is full for a while, in which everybody wants to renew.
    FullDisk {
        /// How long, in milliseconds.
        ms: u64,
    },
    /// Every connection to the server's gRPC port is cut, several times.
    CutStreams {
        /// How often.
        times: u64,
    },
    /// Somebody opens an agent's socket for secrets, and never reads.
    SilentReader {
        /// Whose.
        who: Who,
    },
    /// An identity that nobody needs is banned, and allowed again.
    Revoke,
    /// Everybody renews three times as fast as it can.
    Herd,
}

/// What happens in the middle of a change of the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "twist")]
pub enum Twist {
    /// Nothing.
    None,
    /// A fault, in a phase.
    Fault {
        /// Which.
        what: Fault,
        /// In which phase.
        phase: &'static str,
    },
    /// It is aborted in a phase, and begun again when everybody is back.
    Abort {
        /// In which phase.
        phase: &'static str,
    },
}

/// One step; the next begins when everybody holds what it should again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "step")]
pub enum Step {
    /// Everybody renews now, and again when its Envoy has what is new.
    Renew {
        /// How often.
        times: u64,
    },
    /// Everybody is left alone until it has renewed in its own time.
    Calm,
    /// Something goes wrong.
    Fault(Fault),
    /// The mesh's issuer is replaced.
    Issuer,
    /// The root is replaced.
    Root(Twist),
}

/// The steps that a seed gives. In the second half no process is killed, so that its memory can be seen.
#[must_use]
pub fn script(wanted: &Wanted) -> Vec<Step> {
    let mut dice = Dice::new(wanted.seed);
    let rounds = wanted.root_changes.max(1);
    // Two agents; a few more than asked for, as one that is told twice in a row renews once.
    let renewals = wanted.rotations.div_ceil(2 * rounds);
    let mut steps = Vec::new();
    for round in 0..rounds {
        let kills = 2 * round < rounds;
        let mut left = renewals;
        while left > 0 {
            let times = left.min(CHUNK);
            steps.push(Step::Renew { times });
            left -= times;
            if wanted.faults {
                steps.push(Step::Fault(fault(&mut dice, kills)));
            }
        }
        steps.push(Step::Calm);
        if wanted.faults && dice.roll(4) == 0 {
            steps.push(Step::Issuer);
        }
        if round < wanted.root_changes {
            let twist = if wanted.faults { twist(&mut dice, kills) } else { Twist::None };
            steps.push(Step::Root(twist));
        }
    }
    steps
}

fn fault(dice: &mut Dice, kills: bool) -> Fault {
    let who = if dice.roll(2) == 0 { Who::Server } else { Who::Caller };
    let ms = 300 + 100 * dice.roll(25);
    match dice.roll(if kills { 9 } else { 7 }) {
        0 => Fault::StopServer { ms },
        1 => Fault::StopAgent { who, ms },
        2 => Fault::FullDisk { ms },
        3 => Fault::CutStreams { times: 1 + dice.roll(4) },
        4 => Fault::SilentReader { who },
        5 => Fault::Revoke,
        6 => Fault::Herd,
        7 => Fault::KillServer { ms },
        _ => Fault::KillAgent { who, ms },
    }
}

fn twist(dice: &mut Dice, kills: bool) -> Twist {
    let phase = *dice.pick(&PHASES);
    match dice.roll(6) {
        0 => Twist::None,
        1 => Twist::Abort { phase },
        _ => Twist::Fault { what: fault(dice, kills), phase },
    }
}

impl Fault {
    /// Its number among the faults that `docs/faults.md` lists.
    #[must_use]
    pub fn number(self) -> &'static str {
        match self {
            Self::KillServer { .. } => "F1",
            Self::StopServer { .. } => "F2",
            Self::KillAgent { .. } => "F3",
            Self::StopAgent { .. } => "F4",
            Self::FullDisk { .. } => "F8",
            Self::Herd => "F16",
            Self::SilentReader { .. } => "F17",
            Self::CutStreams { .. } => "F18",
            Self::Revoke => "F21",
        }
    }
}

/// What it is told apart by in a report.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Renew { .. } => f.write_str("renewals"),
            Self::Calm => f.write_str("renewals in their own time"),
            Self::Fault(fault) => write!(f, "{fault}"),
            Self::Issuer => f.write_str("change of the issuer"),
            Self::Root(Twist::None) => f.write_str("F10 change of the root"),
            Self::Root(Twist::Abort { .. }) => f.write_str("F13 change of the root, aborted and begun again"),
            Self::Root(Twist::Fault { what, .. }) => write!(f, "F10 change of the root, with {what}"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Self::KillServer { .. } => "server killed",
            Self::StopServer { .. } => "server stopped",
            Self::KillAgent { .. } => "agent killed",
            Self::StopAgent { .. } => "agent stopped",
            Self::FullDisk { .. } => "disk full",
            Self::CutStreams { .. } => "streams cut",
            Self::SilentReader { .. } => "silent reader",
            Self::Revoke => "identity revoked",
            Self::Herd => "all renew at once",
        };
        write!(f, "{} {what}", self.number())
    }
}

impl Step {
    /// How long it lasts by itself.
    pub(super) fn pause(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn wanted(seed: u64) -> Wanted {
        Wanted { seed, rotations: 1000, root_changes: 20, faults: true, ..Wanted::default() }
    }

    #[test]
    fn a_seed_gives_the_same_steps_each_time_and_another_seed_others() {
        assert_eq!(script(&wanted(1)), script(&wanted(1)));
        assert_ne!(script(&wanted(1)), script(&wanted(2)));
    }

    #[test]
    fn a_thousand_rotations_meet_every_fault_and_nobody_is_killed_in_the_second_half() {
        let steps = script(&wanted(7));
        let names: BTreeSet<_> = steps.iter().map(ToString::to_string).collect();
        let faults = ["F1 ", "F2 ", "F3 ", "F4 ", "F8 ", "F10 ", "F13 ", "F16 ", "F17 ", "F18 ", "F21 "];
        for fault in faults {
            assert!(names.iter().any(|name| name.starts_with(fault)), "{fault} is not among {names:?}");
        }
        let roots: Vec<_> =
            steps.iter().enumerate().filter(|(_, step)| matches!(step, Step::Root(_))).collect();
        assert_eq!(roots.len(), 20);
        let told: u64 =
            steps.iter().map(|step| if let Step::Renew { times } = step { *times } else { 0 }).sum();
        assert!(2 * told >= 1000, "{told}");
        let half = roots[9].0 + 1;
        assert!(!steps[half..].iter().any(|step| step.to_string().contains("killed")));
    }

    #[test]
    fn without_faults_nothing_goes_wrong() {
        let steps = script(&Wanted { faults: false, ..wanted(7) });
        let harmless =
            |step: &Step| matches!(step, Step::Renew { .. } | Step::Calm | Step::Root(Twist::None));
        assert!(steps.iter().all(harmless));
    }
}
