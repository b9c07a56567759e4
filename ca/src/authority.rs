//! The authority: a root, an issuer per mesh, and what they sign.
//!
//! ```text
//!  <folder>/root/{key,cert}.pem             10 years, signs issuers
//!           intermediate/{key,cert,chain}.pem   an operator's; signs issuers while the root's key is elsewhere
//!           meshes/<mesh>/{key,cert}.pem    1 year, made when a mesh first needs one
//!           server/{key,cert}.pem           the same, for the server's own certificate
//!           requests/…/{key,request}.pem    issuers whose certificates somebody else is to sign
//!           next/, retired/                 while a root or an issuer is replaced, and after it
//! ```
//!
//! `key.json` stands in place of `key.pem` where the key is on a token, or offline. `chain.pem` holds the certificates
//! between the one beside it and the root, if there are any.

mod certificates;
mod check;
mod fit;
mod import;
mod issuers;
mod limits;
mod lists;
mod overview;
mod rehearsal;
mod requests;
mod seal;
mod signer;
mod store;
mod succession;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, RwLock},
};

use signet_policies::{
    identity::TrustDomain,
    issuance::Grant,
    time::{Timestamp, Validity},
};
use tracing::info;

use crate::{
    Certificate, Custody, Error, IssuerName, KeyError, PrivateKey, PublicKey, Random, Serial, VerifiedCsr,
    pem,
    profile::{self, AUTHORITY_BACKDATE, Leaf, ROOT_LIFE},
};
pub use certificates::{AuthorityCertificate, Rank};
use fit::CaCertificate;
pub use import::{Import, ImportedKey};
use issuers::Issuer;
pub use overview::{AuthorityView, KeyPlace};
pub use requests::Adopted;
use signer::{Chain, Signer, read_root};
use store::{Slot, Store, Stored};
use succession::Next;
pub use succession::{Succession, Trusted};

/// The keys of one trust domain. It signs what it is shown a [`VerifiedCsr`] (or makes the key itself) and a
/// [`Grant`] for, and nothing else.
#[derive(Debug)]
pub struct Authority {
    trust_domain: TrustDomain,
    store: Store,
    random: Random,
    root: CaCertificate,
    /// What makes issuers; `None` while the root is offline and no intermediate was imported.
    signer: Option<Arc<Signer>>,
    issuers: Mutex<BTreeMap<IssuerName, Arc<Issuer>>>,
    /// What is to take over, while a change is under way.
    next: RwLock<Option<Next>>,
}

impl Authority {
    /// Opens the authority in `folder`, and makes a root where there is none.
    ///
    /// Every key and certificate that is there is checked. Issuers that ended are no error: they are replaced
    /// when next needed, if what signs them is here. New keys are made and kept as `custody` says; with a passphrase
    /// every key file is sealed with it, those that are there and those that are made.
    ///
    /// # Errors
    /// A file that cannot be read or is open to others; a key that the passphrase does not open, or that is not sealed
    /// although there is one, or that its token does not have; a pair that is incomplete, does not belong together or
    /// cannot do what its place asks for; a root or intermediate that ended; issuers without a root.
    pub fn open(
        folder: &Path,
        custody: Custody,
        trust_domain: &TrustDomain,
        random: Random,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let store = Store::open(folder, Arc::new(custody))?;
        let root = match store.root()? {
            Some(root) => root,
            None => make_root(&store, trust_domain, &random, now)?,
        };
        Self::of(store, &root, trust_domain, random, now)
    }

    /// Opens the authority in `folder` as [`Authority::open`] does, and makes none where there is none.
    ///
    /// # Errors
    /// As [`Authority::open`]; no authority in the folder.
    pub fn open_existing(
        folder: &Path,
        custody: Custody,
        trust_domain: &TrustDomain,
        random: Random,
        now: Timestamp,
    ) -> Result<Self, Error> {
        if !folder.join("root").is_dir() {
            return Err(Error::NoAuthority { folder: folder.to_owned() });
        }
        let store = Store::open(folder, Arc::new(custody))?;
        let root = store.root()?.ok_or_else(|| Error::NoAuthority { folder: folder.to_owned() })?;
        Self::of(store, &root, trust_domain, random, now)
    }

