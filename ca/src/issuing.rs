//! Issuing: the authority signs, the ledger remembers, and only then anybody sees the certificate.

use std::sync::Arc;

use signet_policies::{
    issuance::Grant,
    time::{Clock, Timestamp},
};
use thiserror::Error;
use tracing::info;

use crate::{
    Authority, Certificate, Error, Ledger, LedgerError, Origin, PrivateKey, PublicKey, Random, Record,
    Serial, VerifiedCsr, ledger::Entry,
};

/// A certificate whose record is durable. Only these leave the crate's service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued(Certificate);

impl Issued {
    /// The certificate.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.0
    }
}

/// Why nothing was issued. Whoever asked may ask again; the request was not at fault.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NotIssued {
    /// The authority does not sign.
    #[error(transparent)]
    Authority(#[from] Error),
    /// The record is not durable, so the certificate that was signed is withheld.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// An authority together with its ledger. Clones share both.
#[derive(Clone)]
pub struct Issuing {
    authority: Arc<Authority>,
    ledger: Arc<dyn Ledger>,
    random: Random,
    clock: Clock,
}

impl Issuing {
    /// Ties an authority to the ledger of its certificates.
    #[must_use]
    pub fn new(authority: Arc<Authority>, ledger: Arc<dyn Ledger>, random: Random, clock: Clock) -> Self {
        Self { authority, ledger, random, clock }
    }

    /// The authority.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The ledger.
    #[must_use]
    pub fn ledger(&self) -> &dyn Ledger {
        &*self.ledger
    }

    /// Issues a certificate for the key of a request; see [`Authority::issue`].
    ///
    /// # Errors
    /// The authority does not sign, or the ledger does not remember.
    pub async fn issue(&self, csr: &VerifiedCsr, grant: &Grant, origin: Origin) -> Result<Issued, NotIssued> {
        let now = self.now();
        let certificate = self.authority.issue(csr, grant, Serial::draw(&self.random), now)?;
        self.record(certificate, csr.key(), grant, origin, now).await
    }

    /// Makes a key and issues a certificate for it; see [`Authority::issue_with_new_key`].
    ///
    /// # Errors
    /// The authority does not sign, or the ledger does not remember.
    pub async fn issue_with_new_key(
        &self,
        grant: &Grant,
        origin: Origin,
    ) -> Result<(PrivateKey, Issued), NotIssued> {
        let now = self.now();
        let (key, certificate) = self.authority.issue_with_new_key(grant, Serial::draw(&self.random), now)?;
        let issued = self.record(certificate, &key.public(), grant, origin, now).await?;
        Ok((key, issued))
    }

    async fn record(
        &self,
        certificate: Certificate,
        key: &PublicKey,
        grant: &Grant,
        origin: Origin,
        now: Timestamp,
    ) -> Result<Issued, NotIssued> {
        self.ledger.append(Entry::Issued(Record::new(&certificate, key, grant, origin, now))).await?;
        let (serial, not_after) = (certificate.serial(), certificate.validity().not_after());
        info!(spiffe_id = %grant.spiffe_id(), %serial, %not_after, "issued a certificate");
        Ok(Issued(certificate))
    }

    fn now(&self) -> Timestamp {
        (self.clock)().into()
    }
}

impl std::fmt::Debug for Issuing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuing")
            .field("authority", &self.authority)
            .field("ledger", &self.ledger)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
