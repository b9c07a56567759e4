//! What signs issuers: the root, or an intermediate of the operator's while the root's key is elsewhere.

use std::sync::Arc;

use signet_policies::{
    identity::TrustDomain,
    time::{Timestamp, Validity},
};

use super::{
    fit::{CaCertificate, Place, common_life},
    store::Stored,
};
use crate::{
    Error, KeyError, PublicKey, Unfit,
    key::{Key, SigningKey},
};

/// Most certificates of a chain without its root; agents look at eight with the leaf.
const MAX_CHAIN: usize = 7;

/// A certificate, and those above it up to the root's.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    /// From the bottom up, without the root.
    pub(super) certificates: Vec<CaCertificate>,
    pub(super) root: CaCertificate,
}

/// What is wrong with a certificate of a chain.
#[derive(Debug)]
pub(super) struct Misfit {
    /// Counted from the bottom; the root's is the length of the rest.
    pub(super) height: usize,
    pub(super) unfit: Unfit,
}

/// A key that may sign issuers.
#[derive(Debug)]
pub(super) struct Signer {
    pub(super) key: SigningKey,
    pub(super) chain: Chain,
    /// Common to all of its chain.
    pub(super) validity: Validity,
}

impl From<Misfit> for Error {
    /// For a chain that somebody gave.
    fn from(Misfit { height, unfit }: Misfit) -> Self {
        Self::Given { position: height + 1, unfit }
    }
}

impl Chain {
    /// Reads certificates from the bottom up, and checks that each is signed by the next and the last by the root.
    /// `below` is how many authorities stand below the first.
    pub(super) fn read(
        ders: &[&[u8]],
        below: u8,
        is_ours: bool,
        root: &CaCertificate,
        trust_domain: &TrustDomain,
    ) -> Result<Self, Misfit> {
        if ders.len() > MAX_CHAIN {
            return Err(Misfit { height: MAX_CHAIN, unfit: Unfit::TooLong });
        }
        let mut certificates = Vec::with_capacity(ders.len());
        for ((height, below), der) in (below..).enumerate().zip(ders) {
            let place = Place { below, is_ours: is_ours && height == 0 };
            let read = CaCertificate::read(der, place, trust_domain);
            certificates.push(read.map_err(|unfit| Misfit { height, unfit })?);
        }
        // The root was read when it was not known how many would stand below it.
        let height = certificates.len();
        let place =
            Place { below: below.saturating_add(u8::try_from(height).unwrap_or(u8::MAX)), is_ours: false };
        let root = CaCertificate::read(&root.der, place, trust_domain);
        let chain = Self { certificates, root: root.map_err(|unfit| Misfit { height, unfit })? };
        let above = chain.certificates.iter().skip(1).chain([&chain.root]);
        for (height, (own, signer)) in chain.certificates.iter().zip(above).enumerate() {
            // One that signed itself adds nothing, and goes for a root with those who look less closely.
            let is_its_own = own.subject == signer.subject;
            let checked = if is_its_own { Err(Unfit::Signature) } else { own.check_signed_by(signer) };
            checked.map_err(|unfit| Misfit { height, unfit })?;
        }
        Ok(chain)
    }

    /// The root alone.
    pub(super) fn of_root(root: &CaCertificate) -> Self {
        Self { certificates: Vec::new(), root: root.clone() }
    }

    /// Whether all of it is valid at a moment.
    pub(super) fn check_time(&self, now: Timestamp) -> Result<(), Misfit> {
        let mut all = self.all().enumerate();
        all.try_for_each(|(height, own)| own.check_time(now).map_err(|unfit| Misfit { height, unfit }))
    }

    /// The certificates without the root, from the bottom up, each DER.
    pub(super) fn ders(&self) -> Vec<Arc<[u8]>> {
        self.certificates.iter().map(|certificate| certificate.der.clone()).collect()
    }

    /// The lowest certificate; the root where there is none below it.
    pub(super) fn lowest(&self) -> &CaCertificate {
        self.certificates.first().unwrap_or(&self.root)
    }

    /// All of it, the root last.
    pub(super) fn all(&self) -> impl Iterator<Item = &CaCertificate> + Clone {
        self.certificates.iter().chain([&self.root])
    }

