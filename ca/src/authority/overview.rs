//! What an authority consists of, for people to look at.

use std::{collections::BTreeMap, sync::PoisonError};

use signet_policies::time::Validity;

use super::{Authority, fit::CaCertificate, succession::Heir};
use crate::{Error, IssuerName, certificate::sha256, key::SigningKey, pem};

/// A certificate of the authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityView {
    /// `root`, `intermediate`, or an issuer as [`IssuerName`] writes it; with ` (next)` for what is to take over.
    pub name: String,
    /// Its subject as people write it.
    pub subject: String,
    /// Lower-case hexadecimal.
    pub serial: String,
    /// SHA-256 of the certificate's DER.
    pub fingerprint: [u8; 32],
    /// Its own life.
    pub validity: Validity,
    /// Where its key is.
    pub key: KeyPlace,
    /// Whether a request for its successor waits.
    pub is_successor_requested: bool,
}

/// Where a key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPlace {
    /// In a file of the data folder.
    File,
    /// On a token, at this URI.
    Token(String),
    /// Not here.
    Offline,
}

impl Authority {
    /// Root, intermediate and issuers, in this order, then what is to take their places.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn overview(&self) -> Result<Vec<AuthorityView>, Error> {
        let waiting = self.waiting()?;
        let view =
            |name: String, certificate: &CaCertificate, key: Option<&SigningKey>, is_successor_requested| {
                AuthorityView {
                    name,
                    subject: certificate.subject_text.clone(),
                    serial: certificate.serial.clone(),
                    fingerprint: sha256(&certificate.der),
                    validity: certificate.validity,
                    key: key.map_or(KeyPlace::Offline, SigningKey::place),
                    is_successor_requested,
                }
            };
        let own = self.signer.as_ref().filter(|signer| signer.chain.certificates.is_empty());
        let mut views = vec![view("root".to_owned(), &self.root, own.map(|signer| &signer.key), false)];
        let below = self.signer.as_ref().filter(|signer| !signer.chain.certificates.is_empty());
        views.extend(
            below.map(|signer| {
                view("intermediate".to_owned(), signer.chain.lowest(), Some(&signer.key), false)
            }),
        );
        let issuers: BTreeMap<_, _> = self.issuers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (name, issuer) in issuers {
            let is_requested = waiting.contains(&name);
            views.push(view(name.to_string(), issuer.chain.lowest(), Some(&issuer.key), is_requested));
        }
        let next = |name: &str| format!("{name} (next)");
        match self.heir() {
            Some(Heir::Root(heir)) => {
                let renamed = |one: AuthorityView| AuthorityView { name: next(&one.name), ..one };
                views.extend(heir.overview()?.into_iter().map(renamed));
            }
            Some(Heir::Issuer(name, issuer)) => {
                views.push(view(next(&name.to_string()), issuer.chain.lowest(), Some(&issuer.key), false));
            }
            None => {}
        }
        Ok(views)
    }

    /// The certificates of an issuer and of those above it, the root's last, PEM; `None` where there is no such issuer.
    #[must_use]
    pub fn issuer_chain_pem(&self, name: &IssuerName) -> Option<String> {
        let issuers = self.issuers.lock().unwrap_or_else(PoisonError::into_inner);
        let chain = &issuers.get(name)?.chain;
        Some(
            chain.all().map(|certificate| pem::encode("CERTIFICATE", &certificate.der).to_string()).collect(),
        )
    }
}
