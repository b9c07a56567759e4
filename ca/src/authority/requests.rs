//! Issuers whose certificates somebody else signs: a key and a request here, a certificate from there.

use std::sync::{Arc, PoisonError};

use signet_policies::time::Timestamp;
use tracing::info;

use super::{Authority, issuers::Issuer, rehearsal, signer::Chain, store::Slot};
use crate::{Error, IssuerName, KeyError, Serial, Unfit, certificate::sha256, pem, profile};

/// A certificate of an authority that was taken over from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// Lower-case hexadecimal; whoever signed it chose it.
    pub serial: String,
    /// SHA-256 of the certificate's DER.
    pub fingerprint: [u8; 32],
    /// The earliest end in its chain.
    pub not_after: Timestamp,
    /// The certificate, DER.
    pub der: Vec<u8>,
}

impl Authority {
    /// A request (PKCS #10, PEM) for an issuer's certificate, with everything in it that the certificate must say.
    ///
    /// While one waits for its certificate, the same comes again, unless it is to be a `fresh` one: then its key is
    /// another one, and a certificate for the old one can no longer be installed.
    ///
    /// # Errors
    /// A key cannot be made, or the folder not written.
    pub fn request(&self, name: &IssuerName, fresh: bool) -> Result<String, Error> {
        // Held, so that two at once do not make two.
        let _issuers = self.issuers.lock().unwrap_or_else(PoisonError::into_inner);
        if !fresh && let Some(waiting) = self.store.request(name)? {
            return Ok(waiting);
        }
        let label = name.to_string();
        let (key, public) = self.store.custody.generate(&label, &self.random)?;
        let signing = key.for_public(&public)?.ok_or(KeyError::Halves)?;
        let der = profile::request(&self.trust_domain, &label, &signing)?;
        let text = pem::encode("CERTIFICATE REQUEST", &der).to_string();
        self.store.put_request(name, &key, &text, &self.random)?;
        Ok(text)
    }

    /// Takes the certificate for a request: PEM, the issuer's own first, then those between it and the root, which may
    /// follow. From then on the issuer signs with it.
    ///
    /// # Errors
    /// No request waits, the certificate is for another key, does not lead to the root, or may not do what an issuer does;
    /// nothing was changed then.
    pub fn install(&self, name: &IssuerName, text: &str, now: Timestamp) -> Result<Adopted, Error> {
        let mut issuers = self.issuers.lock().unwrap_or_else(PoisonError::into_inner);
        let key = self.store.requested(name)?.ok_or_else(|| Error::NoRequest(name.clone()))?;
        let chain = self.read_given(text, 0, true)?;
        chain.check_time(now)?;
        let own = chain.lowest();
        let given = |unfit| Error::Given { position: 1, unfit };
        let public = crate::PublicKey::from_spki(&own.spki).map_err(|refused| given(Unfit::Key(refused)))?;
        let signing = key.for_public(&public)?.ok_or_else(|| given(Unfit::NotRequested))?;
        let adopted = Adopted::new(&chain, now)?;
        let ders = chain.ders();
        let issuer = Issuer::new(signing, chain, now)?;
        rehearsal::issuer(&issuer, &self.trust_domain, &self.random, now)?;
        let ders: Vec<&[u8]> = ders.iter().map(|der| &**der).collect();
        self.store.put(Slot::Issuer(name), Some(&key), &ders, Serial::draw(&self.random))?;
        self.store.forget_request(name, &self.random)?;
        let is_first = issuers.insert(name.clone(), Arc::new(issuer)).is_none();
        info!(issuer = %name, is_first, serial = adopted.serial, not_after = %adopted.not_after, "installed an issuer");
        Ok(adopted)
    }

    /// The issuers that wait for their certificates.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn waiting(&self) -> Result<Vec<IssuerName>, Error> {
        self.store.requests()
    }

    fn read_given(&self, text: &str, below: u8, is_ours: bool) -> Result<Chain, Error> {
        let mut ders = pem::certificates(text).map_err(Error::GivenPem)?;
        // People tend to give the root as well.
        if ders.len() > 1 && ders.last().is_some_and(|last| **last == *self.root.der) {
            ders.pop();
        }
        let ders: Vec<&[u8]> = ders.iter().map(Vec::as_slice).collect();
        Ok(Chain::read(&ders, below, is_ours, &self.root, &self.trust_domain)?)
    }
}

impl Adopted {
    pub(super) fn new(chain: &Chain, now: Timestamp) -> Result<Self, Error> {
        let own = chain.lowest();
        let not_after =
            chain.validity().map_err(|not_after| Error::ChainEnded { not_after, now })?.not_after();
        Ok(Self {
            serial: own.serial.clone(),
            fingerprint: sha256(&own.der),
            not_after,
            der: own.der.to_vec(),
        })
    }
}