    fn of(
        store: Store,
        root: &Stored,
        trust_domain: &TrustDomain,
        random: Random,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let (root, key) = read_root(root, trust_domain, now)?;
        let signer = match (store.holds(Slot::Intermediate)?, key) {
            (true, _) => {
                Some(Signer::intermediate(store.read(Slot::Intermediate)?, &root, trust_domain, now)?)
            }
            (false, Some(key)) => {
                let signer = Signer::new(key, Chain::of_root(&root));
                Some(signer.map_err(|not_after| Error::ChainEnded { not_after, now })?)
            }
            (false, None) => None,
        };
        let authority = Self {
            trust_domain: trust_domain.clone(),
            store,
            random,
            root,
            signer: signer.map(Arc::new),
            issuers: Mutex::default(),
            next: RwLock::default(),
        };
        for name in authority.store.issuers()? {
            authority.load(&name, now)?;
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
        vec![self.root.der.to_vec()]
    }

    /// The root's certificate, PEM.
    #[must_use]
    pub fn root_pem(&self) -> String {
        pem::encode("CERTIFICATE", &self.root.der).to_string()
    }

    /// Signs a certificate for the key of a request, with the names of the grant.
    ///
    /// It starts [`crate::BACKDATE`] before `now`, or a fifth of a life that is shorter than any asked for, and no earlier than
    /// its chain; it ends with the granted life, or with the first certificate above it if that ends sooner. The first certificate of a mesh waits for the disk, since its issuer
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
        let issuer = self.signing_issuer(&issuer_name, now)?;
        issuer.check_names(grant)?;
        let validity = leaf_life(issuer.validity, grant, now)?;
        let leaf =
            Leaf { serial, life: validity, key, spiffe_id: grant.spiffe_id(), dns_names: grant.dns_names() };
        let der = issuer.template.sign(&leaf, &issuer.key)?.ok_or(Error::Clock(now))?;
        check::says(&der, &leaf, &issuer.template).map_err(Error::Mismatch)?;
        Ok(Certificate { leaf: der, above: issuer.above.clone(), issuer_name, serial, validity })
    }
}

fn make_root(
    store: &Store,
    trust_domain: &TrustDomain,
    random: &Random,
    now: Timestamp,
) -> Result<Stored, Error> {
    let (key, public) = store.custody.generate("root", random)?;
    let serial = Serial::draw(random);
    let life = Validity::new(now - AUTHORITY_BACKDATE, now + ROOT_LIFE).map_err(|_| Error::Clock(now))?;
    let signing = key.for_public(&public)?.ok_or(KeyError::Halves)?;
    let der = profile::root(trust_domain, &signing, serial, life)?;
    store.put(Slot::Root, Some(&key), &[&der], serial)?;
    info!(%trust_domain, not_after = %life.not_after(), "made a new root");
    store.root()?.ok_or(Error::RootMissing { folder: store.folder().to_owned() })
}

/// The granted life, within the chain's.
fn leaf_life(chain: Validity, grant: &Grant, now: Timestamp) -> Result<Validity, Error> {
    if now < chain.not_before() {
        return Err(Error::TooEarly { not_before: chain.not_before(), now });
    }
    let end = chain.not_after().min(now + grant.lifetime());
    // A leaf is never issued for the past, so what its backdating adds does not count as life.
    if end <= now {
        return Err(Error::ChainEnded { not_after: end, now });
    }
    let start = chain.not_before().max(now - profile::backdate(grant.lifetime()));
    Validity::new(start, end).map_err(|_| Error::Clock(now))
}

#[cfg(test)]
mod tests;
