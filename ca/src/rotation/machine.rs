//! The steps of a change, and what each needs. Pure: nothing here knows time, disks or agents.
//!
//! ```text
//!                 trusted   signs   goes on when
//!  distribute     both      old     every proxy accepted both roots
//!  issue          both      new     and no certificate of the old is in use
//!  retire         new       new     every proxy accepted the new root alone
//!  ── completed
//!  restore        both      new     every proxy accepted both roots again        back from retire
//!  return         both      old     and no certificate of the new is in use      back from issue
//!  withdraw       old       old     every proxy accepted the old root alone      back from distribute
//!  ── aborted
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Trusted;

/// Where a change stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// Both are trusted, the old signs.
    Distribute,
    /// Both are trusted, the new signs.
    Issue,
    /// The new is trusted alone.
    Retire,
    /// Everybody moved; folders are being put in place.
    Promote,
    /// Done.
    Completed,
    /// Both are trusted again, the new still signs.
    Restore,
    /// Both are trusted, the old signs again.
    Return,
    /// The old is trusted alone again.
    Withdraw,
    /// As it was.
    Aborted,
}

impl Phase {
    /// Which roots are trusted.
    #[must_use]
    pub fn trusted(self) -> Trusted {
        match self {
            Self::Distribute | Self::Issue | Self::Restore | Self::Return => Trusted::Both,
            Self::Retire | Self::Promote => Trusted::New,
            // Once it is completed the new one is the one that is there.
            Self::Withdraw | Self::Aborted | Self::Completed => Trusted::Old,
        }
    }

    /// Whether the new one signs.
    #[must_use]
    pub fn new_signs(self) -> bool {
        matches!(self, Self::Issue | Self::Retire | Self::Promote | Self::Restore)
    }

    /// Whether it only goes on when no certificate of the one that does not sign is in use.
    #[must_use]
    pub fn needs_renewal(self) -> bool {
        matches!(self, Self::Issue | Self::Return)
    }

    /// Whether the change is over.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Completed | Self::Aborted)
    }

    /// Whether it is on its way back.
    #[must_use]
    pub fn goes_back(self) -> bool {
        matches!(self, Self::Restore | Self::Return | Self::Withdraw | Self::Aborted)
    }

    /// What comes when all is proven.
    #[must_use]
    pub fn next(self) -> Self {
        match self {
            Self::Distribute => Self::Issue,
            Self::Issue => Self::Retire,
            Self::Retire => Self::Promote,
            Self::Promote | Self::Completed => Self::Completed,
            Self::Restore => Self::Return,
            Self::Return => Self::Withdraw,
            Self::Withdraw | Self::Aborted => Self::Aborted,
        }
    }

    /// The way back; `None` where there is none: it is over, or on it already.
    #[must_use]
    pub fn back(self) -> Option<Self> {
        match self {
            Self::Distribute => Some(Self::Withdraw),
            Self::Issue => Some(Self::Return),
            Self::Retire => Some(Self::Restore),
            Self::Promote
            | Self::Completed
            | Self::Restore
            | Self::Return
            | Self::Withdraw
            | Self::Aborted => None,
        }
    }
}

/// As commands and the ledger spell it.
impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Distribute => "distribute",
            Self::Issue => "issue",
            Self::Retire => "retire",
            Self::Promote => "promote",
            Self::Completed => "completed",
            Self::Restore => "restore",
            Self::Return => "return",
            Self::Withdraw => "withdraw",
            Self::Aborted => "aborted",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Phase; 9] = [
        Phase::Distribute,
        Phase::Issue,
        Phase::Retire,
        Phase::Promote,
        Phase::Completed,
        Phase::Restore,
        Phase::Return,
        Phase::Withdraw,
        Phase::Aborted,
    ];

    /// Between one phase and any that may follow it, whoever signs in either is trusted in both.
    fn is_safe(from: Phase, to: Phase) -> bool {
        let trusts = |phase: Phase, new: bool| match phase.trusted() {
            Trusted::Both => true,
            Trusted::Old => !new,
            Trusted::New => new,
        };
        [from, to].into_iter().all(|phase| [from, to].into_iter().all(|at| trusts(at, phase.new_signs())))
    }

    #[test]
    fn whoever_signs_is_trusted_before_it_signs_and_for_as_long_as_it_did() {
        for phase in ALL {
            for to in [Some(phase.next()), phase.back()].into_iter().flatten() {
                // What is completed is the only one that is left: there old and new are the same.
                if to != Phase::Completed {
                    assert!(is_safe(phase, to), "{phase} to {to}");
                }
            }
        }
    }

    #[test]
    fn what_signed_is_given_up_only_after_its_certificates_are_out_of_use() {
        for phase in ALL {
            for to in [Some(phase.next()), phase.back()].into_iter().flatten() {
                let narrows = phase.trusted() == Trusted::Both && to.trusted() != Trusted::Both;
                let signed_before = phase != Phase::Distribute;
                if narrows && signed_before {
                    assert!(phase.needs_renewal(), "{phase} to {to}");
                }
            }
        }
    }

    #[test]
    fn every_change_ends_and_abort_ends_with_the_old_one_from_wherever_it_may_begin() {
        for mut phase in ALL {
            let goes_back = phase.goes_back();
            for _ in 0..ALL.len() {
                phase = phase.next();
            }
            assert_eq!(phase, if goes_back { Phase::Aborted } else { Phase::Completed });
        }
        for back in ALL.into_iter().filter_map(Phase::back) {
            assert!(back.goes_back() && !back.is_over());
        }
    }
}
