//! Lists of what is revoked (RFC 5280, section 5), one for every certificate authority in chains and bundle.
//!
//! Envoy wants one for each of them as soon as it has any, and refuses everybody when one has ended. So they live long
//! beside how often they are made, and are handed out only while something is revoked.

use std::time::Duration;

use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, RevocationReason, RevokedCertParams, SerialNumber,
};
use signet_policies::time::Timestamp;
use thiserror::Error;
use time::OffsetDateTime;

use crate::{Authority, IssuerName, ledger::Reason, profile::BACKDATE, standing::Standing};

/// How long a list is good. A server that is away for longer leaves proxies that refuse everybody, but by then their
/// certificates have ended too.
pub const LIST_LIFE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How often lists are made anew, also where nothing has changed.
pub const LIST_RENEWAL: Duration = Duration::from_secs(24 * 60 * 60);

/// The list of one authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationList {
    /// Whose: `root`, `intermediate`, or an issuer as [`IssuerName`] writes it.
    pub issuer: String,
    /// The authority's key identifier, hexadecimal.
    pub key_id: String,
    /// The list, DER, or why there is none.
    pub der: Result<Vec<u8>, NoList>,
}

/// Why there is no list of an authority. Of the others there are.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NoList {
    /// Its key is with somebody else, and no list is here that was signed there and is good for long enough.
    #[error("its key is not here; have a list signed where the key is, and put it into <data-dir>/ca/lists/")]
    KeyElsewhere,
    /// Its certificate has a key usage without cRLSign, so nobody would take a list from it (RFC 5280, section 4.2.1.3).
    #[error(
        "its certificate may not sign lists; have it signed again with the key usages keyCertSign and cRLSign, and \
         bring it with `signet ca install` (an issuer) or `signet ca import` (an intermediate)"
    )]
    NotAllowed,
    /// Its key does not sign now.
    #[error("it cannot be signed: {0}")]
    NotSigned(String),
}

/// Makes the lists of everything that is revoked and has not ended at `now`.
///
/// `number` must grow from list to list (RFC 5280, section 5.2.3).
///
/// # Errors
/// The clock is beyond what lists can say.
pub fn lists(
    authority: &Authority,
    standing: &Standing,
    number: u64,
    now: Timestamp,
) -> Result<Vec<RevocationList>, crate::Error> {
    let this_update = calendar(now - BACKDATE)?;
    let next_update = calendar(now + LIST_LIFE)?;
    let made = authority.sign_lists(now, |issuer, key_id| {
        let revoked_certs = issuer.map(|issuer| entries(standing, issuer, now)).unwrap_or_default();
        CertificateRevocationListParams {
            this_update,
            next_update,
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs,
            key_identifier_method: KeyIdMethod::PreSpecified(key_id.to_vec()),
        }
    });
    Ok(made)
}

fn entries(standing: &Standing, issuer: &IssuerName, now: Timestamp) -> Vec<RevokedCertParams> {
    let of_issuer = standing
        .certificates()
        // Somewhat longer than it is valid: it must be in one list that was made after its end (section 3.3).
        .filter(|(_, revoked)| revoked.issuer == *issuer && revoked.not_after + LIST_RENEWAL >= now);
    let entry = |(serial, revoked): (crate::Serial, &crate::standing::Revoked)| {
        Some(RevokedCertParams {
            serial_number: SerialNumber::from_slice(&serial.to_bytes()),
            revocation_time: calendar(revoked.at).ok()?,
            reason_code: code(revoked.reason),
            invalidity_date: None,
        })
    };
    of_issuer.filter_map(entry).collect()
}

/// RFC 5280, section 5.3.1: the one that tells nothing is left out.
fn code(reason: Reason) -> Option<RevocationReason> {
    match reason {
        Reason::Unspecified => None,
        Reason::KeyCompromise => Some(RevocationReason::KeyCompromise),
        Reason::CaCompromise => Some(RevocationReason::CaCompromise),
        Reason::AffiliationChanged => Some(RevocationReason::AffiliationChanged),
        Reason::Superseded => Some(RevocationReason::Superseded),
        Reason::CessationOfOperation => Some(RevocationReason::CessationOfOperation),
        Reason::PrivilegeWithdrawn => Some(RevocationReason::PrivilegeWithdrawn),
    }
}

fn calendar(moment: Timestamp) -> Result<OffsetDateTime, crate::Error> {
    OffsetDateTime::from_unix_timestamp(moment.unix()).map_err(|_| crate::Error::Clock(moment))
}

#[cfg(test)]
mod tests;
