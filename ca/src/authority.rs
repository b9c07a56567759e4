//! The authority: a root, an issuer per mesh, and what they sign.
//!
//! ```text
//!  <folder>/root/{key,cert}.pem             10 years, signs issuers
//!           meshes/<mesh>/{key,cert}.pem    1 year, made when a mesh first needs one
//!           server/{key,cert}.pem           the same, for the server's own certificate
//! ```

mod check;
mod pair;
mod seal;
mod store;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use signet_policies::{
    identity::TrustDomain,
    issuance::{Grant, MAX_LEAF_LIFE},
    time::{Timestamp, Validity},
};
use tracing::info;

use crate::{
    Certificate, Error, IssuerName, Passphrase, PrivateKey, PublicKey, Random, Serial, VerifiedCsr,
    key::SigningKey,
    pem,
    profile::{self, BACKDATE, ISSUER_LIFE, Leaf, Place, ROOT_LIFE, Template},
};
use pair::Pair;
use store::Store;

/// The keys of one trust domain. It signs what it is shown a [`VerifiedCsr`] (or makes the key itself) and a
/// [`Grant`] for, and nothing else.
#[derive(Debug)]
pub struct Authority {
    trust_domain: TrustDomain,
    store: Store,
    random: Random,
    root: Pair,
    issuers: Mutex<BTreeMap<IssuerName, Arc<Issuer>>>,
}

/// An issuer that is ready to sign.
#[derive(Debug)]
struct Issuer {
    key: SigningKey,
    der: Arc<[u8]>,
    template: Template,
    /// From its start to the earliest end in its chain.
    validity: Validity,
}

impl Authority {
    /// Opens the authority in `folder`, and makes a root where there is none.
    ///
    /// Every key and certificate that is there is checked. Issuers that ended are no error: they are replaced
    /// when next needed. With a passphrase every key is sealed with it, those that are there and those that are made.
    ///
    /// # Errors
    /// A file that cannot be read or is open to others; a key that the passphrase does not open, or that is not sealed
    /// although there is one; a pair that is incomplete, does not belong together or cannot do what its place asks
    /// for; a root that ended; issuers without a root.
    pub fn open(
        folder: &Path,
        passphrase: Option<Passphrase>,
        trust_domain: &TrustDomain,
        random: Random,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let store = Store::open(folder, passphrase)?;
        let root = match store.root()? {
            Some(stored) => Pair::root(stored, trust_domain, now)?,
            None => {
                let root = make_root(&store, trust_domain, &random, now)?;
                info!(%trust_domain, not_after = %root.validity.not_after(), "made a new root");
                root
            }
        };
        let authority =
            Self { trust_domain: trust_domain.clone(), store, random, root, issuers: Mutex::default() };
        for name in authority.store.issuers()? {
            authority.load(&name)?;
        }
        Ok(authority)
    }

    /// The trust domain that it issues for.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The roots to trust, each DER, in canonical (bytewise) order.
    #[must_use]
    pub fn bundle(&self) -> Vec<Vec<u8>> {
        vec![self.root.der.clone()]
    }

    /// The root's certificate, PEM.
    #[must_use]
    pub fn root_pem(&self) -> String {
        pem::encode("CERTIFICATE", &self.root.der).to_string()
    }

    /// Signs a certificate for the key of a request, with the names of the grant.
    ///
    /// It starts [`BACKDATE`] before `now` and ends with the granted life, or with the first certificate
    /// above it if that ends sooner. The first certificate of a mesh waits for the disk, since its issuer
    /// is made.
    ///
    /// # Errors
    /// The chain ended, the issuer's key cannot be used, or the outcome is not what was granted.
    pub fn issue(
        &self,
        csr: &VerifiedCsr,
        grant: &Grant,
        serial: Serial,
        now: Timestamp,
    ) -> Result<Certificate, Error> {
        self.sign(csr.key(), grant, serial, now)
    }

    /// Makes a key and signs a certificate for it, as [`Authority::issue`] does.
    ///
    /// # Errors
    /// As [`Authority::issue`].
    pub fn issue_with_new_key(
        &self,
        grant: &Grant,
        serial: Serial,
        now: Timestamp,
    ) -> Result<(PrivateKey, Certificate), Error> {
        let key = PrivateKey::generate()?;
        let certificate = self.sign(&key.public(), grant, serial, now)?;
        Ok((key, certificate))
    }

