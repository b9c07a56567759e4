//! Time as certificates have it: whole seconds since the epoch.

use std::{
    fmt,
    ops::{Add, Sub},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use thiserror::Error;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

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

/// RFC 3339 in UTC, `2026-11-26T15:00:00Z`; the number of seconds where there is no such date (beyond the year 9999).
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = OffsetDateTime::from_unix_timestamp(self.0).ok();
        match date.and_then(|date| date.format(&Rfc3339).ok()) {
            Some(date) => f.write_str(&date),
            None => write!(f, "{}", self.0),
        }
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

    /// When to renew the first certificate of a fleet that may have started together: between 5 and 70 % of the life.
    ///
    /// It is drawn as if the fleet had been renewing for ever: by the distribution of the time that is left until
    /// the next [`Validity::renewal_at`] at some moment (in renewal theory, the equilibrium distribution). So the
    /// first renewals come at the rate of all later ones, where [`Validity::renewal_at`] alone would put them into
    /// a fifth of a life, three times as dense, and their waves would take twenty lives to flatten.
    #[must_use]
    pub fn first_renewal_at(self, draw: u32) -> Timestamp {
        const EARLIEST: f64 = 0.05;
        /// Of every later renewal, as a part of the life.
        const MEAN: f64 = 0.6;
        let uniform = (f64::from(draw) + 0.5) / (f64::from(u32::MAX) + 1.0);
        let before = EARLIEST / MEAN;
        let rank = before + uniform * (1.0 - before);
        // Up to 50 % of the life every moment is equally likely; from there to 70 % ever fewer are left.
        let part = match rank <= 0.5 / MEAN {
            true => rank * MEAN,
            false => 0.7 - (2.0 * 0.2 * MEAN * (1.0 - rank)).sqrt(),
        };
        self.not_before + self.length().mul_f64(part.clamp(EARLIEST, 0.7))
    }

    /// A moment of this span, uniform by `draw`: its start for 0, close to its end for the largest.
    #[must_use]
    pub fn at(self, draw: u32) -> Timestamp {
        let after = (u128::from(self.length().as_secs()) * u128::from(draw)) >> 32;
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

    #[test]
    fn a_moment_is_written_as_a_date_that_people_read_and_as_its_number_where_there_is_none() {
        assert_eq!(Timestamp::from_unix(1_795_705_200).to_string(), "2026-11-26T15:00:00Z");
        assert_eq!(Timestamp::from_unix(-1).to_string(), "1969-12-31T23:59:59Z");
        assert_eq!(Timestamp::from_unix(i64::MAX).to_string(), i64::MAX.to_string());
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
            prop_assert!(life.first_renewal_at(draw.saturating_add(step)) >= life.first_renewal_at(draw));
            prop_assert!(life.at(draw.saturating_add(step)) >= life.at(draw));
        }

        #[test]
        fn a_first_renewal_falls_between_a_twentieth_and_seven_tenths_of_any_life(life in 100_i64..400_000_000, draw: u32) {
            let validity = Validity::new(Timestamp::from_unix(0), Timestamp::from_unix(life)).unwrap();
            let after = validity.first_renewal_at(draw).unix();
            prop_assert!(after >= life / 20 && after <= life * 7 / 10, "{}", after);
        }
    }

    #[test]
    fn a_moment_of_a_span_is_never_outside_it() {
        let span = Validity::new(Timestamp::from_unix(100), Timestamp::from_unix(200)).unwrap();
        let moments = [0, 1 << 31, u32::MAX].map(|draw| span.at(draw).unix());
        assert_eq!(moments, [100, 150, 199]);
    }

    /// Ten thousand certificates that were issued in one second, and all that follow them for eight lives.
    ///
    /// Returns the renewals of the busiest hundredth of a life, over the mean of all of them. A hundredth of a day
    /// is a quarter of an hour, in which 10,000 daily certificates are renewed 167 times.
    fn peak_to_mean(first: fn(Validity, u32) -> Timestamp) -> f64 {
        use std::num::Wrapping;
        const LIFE: i64 = 86_400;
        let mut state = Wrapping(0x2545_f491_4f6c_dd1d_u64);
        let mut draw = || {
            // xorshift64*, so that a failure can be seen again.
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            u32::try_from((state * Wrapping(0x2545_f491_4f6c_dd1d)).0 >> 32).unwrap()
        };
        let mut renewals = [0_u32; 800];
        for _ in 0..10_000 {
            let mut issued = Timestamp::from_unix(0);
            let mut next: fn(Validity, u32) -> Timestamp = first;
            loop {
                let life = Validity::new(issued, issued + Duration::from_secs(86_400)).unwrap();
                issued = next(life, draw());
                next = Validity::renewal_at;
                let slot = usize::try_from(issued.unix() * 100 / LIFE).unwrap();
                let Some(slot) = renewals.get_mut(slot) else { break };
                *slot += 1;
            }
        }
        let mean = f64::from(renewals.iter().sum::<u32>()) / 800.0;
        f64::from(*renewals.iter().max().unwrap()) / mean
    }

    #[test]
    fn ten_thousand_certificates_issued_together_are_renewed_at_an_even_rate_from_the_first_on() {
        let [even, waves] = [Validity::first_renewal_at, Validity::renewal_at].map(peak_to_mean);
        assert!(even <= 1.5, "peak to mean {even}");
        assert!(waves > 2.5, "without the first draw they would come in waves: {waves}");
    }
}
