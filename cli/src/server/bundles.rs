//! The bundles that agents were told to trust lately, for whoever looks at which of them each agent holds.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Result;
use signet_audit::inventory::{Bundle, Der};
use signet_ca::{Serial, Trust, TrustFeed};
use signet_policies::time::{Clock, Timestamp};
use tokio_util::sync::CancellationToken;

/// Versions that are remembered; lists of what is revoked make one each time they are made anew.
const MOST: usize = 64;

/// What was to be trusted, the newest last. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Bundles(Arc<Mutex<VecDeque<Told>>>);

/// What was to be trusted, and since when: seconds since the epoch.
type Told = (Arc<Trust>, i64);

impl Bundles {
    /// Remembers what `feed` says, until `stop`.
    ///
    /// # Errors
    /// None.
    pub(super) async fn watch(self, feed: TrustFeed, clock: Clock, stop: CancellationToken) -> Result<()> {
        let mut trust = feed.subscribe();
        loop {
            let now = trust.borrow_and_update().clone();
            self.take(now, Timestamp::from(clock()).unix());
            match stop.run_until_cancelled(trust.changed()).await {
                Some(Ok(())) => {}
                Some(Err(_)) | None => return Ok(()),
            }
        }
    }

    fn take(&self, trust: Arc<Trust>, at: i64) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // One that comes back is the newest again.
        known.retain(|(before, _)| before.version() != trust.version());
        known.push_back((trust, at));
        if known.len() > MOST {
            known.pop_front();
        }
    }

    /// All of them; the last one is in force. What each lists as revoked is told where it `is_held`.
    pub(super) fn list(&self, is_held: impl Fn(&str) -> bool) -> Vec<Bundle> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bundle = |(number, (trust, since)): (usize, &Told)| Bundle {
            version: trust.version().to_owned(),
            roots: trust.bundle().iter().map(|der| Der(der.clone())).collect(),
            is_current: number + 1 == known.len(),
            since: *since,
            revoked: if is_held(trust.version()) { revoked(trust) } else { Vec::new() },
        };
        known.iter().enumerate().map(bundle).collect()
    }
}

/// The serial numbers on its lists; one that cannot be read lists nothing.
fn revoked(trust: &Trust) -> Vec<String> {
    let mut serials = Vec::new();
    for der in trust.crls() {
        let Ok((_, list)) = x509_parser::parse_x509_crl(der) else { continue };
        let listed = list.iter_revoked_certificates();
        serials.extend(
            listed.filter_map(|one| Serial::from_be_bytes(one.raw_serial())).map(|serial| serial.to_string()),
        );
    }
    serials
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_in_force_and_the_oldest_is_forgotten() {
        let bundles = Bundles::default();
        let trust = |number: usize| Arc::new(Trust::new(vec![number.to_be_bytes().to_vec()], Vec::new()));
        for number in 0..MOST + 2 {
            bundles.take(trust(number), i64::try_from(number).unwrap());
        }
        bundles.take(trust(5), 1000);
        let list = bundles.list(|_| true);
        assert_eq!((list.len(), list[0].since), (MOST, 2));
        let current: Vec<_> = list.iter().filter(|bundle| bundle.is_current).collect();
        assert_eq!(current.len(), 1);
        assert_eq!((current[0].version.as_str(), current[0].since), (trust(5).version(), 1000));
    }
}
