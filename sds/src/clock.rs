//! Where wall-clock time comes from.

use std::{sync::Arc, time::SystemTime};

use signet_policies::time::Clock;
use tokio::time::Instant;

/// The system's clock, read on every call.
///
/// It follows corrections and a suspended machine's sleep, which no monotonic clock does: an agent that wakes
/// up after a night sees at once that its certificate has expired.
#[must_use]
pub fn system() -> Clock {
    #[expect(clippy::disallowed_methods, reason = "the one place where the system's clock is read")]
    Arc::new(SystemTime::now)
}

/// A clock that reads `start` now and goes on with tokio's time, so paused tests move both as one.
///
/// Call it within a runtime whose time is to be followed.
#[must_use]
pub fn anchored(start: SystemTime) -> Clock {
    let anchor = Instant::now();
    Arc::new(move || start + anchor.elapsed())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_anchored_clock_moves_with_paused_time_and_not_without_it() {
        let start = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let clock = anchored(start);
        assert_eq!(clock(), start);
        tokio::time::advance(Duration::from_millis(86_400_001)).await;
        assert_eq!(clock(), start + Duration::from_millis(86_400_001));
    }
}
