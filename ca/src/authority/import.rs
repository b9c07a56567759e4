//! Taking over an operator's root or intermediate.

use std::path::Path;

use signet_policies::{identity::TrustDomain, time::Timestamp};
use tracing::info;

use super::{
    fit::CaCertificate,
    rehearsal,
    requests::Adopted,
    signer::{Chain, Signer, fitting},
    store::{Slot, Store},
};
use crate::{
    Custody, Error, Pkcs11Uri, PrivateKey, Random, Serial, Unfit,
    key::{Key, Record},
    pem,
};

/// What an operator brings.
#[derive(Debug)]
pub struct Import<'a> {
    /// The root's certificate, PEM.
    pub root: &'a str,
    /// An intermediate's certificate and those between it and the root, PEM, from the bottom up.
    pub intermediate: Option<&'a str>,
    /// The key of the intermediate, or else of the root, which is offline without one.
    pub key: Option<ImportedKey>,
}

/// A key that an operator brings.
#[derive(Debug)]
pub enum ImportedKey {
    /// It will be kept in a file.
    File(PrivateKey),
    /// It is on the custody's token, and stays there.
    Token(Pkcs11Uri),
}

impl super::Authority {
    /// Takes over a root, or an intermediate below it. Everything is verified before anything is written, and what is there
    /// is only ever replaced by another intermediate of the same root.
    ///
    /// # Errors
    /// Another root is there already; a certificate ended, may not sign certificates, does not lead to the root or is of
    /// another trust domain; the key is another one's; or the leaves below it would be refused.
    pub fn import(
        folder: &Path,
        custody: Custody,
        import: Import<'_>,
        trust_domain: &TrustDomain,
        random: &Random,
        now: Timestamp,
    ) -> Result<Adopted, Error> {
        let store = Store::open(folder, std::sync::Arc::new(custody))?;
        let (root, root_exists) = check_root(&store, import.root, trust_domain, now)?;
        let key = match import.key {
            None => None,
            Some(ImportedKey::File(key)) => Some(Key::File(key)),
            Some(ImportedKey::Token(place)) => {
                let found = store.custody.find(&Record::Token(place.clone()));
                found.map_err(|source| Error::GivenKey { source })?
            }
        };
        let chain = match import.intermediate {
            None => Chain::of_root(&root),
            Some(text) => below_root(text, &root, trust_domain)?,
        };
        chain.check_time(now)?;
        if import.intermediate.is_some() && key.is_none() {
            return Err(Error::Given { position: 1, unfit: Unfit::NoKey });
        }
        if let Some(key) = &key {
            let signing = fitting(key, chain.lowest()).map_err(|unfit| unfit.given())?;
            let signer = Signer::new(signing, chain.clone())
                .map_err(|not_after| Error::ChainEnded { not_after, now })?;
            rehearsal::signer(&signer, trust_domain, random, now)?;
        }
        let adopted = Adopted::new(&chain, now)?;
        write(&store, &chain, key.as_ref(), root_exists, random)?;
        info!(serial = adopted.serial, not_after = %adopted.not_after, is_offline = key.is_none(), "imported an authority");
        Ok(adopted)
    }
}

/// Reads the root that is given, and says whether the same is there already.
fn check_root(
    store: &Store,
    text: &str,
    trust_domain: &TrustDomain,
    now: Timestamp,
) -> Result<(CaCertificate, bool), Error> {
    let root = given_root(text, trust_domain, now)?;
    match store.root()? {
        Some(there) if *there.certificate != *root.der => {
            Err(Error::OtherRoot { folder: store.folder().to_owned() })
        }
        there => Ok((root, there.is_some())),
    }
}

/// Reads a root that somebody gave, PEM, and checks whether it may be one.
pub(super) fn given_root(
    text: &str,
    trust_domain: &TrustDomain,
    now: Timestamp,
) -> Result<CaCertificate, Error> {
    let given = |unfit| Error::GivenRoot { unfit };
    let ders = pem::certificates(text).map_err(Error::GivenPem)?;
    let [der] = ders.as_slice() else { return Err(given(Unfit::Unreadable)) };
    super::signer::root_certificate(der, trust_domain, now).map_err(given)
}

fn below_root(text: &str, root: &CaCertificate, trust_domain: &TrustDomain) -> Result<Chain, Error> {
    let mut ders = pem::certificates(text).map_err(Error::GivenPem)?;
    if ders.len() > 1 && ders.last().is_some_and(|last| **last == *root.der) {
        ders.pop();
    }
    let ders: Vec<&[u8]> = ders.iter().map(Vec::as_slice).collect();
    Ok(Chain::read(&ders, 1, false, root, trust_domain)?)
}

/// The root first: an intermediate without it would be refused.
fn write(
    store: &Store,
    chain: &Chain,
    key: Option<&Key>,
    root_exists: bool,
    random: &Random,
) -> Result<(), Error> {
    let is_root = chain.certificates.is_empty();
    match (is_root, root_exists, key) {
        (true, true, _) => return Err(Error::SameRoot { folder: store.folder().to_owned() }),
        (true, false, key) => store.put(Slot::Root, key, &[&chain.root.der], Serial::draw(random))?,
        (false, true, _) => {}
        (false, false, _) => store.put(Slot::Root, None, &[&chain.root.der], Serial::draw(random))?,
    }
    if is_root {
        return Ok(());
    }
    let ders = chain.ders();
    let ders: Vec<&[u8]> = ders.iter().map(|der| &**der).collect();
    store.put(Slot::Intermediate, key, &ders, Serial::draw(random))
}
