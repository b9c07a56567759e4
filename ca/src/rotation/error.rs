//! Why a change is not begun, or not altered.

use thiserror::Error;

use super::{MAX_SPREAD, Phase, RecordError};
use crate::{Error, LedgerError};

/// Why nothing was changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RotationError {
    /// There is a change under way.
    #[error("the change {0} is under way; wait for its end, or abort it: signet ca rotate abort")]
    Busy(String),
    /// There is none.
    #[error("no change of root or issuer is under way; begin one: signet ca rotate start")]
    Idle,
    /// It cannot be turned round from there.
    #[error("the change is in phase {0}, {why}", why = no_way_back(*.0))]
    NoWayBack(Phase),
    /// Nobody has the name that was given.
    #[error("no proxy, no workload and no certificate that is in use is called {name:?}; {waited}")]
    Nobody {
        /// The name.
        name: String,
        /// Who is waited for.
        waited: String,
    },
    /// Without it no connection would be made.
    #[error("{0} is waited for whatever is overridden; `signet ca rotate status` says what it lacks")]
    Needed(String),
    /// Renewals would be spread over too long a time.
    #[error("renewals can be spread over at most {} s", MAX_SPREAD.as_secs())]
    Spread,
    /// The authority cannot.
    #[error(transparent)]
    Authority(#[from] Error),
    /// The record cannot be kept, so nothing was done.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The ledger does not answer.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Why it cannot be turned round from a phase.
fn no_way_back(phase: Phase) -> &'static str {
    match phase.goes_back() {
        true => "and so on its way back already; who has not moved: signet ca rotate status",
        false => "from which there is no way back",
    }
}
