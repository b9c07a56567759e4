//! Time as certificates have it: whole seconds since the epoch.

use std::{
    fmt,
    ops::{Add, Sub},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use thiserror::Error;

/// A source of wall-clock time, made once in `cli` and passed in; tests pass their own.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// Seconds since 1970-01-01T00:00:00Z. X.509 has no finer unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// A moment, given in seconds since the epoch; negative before it.
    #[must_use]
    pub const fn from_unix(seconds: i64) -> Self {
        Self(seconds)
    }

    /// Seconds since the epoch.
    #[must_use]
    pub const fn unix(self) -> i64 {
        self.0
    }

    /// The time from `earlier` to this moment; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// Truncates to the second.
impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let seconds = |d: Duration| i64::try_from(d.as_secs()).unwrap_or(i64::MAX);
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(seconds(after)),
            Err(before) => Self(-seconds(before.duration())),
        }
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_secs()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_secs()).unwrap_or(i64::MAX)))
    }
}

/// RFC 3339 would need a calendar; logs print the number.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A certificate's life. Never empty: `not_before < not_after`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    not_before: Timestamp,
    not_after: Timestamp,
}

/// A life that ends before it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a life from {not_before} to {not_after} is empty")]
pub struct EmptyValidity {
    /// The start asked for.
    pub not_before: Timestamp,
    /// The end asked for.
    pub not_after: Timestamp,
}

impl Validity {
    /// A life between two moments.
    ///
    /// # Errors
    /// The end is not after the start.
    pub fn new(not_before: Timestamp, not_after: Timestamp) -> Result<Self, EmptyValidity> {
        match not_before < not_after {
            true => Ok(Self { not_before, not_after }),
            false => Err(EmptyValidity { not_before, not_after }),
        }
    }

    /// The first valid second.
    #[must_use]
    pub fn not_before(self) -> Timestamp {
        self.not_before
    }

    /// The last valid second, as RFC 5280, section 4.1.2.5, counts it.
    #[must_use]
    pub fn not_after(self) -> Timestamp {
        self.not_after
    }

    /// Whether the certificate may be used at `now`.
    #[must_use]
    pub fn contains(self, now: Timestamp) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// The whole life.
    #[must_use]
    pub fn length(self) -> Duration {
        self.not_after.since(self.not_before)
    }

    /// When to renew: uniform between 50 and 70 % of the life.
    ///
    /// `draw` is one random number for this certificate, drawn once and kept; drawing again moves the
    /// moment to the early edge.
    #[must_use]
    pub fn renewal_at(self, draw: u32) -> Timestamp {
        let life = u128::from(self.length().as_secs());
        let tenths_of_life = 5 * (1_u128 << 32) + 2 * u128::from(draw);
        let after = (life * tenths_of_life / 10) >> 32;
        self.not_before + Duration::from_secs(u64::try_from(after).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_empty_or_backward_life_is_refused() {
        let [a, b] = [10, 11].map(Timestamp::from_unix);
        assert!(Validity::new(a, b).is_ok());
        assert!(Validity::new(a, a).is_err());
        assert!(Validity::new(b, a).is_err());
    }

    #[test]
    fn a_certificate_is_valid_on_its_first_and_last_second_only_between() {
        let [a, b] = [10, 20].map(Timestamp::from_unix);
        let life = Validity::new(a, b).unwrap();
        let second = Duration::from_secs(1);
        assert!(life.contains(a) && life.contains(b));
        assert!(!life.contains(a - second) && !life.contains(b + second));
    }

    proptest! {
        #[test]
        fn renewal_falls_between_half_and_seven_tenths_of_any_life(start in -1_000_000_i64..4_000_000_000, life in 1_i64..400_000_000, draw: u32) {
            let validity = Validity::new(Timestamp::from_unix(start), Timestamp::from_unix(start + life)).unwrap();
            let after = validity.renewal_at(draw).unix() - start;
            prop_assert!(after >= life / 2);
            prop_assert!(after <= life * 7 / 10);
        }

        #[test]
        fn a_later_draw_never_renews_earlier(draw: u32, step in 0_u32..1_000_000) {
            let life = Validity::new(Timestamp::from_unix(0), Timestamp::from_unix(86_400)).unwrap();
            prop_assert!(life.renewal_at(draw.saturating_add(step)) >= life.renewal_at(draw));
        }
    }
}
