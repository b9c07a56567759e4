//! The certificates of an authority, for whoever audits what it signs.

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError},
};

use super::{Authority, succession::Heir};

/// Where a certificate of the authority stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rank {
    /// The root.
    Root,
    /// Between the root and an issuer.
    Intermediate,
    /// Signs leaves.
    Issuer,
}

/// A certificate that the authority signs with, or that stands above one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityCertificate {
    /// `root`, `intermediate`, or an issuer as [`IssuerName`](crate::IssuerName) writes it.
    pub name: String,
    /// Where it stands.
    pub rank: Rank,
    /// The certificate, DER.
    pub der: Arc<[u8]>,
    /// Whether its key is here. What else brings a certificate says so in the ledger itself.
    pub has_key: bool,
}

impl Authority {
    /// Every certificate of the authority, each once: the root, those between, then the issuers by name.
    #[must_use]
    pub fn certificates(&self) -> Vec<AuthorityCertificate> {
        let mut all = self.own_certificates();
        // What is to take over signs before it is alone.
        match self.heir() {
            Some(Heir::Root(heir)) => all.extend(heir.own_certificates()),
            Some(Heir::Issuer(name, issuer)) => {
                let der = issuer.chain.lowest().der.clone();
                let (name, rank) = (name.to_string(), Rank::Issuer);
                all.push(AuthorityCertificate { name, rank, der, has_key: true });
            }
            None => {}
        }
        all
    }

    fn own_certificates(&self) -> Vec<AuthorityCertificate> {
        let signing = self.signer.as_ref().map(|signer| signer.chain.lowest().der.clone());
        let own = |name: &str, rank, der: &Arc<[u8]>| AuthorityCertificate {
            name: name.to_owned(),
            rank,
            der: der.clone(),
            has_key: rank == Rank::Issuer || signing.as_ref() == Some(der),
        };
        let issuers = self.issuers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let signer = self.signer.iter().flat_map(|signer| &signer.chain.certificates);
        let between = issuers.values().flat_map(|issuer| issuer.chain.certificates.iter().skip(1));
        let between = signer.chain(between).map(|found| own("intermediate", Rank::Intermediate, &found.der));
        let lowest = issuers
            .iter()
            .map(|(name, issuer)| own(&name.to_string(), Rank::Issuer, &issuer.chain.lowest().der));
        let mut seen = BTreeSet::new();
        let all = std::iter::once(own("root", Rank::Root, &self.root.der)).chain(between).chain(lowest);
        all.filter(|found| seen.insert(found.der.clone())).collect()
    }
}
