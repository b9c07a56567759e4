//! When a certificate is renewed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ring::digest;
use signet_policies::time::{Timestamp, Validity};

use crate::secret::Leaf;

/// A span in which the authority wants a certificate to be renewed, as it spreads many of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// The certificate that is meant: lower-case hex, as [`Leaf::serial`]. Advice on another one is passed over.
    pub serial: String,
    /// From when to when.
    pub window: Validity,
    /// Why, for the log.
    pub reason: String,
}

/// When to renew a leaf.
///
/// The one draw of a certificate is taken from its own bytes, of which the serial number is random: the same
/// moment comes out after a restart, and no second draw moves it to the early edge.
#[must_use]
pub fn renewal_at(leaf: &Leaf) -> SystemTime {
    let (validity, draw) = (leaf.validity(), draw(leaf));
    wall(if leaf.is_first() { validity.first_renewal_at(draw) } else { validity.renewal_at(draw) })
}

/// How long a leaf that came at `now` is held at least: a sixtieth of what it has left, and a second. One of an authority
/// whose clock is behind may be due when it comes, and so may be all that follow it.
pub(super) fn least_wait(leaf: &Leaf, now: SystemTime) -> Duration {
    let left = wall(leaf.validity().not_after()).duration_since(now).unwrap_or_default();
    (left / 60).max(Duration::from_secs(1))
}

/// The leaf's moment in a window that the authority advises; the draw is that of [`renewal_at`].
pub(super) fn advised_at(leaf: &Leaf, window: Validity) -> SystemTime {
    wall(window.at(draw(leaf)))
}

fn draw(leaf: &Leaf) -> u32 {
    let bytes = leaf.chain().first().map_or(&[][..], |leaf| leaf.as_ref());
    let hash = digest::digest(&digest::SHA256, bytes);
    hash.as_ref().iter().take(4).fold(0_u32, |draw, byte| draw << 8 | u32::from(*byte))
}

/// A moment of a certificate on the wall clock.
pub(super) fn wall(moment: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(moment.unix()).unwrap_or(0))
}
