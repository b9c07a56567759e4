//! How fast new connections are taken, and how many from one place.
//!
//! After a restart every Envoy of a fleet comes back at once. Each handshake costs the better part of a millisecond
//! of CPU, so they are started at a bounded rate; who waits does so in the listener's backlog, and the proxies that
//! are connected already are served meanwhile. Nobody can fill the places of others: an address that has many
//! handshakes under way is turned away, and its Envoys try again.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// Handshakes under way at once from one address (of IPv6, one network of 64 bits). A peer that says nothing keeps
/// its place for seconds.
pub(super) const MAX_PER_ADDRESS: usize = 512;
/// Handshakes started per second and processor: about three quarters of what one can do.
const RATE: u32 = 750;
/// Handshakes that may start at once after a quiet time.
const BURST: u32 = 256;

/// Lets connections in.
#[derive(Debug)]
pub(super) struct Admission {
    under_way: Arc<Mutex<HashMap<IpAddr, usize>>>,
    /// Between the starts of two handshakes.
    period: Duration,
    /// When the last one was due to start.
    last: Instant,
}

/// A connection that was let in; its place is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Guest {
    under_way: Arc<Mutex<HashMap<IpAddr, usize>>>,
    address: IpAddr,
}

impl Admission {
    pub(super) fn new(processors: usize) -> Self {
        let rate = RATE.saturating_mul(u32::try_from(processors).unwrap_or(u32::MAX)).max(1);
        Self { under_way: Arc::default(), period: Duration::from_secs(1) / rate, last: Instant::now() }
    }

    /// A place for a connection; `None` when its address has enough of them.
    pub(super) fn enter(&self, address: IpAddr) -> Option<Guest> {
        let address = network(address);
        let mut under_way = lock(&self.under_way);
        let count = under_way.entry(address).or_default();
        if *count >= MAX_PER_ADDRESS {
            return None;
        }
        *count += 1;
        Some(Guest { under_way: Arc::clone(&self.under_way), address })
    }

    /// Waits until the next handshake may start.
    pub(super) async fn turn(&mut self) {
        let now = Instant::now();
        let saved_up = now.checked_sub(self.period * BURST).unwrap_or(now);
        self.last = self.last.max(saved_up) + self.period;
        if self.last > now {
            sleep_until(self.last).await;
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut under_way = lock(&self.under_way);
        if let Some(count) = under_way.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                under_way.remove(&self.address);
            }
        }
    }
}

fn lock(under_way: &Mutex<HashMap<IpAddr, usize>>) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
    under_way.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whoever has one IPv6 address has the other 2^64 of its network too.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_take_the_places_of_others() {
        let admission = Admission::new(1);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut guests: Vec<_> =
            (0..MAX_PER_ADDRESS).map(|_| admission.enter(address("10.0.0.1")).unwrap()).collect();
        assert!(admission.enter(address("10.0.0.1")).is_none());
        assert!(admission.enter(address("::ffff:10.0.0.1")).is_none(), "it is the same address");
        assert!(admission.enter(address("10.0.0.2")).is_some());
        guests.pop();
        guests.push(admission.enter(address("10.0.0.1")).unwrap());
        drop(guests);
        assert!(lock(&admission.under_way).is_empty());
        let _all: Vec<_> = (0..MAX_PER_ADDRESS)
            .map(|number| admission.enter(address(&format!("fd00::{number:x}"))).unwrap())
            .collect();
        assert!(admission.enter(address("fd00::ffff")).is_none(), "of one network");
        assert!(admission.enter(address("fd00:0:0:1::1")).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_storm_is_let_in_at_a_bounded_rate_and_a_few_at_once() {
        let mut admission = Admission::new(2);
        tokio::time::advance(Duration::from_secs(60)).await;
        let start = Instant::now();
        for _ in 0..BURST {
            admission.turn().await;
        }
        assert!(start.elapsed() < Duration::from_millis(5), "{:?}", start.elapsed());
        for _ in 0..3000 {
            admission.turn().await;
        }
        let took = start.elapsed().as_secs_f64();
        assert!((1.9..2.2).contains(&took), "3000 at 1500 per second took {took} s");
    }
}
