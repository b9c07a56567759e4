//! The clocks of agents beside the server's.

use std::time::{Duration, UNIX_EPOCH};

use tracing::{info, warn};

use super::NodeView;

/// From here on a clock is told of: to one that is so slow a new certificate has hardly begun, and whoever reads the
/// logs of both reads nonsense.
const APART: Duration = Duration::from_secs(60);

impl NodeView {
    /// How far the agent's clock is ahead of the server's, in milliseconds, by its last report; negative where it is
    /// behind. What a report took on its way counts as behind.
    #[must_use]
    pub fn clock_ahead_ms(&self) -> i64 {
        let heard = self.reported_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.report.now_unix_ms.saturating_sub(i64::try_from(heard.as_millis()).unwrap_or(i64::MAX))
    }

    /// Whether that is more than a minute, in either direction.
    #[must_use]
    pub fn is_clock_apart(&self) -> bool {
        u128::from(self.clock_ahead_ms().unsigned_abs()) > APART.as_millis()
    }
}

/// Says so when a clock has come apart, and when it is right again; not with each report.
pub(super) fn tell(before: Option<&NodeView>, now: &NodeView) {
    let (was, is) = (before.is_some_and(NodeView::is_clock_apart), now.is_clock_apart());
    let (node, ahead_ms) = (&now.key, now.clock_ahead_ms());
    match (was, is) {
        (false, true) => warn!(
            %node, ahead_ms,
            "the clocks of this agent's host and of the server are more than a minute apart; start a time service \
             such as chrony there, or here where this is said of every agent"
        ),
        (true, false) => {
            info!(%node, ahead_ms, "the clocks of this agent's host and of the server agree again")
        }
        (false, false) | (true, true) => {}
    }
}
