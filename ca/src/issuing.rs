//! Issuing: the authority signs, the ledger remembers, and only then anybody sees the certificate.

mod latest;

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use signet_policies::{
    issuance::Grant,
    time::{Clock, Timestamp},
};
use thiserror::Error;
use tracing::info;

use crate::{
    Authority, Certificate, Error, KeyError, Ledger, LedgerError, Origin, PrivateKey, PublicKey, Random,
    Record, Serial, VerifiedCsr,
    ledger::Entry,
    standing::{Guard, Halt, Refused},
};
use latest::Latest;

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
    /// Who asked was revoked, or whom it is for is banned.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Something was signed that should not have been; nothing is until somebody has looked.
    #[error("issuing is halted since {since}: {cause}", since = .0.at, cause = .0.cause)]
    Halted(Halt),
}

/// An authority together with its ledger. Clones share both.
#[derive(Clone)]
pub struct Issuing {
    authority: Arc<RwLock<Arc<Authority>>>,
    ledger: Arc<dyn Ledger>,
    guard: Guard,
    random: Random,
    clock: Clock,
    latest: Latest,
    listener: Option<OnIssued>,
}

/// Is told of each certificate when its record is durable, and of that moment.
pub type OnIssued = Arc<dyn Fn(&Certificate, SystemTime) + Send + Sync>;

impl Issuing {
    /// Ties an authority to a new ledger of its certificates.
    #[must_use]
    pub fn new(authority: Arc<Authority>, ledger: Arc<dyn Ledger>, random: Random, clock: Clock) -> Self {
        let guard = Guard::of_new(Arc::clone(&ledger));
        let (authority, latest) = (Arc::new(RwLock::new(authority)), Latest::new(UNIX_EPOCH.into()));
        Self { authority, ledger, guard, random, clock, latest, listener: None }
    }

    /// The same, which knows when the ledger's last entry was added, and so whether the clock was set back since.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn recalling(self) -> Result<Self, LedgerError> {
        let last = self.ledger.read(self.ledger.size().saturating_sub(1), 1).await?;
        let Some(last) = last.first() else { return Ok(self) };
        Ok(Self { latest: Latest::new(last.entry()?.at()), ..self })
    }

    /// How far the clock is behind the last moment at which anything was issued; zero but where it was set back.
    #[must_use]
    pub fn clock_behind(&self) -> Duration {
        self.latest.behind((self.clock)().into())
    }

    /// The same, guarded by what a ledger's events say is in force.
    #[must_use]
    pub fn guarded_by(self, guard: Guard) -> Self {
        Self { guard, ..self }
    }

    /// The same, with somebody who is told of what it issues.
    #[must_use]
    pub fn telling(self, listener: OnIssued) -> Self {
        Self { listener: Some(listener), ..self }
    }

    /// What guards it.
    #[must_use]
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// The authority; after a change of the root it is another one.
    #[must_use]
    pub fn authority(&self) -> Arc<Authority> {
        self.authority.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts an authority into the place of the one before, for every clone.
    pub(crate) fn succeed(&self, heir: Authority) {
        *self.authority.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(heir);
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
        self.latest.note(now);
        self.check(grant, origin.predecessor)?;
        let signed = self.authority().issue(csr, grant, Serial::draw(&self.random), now);
        let certificate = self.looked_at(signed, now).await?;
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
        self.latest.note(now);
        self.check(grant, origin.predecessor)?;
        let signed = self.authority().issue_with_new_key(grant, Serial::draw(&self.random), now);
        let (key, certificate) = self.looked_at(signed, now).await?;
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
        self.note_chain(&certificate, now).await?;
        let predecessor = origin.predecessor;
        self.ledger.append(Entry::Issued(Record::new(&certificate, key, grant, origin, now))).await?;
        // Whoever was banned meanwhile was not looked for under this serial number.
        self.check(grant, predecessor)?;
        let (serial, not_after) = (certificate.serial(), certificate.validity().not_after());
        info!(spiffe_id = %grant.spiffe_id(), %serial, %not_after, "issued a certificate");
        if let Some(tell) = &self.listener {
            tell(&certificate, (self.clock)());
        }
        Ok(Issued(certificate))
    }

    /// Has the ledger know whoever stands above a leaf before it knows the leaf.
    async fn note_chain(&self, certificate: &Certificate, now: Timestamp) -> Result<(), LedgerError> {
        let standing = self.guard.now();
        if certificate.above.iter().all(|upper| standing.uses_authority(&upper.digest)) {
            return Ok(());
        }
        let issuer = certificate.issuer_name().to_string();
        self.guard.note_authorities(&self.authority().certificates(), Some(&issuer), now).await?;
        for (height, upper) in certificate.above.iter().enumerate() {
            let name = if height == 0 { issuer.as_str() } else { "intermediate" };
            self.guard.note_in_use(name, &upper.der, now).await?;
        }
        Ok(())
    }

    /// Has the ledger know which certificates the authority has by now: which keys were made here, and what is there no
    /// longer. To be called whenever one came or went; an issuer that is made for a first certificate is known before that.
    ///
    /// # Errors
    /// The ledger does not remember.
    pub async fn note_authorities(&self) -> Result<(), LedgerError> {
        self.guard.note_authorities(&self.authority().certificates(), None, self.now()).await
    }

    /// Whether anything is issued, and to whom it would be.
    fn check(&self, grant: &Grant, predecessor: Option<Serial>) -> Result<(), NotIssued> {
        let standing = self.guard.now();
        if let Some(halt) = standing.halted() {
            return Err(NotIssued::Halted(halt.clone()));
        }
        standing.check(predecessor, grant.spiffe_id())?;
        Ok(grant.canonical_id().map_or(Ok(()), |own| standing.check(None, own))?)
    }

    /// Halts everything where what was signed, or was to be signed, is not what was granted, or is not signed as it should.
    async fn looked_at<T>(&self, signed: Result<T, Error>, now: Timestamp) -> Result<T, NotIssued> {
        match &signed {
            Err(error @ (Error::Mismatch(_) | Error::Lint(_))) => {
                self.guard.halt(&error.to_string(), now).await;
            }
            Err(Error::Key(error @ KeyError::Signature)) => self.guard.halt(&error.to_string(), now).await,
            Ok(_) | Err(_) => {}
        }
        Ok(signed?)
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
