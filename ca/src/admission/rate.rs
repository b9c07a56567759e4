//! How often each identity may ask.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

/// Identities that are remembered; those that have not asked for long are forgotten first.
const REMEMBERED: usize = 16_384;

/// A bucket of tokens for each identity: one is taken by each request, and they come back at an even rate.
pub(super) struct Rates {
    burst: f64,
    per_second: f64,
    buckets: HashMap<String, Bucket>,
}

#[derive(Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: SystemTime,
}

impl Rates {
    pub(super) fn new(burst: u32, per_second: u32) -> Self {
        let (burst, per_second) = (f64::from(burst.max(1)), f64::from(per_second.max(1)));
        Self { burst, per_second, buckets: HashMap::new() }
    }

    /// Takes a token; without one, says when there will be one again.
    pub(super) fn take(&mut self, identity: &str, now: SystemTime) -> Result<(), Duration> {
        if self.buckets.len() >= REMEMBERED && !self.buckets.contains_key(identity) {
            self.forget(now);
        }
        let full = Bucket { tokens: self.burst, at: now };
        let bucket = self.buckets.entry(identity.to_owned()).or_insert(full);
        bucket.fill(now, self.burst, self.per_second);
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        // Never zero: whoever is told to come back at once asks again at once.
        let missing = Duration::from_secs_f64((1.0 - bucket.tokens) / self.per_second);
        Err(missing.max(Duration::from_secs(1)))
    }

    /// A full bucket says no more than none. Should all be in use, as many identities really ask, all start anew.
    fn forget(&mut self, now: SystemTime) {
        let (burst, per_second) = (self.burst, self.per_second);
        self.buckets.retain(|_, bucket| {
            bucket.fill(now, burst, per_second);
            bucket.tokens < burst
        });
        if self.buckets.len() >= REMEMBERED {
            self.buckets.clear();
        }
    }
}

impl Bucket {
    /// A clock that was set back fills nothing.
    fn fill(&mut self, now: SystemTime, burst: f64, per_second: f64) {
        let passed = now.duration_since(self.at).unwrap_or_default().as_secs_f64();
        self.tokens = passed.mul_add(per_second, self.tokens).min(burst);
        self.at = now;
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn an_identity_that_asks_too_often_waits_and_no_other_does() {
        let mut rates = Rates::new(3, 2);
        let at = |ms| UNIX_EPOCH + Duration::from_millis(ms);
        for _ in 0..3 {
            assert_eq!(rates.take("a", at(0)), Ok(()));
        }
        assert_eq!(rates.take("a", at(0)), Err(Duration::from_secs(1)));
        assert_eq!(rates.take("b", at(0)), Ok(()));
        assert_eq!(rates.take("a", at(500)), Ok(()), "two a second");
        assert!(rates.take("a", at(501)).is_err());
        assert!(rates.take("a", at(100)).is_err(), "a clock that goes back gives nothing");
        for _ in 0..3 {
            assert_eq!(rates.take("a", at(60_000)), Ok(()), "and no more than the burst is saved up");
        }
        assert!(rates.take("a", at(60_000)).is_err());
    }

    #[test]
    fn however_many_identities_ask_only_so_many_are_remembered() {
        let mut rates = Rates::new(3, 2);
        for number in 0..3 * REMEMBERED {
            rates.take(&number.to_string(), UNIX_EPOCH).unwrap();
            assert!(rates.buckets.len() <= REMEMBERED);
        }
    }
}