    fn sign(
        &self,
        key: &PublicKey,
        grant: &Grant,
        serial: Serial,
        now: Timestamp,
    ) -> Result<Certificate, Error> {
        if *grant.spiffe_id().trust_domain() != self.trust_domain {
            return Err(Error::ForeignGrant(grant.spiffe_id().clone()));
        }
        let issuer_name = IssuerName::of(grant);
        let issuer = self.issuer(&issuer_name, now)?;
        let validity = leaf_life(issuer.validity, grant, now)?;
        let leaf =
            Leaf { serial, life: validity, key, spiffe_id: grant.spiffe_id(), dns_names: grant.dns_names() };
        let der = issuer.template.sign(&leaf, &issuer.key)?.ok_or(Error::Clock(now))?;
        check::says(&der, &leaf, &issuer.template).map_err(Error::Mismatch)?;
        Ok(Certificate { leaf: der, issuer: issuer.der.clone(), issuer_name, serial, validity })
    }

    /// The issuer of that name, made or replaced if need be.
    fn issuer(&self, name: &IssuerName, now: Timestamp) -> Result<Arc<Issuer>, Error> {
        // Held while an issuer is made, so that two first requests of a mesh do not make two.
        let mut issuers = self.issuers.lock().unwrap_or_else(PoisonError::into_inner);
        let current = issuers.get(name);
        if let Some(current) = current.filter(|current| !self.is_due(current, now)) {
            return Ok(current.clone());
        }
        let is_first = current.is_none();
        let made = Arc::new(self.make_issuer(name, now)?);
        info!(issuer = %name, is_first, not_after = %made.validity.not_after(), "made an issuer");
        issuers.insert(name.clone(), made.clone());
        Ok(made)
    }

    /// Whether an issuer could cut the longest leaf short, and a new one would live longer.
    fn is_due(&self, issuer: &Issuer, now: Timestamp) -> bool {
        let end = issuer.validity.not_after();
        now + MAX_LEAF_LIFE > end && self.issuer_end(now) > end
    }

    fn issuer_end(&self, now: Timestamp) -> Timestamp {
        self.root.validity.not_after().min(now + ISSUER_LIFE)
    }

    fn make_issuer(&self, name: &IssuerName, now: Timestamp) -> Result<Issuer, Error> {
        let end = self.issuer_end(now);
        let life = Validity::new(now - BACKDATE, end)
            .ok()
            .filter(|life| life.contains(now))
            .ok_or(Error::ChainEnded { not_after: end, now })?;
        let key = PrivateKey::generate()?;
        let serial = Serial::draw(&self.random);
        let root = (self.root.der.as_slice(), &self.root.key);
        let der = profile::issuer(&self.trust_domain, &name.to_string(), &key.public(), serial, life, root)?;
        self.store.put(&store::Slot::Issuer(name), &key, &der, serial)?;
        self.read_issuer(name)
    }

    /// Reads an issuer that is on the disk, and keeps it.
    fn load(&self, name: &IssuerName) -> Result<(), Error> {
        let issuer = Arc::new(self.read_issuer(name)?);
        self.issuers.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), issuer);
        Ok(())
    }

    fn read_issuer(&self, name: &IssuerName) -> Result<Issuer, Error> {
        let stored = self.store.issuer(name)?;
        let pair = Pair::issuer(stored, &self.trust_domain, &self.root)?;
        let end = pair.validity.not_after().min(self.root.validity.not_after());
        let validity = Validity::new(pair.validity.not_before(), end)
            .map_err(|empty| Error::ChainEnded { not_after: end, now: empty.not_before })?;
        let template = Template { issuer: pair.subject, issuer_key_id: pair.key_id };
        Ok(Issuer { key: pair.key, der: pair.der.into(), template, validity })
    }
}

fn make_root(
    store: &Store,
    trust_domain: &TrustDomain,
    random: &Random,
    now: Timestamp,
) -> Result<Pair, Error> {
    let key = PrivateKey::generate()?;
    let serial = Serial::draw(random);
    let life = Validity::new(now - BACKDATE, now + ROOT_LIFE).map_err(|_| Error::Clock(now))?;
    let der = profile::root(trust_domain, &SigningKey::new(&key)?, serial, life)?;
    store.put(&store::Slot::Root, &key, &der, serial)?;
    let stored = store.root()?.ok_or(Error::RootMissing { folder: store.folder().to_owned() })?;
    Pair::root(stored, trust_domain, now)
}

/// The granted life, within the chain's.
fn leaf_life(chain: Validity, grant: &Grant, now: Timestamp) -> Result<Validity, Error> {
    if now < chain.not_before() {
        return Err(Error::Clock(now));
    }
    let end = chain.not_after().min(now + grant.lifetime());
    // A leaf is never issued for the past, so what its backdating adds does not count as life.
    if end <= now {
        return Err(Error::ChainEnded { not_after: end, now });
    }
    Validity::new(now - BACKDATE, end).map_err(|_| Error::Clock(now))
}

#[cfg(test)]
mod tests;