    /// From the latest start to the earliest end.
    pub(super) fn validity(&self) -> Result<Validity, Timestamp> {
        common_life(self.all())
    }
}

impl Signer {
    /// Joins a key and its chain, which are known to belong together. The error is the end of a chain without a life.
    pub(super) fn new(key: SigningKey, chain: Chain) -> Result<Self, Timestamp> {
        Ok(Self { key, validity: chain.validity()?, chain })
    }

    /// An intermediate that is on the disk, which must be valid `now`.
    pub(super) fn intermediate(
        stored: Stored,
        root: &CaCertificate,
        trust_domain: &TrustDomain,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let chain = Chain::read(&stored.ders(), 1, false, root, trust_domain);
        let chain = chain.map_err(|misfit| stored.unfit(misfit.unfit))?;
        chain.check_time(now).map_err(|misfit| stored.unfit(misfit.unfit))?;
        let key = stored.fitting(chain.lowest())?.ok_or_else(|| stored.unfit(Unfit::NoKey))?;
        Self::new(key, chain).map_err(|end| stored.unfit(Unfit::Ended(end)))
    }
}

/// The root on the disk, checked and valid `now`, and its key if it is here.
pub(super) fn read_root(
    stored: &Stored,
    trust_domain: &TrustDomain,
    now: Timestamp,
) -> Result<(CaCertificate, Option<SigningKey>), Error> {
    let place = Place { below: 1, is_ours: false };
    let root = CaCertificate::read(&stored.certificate, place, trust_domain);
    let root = root.map_err(|unfit| stored.unfit(unfit))?;
    let key = stored.fitting(&root)?;
    check_root(&root, now).map_err(|unfit| stored.unfit(unfit))?;
    Ok((root, key))
}

/// A root's certificate, checked and valid `now`.
pub(super) fn root_certificate(
    der: &[u8],
    trust_domain: &TrustDomain,
    now: Timestamp,
) -> Result<CaCertificate, Unfit> {
    let root = CaCertificate::read(der, Place { below: 1, is_ours: false }, trust_domain)?;
    check_root(&root, now)?;
    Ok(root)
}

fn check_root(root: &CaCertificate, now: Timestamp) -> Result<(), Unfit> {
    root.check_signed_by(root)?;
    root.check_time(now)
}

impl Stored {
    /// The certificate and those above it.
    pub(super) fn ders(&self) -> Vec<&[u8]> {
        [self.certificate.as_slice()].into_iter().chain(self.above.iter().map(Vec::as_slice)).collect()
    }

    pub(super) fn unfit(&self, unfit: Unfit) -> Error {
        Error::Unfit { path: self.path.clone(), unfit }
    }

    /// The key ready to sign, if it is here; it must be the certificate's.
    pub(super) fn fitting(&self, certificate: &CaCertificate) -> Result<Option<SigningKey>, Error> {
        let fit = self.key.as_ref().map(|key| fitting(key, certificate)).transpose();
        fit.map_err(|misfit| match misfit {
            KeyMisfit::Unfit(unfit) => self.unfit(unfit),
            KeyMisfit::Key(error) => error.into(),
        })
    }
}

/// Why a key does not go with a certificate.
#[derive(Debug)]
pub(super) enum KeyMisfit {
    Unfit(Unfit),
    Key(KeyError),
}

impl KeyMisfit {
    /// For a certificate that somebody gave.
    pub(super) fn given(self) -> Error {
        match self {
            Self::Unfit(unfit) => Error::Given { position: 1, unfit },
            Self::Key(source) => Error::GivenKey { source },
        }
    }
}

/// The key ready to sign, if it is the certificate's.
pub(super) fn fitting(key: &Key, certificate: &CaCertificate) -> Result<SigningKey, KeyMisfit> {
    let unfit = |refused| KeyMisfit::Unfit(Unfit::Key(refused));
    let public = PublicKey::from_spki(&certificate.spki).map_err(unfit)?;
    let fits = key.for_public(&public).map_err(KeyMisfit::Key)?;
    fits.ok_or(KeyMisfit::Unfit(Unfit::OtherKey))
}
