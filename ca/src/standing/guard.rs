//! Who changes what is in force, through the ledger.

use std::sync::Arc;

use signet_policies::{identity::SpiffeId, issuance::MAX_LEAF_LIFE, time::Timestamp};
use thiserror::Error;
use tokio::sync::{Mutex, watch};
use tracing::{error, info, warn};

use super::{Ban, Halt, Standing};
use crate::{
    AuthorityCertificate, Ledger, LedgerError, Record, Serial,
    certificate::sha256,
    ledger::{AuthorityChange, Entry, Event, Reason, RevokedCertificate, Subject, What},
};

/// Entries that are looked at together for certificates that have not ended.
const PAGE: u64 = 1000;

/// Guards an authority. Clones share everything.
#[derive(Clone, Debug)]
pub struct Guard(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    ledger: Arc<dyn Ledger>,
    standing: watch::Sender<Arc<Standing>>,
    /// One change at a time.
    turn: Mutex<()>,
}

/// What a revocation came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Where it is in the ledger.
    pub position: u64,
    /// The certificates that it revoked.
    pub certificates: Vec<RevokedCertificate>,
}

/// Why nothing was revoked, allowed or released.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NotRevoked {
    /// The ledger knows no such certificate.
    #[error("no certificate {0} was issued by this authority")]
    Unknown(Serial),
    /// It is revoked already.
    #[error("{0} was revoked before")]
    Already(Subject),
    /// It ended by itself.
    #[error("the certificate {serial} ended by itself at {not_after}")]
    Ended {
        /// Which.
        serial: Serial,
        /// When.
        not_after: Timestamp,
    },
    /// The server's own identity.
    #[error(
        "{0} is the server's own identity; revoke its certificate by its serial number, and the server gets another"
    )]
    OwnIdentity(SpiffeId),
    /// An identity of another trust domain.
    #[error("{0} is not of this authority's trust domain")]
    Foreign(SpiffeId),
    /// Nobody banned it.
    #[error("{0} is not banned")]
    NotBanned(SpiffeId),
    /// Nothing was halted.
    #[error("issuing is not halted")]
    NotHalted,
    /// The ledger does not remember.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl Guard {
    /// Takes up what a ledger says.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn open(ledger: Arc<dyn Ledger>) -> Result<Self, LedgerError> {
        let mut standing = Standing::default();
        for (position, event) in ledger.events().await? {
            standing.apply(position, &event);
        }
        if let Some(Halt { at, cause }) = standing.halted() {
            error!(since = %at, cause, "issuing is halted; look, and then `signet ca release --reason`");
        }
        Ok(Self::at(ledger, standing))
    }

    /// A guard of a ledger in which nothing is in force.
    #[must_use]
    pub fn of_new(ledger: Arc<dyn Ledger>) -> Self {
        Self::at(ledger, Standing::default())
    }

    fn at(ledger: Arc<dyn Ledger>, standing: Standing) -> Self {
        let standing = watch::Sender::new(Arc::new(standing));
        Self(Arc::new(Inner { ledger, standing, turn: Mutex::default() }))
    }

    /// What is in force now.
    #[must_use]
    pub fn now(&self) -> Arc<Standing> {
        self.0.standing.borrow().clone()
    }

    /// What is in force, and every change.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<Standing>> {
        self.0.standing.subscribe()
    }

    /// Revokes a certificate, or bans an identity and revokes all its certificates that have not ended.
    ///
    /// # Errors
    /// [`NotRevoked`]; then nothing is revoked that was not before.
    pub async fn revoke(
        &self,
        subject: Subject,
        reason: Reason,
        by: &str,
        now: Timestamp,
    ) -> Result<Revocation, NotRevoked> {
        let _turn = self.0.turn.lock().await;
        let certificates = match &subject {
            Subject::Certificate(serial) => vec![self.revocable(*serial, now).await?],
            Subject::Identity(identity) => {
                self.check_ban(identity)?;
                // Before the certificates are looked for: one that is signed meanwhile must not slip through.
                self.ban(identity, Ban { at: now, reason, by: by.to_owned() });
                let found = self.certificates_of(identity, now).await;
                found.inspect_err(|_| self.unban(identity))?
            }
        };
        let what = What::Revoked { subject: subject.clone(), reason, certificates: certificates.clone() };
        let position = self.append(what, by, now).await.inspect_err(|_| {
            if let Subject::Identity(identity) = &subject {
                self.unban(identity);
            }
        })?;
        warn!(%subject, %reason, by, certificates = certificates.len(), "revoked");
        Ok(Revocation { position, certificates })
    }

    /// Lets a banned identity have certificates again. What was revoked stays revoked.
    ///
    /// # Errors
    /// [`NotRevoked::NotBanned`], [`NotRevoked::Ledger`].
    pub async fn allow(&self, identity: &SpiffeId, by: &str, now: Timestamp) -> Result<(), NotRevoked> {
        let _turn = self.0.turn.lock().await;
        if self.now().banned(identity).is_none() {
            return Err(NotRevoked::NotBanned(identity.clone()));
        }
        self.append(What::Allowed(identity.clone()), by, now).await?;
        warn!(%identity, by, "allowed again");
        Ok(())
    }

    /// Notes that a certificate of the authority is in use, if the ledger does not know of it yet. Whoever makes lists of
    /// what is revoked learns of it by that, too.
    ///
    /// # Errors
    /// The ledger does not remember.
    pub async fn note_in_use(&self, name: &str, der: &[u8], now: Timestamp) -> Result<(), LedgerError> {
        let digest = sha256(der);
        if self.now().uses_authority(&digest) {
            return Ok(());
        }
        let _turn = self.0.turn.lock().await;
        if self.now().uses_authority(&digest) {
            return Ok(());
        }
        let (name, certificate) = (name.to_owned(), der.to_vec());
        let what = What::Authority { change: AuthorityChange::InUse, name, certificate };
        self.append(what, "server", now).await.map(drop)
    }

    /// Notes that somebody installed a certificate of the authority that was signed elsewhere, DER.
    ///
    /// # Errors
    /// The ledger does not remember.
    pub async fn note_installed(
        &self,
        name: &str,
        der: &[u8],
        by: &str,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let _turn = self.0.turn.lock().await;
        let (name, certificate) = (name.to_owned(), der.to_vec());
        let what = What::Authority { change: AuthorityChange::Installed, name, certificate };
        self.append(what, by, now).await.map(drop)
    }

    /// Notes what the ledger does not say yet of the certificates that an authority has, all of them or those of one name:
    /// that the key of one was made here, that one is there no longer.
    ///
    /// # Errors
    /// The ledger does not remember.
    pub async fn note_authorities(
        &self,
        current: &[AuthorityCertificate],
        name: Option<&str>,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let _turn = self.0.turn.lock().await;
        let news = self.now().news(current, name);
        for what in news {
            self.append(what, "server", now).await?;
        }
        Ok(())
    }

    /// Signs nothing more, also after a restart, until somebody releases it. It is halted even where the ledger does not
    /// remember.
    pub async fn halt(&self, cause: &str, now: Timestamp) {
        let _turn = self.0.turn.lock().await;
        if self.now().halted().is_some() {
            return;
        }
        self.change(|standing| standing.halted = Some(Halt { at: now, cause: cause.to_owned() }));
        error!(cause, "issuing is halted; look, and then `signet ca release --reason`");
        if let Err(error) = self.append(What::Halted(cause.to_owned()), "server", now).await {
            error!(%error, "the halt is not in the ledger, and ends with this process");
        }
    }

    /// Signs again.
    ///
    /// # Errors
    /// [`NotRevoked::NotHalted`], [`NotRevoked::Ledger`].
    pub async fn release(&self, reason: &str, by: &str, now: Timestamp) -> Result<(), NotRevoked> {
        let _turn = self.0.turn.lock().await;
        if self.now().halted().is_none() {
            return Err(NotRevoked::NotHalted);
        }
        self.append(What::Released(reason.to_owned()), by, now).await?;
        info!(reason, by, "issuing was released");
        Ok(())
    }

    /// Writes down what happens, and lets it be in force.
    async fn append(&self, what: What, by: &str, now: Timestamp) -> Result<u64, LedgerError> {
        let event = Event { at: now, by: by.to_owned(), what };
        let position = self.0.ledger.append(Entry::Event(event.clone())).await?;
        self.change(|standing| standing.apply(position, &event));
        Ok(position)
    }

    fn change(&self, change: impl FnOnce(&mut Standing)) {
        self.0.standing.send_modify(|now| {
            let mut next = Standing::clone(now);
            change(&mut next);
            *now = Arc::new(next);
        });
    }

    fn ban(&self, identity: &SpiffeId, ban: Ban) {
        self.change(|standing| drop(standing.banned.insert(identity.clone(), ban)));
    }

    fn unban(&self, identity: &SpiffeId) {
        self.change(|standing| drop(standing.banned.remove(identity)));
    }

    fn check_ban(&self, identity: &SpiffeId) -> Result<(), NotRevoked> {
        if *identity == identity.trust_domain().server_id() {
            return Err(NotRevoked::OwnIdentity(identity.clone()));
        }
        match self.now().banned(identity) {
            Some(_) => Err(NotRevoked::Already(Subject::Identity(identity.clone()))),
            None => Ok(()),
        }
    }

    async fn revocable(&self, serial: Serial, now: Timestamp) -> Result<RevokedCertificate, NotRevoked> {
        let record = self.0.ledger.get(serial).await?.ok_or(NotRevoked::Unknown(serial))?;
        if self.now().revoked(serial).is_some() {
            return Err(NotRevoked::Already(Subject::Certificate(serial)));
        }
        match record.validity.not_after() {
            not_after if not_after < now => Err(NotRevoked::Ended { serial, not_after }),
            _ => Ok(revoked(record)),
        }
    }

    /// The certificates of an identity that have not ended and are not revoked, from the newest back to where no
    /// certificate can be valid any more.
    async fn certificates_of(
        &self,
        identity: &SpiffeId,
        now: Timestamp,
    ) -> Result<Vec<RevokedCertificate>, LedgerError> {
        let (standing, name) = (self.now(), identity.to_string());
        let mut found = Vec::new();
        let mut end = self.0.ledger.size();
        while end > 0 {
            let start = end.saturating_sub(PAGE);
            let count = usize::try_from(end - start).unwrap_or(usize::MAX);
            let page = self.0.ledger.read(start, count).await?;
            // An entry that does not hold the name is not worth reading.
            let holds = |text: &[u8]| std::str::from_utf8(text).is_ok_and(|text| text.contains(&name));
            for raw in page.iter().filter(|raw| holds(&raw.text)) {
                let Entry::Issued(record) = raw.entry()? else { continue };
                let is_revoked = standing.revoked(record.serial).is_some();
                if record.spiffe_id == *identity && record.validity.not_after() >= now && !is_revoked {
                    found.push(revoked(record));
                }
            }
            let first = page.first().map(|raw| raw.entry()).transpose()?;
            if first.is_some_and(|entry| entry.at() + MAX_LEAF_LIFE < now) {
                break;
            }
            end = start;
            tokio::task::yield_now().await;
        }
        Ok(found)
    }
}

fn revoked(record: Record) -> RevokedCertificate {
    RevokedCertificate {
        serial: record.serial,
        identity: record.spiffe_id,
        issuer: record.issuer,
        not_after: record.validity.not_after(),
    }
}
