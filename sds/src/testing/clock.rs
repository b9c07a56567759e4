//! Wall-clock time that follows tokio's.

use std::{sync::Arc, time::SystemTime};

use signet_policies::time::Clock;
use tokio::time::Instant;

/// A clock that reads `start` now and goes on with tokio's time, so paused tests move both as one.
///
/// Call it within the runtime whose time is to be followed. It knows nothing of corrections to the system's clock, nor
/// of the time that a suspended machine sleeps, which is why nothing but tests goes by it.
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
