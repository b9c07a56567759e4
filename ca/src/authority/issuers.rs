//! The issuers: made when they are needed, if what signs them is here, and read again after a restart.

use std::sync::{Arc, PoisonError};

use signet_policies::{
    identity::TrustDomain,
    issuance::{Grant, MAX_LEAF_LIFE},
    time::{Timestamp, Validity},
};
use tracing::info;

use super::{
    Authority,
    signer::{Chain, Signer},
    store::{Slot, Store},
};
use crate::{
    Error, IssuerName, PublicKey, Serial, Unfit,
    certificate::Upper,
    key::{KeyKind, SigningKey},
    profile::{self, AUTHORITY_BACKDATE, Above, ISSUER_LIFE, Template},
};

/// An issuer that is ready to sign.
#[derive(Debug)]
pub(super) struct Issuer {
    pub(super) key: SigningKey,
    /// What goes with each leaf: the issuer's certificate and those between it and the root.
    pub(super) above: Arc<[Upper]>,
    pub(super) template: Template,
    /// From its start to the earliest end in its chain.
    pub(super) validity: Validity,
    pub(super) chain: Chain,
}

impl Issuer {
    /// Joins a key and its chain, which are known to belong together.
    pub(super) fn new(key: SigningKey, chain: Chain, now: Timestamp) -> Result<Self, Error> {
        let own = chain.lowest();
        let template = Template { issuer: own.subject.clone(), issuer_key_id: own.key_id.clone() };
        let ended = |not_after| Error::ChainEnded { not_after, now };
        let end = chain.validity().map_err(ended)?.not_after();
        let validity = Validity::new(own.validity.not_before(), end).map_err(|_| ended(end))?;
        let above = chain.ders().into_iter().map(Upper::from).collect();
        Ok(Self { key, above, template, validity, chain })
    }

    /// Whether the authorities above may have these names certified.
    pub(super) fn check_names(&self, grant: &Grant) -> Result<(), Error> {
        let forbidden = grant
            .dns_names()
            .iter()
            .find(|name| self.chain.all().any(|certificate| !certificate.limits.allow(name)));
        match forbidden {
            None => Ok(()),
            Some(name) => Err(Error::ForbiddenName(name.clone())),
        }
    }
}

impl Authority {
    /// The issuer of that name, made or replaced if need be and if what signs it is here.
    pub(super) fn issuer(&self, name: &IssuerName, now: Timestamp) -> Result<Arc<Issuer>, Error> {
        // Held while an issuer is made, so that two first requests of a mesh do not make two.
        let mut issuers = self.issuers.lock().unwrap_or_else(PoisonError::into_inner);
        let current = issuers.get(name);
        let Some(signer) = &self.signer else {
            return current.cloned().ok_or_else(|| Error::NoSigner(name.clone()));
        };
        if let Some(current) = current.filter(|current| !is_due(current, signer, now)) {
            return Ok(current.clone());
        }
        let is_first = current.is_none();
        let made = Arc::new(self.make_issuer(name, signer, now)?);
        info!(issuer = %name, is_first, not_after = %made.validity.not_after(), "made an issuer");
        issuers.insert(name.clone(), made.clone());
        Ok(made)
    }

    fn make_issuer(&self, name: &IssuerName, signer: &Signer, now: Timestamp) -> Result<Issuer, Error> {
        self.make_issuer_in(&self.store, name, signer, now)
    }

    /// Makes an issuer and keeps it in a folder, which need not be where those are that sign.
    pub(super) fn make_issuer_in(
        &self,
        store: &Store,
        name: &IssuerName,
        signer: &Signer,
        now: Timestamp,
    ) -> Result<Issuer, Error> {
        let end = issuer_end(signer, now);
        let start = signer.validity.not_before();
        if now < start {
            return Err(Error::TooEarly { not_before: start, now });
        }
        let life = Validity::new(start.max(now - AUTHORITY_BACKDATE), end)
            .ok()
            .filter(|life| life.contains(now))
            .ok_or(Error::ChainEnded { not_after: end, now })?;
        let label = name.to_string();
        let (key, public) = store.custody.generate(&label, &self.random)?;
        let serial = Serial::draw(&self.random);
        // Nothing is written that would be refused when it is read again.
        let (ders, _) = draft((&label, serial, life), &public, signer, &self.trust_domain)?;
        let ders: Vec<&[u8]> = ders.iter().map(|der| &**der).collect();
        store.put(Slot::Issuer(name), Some(&key), &ders, serial)?;
        self.read_issuer_in(store, name, now)
    }

    /// Reads an issuer that is on the disk, and keeps it.
    pub(super) fn load(&self, name: &IssuerName, now: Timestamp) -> Result<(), Error> {
        let issuer = Arc::new(self.read_issuer_in(&self.store, name, now)?);
        self.issuers.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), issuer);
        Ok(())
    }

    /// Reads an issuer that hangs from this root.
    pub(super) fn read_issuer_in(
        &self,
        store: &Store,
        name: &IssuerName,
        now: Timestamp,
    ) -> Result<Issuer, Error> {
        let stored = store.read(Slot::Issuer(name))?;
        let chain = Chain::read(&stored.ders(), 0, true, &self.root, &self.trust_domain);
        let chain = chain.map_err(|misfit| stored.unfit(misfit.unfit))?;
        let key = stored.fitting(chain.lowest())?.ok_or_else(|| stored.unfit(Unfit::NoKey))?;
        match key.public().kind() {
            KeyKind::P256 => Issuer::new(key, chain, now),
            KeyKind::P384 | KeyKind::Ed25519 | KeyKind::Rsa => Err(stored.unfit(Unfit::IssuerKey)),
        }
    }
}

/// Certificates, the lowest first, and what they say together.
pub(super) type Draft = (Vec<Arc<[u8]>>, Chain);

/// An issuer's certificate and those above it, not yet kept. `name` is its label, serial number and life.
pub(super) fn draft(
    (label, serial, life): (&str, Serial, Validity),
    key: &PublicKey,
    signer: &Signer,
    trust_domain: &TrustDomain,
) -> Result<Draft, Error> {
    let lowest = signer.chain.lowest();
    let above = Above { subject: &lowest.subject, key_id: &lowest.key_id, key: &signer.key };
    let der = profile::issuer(trust_domain, label, key, serial, life, above)?;
    let ders: Vec<Arc<[u8]>> = [der.into()].into_iter().chain(signer.chain.ders()).collect();
    let read: Vec<&[u8]> = ders.iter().map(|der| &**der).collect();
    let chain = Chain::read(&read, 0, true, &signer.chain.root, trust_domain);
    let chain = chain.map_err(|misfit| Error::Build(misfit.unfit.to_string()))?;
    Ok((ders, chain))
}

/// Whether an issuer could cut the longest leaf short, and a new one would live longer.
fn is_due(issuer: &Issuer, signer: &Signer, now: Timestamp) -> bool {
    let end = issuer.validity.not_after();
    now + MAX_LEAF_LIFE > end && issuer_end(signer, now) > end
}

fn issuer_end(signer: &Signer, now: Timestamp) -> Timestamp {
    signer.validity.not_after().min(now + ISSUER_LIFE)
}
