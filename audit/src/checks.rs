//! The forty checks, by group.
//!
//! ```text
//!  A  log        what the ledger says of what was signed
//!  B  chain      root, issuers, bundles
//!  C  crypto     keys and algorithms
//!  D  profile    names, extensions, lives
//!  E  live       what proxies hold and accept
//! ```

mod chain;
mod crypto;
mod live;
mod log;
mod profile;

pub(crate) use self::chain::constraints::NO_AUTHORITY;
use crate::check::Check;

/// Every check, in the order of their ids.
pub const CHECKS: [&Check; 40] = [
    &log::stored::STORED_FIELDS,
    &log::signature::SIGNATURE,
    &log::chain::LOG_CHAIN,
    &log::serial::SERIAL,
    &log::signature::BACKDATE,
    &log::decision::DECISION,
    &log::decision::REPLAY,
    &log::rate::RATE,
    &log::delivery::DELIVERY,
    &chain::bundle::CHAINS_TO_BUNDLE,
    &chain::expiry::OUTLIVES,
    &chain::expiry::HORIZON,
    &chain::constraints::CONSTRAINTS,
    &chain::constraints::NAME_CONSTRAINTS,
    &chain::names::KEY_IDS,
    &chain::names::ROOT_LEAVES,
    &chain::rotation::ROTATION,
    &chain::rotation::RETIRED,
    &crypto::algorithms::KEY_KIND,
    &crypto::algorithms::SIGNATURE_ALGORITHM,
    &crypto::weak::WEAK_KEY,
    &crypto::reuse::ACROSS_IDENTITIES,
    &crypto::reuse::ACROSS_RENEWALS,
    &crypto::reuse::AUTHORITY_KEY,
    &profile::identity::ONE_IDENTITY,
    &profile::identity::CLAIMED_NAMES,
    &profile::identity::BROAD_NAMES,
    &profile::shape::EXTENSIONS,
    &profile::shape::LIFETIME,
    &profile::holders::ORPHAN,
    &profile::holders::COPIED_KEY,
    &live::served::UNKNOWN,
    &live::adoption::NOT_ADOPTED,
    &live::served::REVOKED,
    &live::served::REMAINING,
    &live::renewal::RENEWAL,
    &live::renewal::NO_CERTIFICATE,
    &live::listeners::MODE,
    &live::listeners::PARAMETERS,
    &live::renewal::CLOCK,
];

/// The check of that id or name, in capitals or not.
#[must_use]
pub fn find(id: &str) -> Option<&'static Check> {
    CHECKS.into_iter().find(|check| !id.contains('*') && check.is_meant_by(id))
}
