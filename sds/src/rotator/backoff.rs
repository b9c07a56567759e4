//! How long to wait after a failure.

use std::time::Duration;

use rand::Rng;
use thiserror::Error;

/// Doubles from `base` to `cap`, each wait drawn from its upper half: proxies that failed together do not come
/// back together, and none comes back at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
}

/// Bounds that make no back-off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a back-off from {base:?} to {cap:?}: it starts above zero and ends no earlier than it starts")]
pub struct InvalidBackoff {
    /// The first wait asked for.
    pub base: Duration,
    /// The longest wait asked for.
    pub cap: Duration,
}

impl Backoff {
    /// From half a second to half a minute: well within the last third of the shortest life, 5 minutes.
    pub const DEFAULT: Self = Self { base: Duration::from_millis(500), cap: Duration::from_secs(30) };

    /// A back-off between two waits.
    ///
    /// # Errors
    /// `base` is zero, or longer than `cap`.
    pub fn new(base: Duration, cap: Duration) -> Result<Self, InvalidBackoff> {
        match Duration::ZERO < base && base <= cap {
            true => Ok(Self { base, cap }),
            false => Err(InvalidBackoff { base, cap }),
        }
    }

    /// The wait after a failure that `earlier` failures in a row came before.
    pub fn after(&self, earlier: u32, rng: &mut impl Rng) -> Duration {
        let factor = 1_u32.checked_shl(earlier).unwrap_or(u32::MAX);
        let longest = self.base.checked_mul(factor).map_or(self.cap, |wait| wait.min(self.cap));
        longest.mul_f64(rng.random_range(0.5..=1.0))
    }

    /// The wait after an authority said when to come back: not before, and not all at once.
    ///
    /// Its word does not count beyond ten minutes, nor beyond half of what is `left` of the certificate's
    /// life; it never makes the wait shorter than [`Backoff::after`] would.
    pub fn asked_to(
        &self,
        stay_away: Duration,
        earlier: u32,
        left: Option<Duration>,
        rng: &mut impl Rng,
    ) -> Duration {
        let spread = stay_away.min(LONGEST_ABSENCE).mul_f64(rng.random_range(1.0..=1.25));
        let heeded = left.map_or(spread, |left| spread.min(left / 2));
        heeded.max(self.after(earlier, rng))
    }
}

/// How long an authority may send somebody away at most.
const LONGEST_ABSENCE: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_and_stay_in_their_upper_half() {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(20)).unwrap();
        let mut rng = StdRng::seed_from_u64(7);
        for (earlier, longest) in [(0, 1), (1, 2), (2, 4), (3, 8), (4, 16), (5, 20), (31, 20), (u32::MAX, 20)]
        {
            let longest = Duration::from_secs(longest);
            for _ in 0..100 {
                let wait = backoff.after(earlier, &mut rng);
                assert!(longest / 2 <= wait && wait <= longest, "{earlier}: {wait:?}");
            }
        }
    }

    #[test]
    fn two_agents_that_failed_together_wait_differently() {
        let wait = |seed| Backoff::DEFAULT.after(3, &mut StdRng::seed_from_u64(seed));
        assert_ne!(wait(1), wait(2));
        assert_eq!(wait(1), wait(1));
    }

    #[test]
    fn who_is_sent_away_comes_back_after_that_and_before_half_of_its_life_is_gone() {
        let mut rng = StdRng::seed_from_u64(7);
        let second = Duration::from_secs(1);
        for _ in 0..100 {
            let mut wait = |away, left| Backoff::DEFAULT.asked_to(away, 0, left, &mut rng);
            let asked = wait(20 * second, Some(3600 * second));
            assert!(20 * second <= asked && asked <= 25 * second, "{asked:?}");
            assert!(wait(20 * second, Some(10 * second)) <= 5 * second);
            assert!(wait(u32::MAX * second, None) <= LONGEST_ABSENCE.mul_f64(1.25));
            assert!(wait(Duration::ZERO, Some(Duration::ZERO)) >= Backoff::DEFAULT.base / 2, "no busy loop");
        }
    }

    #[test]
    fn bounds_that_make_no_backoff_are_refused() {
        let second = Duration::from_secs(1);
        assert!(Backoff::new(Duration::ZERO, second).is_err());
        assert!(Backoff::new(2 * second, second).is_err());
        assert!(Backoff::new(second, second).is_ok());
    }
}
