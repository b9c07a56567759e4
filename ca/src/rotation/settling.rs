//! The pause between the proof that everybody moved and what it was waited for.
//!
//! A handshake goes by the certificate and the roots that a proxy had when the connection was begun. What was proven is
//! true of those that begin from then on; the others are over when no proxy waits for them any more.

use std::time::{Duration, SystemTime};

use super::{Phase, Record, Standing};
use crate::Succession;

/// The pause where nobody says another: Envoy's default of `Cluster.connect_timeout`, which bounds a connection's
/// making with its handshake. What Signet makes of a mesh gives up earlier, after 1 s.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(5);
/// The longest pause.
pub const MAX_GRACE: Duration = Duration::from_secs(60 * 60);

/// Since when everybody has moved, without a break, in the phase that is under way.
#[derive(Debug, Default)]
pub(super) struct Settling {
    /// The change, how many phases it has entered, and since when.
    since: Option<(String, usize, SystemTime)>,
}

impl Settling {
    /// When what follows may begin, as far as the clock says; `None` where nothing is left to wait for but proof.
    /// A clock that was set back has it begin again.
    pub(super) fn end(
        &mut self,
        record: &Record,
        standing: &Standing,
        grace: Duration,
        now: SystemTime,
    ) -> Option<SystemTime> {
        let is_proven = standing.laggards.is_empty() && standing.total > 0;
        if !is_proven || grace.is_zero() || !record.phase.settles(&record.what) {
            self.since = None;
            return None;
        }
        let began = match self.since.take() {
            Some((id, entered, since))
                if id == record.id && entered == record.entered.len() && since <= now =>
            {
                since
            }
            Some(_) | None => now,
        };
        self.since = Some((record.id.clone(), record.entered.len(), began));
        began.checked_add(grace).filter(|end| *end > now)
    }
}

impl Phase {
    /// Whether a handshake that began before the phase's proof could be refused by what follows: it may show a
    /// certificate of what goes, or trust roots of which what signs next is not.
    fn settles(self, what: &Succession) -> bool {
        let changes_trust = matches!(what, Succession::Root);
        self.needs_renewal() || (changes_trust && matches!(self, Self::Distribute | Self::Restore))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::record::Entered, *};

    #[test]
    fn a_pause_is_of_one_phase_of_one_change() {
        let grace = DEFAULT_GRACE;
        let moment = |secs| SystemTime::UNIX_EPOCH + Duration::from_secs(secs);
        let enter = |phase| Entered { phase, at_unix_ms: 0 };
        let mut record = Record {
            id: "one".to_owned(),
            what: Succession::Root,
            phase: Phase::Issue,
            paused: false,
            spread_secs: 0,
            by: String::new(),
            retired: String::new(),
            entered: vec![enter(Phase::Distribute), enter(Phase::Issue)],
            overrides: Vec::new(),
            reason: String::new(),
        };
        let proven = Standing { total: 1, proven: 1, ..Standing::default() };
        let mut settling = Settling::default();
        let mut end = |record: &Record, now| settling.end(record, &proven, grace, moment(now));
        assert_eq!(end(&record, 100), Some(moment(105)));
        assert_eq!(end(&record, 104), Some(moment(105)));
        record.entered.push(enter(Phase::Return));
        record.phase = Phase::Return;
        assert_eq!(end(&record, 104), Some(moment(109)), "the next phase begins anew, though all was proven");
        record.id = "two".to_owned();
        assert_eq!(end(&record, 108), Some(moment(113)), "and so does the next change");
    }
}
